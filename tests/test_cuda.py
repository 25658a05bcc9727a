"""CUDA without a GPU: the simulated device, kernels as PTX, and a sentence for what is missing."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lazynet as ln
from lazynet import cli
from lazynet.kernels import cuda_driver

HERE = Path(__file__).parent
needs_numba_cuda = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"
)
without_a_device = pytest.mark.skipif(not cuda_driver.missing(), reason="there is a CUDA device")


def python(*arguments, **environment):
    """Run Python on arguments; gives (exit status, what it printed)."""
    there = {**os.environ, "PYTHONPATH": str(HERE.parent), **environment}
    ended = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=there
    )
    return ended.returncode, ended.stdout + ended.stderr


# The files of tests that run on the simulated device, in a process for each of these groups, and
# how many tests a group has at least.
SIMULATED = {
    "ops device": 250, "modules": 70, "public": 150,
    "precision economy benchmark programs training loops": 95, "hardware": 40,
}  # fmt: skip


def simulate(names):
    """Run files of tests on the simulated device; how many tests passed."""
    files = (HERE / f"test_cuda_{name}.py" for name in names.split())
    status, told = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, NUMBA_ENABLE_CUDASIM="1"
    )
    assert status == 0, told
    return int(re.search(r"(\d+) passed", told)[1])


@needs_numba_cuda
@pytest.mark.parametrize("names", SIMULATED)
def test_the_simulated_device_agrees_with_the_cpu(names):
    assert simulate(names) >= SIMULATED[names]


@needs_numba_cuda
@pytest.mark.slow
def test_examples_learn_the_same_on_the_simulated_device():
    assert simulate("examples") >= 8


def test_every_file_of_tests_for_the_device_is_run_simulated():
    files = {path.stem.removeprefix("test_cuda_") for path in HERE.glob("test_cuda_*.py")}
    assert files == {*" ".join(SIMULATED).split(), "examples"}


def has_compiler() -> str:
    """Why kernels cannot be compiled to PTX here; empty where they can."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed"
    check = (
        "from numba import cuda\nfrom numba.core.types import int64\n"
        "cuda.compile_ptx(lambda x: None, (int64,), cc=(8, 0))"
    )
    status, told = python("-c", check)
    return f"no NVVM or NVRTC: {told.strip().splitlines()[-1]}" if status else ""


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["80", "90"])
def test_all_kernels_compile_to_ptx(architecture):
    reason = has_compiler()
    if reason:
        pytest.skip(reason)
    status, told = python(HERE / "compile_cuda.py", architecture)
    assert status == 0, told
    assert int(told.split()[-1]) > 100


@without_a_device
def test_without_a_device_one_sentence_says_what_is_missing_and_the_cpu_works_on(capsys):
    for ask in (
        lambda: ln.set_default_device("cuda"),
        lambda: ln.device("cuda"),
        lambda: ln.tensor(1.0, device="cuda"),
        lambda: ln.nn.Linear(2, 2).to("cuda"),
    ):
        with pytest.raises(ln.DeviceError, match=r"^device 'cuda:0': .*(not installed|driver)"):
            ask()
    assert (ln.tensor(1.0) + 1.0).item() == 2.0
    cli.main(["info"])
    assert re.search(r"^CUDA +not available: \S", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("error", "told"),
    [("Error at driver init: \n\nCUDA driver library cannot be found.\nEnsure that it is.\n:",
      "Error at driver init: CUDA driver library cannot be found"),
     ("no libcublas.so.12: No such file\n  listdir", "no libcublas.so.12: No such file listdir"),
     ("", "ValueError")],
)  # fmt: skip
def test_the_cause_of_an_error_is_told_in_a_line(error, told):
    assert cuda_driver.cause(ValueError(error)) == told


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:-1", "", "CPU"])
def test_a_name_that_is_no_device_is_refused(name):
    for ask in ln.set_default_device, ln.device:
        with pytest.raises(ln.DeviceError, match="unknown device"):
            ask(name)
    with pytest.raises(ln.DeviceError, match="unknown device"):
        ln.tensor(1.0).to(name)
