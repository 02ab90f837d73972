"""Scorers: what a set of queries becomes in order to score one level's codes.

All scores estimate the same thing, larger is better: the inner product (for cosine and dot)
or minus the squared distance 2 q·x - ‖x‖² - ‖q‖² (for l2, from the stored true ‖x‖²).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nestbit import kernels
from nestbit._arrays import Floats
from nestbit.codecs.codes import LevelCodes
from nestbit.kernels.allowed import Mask, Ranges
from nestbit.kernels.floats import floats_scan

Ids = NDArray[np.int64]


class Scorer(Protocol):
    """Scores rows of one level for m prepared queries."""

    def scan(
        self,
        codes: LevelCodes,
        k: int,
        *,
        mask: Mask | None = None,
        ranges: Ranges | None = None,
        visits: Mask | None = None,
        threads: int | None = None,
    ) -> tuple[Ids, Floats]:
        """Best k of all rows, or of a mask, ranges and visits of `nestbit.kernels`, as (m, k).

        Best first; id -1 and score -inf in the columns that are left where fewer rows may be found.
        """

    def rescore(self, codes: LevelCodes, ids: Ids, *, threads: int | None = None) -> Floats:
        """Scores (m, c) of the rows ``ids`` (m, c)."""

    def of(self, queries: Ids) -> Scorer:
        """The scorer of some of its queries, by their numbers."""


@dataclass(frozen=True)
class Metric:
    """How an inner-product estimate becomes a score: ``length2`` is ‖q‖² (m,) for l2, else None."""

    length2: Floats | None

    @property
    def gain(self) -> float:
        """Factor of the inner product in the score."""
        return 1.0 if self.length2 is None else 2.0

    def query_bias(self, bias: Floats) -> Floats:
        """Per-query constant (m,) added to every score."""
        return bias if self.length2 is None else 2 * bias - self.length2

    def of(self, queries: Ids) -> Metric:
        """The metric of some of its queries, by their numbers."""
        return self if self.length2 is None else Metric(self.length2[queries])

    def row_bias(self, codes: LevelCodes, ranges: Ranges | None) -> Floats | None:
        """Per-row constant (n,), undefined outside ``ranges``; None when it is zero everywhere."""
        offset, norm2 = codes.factors.get("offset"), codes.factors.get("norm2")
        if self.length2 is None:
            return None if offset is None else offset.astype(np.float32, copy=False)
        assert norm2 is not None
        # Pages of the array that lie outside the ranges are never touched, so they cost nothing.
        bias = np.empty(len(norm2), np.float32)
        for start, stop in [(0, len(bias))] if ranges is None else ranges.tolist():
            rows = slice(start, stop)
            if offset is None:
                np.negative(norm2[rows], out=bias[rows])
            else:
                np.subtract(2 * offset[rows], norm2[rows], out=bias[rows])
        return bias

    def score(self, products: Floats, codes: LevelCodes, ids: Ids, bias: Floats) -> Floats:
        """Scores (m, c) from ``products`` weights · code (m, c)."""
        scores = self.gain * products + self.query_bias(bias)[:, None]
        return scores if self.length2 is None else scores - codes.factors["norm2"][ids]


def integer_weights(weights: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Weights (m, dim) as int8 in ±127 with one scale per query, weights ≈ scale * int8."""
    scale = np.abs(weights).max(axis=1) / np.float32(127)
    safe = np.where(scale > 0, scale, 1)[:, None]
    return np.rint(weights / safe).astype(np.int8), scale.astype(np.float32)


@dataclass(frozen=True)
class FloatScorer:
    """Float queries against an affine code: score = bias + weights · code.

    The scan of bits and bytes uses the weights rounded to int8; `rescore` uses them in float.
    ``dims`` limits both to the first dimensions of the code.
    """

    weights: Floats
    bias: Floats
    metric: Metric
    dims: int | None = None

    def scan(
        self,
        codes: LevelCodes,
        k: int,
        *,
        mask: Mask | None = None,
        ranges: Ranges | None = None,
        visits: Mask | None = None,
        threads: int | None = None,
    ) -> tuple[Ids, Floats]:
        """Best k rows by the rounded query (exactly scored for float codes)."""
        if codes.layout == "floats" and visits is not None:
            return self._scan_visits(codes, k, mask, ranges, visits, threads)
        rows = self._columns(codes)
        row_bias = self.metric.row_bias(codes, ranges)
        gain = np.float32(self.metric.gain)
        if codes.layout == "floats":
            ids, scores = floats_scan(
                rows,
                gain * self.weights,
                k,
                row_bias=row_bias,
                mask=mask,
                ranges=ranges,
                threads=threads,
            )
        else:
            scan = kernels.bits_scan if codes.layout == "bits" else kernels.bytes_scan
            weights, scale = integer_weights(self.weights)
            ids, scores = scan(
                rows,
                weights,
                k,
                scales=gain * scale,
                row_bias=row_bias,
                mask=mask,
                ranges=ranges,
                visits=visits,
                threads=threads,
            )
        return ids, scores + self.metric.query_bias(self.bias)[:, None]

    def _scan_visits(
        self,
        codes: LevelCodes,
        k: int,
        mask: Mask | None,
        ranges: Ranges | None,
        visits: Mask,
        threads: int | None,
    ) -> tuple[Ids, Floats]:
        """One query after the other, each over the ranges that it sees."""
        found = []
        for i, seen in enumerate(
            np.unpackbits(visits, axis=1, bitorder="little").T[: len(self.bias)]
        ):
            some = None if ranges is None else ranges[seen.view(np.bool_)]
            one = self.of(np.array([i]))
            found.append(one.scan(codes, k, mask=mask, ranges=some, threads=threads))
        ids, scores = zip(*found, strict=True)
        return np.concatenate(ids), np.concatenate(scores)

    def rescore(self, codes: LevelCodes, ids: Ids, *, threads: int | None = None) -> Floats:
        """Scores of the float query against the decoded rows."""
        kernel = {
            "bits": kernels.bits_rescore,
            "bytes": kernels.bytes_rescore,
            "floats": kernels.floats_rescore,
        }[codes.layout]
        products = kernel(self._columns(codes), ids, self.weights, threads=threads)
        return self.metric.score(products, codes, ids, self.bias)

    def of(self, queries: Ids) -> FloatScorer:
        """The scorer of some of its queries."""
        weights, bias = self.weights[queries], self.bias[queries]
        return FloatScorer(weights, bias, self.metric.of(queries), self.dims)

    def _columns(self, codes: LevelCodes) -> NDArray[np.generic]:
        if self.dims is None:
            return codes.data
        return codes.data[:, : self.dims // 8 if codes.layout == "bits" else self.dims]


@dataclass(frozen=True)
class HammingScorer:
    """Binary queries against binary rows; score = bias + gain (dim - 2 Hamming).

    ``queries`` are packed like the rows, (m, width); ``gain`` turns an agreement of signs
    into an inner product: the squared mean magnitude that a bit stands for.
    """

    queries: NDArray[np.uint8]
    dim: int
    gain: float
    bias: Floats
    metric: Metric

    def scan(
        self,
        codes: LevelCodes,
        k: int,
        *,
        mask: Mask | None = None,
        ranges: Ranges | None = None,
        visits: Mask | None = None,
        threads: int | None = None,
    ) -> tuple[Ids, Floats]:
        """Best k rows by Hamming distance alone; for l2 the row lengths join after the scan."""
        ids, distances = kernels.hamming_scan(
            codes.data, self.queries, k, mask=mask, ranges=ranges, visits=visits, threads=threads
        )
        scores = self._score(distances, codes, ids)
        scores[ids < 0] = -np.inf
        return ids, scores

    def rescore(self, codes: LevelCodes, ids: Ids, *, threads: int | None = None) -> Floats:
        """Scores of given rows by their Hamming distance."""
        # Hamming(q, b) = Σq + Σ b(1 - 2q), which the kernel of weighted bits can sum.
        bits = np.unpackbits(self.queries, axis=1, count=self.dim)
        flips = 1 - 2 * bits.astype(np.float32)
        sums = kernels.bits_rescore(codes.data, ids, flips, threads=threads)
        return self._score(sums + bits.sum(axis=1, dtype=np.int64)[:, None], codes, ids)

    def of(self, queries: Ids) -> HammingScorer:
        """The scorer of some of its queries."""
        packed, bias = self.queries[queries], self.bias[queries]
        return HammingScorer(packed, self.dim, self.gain, bias, self.metric.of(queries))

    def _score(self, distances: NDArray[np.number[Any]], codes: LevelCodes, ids: Ids) -> Floats:
        agreement = (self.gain * (self.dim - 2.0 * distances)).astype(np.float32)
        return self.metric.score(agreement, codes, ids, self.bias)
