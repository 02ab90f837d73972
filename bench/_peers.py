"""Quantizers of faiss and turbovec over inner products, each with its true bytes a row.

What was limited, so that training ends in minutes on two cores, is in ``LIMITS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import faiss
import numpy as np
import turbovec

TRAIN_ROWS = {4: 16_384, 8: 10_000}  # by the bits of a sub-quantizer
TRAIN_ITERATIONS = {4: 25, 8: 12}
OPQ_ROWS = 5_000
OPQ_ITERATIONS = {4: 10, 8: 4}
OPQ_WIDE = 512  # dimensions beyond which the rotations take minutes
OPQ_WIDE_ITERATIONS = {4: 5, 8: 2}
OPQ_PQ_ITERATIONS = {4: 4, 8: 2}  # after each rotation; the first time twice as many
RABITQ_QUERY_BITS = 8  # 0 (float queries) finds the same within 0.3 points, 70 times slower
CALIBRATION_ROWS = 1024

LIMITS = (
    f"faiss PQ trains on at most {TRAIN_ROWS[4]:,} rows for {TRAIN_ITERATIONS[4]} iterations "
    f"(x4), {TRAIN_ROWS[8]:,} and {TRAIN_ITERATIONS[8]} (x8); OPQ learns its rotation from "
    f"{OPQ_ROWS:,} rows in {OPQ_ITERATIONS[4]} (x4) or {OPQ_ITERATIONS[8]} (x8) rounds of "
    f"{OPQ_PQ_ITERATIONS[4]} or {OPQ_PQ_ITERATIONS[8]} k-means iterations, beyond {OPQ_WIDE} "
    f"dimensions in {OPQ_WIDE_ITERATIONS[4]} or {OPQ_WIDE_ITERATIONS[8]}. faiss RaBitQ: random "
    f"rotation, queries of {RABITQ_QUERY_BITS} bits. turbovec is calibrated on "
    f"{CALIBRATION_ROWS} random rows where it says so."
)


@dataclass(frozen=True)
class Found:
    """Hits, (m, k) with the best first, and the bytes of a stored row."""

    ids: np.ndarray
    scores: np.ndarray
    n_bytes: float


@dataclass(frozen=True)
class Task:
    """Unit rows and queries, a budget of bytes a row, and how deep to search."""

    rows: np.ndarray
    queries: np.ndarray
    bits: float
    n_bytes: int
    k: int
    seed: int = 0

    @property
    def dim(self) -> int:
        return int(self.rows.shape[1])

    def sample(self, n: int) -> np.ndarray:
        """At most ``n`` random rows."""
        order = np.random.default_rng(self.seed).permutation(len(self.rows))
        return np.ascontiguousarray(self.rows[np.sort(order[:n])])


@dataclass(frozen=True)
class Peer:
    """A quantizer and the bits per dimension at which it is compared."""

    name: str
    bits: tuple[float, ...]
    search: Callable[[Task], Found]


def faiss_rabitq(task: Task) -> Found:
    inner = faiss.IndexRaBitQ(task.dim, faiss.METRIC_INNER_PRODUCT, int(task.bits))
    inner.qb = RABITQ_QUERY_BITS
    rotation = faiss.RandomRotationMatrix(task.dim, task.dim)
    rotation.init(task.seed + 1)
    index = faiss.IndexPreTransform(rotation, inner)
    index.train(task.rows)
    index.add(task.rows)
    scores, ids = index.search(task.queries, task.k)
    return Found(ids, scores, inner.code_size)


def split(dim: int, n_bytes: int, nbits: int) -> tuple[int, int]:
    """The most sub-quantizers of equal width that fit the bytes, and that width."""
    width = math.ceil(dim / min(dim, n_bytes * 8 // nbits))
    return math.ceil(dim / width), width


def quiet(quantizer: faiss.ProductQuantizer, iterations: int) -> None:
    quantizer.cp.niter = iterations
    quantizer.cp.min_points_per_centroid = 1  # no warning for each sub-quantizer


def faiss_pq(nbits: int) -> Callable[[Task], Found]:
    def search(task: Task) -> Found:
        m, width = split(task.dim, task.n_bytes, nbits)
        # Widths that do not divide the dimensions are made up with zeros.
        padding = ((0, 0), (0, m * width - task.dim))
        return pq_search(task, np.pad(task.rows, padding), np.pad(task.queries, padding), m, nbits)

    return search


def faiss_opq(nbits: int) -> Callable[[Task], Found]:
    def search(task: Task) -> Found:
        m, width = split(task.dim, task.n_bytes, nbits)
        padding = ((0, 0), (0, m * width - task.dim))
        rows, queries = np.pad(task.rows, padding), np.pad(task.queries, padding)
        rotation = faiss.OPQMatrix(m * width, m)
        quantizer = faiss.ProductQuantizer(m * width, m, nbits)
        rotation.pq = quantizer
        quiet(quantizer, OPQ_PQ_ITERATIONS[nbits])
        rounds = OPQ_WIDE_ITERATIONS if task.dim > OPQ_WIDE else OPQ_ITERATIONS
        rotation.niter = rounds[nbits]
        rotation.niter_pq = OPQ_PQ_ITERATIONS[nbits]
        rotation.niter_pq_0 = 2 * OPQ_PQ_ITERATIONS[nbits]
        rotation.train(np.pad(task.sample(OPQ_ROWS), padding))
        return pq_search(task, rotation.apply(rows), rotation.apply(queries), m, nbits)

    return search


def pq_search(task: Task, rows: np.ndarray, queries: np.ndarray, m: int, nbits: int) -> Found:
    index = faiss.IndexPQ(rows.shape[1], m, nbits, faiss.METRIC_INNER_PRODUCT)
    quiet(index.pq, TRAIN_ITERATIONS[nbits])
    order = np.random.default_rng(task.seed).permutation(len(rows))[: TRAIN_ROWS[nbits]]
    index.train(np.ascontiguousarray(rows[np.sort(order)]))
    index.add(np.ascontiguousarray(rows))
    scores, ids = index.search(np.ascontiguousarray(queries), task.k)
    return Found(ids, scores, index.code_size)


def turbovec_search(calibrated: bool) -> Callable[[Task], Found]:
    def build(task: Task, n: int) -> turbovec.TurboQuantIndex:
        index = turbovec.TurboQuantIndex(dim=task.dim, bit_width=int(task.bits))
        if calibrated:
            index.calibrate(task.sample(CALIBRATION_ROWS))
        index.add(task.rows[:n])
        return index

    def search(task: Task) -> Found:
        n = len(task.rows)
        index = build(task, n)
        # What a row takes is what the stored index grows by.
        grown = len(index.to_bytes()) - len(build(task, n // 2).to_bytes())
        scores, ids = index.search(task.queries, task.k)
        return Found(ids, scores, grown / (n - n // 2))

    return search


ALL_BITS = (0.25, 0.5, 1, 2, 4)
PEERS = (
    Peer("faiss RaBitQ", (1, 2, 4), faiss_rabitq),
    Peer("turbovec", (2, 4), turbovec_search(calibrated=False)),
    Peer("turbovec, calibrated", (2, 4), turbovec_search(calibrated=True)),
    Peer("faiss PQ x4", ALL_BITS, faiss_pq(4)),
    Peer("faiss PQ x8", ALL_BITS, faiss_pq(8)),
    Peer("faiss OPQ x4", ALL_BITS, faiss_opq(4)),
    Peer("faiss OPQ x8", ALL_BITS, faiss_opq(8)),
)
VERSIONS = {name: version(name) for name in ("faiss-cpu", "turbovec")}
