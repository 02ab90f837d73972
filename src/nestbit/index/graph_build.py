"""Building a graph over rows that are decoded as they are needed.

The rows are rounded to int8 once, in a space where the metric is the Euclidean distance, and
divided several times into overlapping leaves, in which all pairs are compared (as in PiPNN). The
nearest rows alone make a graph of short edges, so each row is also compared with samples of a
quarter and a sixteenth of all rows. Of all these candidates the diverse ones become neighbours.
Candidates are held for some of the rows at a time. Distances are integers: a seed makes one graph,
for any number of threads and whatever is held at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.errors import InputError
from nestbit.index.graph_leaves import Divider, Division, Rows, leaders_of
from nestbit.kernels import graph

Numbers = NDArray[np.uint32]
Bytes = NDArray[np.int8]
Decode = Callable[[int, int], Floats]

_BLOCK_ROWS = 8192
_SAMPLES, _SAMPLE_ROWS = 64, 512
# Values beyond this quantile are clipped; those of int8 rows beyond it.
_CLIPPED = 0.9999
# Entries per fourth root of the rows: on 849,000 rows thirty shorten a walk by four of 73 steps, a
# thousand by two more.
_ENTRIES = 2
# With the dimensions that make inner products distances, which are at most this share of them.
_NORM_SHARE = 1 / 16


@dataclass(frozen=True)
class Graph:
    """Neighbours (n, degree), best first, and the rows (e,) from which walks may start.

    Unused slots hold the row's own number. Every row can be reached from the entries.
    """

    neighbours: Numbers
    entries: Numbers


@dataclass(frozen=True)
class Late:
    """Rows, by number, of which ``before`` is called with the graph that the others make.

    Nothing in it leads to them or was chosen because of them, though they have lines of their own:
    with them it can be measured as with queries from elsewhere. It is whole but for rows that no
    other leads to.
    """

    rows: NDArray[np.int64]
    before: Callable[[Graph], object]


@dataclass(frozen=True)
class Scale:
    """Rows are compared with a sample, ``share`` of all, in ``rounds`` divisions into leaves.

    A leaf has about ``GraphOptions.leaf`` rows of the sample; a row is in ``fan`` leaves of a
    round, and keeps ``slots`` candidates.
    """

    share: float
    rounds: int
    fan: int
    slots: int


_SCALES = (Scale(1, 6, 3, 48), Scale(1 / 4, 3, 2, 24), Scale(1 / 16, 3, 2, 16))


@dataclass(frozen=True)
class GraphOptions:
    """How a graph is built.

    ``alpha`` and ``pool`` are ``alpha`` and ``most`` of `kernels.graph`. More rounds and slots cost
    time, and gain recall at the same number of steps. Of more than ``flat`` leaders a row is
    compared with near ones only. ``held`` bytes of candidates are in memory at a time, which
    changes nothing in the graph.
    """

    degree: int = 32
    alpha: float = 1.0
    pool: int = 128
    leaf: int = 1000
    scales: tuple[Scale, ...] = _SCALES
    flat: int = 4096
    held: int = 2 << 30


_DEFAULT = GraphOptions()


def build_graph(
    rows: Decode,
    n: int,
    dim: int,
    *,
    metric: str = "cosine",
    options: GraphOptions = _DEFAULT,
    threads: int | None = None,
    seed: int = 0,
    late: Late | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Graph:
    """Build a graph over n rows, ``rows(start, stop)`` giving float32 (stop - start, dim).

    ``metric`` is cosine, ip or l2. Memory: an int8 copy of the rows, 4 bytes per neighbour and leaf
    of a row (about 250 bytes in all by default), and ``options.held``. ``late`` rows join when
    the others are a graph. ``progress`` is told the step, and how many steps of all are done.
    Raises `InputError` for n or options out of range, or if all rows are late.
    """
    _check(n, options)
    wait = np.empty(0, np.uint32) if late is None else late.rows.astype(np.uint32)
    if len(wait) >= n:
        raise InputError(f"a graph needs a row that is not late, and all {n} are")
    rng = np.random.default_rng(seed)
    slots = sum(scale.slots for scale in options.scales)
    step = max(1, options.held // (8 * slots))
    rounds = sum(scale.rounds for scale in options.scales)
    steps = rounds + math.ceil(n / step) * (rounds + 1) + 3
    done = 0

    def tell(what: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(what, done, steps)

    codes = _int8_rows(rows, n, dim, metric, rng)
    starts = range(0, n, _BLOCK_ROWS)
    squares = np.concatenate([graph.row_squares(codes[i : i + _BLOCK_ROWS]) for i in starts])
    every = Rows(codes, squares)
    tell("round")
    drawn = rng.permutation(n).astype(np.uint32)
    divisions = _divisions(every, drawn, wait, options, rng, threads, lambda: tell("divide"))
    neighbours = np.empty((n, options.degree), np.uint32)
    for start in range(0, n, step):
        part = neighbours[start : start + step]
        candidates = np.full((len(part), slots), graph.NO_CANDIDATE)
        first = 0
        for scale, some in zip(options.scales, divisions, strict=True):
            for division in some:
                for members in (division.members, division.late):
                    graph.add_leaves(
                        codes,
                        squares,
                        members,
                        division.targets,
                        candidates,
                        slice(first, first + scale.slots),
                        keep=scale.slots,
                        start=start,
                        threads=threads,
                    )
                tell("compare")
            first += scale.slots
        graph.choose_neighbours(
            codes, squares, candidates, part, start=start, alpha=options.alpha, threads=threads
        )
        del candidates  # before the next are made
        tell("choose")
    del divisions
    chosen = neighbours[wait]
    neighbours[wait] = wait[:, None]  # and are nobody's sources

    def choose_again(sources: Numbers | None) -> None:
        graph.add_reverse(
            codes,
            squares,
            neighbours,
            alpha=options.alpha,
            most=max(options.degree, options.pool),
            sources=sources,
            threads=threads,
        )

    choose_again(None)
    tell("choose")
    drawn[wait] = n
    count = max(int(drawn.min()) + 1, math.ceil(_ENTRIES * n**0.25))
    entries = np.flatnonzero(drawn < count).astype(np.uint32)
    if late is not None:
        late.before(Graph(neighbours, entries))
        neighbours[wait] = chosen
        choose_again(wait)
    graph.connect(codes, squares, neighbours, entries)
    tell("connect")
    return Graph(neighbours, entries)


def _divisions(
    rows: Rows,
    drawn: Numbers,
    late: Numbers,
    options: GraphOptions,
    rng: np.random.Generator,
    threads: int | None,
    tell: Callable[[], None],
) -> list[list[Division]]:
    """The divisions of each scale; rows ``drawn`` before share * n are in the sample of a share."""
    samples = [drawn < math.ceil(scale.share * len(rows)) for scale in options.scales]
    counts = [int(np.count_nonzero(sampled)) for sampled in samples]
    most = max(
        leaders_of(count, scale.fan, options.leaf)
        for count, scale in zip(counts, options.scales, strict=True)
    )
    waiting = np.zeros(len(rows), np.bool_)
    waiting[late] = True
    most = min(len(rows), most)
    divider = Divider(rows, options.leaf, options.flat, most, waiting, rng, threads)
    made: list[list[Division]] = []
    for scale, sampled in zip(options.scales, samples, strict=True):
        made.append([])
        for _ in range(scale.rounds):
            made[-1].append(divider.divide(sampled, scale.fan))
            tell()
    return made


def _check(n: int, options: GraphOptions) -> None:
    most = graph.MOST_CANDIDATES
    slots = sum(scale.slots for scale in options.scales)
    if not 1 <= n < 2**32 - 1:
        raise InputError(f"a graph has 1 to 2**32 - 2 rows, got {n}")
    if not 2 <= options.degree <= most or not options.pool <= most:
        raise InputError(
            f"a graph has 2 to {most} neighbours a row, from a pool of at most {most}; "
            f"got degree {options.degree} and pool {options.pool}"
        )
    if not 1 <= slots <= most or any(scale.slots < 1 for scale in options.scales):
        raise InputError(f"the scales have 1 to {most} slots together, got {slots}")


def _int8_rows(rows: Decode, n: int, dim: int, metric: str, rng: np.random.Generator) -> Bytes:
    """The rows in a space where the metric is the Euclidean distance, centred and rounded."""
    some = np.sort(rng.choice(n, min(n, _SAMPLES), replace=False))
    read = [rows(s, min(n, s + _SAMPLE_ROWS)) for s in some.tolist()]
    longest = 0.0
    if metric == "ip":
        for block in _blocks(rows, n):
            longest = max(longest, float(np.einsum("ij,ij->i", block, block).max()))
    sample = np.concatenate([_euclidean(x, metric, longest) for x in read])
    mean = sample.mean(axis=0)
    largest = float(np.quantile(np.abs(sample - mean), _CLIPPED))
    step = np.float32(largest / 127) or np.float32(1)  # equal rows are all zero
    codes = np.empty((n, sample.shape[1]), np.int8)
    start = 0
    for block in _blocks(rows, n):
        z = _euclidean(block, metric, longest) - mean
        z /= step
        np.rint(z, out=z)
        np.clip(z, -127, 127, out=z)
        codes[start : start + len(z)] = z
        start += len(z)
    return codes


def _blocks(rows: Decode, n: int) -> Iterator[Floats]:
    for start in range(0, n, _BLOCK_ROWS):
        yield rows(start, min(n, start + _BLOCK_ROWS))


def _euclidean(x: Floats, metric: str, longest: float) -> Floats:
    """Rows (n, dim) as points whose distances order them as the metric does.

    For inner products sqrt(L^2 - |x|^2), L the greatest length, is appended, spread over a few
    dimensions: then |x' - y'|^2 falls with <x, y> for y of greatest length (Bachrach et al.,
    "Speeding up the Xbox recommender system", 2014).
    """
    if metric == "l2":
        return x
    squares = np.einsum("ij,ij->i", x, x)[:, None]
    if metric == "cosine":
        lengths = np.sqrt(squares)
        lengths[lengths == 0] = 1
        units: Floats = x / lengths
        return units
    extra = max(1, round(x.shape[1] * _NORM_SHARE))
    rest = np.sqrt(np.maximum(np.float32(longest) - squares, 0) / np.float32(extra))
    points: Floats = np.concatenate([x, np.repeat(rest, extra, axis=1)], axis=1)
    return points
