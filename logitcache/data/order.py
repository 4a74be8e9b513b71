"""The order of rows as pure functions: the permutation of an epoch, a subset of rows, and batches
of equal token budget.

Random numbers are a counter hash (splitmix64's finaliser) of (seed, purpose, counter). So they do
not depend on any library's generator and never change; tests compare them with golden values.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from logitcache.records import Int64

WINDOW = 64  # batches among which rows of like length are gathered
TOGETHER = 4  # windows among which rows are shuffled, for stores that are read by windows
POSITIONS = 1 << 32  # more than any row has
PADDING = -1  # the place of no row: what fills up the last batches where several ranks share them
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)


def counter_hash(seed: int, purpose: str, counter: Int64) -> npt.NDArray[np.uint64]:
    """64 random bits for each counter value: a pure function of (seed, purpose, counter), u64 of
    counter's shape.
    """
    digest = blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
    key = int.from_bytes(digest, "little")
    with np.errstate(over="ignore"):
        # and on in place: an epoch's order may be of many millions
        bits = counter.astype(np.uint64)
        bits += np.uint64(1)
        bits *= _GAMMA
        bits += np.uint64(key)
        for shift, factor in _ROUNDS:
            bits ^= bits >> shift
            bits *= factor
        bits ^= bits >> np.uint64(31)
        return bits


def _shuffled(counter: Int64, seed: int, purpose: str) -> Int64:
    """The places of these counters in the order of their hashes: i64[n]."""
    return np.argsort(counter_hash(seed, purpose, counter), kind="stable")


def position_keys(seed: int, purpose: str, row: Int64, view: Int64 | int, position: Int64) -> Int64:
    """A key for each position, i64[P]: a pure function of (seed, purpose, row, view, position),
    where random numbers of that position go on from (``logitcache.targets.draws``). ``row`` and
    ``position`` i64[P].
    """
    slot = np.asarray(view, np.int64) * POSITIONS + position
    mixed = counter_hash(seed, f"{purpose}/row", row) ^ counter_hash(seed, f"{purpose}/place", slot)
    return counter_hash(seed, purpose, mixed.view(np.int64)).view(np.int64)


def permutation(n: int, seed: int, epoch: int) -> Int64:
    """The order of n samples in one epoch: i64[n]."""
    return _shuffled(np.arange(n), seed, f"order/{epoch}")


def grouped_permutation(
    lengths: Int64, batch: int, seed: int, epoch: int, window: int | None = None
) -> Int64:
    """A random order in which the rows of a batch are of like length: i64[n].

    The epoch's permutation is cut into windows of 64 batches, each window is sorted by length, and
    the batches are shuffled. Every row once; only the last batch can be short. With ``window`` it
    is the windowed permutation that is cut, every 4 windows, and batches are shuffled within each
    cut: a few more windows in memory are enough.
    """
    n = len(lengths)
    if window is None:
        order = permutation(n, seed, epoch)
        cut_rows = WINDOW * batch
    else:
        order = windowed_permutation(n, window, seed, epoch)
        cut_rows = TOGETHER * window
    cut = np.arange(n) // cut_rows
    order = order[np.lexsort((-lengths[order], cut))]
    full = n // batch
    batches = order[: full * batch].reshape(full, batch)
    turn = permutation(full, seed, epoch)
    if window is not None:
        cut_of_batch = turn * batch // cut_rows
        turn = turn[np.argsort(cut_of_batch, kind="stable")]
    return np.concatenate([batches[turn].reshape(-1), order[full * batch :]])


def windowed_permutation(
    n: int, window: int, seed: int, epoch: int, windows_together: int = TOGETHER
) -> Int64:
    """A random order for stores that are read by windows of consecutive rows: i64[n].

    Windows of ``window`` rows come in random order, and rows are shuffled among
    ``windows_together`` of them: so many windows in memory are enough. Every row once; the last
    window can be short.
    """
    rows = np.arange(n)
    windows = np.arange(-(-n // window))
    turn = np.empty(len(windows), np.int64)  # of each window
    turn[_shuffled(windows, seed, f"windows/{epoch}")] = windows
    group = turn[rows // window] // windows_together
    return np.lexsort((counter_hash(seed, f"order/{epoch}", rows), group)).astype(np.int64)


def of_view(order: Callable[[int], Int64], views: int, epoch: int) -> Int64:
    """An epoch's ``order`` of rows that each have so many views, one behind the other: epoch e has
    view e mod views.
    """
    return order(epoch) * views + epoch % views


def filled_up(order: Int64, multiple: int) -> Int64:
    """The same order with :data:`PADDING` after it, up to a multiple: i64[n + less than
    ``multiple``]. Ranks that take its batches in turn then all take equally many batches of equal
    size, and no row twice.
    """
    padding = np.full(-len(order) % multiple, PADDING, np.int64)
    return np.concatenate([order, padding])


def subset(n: int, size: int, seed: int = 0) -> Int64:
    """``size`` of n rows, drawn without replacement, in row order: i64[min(size, n)]. A smaller
    subset lies inside a larger one.
    """
    return np.sort(_shuffled(np.arange(n), seed, "subset")[:size])


def token_batches(lengths: Int64, budget: int) -> list[Int64]:
    """Batches of row places in order of (length, place), longest first, each of at most ``budget``
    padded tokens.

    Rows of like length share a batch, so almost nothing is padding; the longest come first, so that
    what does not fit in memory fails at once. A row longer than the budget stands alone.
    """
    order = np.argsort(-lengths, kind="stable").astype(np.int64)
    batches = []
    start = 0
    while start < len(order):
        width = max(1, int(lengths[order[start]]))
        size = max(1, budget // width)
        batches.append(order[start : start + size])
        start += size
    return batches
