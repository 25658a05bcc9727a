"""The `lazynet` command at toy sizes, and the programs that the README shows."""

import re
from importlib import metadata
from pathlib import Path

import pytest

import lazynet as ln
from lazynet import bench, cli, demo
from lazynet.kernels import cuda_driver

README = Path(__file__).parent.parent / "README.md"


def _rows(printed, head="policy"):
    """The lines of the tables in what was printed, as lists of words, by their first word."""
    lines = [line.split() for line in printed.splitlines() if line.strip()]
    start = next(k for k, line in enumerate(lines) if line[0] == head)
    return {line[0]: line for line in lines[start:]}


def test_info_names_versions_blas_cache_and_devices(capsys):
    assert cli.main(["info"]) == 0
    told = capsys.readouterr().out
    for name in ("lazynet", "python", "numpy", "numba", "CPUs", "BLAS", "kernel cache", "CUDA"):
        assert re.search(rf"^{name} +\S", told, re.MULTILINE), name
    assert f"{ln.__version__}\n" in told and ln.__version__ == metadata.version("lazynet")


def test_whether_there_is_a_gpu_can_be_asked(capsys):
    cli.main(["info"])
    told = next(line for line in capsys.readouterr().out.splitlines() if "CUDA" in line)
    assert ln.cuda.is_available() is ("not available" not in told) is (ln.cuda.device_count() > 0)


def test_info_tells_of_a_cache_that_is_empty(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cli, "cache_directory", lambda: str(tmp_path / "none"))
    cli.main(["info"])
    assert "compiled when they are first used" in capsys.readouterr().out


def test_demo_trains_and_compares_the_policies(capsys):
    arguments = "demo --epochs 2 --limit 64 --hidden 16 --batch 8 --steps 1"
    assert cli.main(arguments.split()) == 0
    told = capsys.readouterr().out
    accuracies = [float(a) for a in re.findall(r"accuracy ([\d.]+)", told)]
    assert len(accuracies) == 2
    assert accuracies[1] > 0.1
    assert set(_rows(told)) >= {"policy", *bench.POLICIES}


@pytest.mark.parametrize("workload", sorted(demo.WORKLOADS))
def test_bench_batches_down_to_the_bound(workload, capsys):
    arguments = f"bench --workload {workload} --hidden 8 --batch 4 --steps 1"
    assert cli.main(arguments.split()) == 0
    rows = _rows(capsys.readouterr().out)
    batches = {policy: int(rows[policy][1]) for policy in bench.POLICIES}
    bound = int(rows["none"][2])
    assert batches["none"] > batches["auto"] >= bound
    assert all(int(rows[policy][2]) == bound for policy in bench.POLICIES)
    assert all(batches["auto"] <= count for count in batches.values())


def test_bench_measures_each_phase_of_a_step():
    results = bench.compare(demo.tagger(16, 8), batch=4, steps=2, policies=["none", "auto"])
    assert [r.policy for r in results] == ["none", "auto"]
    for r in results:
        assert all(r.seconds[phase] > 0 for phase in (*bench.PHASES, "step"))
        assert r.examples_per_second == pytest.approx(4 / r.seconds["step"])
    assert results[1].speedup == pytest.approx(
        results[1].examples_per_second / results[0].examples_per_second
    )


@pytest.mark.slow
@pytest.mark.parametrize("workload", sorted(demo.WORKLOADS))
def test_bench_races_against_pytorch(workload, capsys):
    pytest.importorskip("torch")
    arguments = f"bench --peers --workload {workload} --hidden 8 --batch 4 --steps 1"
    assert cli.main(arguments.split()) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("PyTorch, one at a time", "PyTorch, batched by hand"))
    assert re.search(r"^lazynet +[\d.]+ +\d+ +1.00x$", told, re.MULTILINE)


@pytest.mark.parametrize("workload", sorted(demo.WORKLOADS))
def test_both_sides_of_the_race_against_pytorch_learn_the_same(workload):
    pytest.importorskip("torch")
    from lazynet import peers

    size = bench.Size(workload, hidden=8, batch=4, steps=3)
    sides = bench.ours(size), peers.theirs(size), peers.theirs(size, together=True)
    ours, *theirs = [[side(k) for k in range(3)] for side in sides]
    assert len(set(ours)) == 3
    for losses in theirs:
        assert losses == pytest.approx(ours, rel=1e-4)


def test_what_a_gpu_needs_comes_from_a_checkout(monkeypatch):
    monkeypatch.setattr(cuda_driver.importlib.util, "find_spec", lambda name: None)
    told = cuda_driver.missing.__wrapped__()
    assert told.endswith("is not installed; pip install '.[cuda]' in a checkout brings it")


def test_bench_tells_what_a_race_against_pytorch_needs(monkeypatch):
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install '\.\[bench\]' in a checkout"):
        cli.main(["bench", "--peers"])
    with pytest.raises(ImportError, match="PyTorch is not installed"):
        bench.against_peers(bench.Size("tagger", 8, 4, 1))


@pytest.mark.parametrize("number", ["0", "-3", "many"])
def test_a_number_that_makes_no_sense_is_refused(number, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["bench", f"--batch={number}"])
    assert error.value.code == 2
    assert "--batch" in capsys.readouterr().err


def test_a_command_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        cli.main([])
    assert "command" in capsys.readouterr().err


def test_interrupting_ends_with_one_word(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "tagger", interrupted)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def _programs():
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_programs_of_the_readme_run_and_print_what_it_says(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    programs = _programs()
    assert programs
    for program in programs:
        exec(compile(program, str(README), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    claims = re.findall(r"^ *print\(.*\) +# ([\[(A-Z].*)$", "".join(programs), re.MULTILINE)
    assert claims
    assert set(claims) <= set(printed)
