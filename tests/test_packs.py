"""Packed matrices: the copies, the products with them, and which plans make them."""

import numpy as np
import pytest
from numba import njit

import lazynet as ln
from lazynet import interpreter, nn, packs
from lazynet.kernels import small_products
from lazynet.kernels.small_products import (
    COLUMNS,
    COPY,
    DEPTH,
    ENTRY,
    MATRIX,
    MOST_PACKED,
    PACKED,
    SIZE,
    TRANSPOSED,
    call_product,
    panel,
)
from lazynet.packs import calls_to_pack

KINDS = {"float32": 2e-4, "float64": 1e-11}


@njit
def _multiply(function, accumulate, m, n, k, a, lda, packed, c, ldc):
    call_product(function, PACKED, accumulate, 0, m, n, k, a, lda, packed, 0, c, ldc)


def pack(matrix, transposed):
    """The panels of a matrix, as the calls of a plan make them."""
    k, n = matrix.shape[::-1] if transposed else matrix.shape
    columns = -(-n // panel(matrix.dtype.name)) * panel(matrix.dtype.name)
    copy = np.full(columns * k + 1, np.nan, matrix.dtype)
    entry = np.zeros(ENTRY, np.int64)
    entry[MATRIX], entry[TRANSPOSED], entry[SIZE] = matrix.ctypes.data, transposed, copy.itemsize
    entry[COLUMNS], entry[DEPTH], entry[COPY] = n, k, 0
    calls = calls_to_pack(np.array([1, *entry], np.int64), copy.ctypes.data)
    interpreter.execute(calls, len(calls))
    assert np.isnan(copy[-1])
    return copy


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("dtype", KINDS)
def test_products_with_packed_matrices(dtype, transposed):
    rng, function = np.random.default_rng(0), small_products.address(dtype)
    for n in (1, 16, 31, 32, 33, 70, 200):
        for k in (1, 17, 128, 300):
            matrix = rng.standard_normal((n, k) if transposed else (k, n)).astype(dtype)
            packed = pack(matrix, transposed)
            for m in (0, 1, 2, 4, 5, 40):
                a, c = (rng.standard_normal(s).astype(dtype) for s in ((m, k + 1), (m, n + 2)))
                expected = c.copy()
                product = a[:, :k] @ (matrix.T if transposed else matrix)
                for accumulate in (1, 0):
                    expected[:, :n] = product + accumulate * expected[:, :n]
                    _multiply(function, accumulate, m, n, k, a.ctypes.data, k + 1,
                              packed.ctypes.data, c.ctypes.data, n + 2)  # fmt: skip
                    np.testing.assert_allclose(c, expected, rtol=KINDS[dtype], atol=KINDS[dtype])


def tables(monkeypatch):
    """The shapes of the matrices that the plans of a test pack: columns and rows."""
    found = []

    def note(table, address):
        entries = table[1 : 1 + ENTRY * int(table[0])].reshape(-1, ENTRY)
        found.append(entries[:, [COLUMNS, DEPTH]].tolist())
        return calls(table, address)

    calls = packs.calls_to_pack
    monkeypatch.setattr(packs, "calls_to_pack", note)
    return found


def sentences(lengths, width, dtype=np.float64):
    rng = np.random.default_rng(1)
    return [rng.standard_normal((n, width)).astype(dtype) for n in lengths]


def step(rnn, out, rows, policy="auto"):
    for p in [*rnn.parameters(), *out.parameters()]:
        p.zero_grad()
    with ln.batching(policy):
        loss = ln.sum([(out(rnn(ln.sequence(x))) ** 2.0).mean() for x in rows])
        loss.backward()
    return [loss.numpy(), *(p.grad.numpy() for p in [*rnn.parameters(), *out.parameters()])]


@pytest.fixture(params=[1, 3])
def workers(request):
    before = ln.get_num_threads()
    ln.set_num_threads(request.param)
    yield request.param
    ln.set_num_threads(before)


@pytest.mark.parametrize("dtype", KINDS)
def test_steps_of_scans_find_packed_weights(monkeypatch, workers, dtype):
    """Under policy `none` a state's products have one row each, and so stay as they are."""
    ln.manual_seed(0)
    rnn, out = nn.GRU(5, 20, bidirectional=True), nn.Linear(40, 3)
    if dtype == "float64":
        rnn, out = rnn.double(), out.double()
    rows, found = sentences([30, 7, 1, 0, 30] * 3, 5, dtype), tables(monkeypatch)
    expected = step(rnn, out, rows, "none")
    assert all([60, 20] not in shapes and [20, 60] not in shapes for shapes in found)
    found.clear()
    batched = step(rnn, out, rows)
    assert found == [[[60, 20]] * 2, [[20, 60]] * 2]  # forward, and back through the states
    tolerance = 1e-10 if dtype == "float64" else 1e-3
    for got, wanted in zip(batched, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def test_only_what_comes_back_is_packed(monkeypatch):
    ln.manual_seed(0)
    found = tables(monkeypatch)
    few, many, narrow = nn.Linear(8, 20), nn.Linear(8, 20), nn.Linear(8, 3)
    hidden = [ln.sequence(np.ones((MOST_PACKED + 1, 8), np.float32)) for _ in range(20)]
    single = [ln.tensor(np.ones(8, np.float32)) for _ in range(20)]
    with ln.batching("none"), ln.no_grad():
        made = [m(x).sum() for m in (few, narrow) for x in single]  # a row at a time, three columns
        made += [many(x).sum() for x in hidden]  # too many rows at a time
        ln.sum(made).numpy()
        assert not found
        middle = [few(x[:40]).sum() for x in hidden[:4]]
        ln.sum([*middle, *(x.sum() for x in hidden)]).numpy()
    assert found == [[[20, 8]]]


def test_a_parameter_is_packed_anew_in_each_plan():
    """Its values may have changed since."""
    ln.manual_seed(0)
    rnn, (rows,) = nn.RNN(4, 32).double(), sentences([40], 4)
    rows = [rows] * 8
    for _ in range(3):
        found = rnn(ln.sequence(rows[0]))
        batch = [rnn(ln.sequence(x)) for x in rows]
        for h in batch:
            np.testing.assert_allclose(h.numpy(), found.numpy(), rtol=1e-10)
        with ln.no_grad():
            for p in rnn.parameters():
                p.copy_(p.numpy() * 1.1)
