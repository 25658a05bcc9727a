"""On a first run a second process compiles the longest functions."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

import lazynet as ln
from lazynet import precompile, quick
from lazynet.kernels import ahead

PROGRAM = """
import lazynet as ln
from lazynet.batching import plan
x = ln.tensor([1.0, 2.0], requires_grad=True)
ln.sum(ln.tanh(x)).backward()
assert x.grad.shape == (2,)
print(sum(plan.lay_out.stats.cache_hits.values()))
"""


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has compiled nothing yet; ends what is started."""
    monkeypatch.setattr(ahead, "_state", {"begun": False, "process": None})
    monkeypatch.setattr(ahead, "processors", lambda: 2)
    monkeypatch.setenv("LAZYNET_COMPILE_AHEAD", "1")
    monkeypatch.setattr(sys, "executable", os.path.realpath(sys.executable))
    yield monkeypatch
    ahead.end()


def test_it_compiles_for_the_types_that_plans_have():
    weight = ln.Parameter(np.eye(3, dtype=np.float32))
    (weight * 1.0).backward(ln.ones(3, 3))  # one node: an array of one row has every layout
    state = ln.ones(3)
    for _ in range(40):  # so many that it is looked whether products share a matrix
        state = ln.tanh(weight @ state)
    ln.sum(state).backward()
    for function, arguments in precompile.planners():
        assert function.signatures == [tuple(map(numba.typeof, arguments))]


def test_what_it_leaves_is_found_while_it_still_runs(fresh, tmp_path, capsys):
    kept = str(tmp_path / "kept")
    fresh.setattr(ahead, "COMMAND", f"import time; open({kept!r}, 'w').close(); time.sleep(30)")
    ahead.begin(str(tmp_path))
    ahead.begin(str(tmp_path))  # a second time does nothing
    assert capsys.readouterr().err.count(str(tmp_path)) == 1
    assert ahead.wait(lambda: (tmp_path / "kept").exists() or None) is True
    assert ahead.running()
    ahead.end()
    assert not ahead.running()


def test_what_is_offered_is_compiled_by_the_first_that_comes_to_it(fresh, tmp_path):
    taken = "import os; open(os.path.join(os.environ['LAZYNET_COMPILE_CLAIMS'], 'theirs'), 'x')"
    fresh.setattr(ahead, "COMMAND", taken)
    fresh.setattr(ahead, "_claimed", set())
    assert ahead.claim("before")  # nobody else is there
    ahead.begin(str(tmp_path))
    ahead.wait(lambda: None)
    assert ahead.claim("ours") and ahead.claim("ours")  # once and for all
    assert not ahead.claim("theirs")
    fresh.setattr(ahead, "_claimed", set())  # as the other process
    assert not ahead.claim("ours") and ahead.claim("free")


def test_when_it_fails_nobody_waits(fresh, tmp_path):
    fresh.setattr(ahead, "COMMAND", "raise SystemExit(1)")
    ahead.begin(str(tmp_path))
    assert ahead.wait(lambda: None) is None
    assert not ahead.running()


def test_it_compiles_with_the_same_lazynet_and_starts_no_third(fresh, tmp_path):
    report = tmp_path / "report"
    command = "import sys, os; sys.path[:] = sys.argv[1:]; import lazynet; "
    command += "print(lazynet.__file__, os.environ['LAZYNET_COMPILE_AHEAD'], "
    command += f"file=open({str(report)!r}, 'w'))"
    fresh.setattr(ahead, "COMMAND", command)
    ahead.begin(str(tmp_path))
    ahead.wait(lambda: None)
    assert report.read_text().split() == [ln.__file__, "0"]


def test_the_short_ways_are_compiled_from_the_end(monkeypatch):
    compiled = []

    class Waiting:
        def __init__(self, name):
            self.name = name

        def compile(self):
            compiled.append(self.name)

    monkeypatch.setattr(quick, "_waiting", [Waiting("first"), Waiting("second")])
    monkeypatch.setattr(precompile, "planners", lambda: [])
    precompile.compile_ahead()
    assert compiled == ["second", "first"]


def test_its_command_runs():
    ln.tensor([1.0], requires_grad=True).sum().backward()  # compiles what it would
    subprocess.run([sys.executable, "-c", ahead.COMMAND, *sys.path], check=True)


@pytest.mark.parametrize("reason", ["one processor", "frozen", "no python", "not wanted", "a file"])
def test_where_it_cannot_help_it_is_not_started(fresh, tmp_path, capsys, reason):
    cache = tmp_path / "cache"
    if reason == "one processor":
        fresh.setattr(ahead, "processors", lambda: 1)
    elif reason == "frozen":
        fresh.setattr(sys, "frozen", True, raising=False)
    elif reason == "no python":
        os.symlink(sys.executable, tmp_path / "blender")  # which holds an interpreter
        fresh.setattr(sys, "executable", str(tmp_path / "blender"))
    elif reason == "not wanted":
        fresh.setenv("LAZYNET_COMPILE_AHEAD", "0")
    else:
        cache.write_text("no folder")
    ahead.begin(str(cache))
    assert ahead._state["process"] is None
    told = capsys.readouterr().err
    assert ("for this process alone" if reason == "a file" else "this once, into") in told
    assert not ahead.running() and ahead.wait(lambda: None) is None


def test_a_first_run_needs_no_stderr(fresh, tmp_path):
    fresh.setattr(ahead, "wanted", lambda: False)
    for stderr in (None, open(os.devnull)):  # noqa: SIM115
        fresh.setattr(ahead, "_state", {"begun": False, "process": None})
        fresh.setattr(sys, "stderr", stderr)
        ahead.begin(str(tmp_path))
    stderr.close()


@pytest.mark.slow
def test_a_first_run_finds_the_layout_compiled(tmp_path):
    environment = {**os.environ, "LAZYNET_CACHE": str(tmp_path), "LAZYNET_COMPILE_AHEAD": "1"}
    done = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    assert [run.returncode for run in done] == [0, 0], done
    assert [run.stdout for run in done] == [f"{int(ahead.processors() > 1)}\n", "1\n"]
    assert [str(tmp_path) in run.stderr for run in done] == [True, False]
