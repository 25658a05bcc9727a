"""A digest of the source of a compiled function: its file and what that imports."""

import functools
import hashlib
import os
import pathlib
import re

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
_COMPILED_ROOMS = (
    "lazynet/kernels/*.py", "lazynet/batching/*.py", "lazynet/interpreter.py", "lazynet/lanes.py",
    "lazynet/packs.py", "lazynet/objects.py", "lazynet/quick*.py",
)  # fmt: skip
_IMPORT = re.compile(r"^[ \t]*from ([\w.]+) import (\([^)]*\)|.*)", re.MULTILINE)
_NAME = re.compile(r"\w+")


@functools.cache
def source_digest(module: str) -> str:
    """A digest of the source of `module` and of all rooms with compiled code that it imports."""
    digest = hashlib.sha256()
    for path in sorted(_imported(module)):
        digest.update(pathlib.Path(path).read_bytes())
    return digest.hexdigest()[:16]


def _imported(module: str) -> set[str]:
    """The files of a module and of what it imports, as far as they hold compiled code."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = os.path.join(_PACKAGE.parent, *waiting.pop().split(".")) + ".py"
        if path not in found and _holds_compiled_code(path):
            found.add(path)
            waiting += _imports(path)
    return found


@functools.cache
def _holds_compiled_code(path: str) -> bool:
    return any(pathlib.Path(path).match(pattern) for pattern in _COMPILED_ROOMS)


@functools.cache
def _imports(path: str) -> list[str]:
    """The modules that a file imports from, and what it imports as if that were modules, too.

    A file is searched and not parsed: parsing all of them took longer than loading the kernels.
    """
    found = []
    for module, names in _IMPORT.findall(pathlib.Path(path).read_text(encoding="utf-8")):
        found += [module, *(f"{module}.{name}" for name in _NAME.findall(names))]
    return found
