"""The door to numba: what is compiled here is cached on disk under a digest of its sources.

numba keys its own cache by one source file, so that a cached function which calls into another file
goes on returning old results when that file changes. Ours covers what it imports (`sources.py`);
generated sources, which have no file, are cached by their text.
"""

import contextlib
import functools
import gc
import hashlib
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np
from numba.core import caching, config, event, types
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from platformdirs import user_cache_dir

from lazynet.kernels import ahead
from lazynet.kernels.parts import LinkedCompiler
from lazynet.kernels.sources import source_digest

# Fast-math flags without `nnan` and `ninf`: a NaN that enters a kernel must come out of it. And
# without `arcp`: 1 / sqrt(0) is infinite, which the processor's estimate of it is not, and 1 / y
# overflows where x / y does not.
FAST_MATH = {"contract", "reassoc", "nsz", "afn"}
# numba's default error model puts a branch into every division, which stops vectorization.
OPTIONS = {"fastmath": FAST_MATH, "error_model": "numpy", "nogil": True}
# Of what only compiled code calls: no wrappers for Python and C, no machine code of its own.
INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": LinkedCompiler}
WORD = {"no_cfunc_wrapper": True} if config.ENABLE_CUDASIM else INNER
KERNEL_TYPE = types.void(types.int64, types.int64)

_state = {"warned": False}

# Held by whoever makes signatures, programs or kernels. What is made is kept for good and known to
# plans by address, so nothing may be made twice, with one of the two dropped again.
MAKING = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child is forked while nothing is half made, or compiled
    for lock in (global_compiler_lock, MAKING):  # what was registered last is acquired first
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )

_Function = TypeVar("_Function", bound=Callable)


def made_once(function: _Function) -> _Function:
    """Remember the results of `function`; one thread at a time makes them."""
    cached = functools.cache(function)

    @functools.wraps(function)
    def found(*arguments):
        with MAKING:
            return cached(*arguments)

    return found  # type: ignore[return-value]


class _Compiling(threading.local, event.Listener):
    """How long compiling took this thread, and reading from disk.

    Meanwhile no garbage is collected: what numba makes of a function lives until it is compiled,
    and is looked through again and again for nothing.
    """

    def __init__(self):
        self.seconds, self._depth, self._start, self._collects = 0.0, 0, 0.0, False

    def __enter__(self):
        if self._depth == 0:
            self._start = time.perf_counter()
            self._collects |= gc.isenabled()  # also where Ctrl-C left it disabled before
            gc.disable()
        self._depth += 1

    def __exit__(self, *error):
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._start
            if self._collects:
                self._collects = False
                gc.enable()

    def on_start(self, event):
        self.__enter__()

    def on_end(self, event):
        self.__exit__()


compiling = _Compiling()
event.register("numba:compile", compiling)


def clock() -> float:
    """Seconds since some moment, without those that compiling took this thread."""
    return time.perf_counter() - compiling.seconds


@functools.cache
def cache_directory() -> str:
    """Where compiled kernels are kept: `$LAZYNET_CACHE` or the user's cache directory."""
    root = os.environ.get("LAZYNET_CACHE") or user_cache_dir("lazynet", appauthor=False)
    versions = f"numba-{numba.__version__}-numpy-{np.__version__}"
    return os.path.join(
        root, f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}-{versions}"
    )


class _Locator(caching._CacheLocator):
    """Tells numba to keep a function in our directory, stamped with its own source text."""

    def __init__(self, function, file):
        code = function.__code__
        text = getattr(function, "generated_source", None) or f"{file}:{code.co_firstlineno}"
        text = f"{source_digest(function.__module__)} {text} {getattr(function, 'frozen', '')}"
        self._stamp = hashlib.sha256(text.encode()).hexdigest()[:16]

    def get_cache_path(self):
        return cache_directory()

    def get_source_stamp(self):
        return self._stamp

    def get_disambiguator(self):
        return self._stamp

    @classmethod
    def from_function(cls, function, file):
        return cls(function, file)


class _Storage(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(caching.FunctionCache):
    """A cache that goes on without its directory, and says so once, when it cannot be written."""

    _impl_class = _Storage

    def __init__(self, function):
        super().__init__(function)
        # A generated function has no useful file name: its stamp and its name identify it.
        name = f"{function.__name__}-{self._impl.locator.get_disambiguator()}"
        self._cache_file = caching.IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=name,
            source_stamp=self._impl.locator.get_source_stamp(),
        )
        self.index = os.path.join(self._cache_path, f"{name}.nbi")

    def _index_key(self, signature, codegen):
        # numba's key hashes closure cells by pickling them; ours are covered by the digest.
        return (signature, codegen.magic_tuple())

    def load_overload(self, signature, target_context):
        try:
            return super().load_overload(signature, target_context)
        except OSError:
            return None
        except Exception:  # what a broken file makes of unpickling may be any of them
            with contextlib.suppress(OSError):
                self.flush()  # so that it is written anew
            return None

    def save_overload(self, signature, data):
        try:
            super().save_overload(signature, data)
        except OSError as error:
            if not _state["warned"]:
                _state["warned"] = True
                warnings.warn(
                    f"lazynet cannot write its kernel cache in {cache_directory()} "
                    f"({error.strerror}); kernels are compiled anew in every process. "
                    "Set LAZYNET_CACHE to a writable directory.",
                    RuntimeWarning,
                    stacklevel=2,
                )


def jit(function):
    """Compile `function` when it is first called, with lazynet's options and cache."""
    dispatcher = _for_any_number(numba.njit(**OPTIONS, no_cfunc_wrapper=True)(function))
    dispatcher._cache = _DeferredCache(function)
    return dispatcher


def _for_any_number(dispatcher):
    """Let compiled code that calls with a constant or a short integer share what is compiled.

    numba would compile the function anew for each constant, and what it calls with it.
    """
    template = dispatcher.get_call_template

    def found(args, kws):
        named = {name: _any_number(kind) for name, kind in dict(kws).items()}
        return template(tuple(map(_any_number, args)), named)

    dispatcher.get_call_template = found
    return dispatcher


def _any_number(kind):
    kind = types.unliteral(kind)
    return types.int64 if kind in (types.int8, types.int16, types.int32) else kind


def inline(function):
    """Compile `function` into its callers; it has no cache entry of its own."""
    return _for_any_number(numba.njit(**OPTIONS, **INNER)(function))


def word(function):
    """`inline`, for what Python calls as well where kernels are simulated."""
    return _for_any_number(numba.njit(**OPTIONS, **WORD)(function))


def spliced(function):
    """Put the code of `function` into its callers, before types are known.

    For what is done very often with many arrays: what is compiled by itself gets every array as
    eight words, and counts its references.
    """
    return numba.njit(inline="always", **OPTIONS)(function)


def borrowing(function):
    """`inline`, for what makes no arrays.

    numba counts references to an array wherever it is handed on, which is an atomic addition each
    time and takes longer than what is done for a small batch. Here it counts none: a caller holds
    what it hands on.
    """
    return _for_any_number(numba.njit(_nrt=False, **OPTIONS, **INNER)(function))


def entered(function):
    """`borrowing`, for what Python calls: it makes no arrays, and gives back numbers at most."""
    dispatcher = numba.njit(_nrt=False, **OPTIONS, no_cfunc_wrapper=True)(function)
    dispatcher._cache = _DeferredCache(function)
    return dispatcher


def awaited(dispatcher):
    """For what takes long to compile: `precompile.py` has another process do so meanwhile."""
    dispatcher._cache = _AwaitedCache(dispatcher.py_func)
    return dispatcher


def offered(dispatcher):
    """For what the other process compiles, too, unless it is wanted here before (`ahead.claim`)."""
    dispatcher._cache = _AwaitedCache(dispatcher.py_func, offered=True)
    return dispatcher


def as_written(function):
    """`word`, without fast math: what it does is not regrouped with what is around it."""
    return _for_any_number(numba.njit(**{**OPTIONS, "fastmath": False}, **WORD)(function))


_awaited: list["_AwaitedCache"] = []


class _DeferredCache(caching.NullCache):
    """Looks for the cache directory only when something is compiled, never at import."""

    def __init__(self, function):
        self._function = function

    @functools.cached_property
    def _cache(self):
        return _Cache(self._function)

    def load_overload(self, signature, target_context):
        with compiling:
            found = self._cache.load_overload(signature, target_context)
        ours = self._function.__module__.startswith("lazynet.")
        if found is None and ours and not all(awaited.kept() for awaited in _awaited):
            ahead.begin(cache_directory())
        return found

    def save_overload(self, signature, data):
        self._cache.save_overload(signature, data)


class _AwaitedCache(_DeferredCache):
    """Of a function that another process may be compiling right now."""

    def __init__(self, function, offered=False):
        super().__init__(function)
        self._offered = offered
        _awaited.append(self)

    def kept(self) -> bool:
        """Whether this machine has compiled it before."""
        return os.path.exists(self._cache.index)

    def load_overload(self, signature, target_context):
        found = super().load_overload(signature, target_context)
        if found is None and not (self._offered and ahead.claim(self._function.__name__)):
            look = functools.partial(self._cache.load_overload, signature, target_context)
            with compiling:
                found = ahead.wait(look)
        return found


@made_once
def _compiled(function, signature):
    callback = CFunc(function, (signature.args, signature.return_type), {}, dict(OPTIONS))
    callback._cache = _Cache(function)
    with compiling:
        callback.compile()
    return callback


def interruptible(function: _Function) -> _Function:
    """Let what a signal raises in compiled code, as Ctrl-C does, leave `function` as it is.

    numba makes arrays of results by calling Python, which is where a signal is noticed; what is
    raised there comes out as the cause of a SystemError about that call.
    """

    @functools.wraps(function)
    def run(*arguments, **options):
        try:
            return function(*arguments, **options)
        except SystemError as error:
            raised: BaseException = error
            while isinstance(raised, SystemError) and raised.__cause__ is not None:
                raised = raised.__cause__
            raise raised from None

    return run  # type: ignore[return-value]


def callback_address(function, signature) -> int:
    """The machine address of a function for C to call, compiled now unless it already is.

    What else it depends on than its source stands in its attribute `frozen`.
    """
    return _compiled(function, signature).address


def kernel_address(function) -> int:
    """The machine address of the kernel `function(call, context)`."""
    address = callback_address(function, KERNEL_TYPE)
    _made_from[address] = getattr(function, "made_from", None)
    return address


_made_from = {}


def all_made_from():
    """What all kernels of this process were made from."""
    return [source for source in _made_from.values() if source is not None]


def made_from(address: int):
    """What the kernel at an address was made from: how another device finds its own version."""
    return _made_from[address]
