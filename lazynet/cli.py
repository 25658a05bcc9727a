"""The `lazynet` command: `info`, `demo` and `bench`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from lazynet import __version__, bench, cuda, data, demo
from lazynet.kernels import blas
from lazynet.kernels.ahead import processors
from lazynet.kernels.jit import cache_directory
from lazynet.modes import get_num_threads
from lazynet.ops.reduce import mean
from lazynet.optim import Adam

_LIBRARIES = ("numpy", "numba", "llvmlite", "greenlet", "safetensors")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process."""
    parser = argparse.ArgumentParser(
        prog="lazynet", description="Neural networks written for one example and run batched."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for add in (_add_info, _add_demo, _add_bench):
        add(commands)
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _number(parser: argparse.ArgumentParser, name: str, default: int, about: str) -> None:
    told = f"{about} (default {default})"
    parser.add_argument(name, type=_positive, default=default, metavar="N", help=told)


# -- info ------------------------------------------------------------------------------------------


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("info", help="versions, BLAS, kernel cache, devices")
    parser.set_defaults(run=lambda args: print(info()))


def info() -> str:
    """What this installation consists of and runs on, one thing a line."""
    system = f"{platform.system()} {platform.machine()}"
    lines = [
        ("lazynet", __version__),
        ("python", f"{platform.python_version()} ({platform.python_implementation()}, {system})"),
        *((name, _version(name)) for name in _LIBRARIES),
        ("CPUs", str(processors())),
        ("BLAS", blas_in_use()),
        ("threads", threads_in_use()),
        ("kernel cache", _cache()),
        ("CUDA", cuda.describe()),
    ]
    return "\n".join(f"{name:<13} {value}" for name, value in lines)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def blas_in_use() -> str:
    try:
        blas.context()
    except blas.BlasNotFound as error:
        return f"none: {error}"
    return blas.description()


def threads_in_use() -> str:
    """How many threads run a plan, and which."""
    number = get_num_threads()
    if number == 1:
        own = blas.threads()
        return "1" if own in (None, 1) else f"1, and {own} of the BLAS"
    return f"{number}; the BLAS is held at one, products are split"


def _cache() -> str:
    folder = Path(cache_directory())
    files = [f for f in folder.glob("*") if f.is_file()]
    if not files:
        return f"{folder} (empty: kernels are compiled when they are first used)"
    return f"{folder} ({len(files)} files, {sum(f.stat().st_size for f in files) / 2**20:.1f} MiB)"


# -- demo ------------------------------------------------------------------------------------------


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo", help="train a tagger on Python's own source, and see what batching saved"
    )
    _number(parser, "--epochs", 5, "times through the data")
    _number(parser, "--limit", 1500, "lines to train on")
    _number(parser, "--hidden", 64, "size of embeddings and of hidden states")
    _number(parser, "--batch", 32, "examples of a minibatch")
    _number(parser, "--steps", 5, "steps to measure under each policy")
    parser.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> None:
    workload = demo.tagger(args.limit, args.hidden)
    model = workload.model
    assert isinstance(model, demo.Tagger)
    print(f"{workload.about}.")
    _compile(workload, args.batch)
    optimizer = Adam(model.parameters(), lr=3e-3)
    loader = data.Loader(workload.train, args.batch)
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for batch in tqdm(loader, desc=f"epoch {epoch}", leave=False, disable=None):
            loss = mean([model.loss(example) for example in batch])  # nothing has run yet
            optimizer.zero_grad()
            loss.backward()  # everything runs, batched
            optimizer.step()
            total += loss.item()
        accuracy = demo.tagging_accuracy(model, workload.dev)
        print(f"epoch {epoch}: loss {total / len(loader):.3f}, accuracy {accuracy:.3f}")
    print()
    _compare(workload, args.batch, args.steps)


def _compile(workload: demo.Workload, batch: int) -> None:
    """Run one step for its kernels alone, so that they are there when steps are measured."""
    mean([workload.loss(example) for example in workload.train[:batch]]).backward()
    workload.model.zero_grad()


def _compare(workload: demo.Workload, batch: int, steps: int) -> None:
    results = bench.compare(
        workload,
        batch,
        steps,
        progress=lambda rounds: tqdm(rounds, desc="steps", leave=False, disable=None),
    )
    nodes = results[0].nodes / min(batch, len(workload.train))
    print(
        f"The same training steps under each policy: minibatches of {batch}, {nodes:.0f} nodes an "
        f"example,\nmedians of {steps} interleaved steps, in milliseconds. No schedule has fewer "
        "batches than the bound."
    )
    print(bench.table(results))
    default = next(r for r in results if r.policy == "auto")
    print(
        f"Batching ({default.policy}, the default) ran {default.nodes} nodes in {default.batches} "
        f"batches, and {default.speedup:.1f} times as many examples a second as none.\n"
        f"A node was written down in {default.bytes_a_node:.0f} bytes; a row took "
        f"{default.bytes_a_row:.0f}, with what is kept for its gradient."
    )


# -- bench -----------------------------------------------------------------------------------------


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "bench", help="training steps under each batching policy, or against PyTorch"
    )
    names = tuple(demo.WORKLOADS)
    parser.add_argument(
        "--workload", choices=(*names, "all"), default="all", help="which model (default all)"
    )
    _number(parser, "--hidden", 64, "size of embeddings and of hidden states")
    _number(parser, "--batch", 64, "examples of a minibatch")
    _number(parser, "--steps", 10, "steps to take the median of")
    parser.add_argument(
        "--peers", action="store_true", help="against the same models in PyTorch, extra `bench`"
    )
    parser.set_defaults(run=_bench)


def _bench(args: argparse.Namespace) -> None:
    names = tuple(demo.WORKLOADS) if args.workload == "all" else (args.workload,)
    if args.peers:
        _against_peers(names, args)
        return
    for k, name in enumerate(names):
        workload = demo.WORKLOADS[name](max(args.batch, 512), args.hidden)
        print("\n" * (k > 0) + f"{workload.about}.")
        _compile(workload, args.batch)
        _compare(workload, args.batch, args.steps)


def _against_peers(names: Sequence[str], args: argparse.Namespace) -> None:
    if missing := bench.peers_missing():
        sys.exit(f"lazynet bench --peers: {missing}")
    for name in names:
        print(f"{name}: training steps in turns, minibatches of {args.batch}", flush=True)
        found = bench.against_peers(bench.Size(name, args.hidden, args.batch, args.steps))
        print(bench.peers_table(found, args.batch), flush=True)


if __name__ == "__main__":
    sys.exit(main())
