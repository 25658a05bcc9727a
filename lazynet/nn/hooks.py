"""Hooks of modules: functions called before and after `forward`, and on the way back.

The gradients of a module's inputs, and of its outputs, are those of copies that only the module
takes, or gives: `lazynet/hooks.py`, `watched`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazynet.hooks import HookHandle, wants_gradient, watched
from lazynet.nested import filled, leaves_of
from lazynet.recording import pending_graph
from lazynet.tensor import Value
from lazynet.trace import HookInside, TraceGraph

PRE, FORWARD, BACKWARD_PRE, BACKWARD = "pre", "forward", "backward_pre", "backward"


class ModuleHook:
    """One hook: of which kind, what to call, and whether it takes the keywords of the call."""

    def __init__(self, kind: str, function: Any, with_kwargs: bool = False):
        self.kind, self.function, self.with_kwargs = kind, function, with_kwargs


class Hooked:
    """What has hooks, in the order in which they are called; assigned, never changed in place."""

    _hooks: tuple[ModuleHook, ...] = ()

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call `hook(module, args)` before every `forward`; it may give other arguments.

        Hooks see lazy values; looking at one runs what is pending, for this example alone. A module
        whose `forward` is a cell has them called around the cell; a cell that calls a module with
        hooks is run op by op.

        Args:
            hook: gives None, a tuple of arguments, or one argument.
            prepend: whether to call it before the hooks that are there.
            with_kwargs: call `hook(module, args, kwargs)`, which gives None or (args, kwargs).
        """
        return self._hook(ModuleHook(PRE, hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call `hook(module, args, output)` after every `forward`; it may give another output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`.
        """
        return self._hook(ModuleHook(FORWARD, hook, with_kwargs), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> HookHandle:
        """Call `hook(module, grad_output)` in backward, before it goes through the module.

        `grad_output` is a tuple with the gradient of each output, of this call alone; the hook may
        give another tuple.
        """
        return self._hook(ModuleHook(BACKWARD_PRE, hook), prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> HookHandle:
        """Call `hook(module, grad_input, grad_output)` when backward has gone through the module.

        Both are tuples, for each positional argument and for each output (of nested ones, for each
        value in them): the gradient of this call alone, or None of what wants or has none. The hook
        may give another tuple of `grad_input`.

            >>> layer = nn.Linear(2, 3)
            >>> show = lambda module, inputs, outputs: print(inputs[0].shape, outputs[0].shape)
            >>> with layer.register_full_backward_hook(show):
            ...     layer(ln.tensor([1.0, 2.0], requires_grad=True)).sum().backward()
            (2,) (3,)
        """
        return self._hook(ModuleHook(BACKWARD, hook), prepend)

    def _hook(self, hook: ModuleHook, prepend: bool) -> HookHandle:
        if not callable(hook.function):
            own, kind = type(self).__name__, type(hook.function).__name__
            raise TypeError(f"{own}: expected a function as a hook, not {kind}")
        self._hooks = (hook, *self._hooks) if prepend else (*self._hooks, hook)

        def remove() -> None:
            self._hooks = tuple(other for other in self._hooks if other is not hook)

        return HookHandle(remove)


def call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`module.forward(*args, **kwargs)` with the module's hooks.

    Raises:
        HookInside: if it is being traced: hooks are called for every example.
    """
    if isinstance(pending_graph(), TraceGraph):
        raise HookInside(type(module).__name__)
    hooks: list[ModuleHook] = list(module._hooks)
    for hook in hooks:
        if hook.kind == PRE:
            args, kwargs = _before(module, hook, args, kwargs)
    going_back = [hook for hook in hooks if hook.kind in (BACKWARD_PRE, BACKWARD)]
    back = _Back(module, going_back) if going_back else None
    if back is not None:
        args = back.enter_inputs(args)
    result = module.forward(*args, **kwargs)
    for hook in hooks:
        if hook.kind == FORWARD:
            more = (kwargs,) if hook.with_kwargs else ()
            given = hook.function(module, args, *more, result)
            result = result if given is None else given
    return result if back is None else back.enter_outputs(result)


def _before(
    module: Any, hook: ModuleHook, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if hook.with_kwargs:
        given = hook.function(module, args, kwargs)
        if given is None:
            return args, kwargs
        if not isinstance(given, tuple) or len(given) != 2:
            raise RuntimeError(
                "register_forward_pre_hook: with with_kwargs a hook gives None or (args, kwargs), "
                f"not {type(given).__name__}"
            )
        return given
    given = hook.function(module, args)
    if given is None:
        return args, kwargs
    return (given if isinstance(given, tuple) else (given,)), kwargs


class _Back:
    """One call of a module, as its backward hooks see it."""

    def __init__(self, module: Any, hooks: list[ModuleHook]):
        self._module, self._hooks = module, hooks
        self._inputs: list[int] = []  # positions of the arguments that want gradients
        self._count = 0
        self._grad_output: tuple[Any, ...] = ()

    def enter_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, with those that want gradients watched."""
        self._count = len(args)
        self._inputs = _wanting(args)
        return _watched(args, self._inputs, self._on_inputs)

    def enter_outputs(self, result: Any) -> Any:
        """The result, with the values in it that want gradients watched."""
        flat = isinstance(result, (tuple, list)) and not any(map(_nests, result))
        results = tuple(result) if flat else tuple(leaves_of(result))
        self._outputs = _wanting(results)
        self._results = len(results)
        made = _watched(results, self._outputs, self._on_outputs)
        if isinstance(result, tuple) and flat and not hasattr(result, "_fields"):
            return made
        return list(made) if isinstance(result, list) and flat else filled(result, made)

    def _on_outputs(self, gradients: list[Any]) -> list[Any]:
        full = _spread(gradients, self._outputs, self._results)
        for hook in self._hooks:
            if hook.kind == BACKWARD_PRE:
                given = hook.function(self._module, full)
                full = full if given is None else _as_tuple(given, len(full))
        self._grad_output = full
        if not self._inputs:
            self._call(_spread([], [], self._count))
        return [full[k] for k in self._outputs]

    def _on_inputs(self, gradients: list[Any]) -> list[Any]:
        full = self._call(_spread(gradients, self._inputs, self._count))
        return [full[k] for k in self._inputs]

    def _call(self, full: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self._hooks:
            if hook.kind == BACKWARD:
                given = hook.function(self._module, full, self._grad_output)
                full = full if given is None else _as_tuple(given, len(full))
        return full


def _nests(x: Any) -> bool:
    return isinstance(x, (tuple, list, dict))


def _wanting(values: tuple[Any, ...]) -> list[int]:
    return [
        k
        for k, x in enumerate(values)
        if isinstance(x, Value) and x.type.is_float and wants_gradient(x)
    ]


def _watched(values: tuple[Any, ...], chosen: list[int], function: Any) -> tuple[Any, ...]:
    if not chosen:
        return values
    made = list(values)
    for k, x in zip(chosen, watched([values[k] for k in chosen], function), strict=True):
        made[k] = x
    return tuple(made)


def _spread(gradients: list[Any], places: list[int], count: int) -> tuple[Any, ...]:
    full: list[Any] = [None] * count
    for k, g in zip(places, gradients, strict=True):
        full[k] = g
    return tuple(full)


def _as_tuple(given: Any, count: int) -> tuple[Any, ...]:
    found = given if isinstance(given, tuple) else (given,)
    if len(found) != count:
        raise RuntimeError(f"backward hook: it gave {len(found)} gradients, not {count}")
    return found
