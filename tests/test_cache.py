"""Compiled kernels are kept on disk: found again, shared, and done without where they cannot be."""

import ast
import os
import subprocess
import sys

import pytest

from lazynet.kernels import sources

PROGRAM = """
import errno, sys
from numba.core import caching
from lazynet.kernels.jit import KERNEL_TYPE, _compiled, jit

@jit
def double(x):
    return 2.0 * x

@jit
def square(x):
    return x * x

def kernel(call, context):
    pass

def refuse(*arguments, **options):
    raise OSError(errno.EROFS, "Read-only file system")

if "read-only" in sys.argv:
    caching.tempfile.TemporaryFile = caching.IndexDataCacheFile._open_for_write = refuse
print("ready", flush=True)
sys.stdin.readline()
kept = _compiled(kernel, KERNEL_TYPE)
assert (double(1.5), square(3.0), kept.address > 0) == (3.0, 9.0, True)
print(sum(double._cache_hits.values()) + sum(square._cache_hits.values()) + kept.cache_hits)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that compiles three functions, once it is told to, and prints its hits."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    path, started = os.pathsep.join(sys.path), []

    def go(*arguments, cache=tmp_path / "cache"):
        process = subprocess.Popen(
            [sys.executable, "-W", "always", program, *arguments],
            env={**os.environ, "LAZYNET_CACHE": str(cache), "PYTHONPATH": path},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.communicate()


def end(process):
    """How many of its functions a process found in the cache, and what it complained of."""
    printed, complaints = process.communicate("go\n")
    assert process.returncode == 0, complaints
    return int(printed.split()[-1]), complaints


def test_processes_that_start_at_once_share_a_cold_cache(start, tmp_path):
    together = [start() for _ in range(3)]
    for process in together:
        assert process.stdout.readline() == "ready\n"
    for process in together:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [end(process)[1] for process in together] == [""] * 3
    assert not [file for file in tmp_path.rglob("*") if ".tmp" in file.name]
    assert end(start()) == (3, "")
    assert end(start("read-only")) == (3, "")  # what it holds is used, without a word


@pytest.mark.parametrize("reason", ["read-only", "a file in its place"])
def test_without_a_folder_to_write_to_everything_works_and_says_so_once(start, tmp_path, reason):
    cache = tmp_path / "there"
    if reason != "read-only":
        cache.write_text("no folder")
    hits, complaints = end(start(reason, cache=cache))
    assert hits == 0
    assert complaints.count("RuntimeWarning") == 1
    assert f"cannot write its kernel cache in {cache}" in complaints
    assert "Set LAZYNET_CACHE to a writable directory" in complaints


def test_broken_files_are_written_anew(start, tmp_path):
    assert end(start()) == (0, "")
    indices, contents = sorted(tmp_path.rglob("*.nbi")), sorted(tmp_path.rglob("*.nbc"))
    for file, broken in zip(indices, (b"", b"no pickle", None), strict=True):
        if broken is not None:
            file.write_bytes(broken)
    contents[2].write_bytes(contents[2].read_bytes()[:100])
    assert end(start()) == (0, "")
    assert end(start()) == (3, "")


def test_no_import_is_missed():
    for path in sources._PACKAGE.glob("**/*.py"):
        found = set(sources._imports(str(path)))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{name.name}" for name in node.names}
                assert {node.module} | names <= found, path


def test_the_key_covers_what_is_imported_and_nothing_else(monkeypatch, tmp_path):
    kernels = tmp_path / "lazynet" / "kernels"
    kernels.mkdir(parents=True)
    (kernels / "words.py").write_text("from lazynet.kernels import deep\n")
    (kernels / "deep.py").write_text("step = 1\n")
    (kernels / "other.py").write_text("step = 1\n")
    monkeypatch.setattr(sources, "_PACKAGE", tmp_path / "lazynet")

    def digest():
        return sources.source_digest.__wrapped__("lazynet.kernels.words")

    before = digest()
    (kernels / "other.py").write_text("step = 2\n")
    assert digest() == before
    (kernels / "deep.py").write_text("step = 2\n")
    assert digest() != before
