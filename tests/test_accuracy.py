"""What lazynet trains is what PyTorch trains: one start, the same minibatches, one result."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.bench
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def on_built_in_data(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delenv("LAZYNET_DATA", raising=False)


@pytest.mark.parametrize("name, limit", [("tagger", 120), ("sentiment", 48)])
def test_both_libraries_learn_the_same_from_one_start(name, limit):
    from benchmarks import accuracy

    task = accuracy.TASKS[name](16, limit)
    task.dev = task.train  # so that more than a handful of examples is counted
    ours = accuracy.by_lazynet(task, 3, 8, 0)
    theirs = accuracy.by_pytorch(task, 3, 8, 0, same=True)
    assert ours == pytest.approx(theirs, abs=0.03)
