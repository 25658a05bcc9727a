"""Modules that hold modules: in a row, in a list, by name; for parameters see `parameters.py`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lazynet.nn.module import Module


class _Container(Module):
    """Modules by name, kept apart from the attributes.

    `_held` is assigned and never changed in place: assignments are what functions that were traced
    look at (`purity.py`).
    """

    _tells = False

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, Any] = {}

    def _members(self) -> Iterator[tuple[str, Any]]:
        yield from self._held.items()
        yield from super()._members()

    def _replace(self, name: str, value: Any) -> None:
        if name in self._held:
            self._held = {**self._held, name: value}
        else:
            super()._replace(name, value)

    def __getattr__(self, name: str) -> Any:
        held = vars(self).get("_held", {})
        return held[name] if name in held and name != "forward" else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._named(name):
            self._held = {**self._held, name: self._check(value)}
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if self._named(name):
            self._held = {key: m for key, m in self._held.items() if key != name}
        else:
            super().__delattr__(name)

    def _named(self, name: str) -> bool:
        """Whether an attribute of this name is a module that is held."""
        return name in vars(self).get("_held", {}) and not hasattr(type(self), name)

    def _add(self, name: str, module: Any) -> None:
        self._held = {**self._held, name: self._check(module)}

    def _check(self, value: Any) -> Module:
        if not isinstance(value, Module):
            raise TypeError(f"{type(self).__name__} holds modules, not {type(value).__name__}")
        return value

    def __len__(self) -> int:
        return len(self._held)

    def __bool__(self) -> bool:
        return True


class _Listed(_Container):
    """Modules by position; their names are "0", "1", ... where they were given none."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def append(self, module: Module) -> Any:
        """Add a module at the end."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end."""
        held = dict(self._held)
        for module in modules:
            free = (str(k) for k in itertools.count(len(held)) if str(k) not in held)
            held[next(free)] = self._check(module)
        self._held = held
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a module before position `index`."""
        modules = list(self)
        modules.insert(index, self._check(module))
        self._set(modules)

    def pop(self, index: int = -1) -> Any:
        """Remove a module, and give it."""
        module = self[index]
        del self[index]
        return module

    def _set(self, modules: list[Module]) -> None:
        self._held = {str(k): m for k, m in enumerate(modules)}

    def _made(self, held: dict[str, Any]) -> Any:
        return type(self)(held.values())

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._held.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._made(dict(list(self._held.items())[index]))
        return list(self._held.values())[index]

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._held)[index]
        self._held = {**self._held, name: self._check(module)}

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        del modules[index]
        self._set(modules)


class ModuleList(_Listed):
    """A list of modules whose parameters are found: `ModuleList([a, b])`, `.append(c)`, `[i]`.

    >>> layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 3)])
    >>> x = ln.zeros(2)
    >>> for layer in layers:
    ...     x = layer(x)
    >>> x.shape, len(list(layers.parameters()))
    ((3,), 4)
    """


class Sequential(_Listed):
    """y = m_k(... m_2(m_1(x))).

    Shapes: those of the modules, one after the other.

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> model(ln.zeros(3)).shape, model(ln.zeros(3, length=5)).shape
    ((2,), (5, 2))

    Names are kept where modules are replaced and in slices, as in PyTorch; where one is inserted or
    removed, all are numbered anew.

    >>> model = nn.Sequential({"inner": nn.Linear(3, 4), "outer": nn.Linear(4, 2)})
    >>> model.inner is model[0], list(model[1:].state_dict())
    (True, ['outer.weight', 'outer.bias'])

    Args:
        modules: in the order in which they are called, or one dict of them by name.

    Raises:
        TypeError: if something is no module.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            super().__init__()
            self._held = {str(name): self._check(m) for name, m in modules[0].items()}
        else:
            super().__init__(modules)  # type: ignore[arg-type]

    def _made(self, held: dict[str, Any]) -> Any:
        return Sequential(held)

    def forward(self, x: Any) -> Any:
        for module in self._held.values():
            x = module(x)
        return x


class ModuleDict(_Container):
    """Modules by name, whose parameters are found: `ModuleDict({"a": a})`, `["b"] = b`.

    >>> heads = nn.ModuleDict({"tags": nn.Linear(2, 5), "words": nn.Linear(2, 9)})
    >>> {name: head(ln.zeros(2)).shape for name, head in heads.items()}
    {'tags': (5,), 'words': (9,)}
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add these modules, or put them in the place of others."""
        for name in modules:
            if not isinstance(name, str) or not name or "." in name:
                raise KeyError(
                    f"{type(self).__name__}: a name is a string without dots, not {name!r}"
                )
        self._held = {**self._held, **{name: self._check(m) for name, m in modules.items()}}

    def __getitem__(self, name: str) -> Module:
        return self._held[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.update({name: module})

    def __delitem__(self, name: str) -> None:
        held = dict(self._held)
        del held[name]
        self._held = held

    def pop(self, name: str) -> Any:
        """Remove a module, and give it."""
        module = self[name]
        del self[name]
        return module

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._held))

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._held.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._held.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """(name, module) pairs."""
        return self._held.items()


class Identity(Module):
    """y = x. Takes any arguments when it is made, so that it can stand in for any module.

    Shapes: any -> the same.

    >>> nn.Identity()(ln.tensor([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x
