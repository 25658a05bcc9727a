"""The benchmark for GPUs runs, and its contenders take the same steps as on the CPU."""

import ast
from pathlib import Path

import pytest
from on_cuda import MARKS

pytestmark = MARKS
ROOT = Path(__file__).parent.parent
OTHERS = ["characters", "parsing", "child_sum", "language", "seq2seq", "lattice"]
SIZES = "--hidden 4 --batch 2 --limit 4 --rounds 1 --steps 1"


@pytest.fixture(autouse=True)
def benchmarks_found(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.parametrize(
    "name", ["tagger", "tree", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)]
)
def test_it_tells_steps_launches_and_the_share_of_the_bound(name, capsys, monkeypatch):
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


def test_scans_in_one_launch_are_a_contender_with_the_same_losses(capsys):
    from benchmarks import cuda

    assert cuda.main(["--workloads", "tagger", "--scans", *SIZES.split()]) == 0
    lines = {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert int(lines["lazynet, a launch for each scan"][-2]) < int(lines["lazynet"][-2])


def test_sizes_and_workloads_of_a_run_without_options_are_those_of_the_table():
    from benchmarks import cuda, workloads

    args = cuda.options([])
    assert (args.hidden, args.batch) == ([256, 512], [64, 256, 1024])
    assert {"tagger", "characters", "tree", "parsing"} == set(args.workloads) < set(workloads.NAMES)


PEERS = [ROOT / "lazynet/peers.py", *sorted((ROOT / "benchmarks/peers").glob("*.py"))]
MAKERS = {"arange", "as_tensor", "empty", "full", "ones", "rand", "randn", "tensor", "zeros"}


@pytest.mark.parametrize("path", PEERS, ids=lambda path: path.stem)
def test_what_peers_make_lies_where_their_parameters_do(path):
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef) or function.name == "__init__":
            continue
        for call in [part for part in ast.walk(function) if isinstance(part, ast.Call)]:
            name = ast.unparse(call.func)
            if name.startswith("torch.") and name.removeprefix("torch.") in MAKERS:
                assert "device" in [k.arg for k in call.keywords], f"{function.name}: {name}"
