"""Checkpoints: written whole or not at all, read without running anything that they hold.

A file is in the safetensors format. Arrays keep their names, so other tools can read a module's
state; what is no array (an optimizer's options, the number of an epoch) is told in its header.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from lazynet.tensor import Value

_FORMAT = "lazynet"


def save(state: Any, path: str | os.PathLike[str]) -> None:
    """Write a state to a file. A crash on the way leaves the file that was there before.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     ln.save({"epoch": 3, "model": nn.Linear(2, 1).state_dict()}, path)
    ...     state = ln.load(path)
    >>> state["epoch"], state["model"]["weight"].shape
    (3, (1, 2))

    Args:
        state: a `state_dict()`, or any nest of dicts, lists and tuples that ends in arrays,
            tensors, numbers, strings, booleans and None.
        path: where to. Missing folders are an error.

    Raises:
        TypeError: naming what cannot be saved.
        OSError: if the file cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"save: expected save(state, path), not {type(path).__name__} as the path")
    arrays: dict[str, np.ndarray] = {}
    skeleton = _taken_apart(state, "", arrays)
    text = json.dumps({"format": 1, "state": skeleton})
    _replace_file(Path(path), to_bytes(arrays, {_FORMAT: text}))


def load(path: str | os.PathLike[str]) -> Any:
    """The state in a file, as it was given to `save`, with numpy arrays for tensors.

    A safetensors file from elsewhere gives a dict of arrays.

    See `save` for an example.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no safetensors file, or cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"load: there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = (file.metadata() or {}).get(_FORMAT)
    except SafetensorError as error:
        raise ValueError(
            f"load: {path} is no whole safetensors file ({error}); what torch.save wrote, "
            "torch.load reads"
        ) from None
    if header is None:
        return arrays
    try:
        return _put_together(json.loads(header)["state"], arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"load: the header of {path} is broken ({error!r})") from None


def _taken_apart(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` in terms of JSON; its arrays are put into `arrays` under dotted names."""
    if isinstance(value, (Value, np.ndarray)) or hasattr(value, "__array__"):
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        if array.dtype.kind not in "fiub":
            raise TypeError(f"save: {name or 'the state'} is an array of {array.dtype}")
        arrays[_free(name or "value", arrays)] = array
        return {"array": list(arrays)[-1]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value

    def inner(key: Any, part: Any) -> Any:
        return _taken_apart(part, f"{name}.{key}" if name else str(key), arrays)

    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int)):
                raise TypeError(f"save: a key of {name or 'the state'} is a {type(key).__name__}")
        return {"dict": [[key, inner(key, part)] for key, part in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [inner(k, part) for k, part in enumerate(value)]}
    told = "; its state can be, .state_dict()" if hasattr(value, "state_dict") else ""
    raise TypeError(
        f"save: {name or 'the state'} is of type {type(value).__name__}; only arrays, tensors, "
        f"numbers, strings, None, and dicts, lists and tuples of them can be saved{told}"
    )


def _free(name: str, taken: dict[str, np.ndarray]) -> str:
    while name in taken or name == "__metadata__":
        name += "_"
    return name


def _put_together(part: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(part, dict):
        return part
    ((kind, inner),) = part.items()
    if kind == "array":
        return arrays[inner]
    if kind == "dict":
        return {key: _put_together(value, arrays) for key, value in inner}
    made = [_put_together(value, arrays) for value in inner]
    return tuple(made) if kind == "tuple" else made


def _replace_file(path: Path, content: bytes) -> None:
    """Write beside `path`, let it reach the disk, and only then put it in its place."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: there is no folder {path.parent}")
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, _mode(path))
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _sync_folder(path.parent)


def _mode(path: Path) -> int:
    """The permissions of the file there is, or those of a new one."""
    if path.exists():
        return path.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Let the new name reach the disk; some systems cannot sync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
