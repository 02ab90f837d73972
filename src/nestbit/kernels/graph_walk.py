"""Search of a graph of rows by their codes: beam search over cells, exact scores by a finer level.

A graph has ``neighbours`` (n, degree) uint32, best first, where unused slots hold the row's own
number, ``entries`` (e,) uint32, rows to start from, and every row's code.

From the best entries the walk goes on to the best row met that has not been expanded, until the
``beam`` best have been (Malkov and Yashunin 2016, Algorithm 2; rows expanded are scored exactly, as
in SymphonyQG, arXiv:2411.12229). Ties go to the smaller number, so results are equal on every
instruction set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit._arrays import check_k
from nestbit.errors import InputError
from nestbit.kernels import Floats, Ids, _factors, _matrix, _threads
from nestbit.kernels.allowed import Mask, check_allowed

__all__ = ["CodeGraph", "Factors", "FineRows", "Walked", "integer_weights"]

# 255 * 8,421,504 < 2**31: no sum of 16-bit weights times bytes overflows.
_MAX_PRODUCT = (2**31 - 1) // 256
_MAX_ROWS = 2**31
# Queries of one call of the kernel, after which an interrupt is heard.
_QUERIES_AT_ONCE = 1024
# Rows whose bytes lie side by side where entries are scored.
_LANES = 16


@dataclass(frozen=True)
class Factors:
    """Of each row the factor (n,), float16 or float32, and the bias (n,) float32 of its score."""

    scale: NDArray[Any] | None = None
    bias: Floats | None = None

    def of(self, rows: NDArray[Any]) -> Factors:
        """Those of some rows."""
        scale = None if self.scale is None else self.scale[rows]
        return Factors(scale, None if self.bias is None else self.bias[rows])


@dataclass(frozen=True)
class FineRows:
    """A finer level: ``rows`` (n, dim) int8 or uint8 and what is added to their scores, (n,)."""

    rows: NDArray[Any]
    bias: Floats | None = None


class Walked(NamedTuple):
    """Ids and scores (m, k), best first, padded with -1 and -inf, and per query (m,) the counts.

    ``scored`` rows had their codes looked up, repeats counted; ``expanded`` ones had their
    neighbours visited.
    """

    ids: Ids
    scores: Floats
    scored: NDArray[np.int64]
    expanded: NDArray[np.int64]


class _Options(NamedTuple):
    k: int
    beam: int
    room: int
    starts: int
    threads: int


class CodeGraph:
    """A graph over ``codes`` (n, width) of cells of ``cell_bits`` bits, 4 or 8."""

    def __init__(
        self,
        neighbours: Any,
        entries: Any,
        codes: Any,
        cell_bits: int,
        *,
        factors: Factors | None = None,
        fine: FineRows | None = None,
    ) -> None:
        """Raises `InputError` for another dtype or shape, or an entry that is no row."""
        codes = _matrix(codes, "codes", np.uint8)
        n, width = codes.shape
        neighbours = np.ascontiguousarray(_matrix(neighbours, "neighbours", np.uint32))
        if len(neighbours) != n:
            raise InputError(f"{n} codes need as many rows of neighbours, got {len(neighbours)}")
        entries = _entries(entries, n)
        factors = _checked(factors, n)
        at_entries = factors.of(entries)
        rows, bias = _fine(fine, n)
        self.n = n
        self._tables = _tables(width, cell_bits)
        self._fine = 0 if rows is None else rows.shape[1]
        self.native = _native.graph_of_codes(
            _is_wide(cell_bits), neighbours, codes, factors.scale, factors.bias,
            entries, _in_lanes(codes[entries]), at_entries.scale, at_entries.bias, rows, bias,
        )  # fmt: skip

    def finish_by(self, rows: Any, bias: Any = None) -> None:
        """Let `nestbit.kernels.query_map.walk_rows` order what it finds anew by a level of floats.

        To be told before the first walk. ``rows`` (n, dim) are float16, float32, or bfloat16 as
        uint16; ``bias`` (n,) float32 is added to their scores. Raises `InputError` for another
        dtype or shape.
        """
        rows = _matrix(rows, "finest rows", np.float16, np.float32, np.uint16)
        if len(rows) != self.n:
            raise InputError(f"a graph of {self.n} rows needs as many finest rows, got {len(rows)}")
        self.native.set_finest(rows, _factors(bias, "finest bias", self.n))

    def walk(
        self,
        tables: Any,
        scales: Any,
        bases: Any,
        k: int,
        *,
        beam: int,
        room: int | None = None,
        starts: int = 4,
        weights: Any = None,
        fine_scales: Any = None,
        mask: Any = None,
        threads: int | None = None,
    ) -> Walked:
        """Return the k best rows that walks with a beam of ``beam`` rows find.

        ``tables`` (m, cells, 16 or 256) uint8 with ``scales`` and ``bases`` (m,) float32 score
        codes as in `cells_scan`. ``weights`` (m, dim) int16 and ``fine_scales`` (m,) float32 of
        `integer_weights` score the rows of a finer level, which then order what is found. Rows
        outside ``mask`` are walked through and not found; they take no place of the beam until
        ``room`` rows, by default 4 * beam, are held. Raises `InputError` for another dtype or
        shape, k above the beam, or a graph with a neighbour that is no row.
        """
        room = beam if mask is None else 4 * beam if room is None else room
        options = _Options(k, beam, room, starts, _threads(threads))
        queries = tables, scales, bases, weights, fine_scales
        try:
            try:
                return self._walk(queries, options, mask)
            except (TypeError, ValueError):
                # The native module has checked all: what it refused is told, or made contiguous.
                return self._walk(*self._checked(queries, options, mask))
        except IndexError as error:
            raise InputError(str(error)) from None

    def _walk(self, queries: tuple[Any, ...], options: _Options, mask: Mask | None) -> Walked:
        def walk(some: slice | None) -> Walked:
            part = queries
            if some is not None:
                part = tuple(None if array is None else array[some] for array in queries)
            tables, scales, bases, weights, fine_scales = part
            ids, scores, counts = self.native.walk(
                tables,
                scales,
                bases,
                options.k,
                options.beam,
                options.room,
                options.starts,
                options.threads,
                weights,
                fine_scales,
                mask,
            )
            return Walked(ids, scores, counts[:, 0], counts[:, 1])

        return in_parts(len(queries[0]), walk)

    def _checked(
        self, queries: tuple[Any, ...], options: _Options, mask: Any
    ) -> tuple[tuple[Any, ...], _Options, Mask | None]:
        tables, scales, bases, weights, fine_scales = queries
        k, beam, room, starts, threads = options
        cells, size = self._tables
        tables = np.asarray(tables)
        if tables.dtype != np.uint8 or tables.shape[1:] != (cells, size):
            raise InputError(
                f"tables must be a uint8 array of shape (m, {cells}, {size}), "
                f"got {tables.dtype} of shape {tables.shape}"
            )
        m = len(tables)
        beam, k = check_k(beam, _MAX_ROWS), check_k(k, _MAX_ROWS)
        if k > beam:
            raise InputError(f"a beam of {beam} rows cannot find {k}: widen the beam")
        if room < beam:
            raise InputError(f"room must be at least the beam of {beam} rows, got {room}")
        if starts < 1:
            raise InputError(f"a walk starts from at least one entry, got starts={starts}")
        mask, _ = check_allowed(mask, None, self.n)
        if (weights is None) != (self._fine == 0) or (weights is None) != (fine_scales is None):
            raise InputError("weights and fine_scales are given for a graph with a finer level")
        if weights is not None:
            weights = np.ascontiguousarray(
                _matrix(weights, "weights", np.int16, columns=self._fine)
            )
            if len(weights) != m:
                raise InputError(f"weights must have {m} rows, got shape {weights.shape}")
            most = _MAX_PRODUCT // self._fine
            if np.abs(weights.astype(np.int32)).max(initial=0) > most:
                raise InputError(f"weights of {self._fine} dimensions must be within ±{most}")
            fine_scales = _factors(fine_scales, "fine_scales", m)
        scales, bases = _factors(scales, "scales", m), _factors(bases, "bases", m)
        queries = np.ascontiguousarray(tables), scales, bases, weights, fine_scales
        return queries, _Options(k, beam, room, starts, threads), mask


def in_parts(m: int, walk: Callable[[slice | None], Walked]) -> Walked:
    """What ``walk`` finds for some of m queries, or for all, of all of them."""
    if m <= _QUERIES_AT_ONCE:
        return walk(None)
    parts = [walk(slice(at, at + _QUERIES_AT_ONCE)) for at in range(0, m, _QUERIES_AT_ONCE)]
    return Walked(*map(np.concatenate, zip(*parts, strict=True)))


def integer_weights(weights: Floats) -> tuple[NDArray[np.int16], Floats]:
    """Weights (m, dim) rounded to int16, as large as no sum overflows, and one scale per query.

    weights ≈ scale * int16, at most half a scale off.
    """
    most = _largest_weight(weights.shape[1])
    scale = (np.abs(weights).max(axis=1, initial=0) / np.float32(most)).astype(np.float32)
    safe = np.where(scale > 0, scale, np.float32(1))[:, None]
    return np.clip(np.rint(weights / safe), -most, most).astype(np.int16), scale


def _largest_weight(dim: int) -> int:
    return min(2**15 - 1, _MAX_PRODUCT // dim)


def _in_lanes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes (n, width) as (ceil(n / 16), 16 * width): of sixteen rows byte 0 each, then byte 1, ...

    Rows that are missing at the end are zero.
    """
    n, width = codes.shape
    groups = -(-n // _LANES)
    padded = np.zeros((groups * _LANES, width), np.uint8)
    padded[:n] = codes
    lanes = padded.reshape(groups, _LANES, width).transpose(0, 2, 1)
    return np.ascontiguousarray(lanes).reshape(groups, _LANES * width)


def _is_wide(cell_bits: int) -> bool:
    if cell_bits not in (4, 8):
        raise InputError(f"cells have 4 or 8 bits, got {cell_bits}")
    return cell_bits == 8


def _tables(width: int, cell_bits: int) -> tuple[int, int]:
    return (width, 256) if cell_bits == 8 else (2 * width, 16)


def _entries(x: Any, n: int) -> NDArray[np.uint32]:
    entries = np.ascontiguousarray(x)
    if entries.dtype != np.uint32 or entries.ndim != 1 or len(entries) == 0:
        raise InputError(
            f"entries must be a uint32 array of at least one row number, "
            f"got {entries.dtype} of shape {entries.shape}"
        )
    if entries.max() >= n:
        raise InputError(f"entries must be below {n}, got {entries.max()}")
    return entries


def _checked(factors: Factors | None, n: int) -> Factors:
    if factors is None:
        return Factors()
    scale = _factors(factors.scale, "scale", n, np.float16, np.float32)
    return Factors(scale, _factors(factors.bias, "bias", n))


def _fine(fine: FineRows | None, n: int) -> tuple[NDArray[Any] | None, Floats | None]:
    if fine is None:
        return None, None
    rows = _matrix(fine.rows, "fine rows", np.int8, np.uint8)
    if len(rows) != n:
        raise InputError(f"a graph of {n} rows needs as many fine rows, got {len(rows)}")
    return rows, _factors(fine.bias, "fine bias", n)
