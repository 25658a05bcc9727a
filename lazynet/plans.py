"""What a plan is; and plans of small programs, kept for the next program of the same shape.

To plan a program of a few nodes takes longer than to run it, and such programs come back: a model
that is asked for one example at a time records the same tape again, with other words and other
inputs. A plan is kept under the tape that it was made for, with the numbers in it (which word,
which class) left open; its calls are kept under the addresses that they were made for. Memory comes
from pools, so that a loop meets the same addresses again. What is found is what would be made, as
it was made from the same. Policy `none` keeps nothing: it is what others are compared with.
"""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lazynet.batching.decode import LISTED, STEPPED, U_NEEDS, U_SIGNATURE, entry_words
from lazynet.batching.frame import CALL_WORDS
from lazynet.batching.layout import ALIAS, B_ITEMS, B_SIGNATURE, KIND, LINK, PAYLOAD, SEGMENT
from lazynet.batching.measure import M_INTEGERS, M_VECTORS
from lazynet.batching.plan import Laid
from lazynet.batching.policies import NONE
from lazynet.device import CPU, Device
from lazynet.kernels.jit import entered
from lazynet.kernels.python import FIRST_OWN_INTEGER
from lazynet.leaf import STATICS
from lazynet.op import TABLE, Signature

Links = list[tuple[int, np.ndarray]]  # first row and addresses of rows that lie elsewhere
# Graphs number their rows from here on: of a smaller number Python has one object for all, which
# cannot tell whether a row was dropped (`Graph.noted`).
FIRST_ROW = FIRST_OWN_INTEGER
LARGEST = 1 << 13  # bytes of a tape; a plan takes some 25 times as much
MOST = 64  # plans that are kept
MOST_PLACES = 4  # and for each, places that its rows had
MOST_WORDS = 1 << 14  # of calls, and of addresses: a few words of a tape may stand for many rows
# After so many programs that had no plan here, only every so many-th is looked for: to look takes a
# few hundredths of the time of a small program. So seldom, too, does a plan take another's room.
PATIENCE, SELDOM = 64, 8


class Cache:
    """So many values by key, of keys that came more than once."""

    def __init__(self, most: int):
        self._most = most
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._came: OrderedDict[int, None] = OrderedDict()  # hashes of keys
        self._waited = 0  # how many values came when there was no room

    def find(self, key: Any) -> Any:
        """The value that was kept; None if there is none."""
        found = self._kept.get(key)
        if found is not None:
            with contextlib.suppress(KeyError):  # another thread has just dropped it
                self._kept.move_to_end(key)
        return found

    def came_before(self, key: Any) -> bool:
        """Whether a key came lately; note that it did."""
        number = hash(key)
        if number in self._came:
            return True
        self._came[number] = None
        if len(self._came) > 8 * self._most:
            self._came.popitem(last=False)
        return False

    def keep(self, key: Any, value: Any) -> bool:
        """Keep a value, if there is room, and say whether it is kept.

        Where there is none, only every so many-th takes the place of the one that was not asked for
        for the longest time: of too many keys in turn, those that are kept shall be found.
        """
        if len(self._kept) >= self._most and key not in self._kept:
            self._waited += 1
            if self._waited % SELDOM:
                return False
        self._kept[key] = value
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return True


class Placed(NamedTuple):
    """Where the rows of a plan lie, and the calls that compute them."""

    laid: Laid
    frame: np.ndarray
    calls: np.ndarray
    vectors: np.ndarray
    place: np.ndarray | None = None  # of all rows, if it is kept
    payload: np.ndarray | None = None  # then also where each word of it stands on the tape


@dataclass
class Plan:
    """What is pending on a tape, and the batches in which it runs; it has no place yet."""

    columns: np.ndarray
    root: np.ndarray
    shift: np.ndarray
    dependencies: tuple[np.ndarray, np.ndarray]
    used: np.ndarray  # what each local signature number stands for, as `decode` gives it
    signatures: np.ndarray  # rows of the signature table, one for each local signature
    order: np.ndarray
    batches: np.ndarray
    totals: np.ndarray
    sizes: list[int]  # of memory, see `measure.py`
    shape: np.ndarray | None = None  # the tape with open numbers, where the plan is kept
    rows: Any = ()  # then also `head` and `needs` of all rows
    places: Any = None  # and the `Cache` of where its rows lay
    kinds: list[Signature] = field(init=False)  # the signatures of its nodes, by local number
    read: list[int] = field(init=False)  # the numbers of the parameters that it reads
    differentiable: bool = field(init=False)  # whether any of its nodes wants gradients

    def __post_init__(self) -> None:
        numbers, needs = self.used[:, U_SIGNATURE].tolist(), self.used[:, U_NEEDS].tolist()
        self.kinds = [TABLE.signatures[number] for number in numbers]
        self.read = [number for kind in self.kinds for _, number, _ in kind.statics]
        self.differentiable = 1 in needs

    @functools.cached_property
    def _read(self) -> np.ndarray:
        return np.array(self.read, np.int64)

    @functools.cached_property
    def _statics(self) -> dict[bytes, tuple[set[int], set[int]]]:
        return {}

    def statics(self, batches: np.ndarray, visited: np.ndarray) -> tuple[set[int], set[int]]:
        """The numbers of the parameters whose gradients a backward may write, and of all it reads.

        Where nodes without rows lead is not known; in PyTorch they give gradients of 0.

        Args:
            batches: of the plan, as they were laid out.
            visited: the numbers of those that backward goes through.
        """
        key = visited.tobytes()
        found = self._statics.get(key)
        if found is None:
            empty = batches[batches[:, B_ITEMS] == 0, B_SIGNATURE].tolist()
            kinds = {kind for kind in empty if self.used[kind, U_NEEDS]}
            own = set(batches[visited, B_SIGNATURE].tolist())
            led = {number for kind in kinds | own for number in self.kinds[kind].led}
            read = {number for kind in own for _, number, _ in self.kinds[kind].statics}
            found = self._statics[key] = led, read
        return found

    @functools.cached_property
    def _of_signatures(self) -> tuple[np.ndarray, bytes]:
        return self.used[:, U_SIGNATURE].astype(np.int64), self.signatures.tobytes()

    def holds(self) -> bool:
        """Whether its signatures are as they were when it was made."""
        indices, words = self._of_signatures
        return TABLE.numbers.take(indices, 0).tobytes() == words

    def address_key(self, links: Links, memory: tuple[int, ...]) -> Any:
        """All addresses that its calls depend on: of memory, of rows elsewhere, of parameters."""
        elsewhere = b"".join([addresses.tobytes() for _, addresses in links])
        return memory, elsewhere, STATICS.addresses.take(self._read).tobytes()

    def keep(self, key: Any, placed: Placed, place: np.ndarray) -> Placed:
        """Keep calls, laid out for the shape of a tape, for when the same addresses come back."""
        calls = placed.calls[: int(placed.frame[CALL_WORDS])].copy()
        payload = placed.laid.payload.copy()
        kept = placed._replace(calls=calls, place=place.copy(), payload=payload)
        if len(calls) <= MOST_WORDS:
            self.places.keep(key, kept)
        return kept


_plans = Cache(MOST)
_missed = [0]  # how many programs have had no plan here since the last one that had


@entered
def leave_open(shape, numbers):
    """On a copy of a tape, each word of payload becomes its own place on the tape.

    Where an alias lies within another row is part of the shape.
    """
    p = np.int64(0)
    while p < shape.size:
        s, n, _, form, _, end = entry_words(shape, p, numbers)
        kind, words = numbers[s, KIND], numbers[s, PAYLOAD]
        if form == STEPPED:
            words *= n
        if kind != ALIAS and kind != LINK and kind != SEGMENT and form != LISTED:
            for q in range(end - words, end):
                shape[q] = q
        p = end


def find(
    tape: np.ndarray, base: int, marks: tuple, needs: np.ndarray, links: Links, policy: int,
    device: Device,
) -> tuple[Any, Plan | None]:  # fmt: skip
    """The plan that was made for a tape of this shape, if there is one.

    Returns:
        what a plan for this tape is to be kept under, None where it is not to be kept; the plan.
    """
    if base != FIRST_ROW or tape.nbytes > LARGEST or policy == NONE:
        return None, None
    if device is not CPU or STATICS.devices != {CPU}:  # a parameter may be elsewhere
        return None, None
    _missed[0] += 1
    if _missed[0] > PATIENCE and _missed[0] % SELDOM:
        return None, None
    shape = tape.copy()
    leave_open(shape, TABLE.numbers)
    wanted = b"".join([needs[row : row + len(rows)].tobytes() for row, rows in links])
    key = shape.tobytes(), marks, wanted, policy
    found = _plans.find(key)
    if found is not None and found.holds():
        _missed[0] = 0
        return key, found
    return key if _plans.came_before(key) else None, None


def keep(key: Any, plan: Plan, head: np.ndarray, needs: np.ndarray) -> None:
    """Keep a plan for when a tape of its shape comes back, if it takes little memory."""
    if len(head) + plan.sizes[M_VECTORS] + plan.sizes[M_INTEGERS] > MOST_WORDS:
        return
    plan.places = Cache(MOST_PLACES)
    plan.rows, plan.shape = (head.copy(), needs.copy()), np.frombuffer(key[0], np.int32)
    if not _plans.keep(key, plan):
        plan.shape = None
