"""On a machine's first run a second process compiles the longest functions meanwhile.

Threads would not help: numba compiles one function at a time in a process. What the other process
has compiled is found in the cache, so it is an ordinary miss and hit for whoever asks. Some
functions are left to whichever of the two comes to them first, which claims them by making a file.
"""

import atexit
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

# What the other process runs: it must find the same lazynet, and start no third one.
COMMAND = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from lazynet.precompile import compile_ahead; compile_ahead()"
)
_CLAIMS = "LAZYNET_COMPILE_CLAIMS"  # tells the other process where the claims are
_state: dict[str, Any] = {"begun": False, "process": None}
_claimed: set[str] = set()  # by this process


def processors() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def wanted() -> bool:
    """Whether a second process can help: there is a core for it, and a Python to start it with."""
    name = pathlib.Path(sys.executable or "").name.lower()
    return (
        processors() > 1
        and name.startswith("python")  # no program that holds an interpreter
        and not getattr(sys, "frozen", False)
        and os.environ.get("LAZYNET_COMPILE_AHEAD", "1") != "0"
    )


def begin(cache: str) -> None:
    """Say that kernels are being compiled and start the process, both once.

    `cache` is where it will leave what it compiles.
    """
    if _state["begun"]:
        return
    _state["begun"] = True
    with contextlib.suppress(OSError):
        os.makedirs(cache, exist_ok=True)
    kept = os.path.isdir(cache) and os.access(cache, os.W_OK)
    where = f"this once, into {cache}" if kept else f"for this process alone: no {cache}"
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stderr that is not there
        sys.stderr.write(f"lazynet: compiling its kernels for about half a minute, {where}\n")
    if not (kept and wanted()):
        return
    with contextlib.suppress(OSError):  # then everything is compiled here
        claims = _state["claims"] = tempfile.mkdtemp(prefix="lazynet-")
        atexit.register(end)
        _state["process"] = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *sys.path],
            env={**os.environ, "LAZYNET_COMPILE_AHEAD": "0", _CLAIMS: claims},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def running() -> bool:
    """Whether the process is still compiling."""
    process = _state["process"]
    return process is not None and process.poll() is None


def claim(name: str) -> bool:
    """Whether a function that both processes may compile is this one's to compile."""
    claims = _state.get("claims") or os.environ.get(_CLAIMS)
    if claims is None or name in _claimed:
        return True
    try:
        with open(os.path.join(claims, name), "x"):
            pass
    except FileExistsError:
        return False
    except OSError:
        pass  # both may compile it
    _claimed.add(name)
    return True


def wait(look: Callable[[], Any]) -> Any:
    """What `look` finds, as soon as it finds it; None once the process has ended without it."""
    while running():
        if (found := look()) is not None:
            return found
        with contextlib.suppress(subprocess.TimeoutExpired):
            _state["process"].wait(0.05)
    return look()


def end() -> None:
    """End the process with the program that started it."""
    if running():
        _state["process"].terminate()
        _state["process"].wait()
    if "claims" in _state:
        shutil.rmtree(_state.pop("claims"), ignore_errors=True)
