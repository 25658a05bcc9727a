"""What every test shares: fixed seeds, repeatable properties, the folder of real data."""

import contextlib
import gc
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import lazynet
from lazynet import recording

# The first call of a kernel compiles it, so no example has a deadline. `explore` looks for new
# examples: pytest --hypothesis-profile=explore
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("repeatable")


def pytest_runtest_setup() -> None:
    random.seed(0)
    np.random.seed(0)
    lazynet.manual_seed(0)
    # What another test left pending is none of this one's.
    left = recording.pending_graph()
    if left is not None:
        with contextlib.suppress(Exception):
            left.close()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that LAZYNET_DATA names; tests that ask for it skip without one."""
    folder = os.environ.get("LAZYNET_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LAZYNET_DATA names no folder")
    return Path(folder)


@pytest.fixture(scope="module")
def collects_quickly():
    """`gc.collect()` looks only at what these tests make: compiling leaves millions of objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def torch():
    """PyTorch, for those who compare with it; skips where it is not installed."""
    return pytest.importorskip("torch")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)
