"""Bits over coordinates by reverse water-filling, and the cells that hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats

# Bits a coordinate can get, and how many coordinates then share a cell of four bits.
# Eight bits are two cells over the same coordinate.
_RATES = np.array([8.0, 4.0, 2.0, 1.0, 0.5, 0.25])
_MAX_WIDTH = 16

Ranges = tuple[NDArray[np.int32], NDArray[np.int32]]


def water_filling(variances: Floats, n_cells: int, exponent: float) -> Ranges:
    """First coordinate and width of each cell, for coordinates of falling variance.

    The rate-distortion optimum of a Gaussian source gives coordinate i the rate
    r_i = max(0, ½ log2(λ_i / θ)) (Cover and Thomas, Elements of Information Theory, 10.3.3);
    λ_i is raised to ``exponent`` first, below 1 for an evener spread. The rates are rounded to
    those that cells can hold and θ is lowered until all ``n_cells`` cells are used.
    """
    log = 0.5 * exponent * np.log2(np.maximum(variances, variances[0] * 1e-9 + 1e-30))
    low, high = log.min() - 16, log.max()
    for _ in range(60):
        level = (low + high) / 2
        if len(_lay(log - level, len(log))[0]) > n_cells:
            low = level
        else:
            high = level
    first, width = _lay(log - high, len(log))
    return _fill(first, width, len(log), n_cells)


def even_cells(coordinates: int, n_cells: int) -> Ranges:
    """Cells of equal width over all coordinates, as an even spectrum asks for.

    More cells than coordinates lie in layers over them, so that every coordinate gets some.
    """
    if n_cells <= coordinates:
        cuts = np.linspace(0, coordinates, n_cells + 1).round().astype(np.int32)
        return cuts[:-1], np.diff(cuts)
    first = np.arange(n_cells, dtype=np.int32) % coordinates
    return first, np.ones(n_cells, np.int32)


def _lay(rates: Floats, coordinates: int) -> Ranges:
    """Cells for real-valued rates that fall along the coordinates."""
    first: list[int] = []
    width: list[int] = []
    at = 0
    while at < coordinates:
        rate = rates[at]
        if rate < 0.18:  # below this even sixteen coordinates share no cell
            break
        nearest = float(_RATES[np.abs(np.log2(_RATES) - np.log2(rate)).argmin()])
        span = min(max(1, round(4 / nearest)), coordinates - at)
        first += [at] * (2 if nearest == 8 else 1)
        width += [span] * (2 if nearest == 8 else 1)
        at += span
    return np.array(first, np.int32), np.array(width, np.int32)


def _fill(
    first: NDArray[np.int32], width: NDArray[np.int32], coordinates: int, n_cells: int
) -> Ranges:
    """Use up the cells that rounding left: on uncovered coordinates, then on second layers."""
    starts, widths = first.tolist(), width.tolist()
    at = starts[-1] + widths[-1] if starts else 0
    while len(starts) < n_cells and at < coordinates:
        left = coordinates - at
        span = min(left, _MAX_WIDTH if not widths else max(widths[-1], -(-left // n_cells)))
        starts.append(at)
        widths.append(span)
        at += span
    again = 0
    while len(starts) < n_cells:
        starts.append(again % coordinates)
        widths.append(1)
        again += 1
    return np.array(starts[:n_cells], np.int32), np.array(widths[:n_cells], np.int32)
