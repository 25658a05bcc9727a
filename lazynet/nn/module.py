"""`Module`: an object that owns parameters and other modules, and finds them by attribute.

Nothing has to be registered: the attributes of an object are its parameters, buffers and children,
in the order in which they were assigned. Reading one is a plain attribute access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from types import FunctionType
from typing import Any, Self

import numpy as np

from lazynet import automatic
from lazynet.anew import Home
from lazynet.debugging import warn
from lazynet.device import OPENED, Device, device_among, device_of, on_device
from lazynet.elsewhere import OF_MODULES
from lazynet.nn import hooks
from lazynet.nn.state import Entry, IncompatibleKeys, cast, load, move
from lazynet.nn.told import RAISED, explained
from lazynet.parameter import Parameter
from lazynet.snapshot import note_change
from lazynet.tensor import Tensor, tensor
from lazynet.unknown import TellsSettings, missing

_ANEW = "_made_anew"  # an attribute that is no member


class Module(TellsSettings, hooks.Hooked):
    """A part of a model. Subclasses assign parameters and modules, and define `forward`.

    `forward` is plain Python over ONE example. Attributes that are neither parameters nor modules
    are left alone; Tensors given to `register_buffer` are saved with the state.

    A `forward` of Tensors that was called some thousand times, and is proven to be a pure function,
    becomes a cell (`ln.cell`) by itself: its calls are recorded as one node each, and compiled.
    Attributes may change as they like, by assignment: what is written into a `__dict__` goes
    unseen. `automatic_cell = False` in a class leaves it as it is.
    """

    automatic_cell: bool = True
    training: bool = True
    # Attributes that are computed from parameters when they are asked for: `nn.utils.weight_norm`.
    _computed: Mapping[str, Callable[[Module], Tensor]] = {}
    _buffers: Mapping[str, bool] = {}  # by name, whether it is part of the state
    _tells = True  # whether errors of a call are told under this name, not under those of its parts

    def __init__(self) -> None:
        # Nothing to set up; here so that `super().__init__()` may be written, as in PyTorch.
        pass

    forward: Callable[..., Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls)
        wanted = cls.automatic_cell and cls.__module__.split(".")[0] != "lazynet"
        if wanted and isinstance(own.get("forward"), FunctionType) and "__call__" not in own:
            automatic.watch(cls, Module.__call__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if OPENED or self._hooks or kwargs:
                return self._called(args, kwargs)
            return self.forward(*args)
        except RAISED as error:
            problem = explained(self, error, args, kwargs)
            if problem is error:
                raise
        raise problem

    def _takes(self) -> dict[str, tuple[Any, ...]]:
        """What rows arguments of `forward` must have, by name: for errors; `...` is any axes."""
        return {}

    def _called(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The result of a call: with hooks, and on the device of the parameters or arguments."""
        with on_device(self._device() or device_among(args)) if OPENED else nullcontext():
            return hooks.call(self, args, kwargs) if self._hooks else self.forward(*args, **kwargs)

    def _device(self) -> Device | None:
        """Where the first parameter is: what `forward` makes lives there."""
        for _, value in self._members():
            if isinstance(value, Parameter):
                return value.graph.device
            found = value._device() if isinstance(value, Module) else None
            if found is not None:
                return found
        return None

    def __setattr__(self, name: str, value: Any) -> None:
        old = vars(self).get(name)
        if isinstance(old, Parameter) and not isinstance(value, Parameter) and value is not None:
            raise TypeError(
                f"{type(self).__name__}.{name} is a parameter and cannot become a "
                f"{type(value).__name__}; change its value with .copy_(...)"
            )
        if name in self._buffers and value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"{type(self).__name__}.{name} is a buffer and cannot become a "
                f"{type(value).__name__}; assign a Tensor, ln.tensor(...), or None"
            )
        note_change(self)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        computed = vars(self).get("_computed", type(self)._computed)
        if name in computed:
            return computed[name](self)
        if hasattr(type(self), name):  # a property failed: once more, for its own error
            return object.__getattribute__(self, name)
        raise missing(self, type(self).__name__, name, OF_MODULES)

    def __delattr__(self, name: str) -> None:
        note_change(self)
        object.__delattr__(self, name)

    @property
    def made_anew(self) -> Home:
        """What is kept of functions that close over it (see `anew.py`)."""
        return vars(self).setdefault(_ANEW, Home())

    # -- what it owns ------------------------------------------------------------------------------

    def _members(self) -> Iterator[tuple[str, Any]]:
        """(name, value) of everything that may be a parameter, a buffer or a module."""
        return iter([item for item in list(vars(self).items()) if item[0] != _ANEW])

    def _replace(self, name: str, value: Any) -> None:
        """Put another value in the place of a member."""
        note_change(self)
        vars(self)[name] = value

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules that this one owns directly, each once."""
        seen = set()
        for name, value in self._members():
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules that this one owns directly."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module and of all below it, each once."""
        return self._walk(prefix, set())

    def _walk(self, prefix: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
        """All modules from here down; with `seen`, each once, else once for each of its names."""
        if seen is not None:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield prefix, self
        for name, value in self._members():
            if isinstance(value, Module):
                yield from value._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def submodules(self) -> Iterator[Module]:
        """All modules below this one, each once."""
        return (module for module in self.modules() if module is not self)

    def get_submodule(self, path: str) -> Module:
        """The module of this dotted name; "" is the module itself.

        Raises:
            AttributeError: if there is none.
        """
        for name, module in self._walk("", None):
            if name == path:
                return module
        raise AttributeError(f"{type(self).__name__} has no module {path!r}")

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) of each parameter, once, also where modules share it."""
        seen = set()
        for entry in self._entries(prefix, set(), recurse):
            if isinstance(entry.value, Parameter) and id(entry.value) not in seen:
                seen.add(id(entry.value))
                yield entry.name, entry.value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Each parameter of this module and (unless `recurse` is false) of all below it, once.

        Plain lists and dicts are not looked into, as in PyTorch; a warning tells of modules there.
        """
        if recurse:
            self._tell_of_lists()
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def _tell_of_lists(self) -> None:
        """Warn of modules and parameters that stand in plain lists alone: nothing trains them."""
        known = {id(x) for owner in self.modules() for _, x in ((0, owner), *owner._members())}
        for path, owner in self.named_modules():
            for name, value in vars(owner).items():
                if value.__class__ not in (list, tuple, dict) or name.startswith("_"):
                    continue
                things = value.values() if isinstance(value, dict) else value
                if any(isinstance(x, (Module, Parameter)) and id(x) not in known for x in things):
                    kind = "Dict" if isinstance(value, dict) else "List"
                    warn(
                        f"{f'{path}.{name}' if path else name} of {type(self).__name__} holds "
                        f"modules or parameters in a plain {type(value).__name__}, which are not "
                        f"among its parameters: they are not trained, saved or moved. "
                        f"nn.Module{kind} holds modules, nn.Parameter{kind} parameters"
                    )

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, Tensor) of what `register_buffer` was given."""
        for entry in self._entries(prefix, set(), recurse):
            if not isinstance(entry.value, Parameter):
                yield entry.name, entry.value

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """What `register_buffer` was given, here and below."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Make a Tensor, no parameter, an attribute; part of the state if `persistent`.

        Raises:
            TypeError: for something else.
        """
        if value is not None and (isinstance(value, Parameter) or not isinstance(value, Tensor)):
            raise TypeError(f"register_buffer: {name} must be a Tensor, not {type(value).__name__}")
        setattr(self, name, value)
        self._buffers = {**self._buffers, name: persistent}

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Make a parameter, or None in its place, an attribute: the same as assigning it.

        Raises:
            TypeError: for something else.
        """
        if value is not None and not isinstance(value, Parameter):
            kind = type(value).__name__
            raise TypeError(f"register_parameter: {name} must be a Parameter, not {kind}")
        setattr(self, name, value)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make a module an attribute: the same as assigning it, for names that are computed.

        Raises:
            KeyError: for a name that cannot be one, or that something else has.
            TypeError: for what is no module.
        """
        own = type(self).__name__
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{own}: add_module: a name is a string without dots, not {name!r}")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{own}: add_module: expected a Module, not {type(module).__name__}")
        old = dict(self._members()).get(name, getattr(self, name, None))
        if old is not None and not isinstance(old, Module):
            raise KeyError(f"{own}: add_module: there is an attribute {name!r}, which is no module")
        self._add(name, module)

    def _add(self, name: str, module: Module | None) -> None:
        setattr(self, name, module)

    def get_parameter(self, path: str) -> Parameter:
        """The parameter of this dotted name.

        Raises:
            AttributeError: if there is none.
        """
        owner, _, key = path.rpartition(".")
        value = dict(self.get_submodule(owner)._members()).get(key)
        if not isinstance(value, Parameter):
            raise AttributeError(f"{type(self).__name__} has no parameter {path!r}")
        return value

    def _entries(self, prefix: str, seen: set[int] | None, recurse: bool = True) -> Iterator[Entry]:
        """Parameters and buffers, module by module, as `_walk` goes."""
        for path, module in self._walk(prefix, seen) if recurse else [(prefix, self)]:
            for key, value in module._members():
                if isinstance(value, Parameter) or (
                    key in module._buffers and isinstance(value, Tensor)
                ):
                    name = f"{path}.{key}" if path else key
                    yield Entry(name, value, module._buffers.get(key, True), module, key)

    # -- what is done to all of it -----------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and below: dropout drops only while training."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Self:
        """Set `training` to false here and below."""
        return self.train(False)

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module, children first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; unless `set_to_none`, make them 0."""
        for parameter in self.parameters():
            parameter.zero_grad(set_to_none)

    def requires_grad_(self, flag: bool = True) -> Self:
        """Set `requires_grad` of all parameters; without it, backward and optimizers skip them."""
        for parameter in self.parameters():
            parameter.requires_grad_(flag)
        return self

    def float(self) -> Self:
        """Make all parameters and float buffers float32; optimizers must be made afterwards."""
        cast(self, "float32")
        return self

    def double(self) -> Self:
        """Make all parameters and float buffers float64; optimizers must be made afterwards."""
        cast(self, "float64")
        return self

    def to(self, device: str) -> Self:
        """Move all parameters, their gradients and buffers to a device, in place.

        Optimizers may be made before or after.

        Raises:
            DeviceError: if there is no such device; nothing has moved then.
        """
        move(self, device_of(device))
        return self

    def cpu(self) -> Self:
        """Move everything to the CPU, as `to("cpu")`."""
        return self.to("cpu")

    def cuda(self) -> Self:
        """Move everything to the first GPU, as `to("cuda")`."""
        return self.to("cuda")

    # -- state -------------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Copies of all parameters and persistent buffers, by dotted name.

        A parameter that modules share appears under each of its names.
        """
        entries = self._entries(prefix.rstrip("."), None)
        return {entry.name: entry.value.numpy() for entry in entries if entry.kept}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Set parameters and persistent buffers to these values; PyTorch's tensors will do.

        All is checked first: after an error nothing has changed.

        Args:
            state: arrays or tensors by dotted name.
            strict: whether the names must be exactly those of `state_dict()`.

        Raises:
            RuntimeError: naming each missing or unexpected key, each shape that differs, and what
                holds no numbers.
            TypeError: for something that is no dict.
        """
        return load(self, state, strict)

    def __getstate__(self) -> dict[str, Any]:
        """What copying and pickling take: buffers that were computed as values of their own."""
        state = dict(vars(self))
        state.pop(_ANEW, None)
        for name in self._buffers:
            value = state.get(name)
            if isinstance(value, Tensor) and not value.is_leaf:
                state[name] = tensor(value.numpy(), device=value.device)
        return state

    # -- how it shows ------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of a module without children."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        for name, value in self._members():
            if isinstance(value, Module):
                lines.append(f"({name}): " + repr(value).replace("\n", "\n  "))
        name = type(self).__name__
        if not lines or (extra and lines == [extra]):
            return f"{name}({extra})"
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)"
