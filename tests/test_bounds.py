"""Kernels stay within their rows: ops run with numba's bounds checks on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "bounds.py"
# An op for each way of walking through rows.
SOME = [
    "add", "sum", "softmax", "argsort", "take_axis", "put_axis", "take", "row_sum", "row_max",
    "lookup", "take_row", "log_scan", "viterbi", "argsort_rows",
]  # fmt: skip


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Runs the script with bounds checks, and a cache of kernels that have them."""
    cache = tmp_path_factory.mktemp("kernels")

    def run(*names):
        there = {
            **os.environ, "NUMBA_BOUNDSCHECK": "1", "LAZYNET_CACHE": str(cache),
            "PYTHONPATH": str(SCRIPT.parent.parent),
        }  # fmt: skip
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), *names], capture_output=True, text=True, env=there
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout, ended.stderr

    return run


def test_an_index_out_of_bounds_would_be_reported(checked):
    assert "out of bounds" in checked("--wrong")[1]


def test_some_ops_of_each_kind_stay_within_their_rows(checked):
    told, errors = checked(*SOME)
    assert int(re.match(r"(\d+) ran", told)[1]) >= len(SOME)
    assert "Error" not in errors, errors


@pytest.mark.slow
def test_all_ops_stay_within_their_rows(checked):
    told, errors = checked()
    assert int(re.match(r"(\d+) ran", told)[1]) > 200
    assert "Error" not in errors, errors
