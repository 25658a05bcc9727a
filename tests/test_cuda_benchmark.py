"""The benchmark for GPUs runs, and its contenders take the same steps as on the CPU."""

from pathlib import Path

import pytest
from on_cuda import MARKS

pytestmark = MARKS
SIZES = "--hidden 4 --batch 2 --limit 4 --rounds 1 --steps 1"


@pytest.mark.parametrize("name", ["tagger", "tree"])
def test_it_tells_steps_launches_and_the_share_of_the_bound(name, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))
    from benchmarks import cuda, workloads

    race, raced = cuda.race, []
    monkeypatch.setattr(cuda, "race", lambda *given: raced.append(race(*given)) or raced[-1])
    assert cuda.main(["--workloads", name, *SIZES.split()]) == 0
    told = capsys.readouterr().out
    lines = {line.split("  ")[0]: line.split() for line in told.splitlines() if line}
    assert int(lines["lazynet"][-2]) > 10
    assert lines["products alone"][-1] == "100%"
    spec = workloads.Spec(name, 4, 4, 2, 4)
    here = cuda.Contender("CPU", workloads.train(spec))
    here.losses = [here.step(0), here.step(1)]
    assert cuda.disagreement([here, raced[0][0]]) < 1e-4
