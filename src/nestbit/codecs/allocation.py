"""Bits over coordinates by reverse water-filling, and the cells that hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats

_MAX_WIDTH = 64
# A coordinate is left out when a cell of the greatest width would still give it this much more.
_TOO_FEW = 0.75

Ranges = tuple[NDArray[np.int32], NDArray[np.int32]]


def water_filling(variances: Floats, n_cells: int, bits: int, exponent: float) -> Ranges:
    """First coordinate and width of each cell of ``bits``, for coordinates of falling variance.

    The rate-distortion optimum of a Gaussian source gives coordinate i the rate
    r_i = max(0, ½ log2(λ_i / θ)) (Cover and Thomas, Elements of Information Theory, 10.3.3);
    λ_i is raised to ``exponent`` first, below 1 for an evener spread. A cell takes as many
    coordinates as its bits serve, and θ is lowered until all ``n_cells`` cells are used.
    """
    log = 0.5 * exponent * np.log2(np.maximum(variances, variances[0] * 1e-9 + 1e-30))
    low, high = log.min() - 4 * bits, log.max()
    for _ in range(60):
        level = (low + high) / 2
        if len(_lay(log - level, bits)) > n_cells:
            low = level
        else:
            high = level
    return _fill(_lay(log - high, bits), len(log), n_cells)


def even_cells(coordinates: int, n_cells: int) -> Ranges:
    """Cells of equal width over all coordinates, as an even spectrum asks for.

    More cells than coordinates lie in layers over them, so that every coordinate gets some.
    """
    if n_cells <= coordinates:
        cuts = np.linspace(0, coordinates, n_cells + 1).round().astype(np.int32)
        return cuts[:-1], np.diff(cuts)
    first = np.arange(n_cells, dtype=np.int32) % coordinates
    return first, np.ones(n_cells, np.int32)


def balanced_order(variances: Floats, ranges: Ranges) -> NDArray[np.int64]:
    """Coordinates permuted so that the cells' products of variances come out alike.

    Each coordinate, the largest first, goes to the cell with the smallest product that has
    room (eigenvalue allocation, Ge et al., Optimized Product Quantization, 2013).
    """
    width = ranges[1]
    log = np.log2(np.maximum(variances, variances.max() * 1e-9 + 1e-30))
    log -= log.min() - 1  # all positive: an empty cell is the smallest
    held: list[list[int]] = [[] for _ in width]
    product = np.zeros(len(width))
    for coordinate in np.argsort(-log, kind="stable"):
        cell = int(product.argmin())
        held[cell].append(int(coordinate))
        product[cell] += log[coordinate]
        if len(held[cell]) == width[cell]:
            product[cell] = np.inf
    return np.array([coordinate for cell in held for coordinate in cell])


def _lay(rates: Floats, bits: int) -> list[tuple[int, int]]:
    """Cells (first, width) for real-valued rates that fall along the coordinates."""
    cells: list[tuple[int, int]] = []
    at, n = 0, len(rates)
    while at < n and rates[at] > _TOO_FEW * bits / _MAX_WIDTH:
        if rates[at] > 1.5 * bits:
            # More than one cell holds: several over the same coordinate.
            cells += [(at, 1)] * round(float(rates[at]) / bits)
            at += 1
            continue
        end, served = at + 1, float(rates[at])
        while end < n and end - at < _MAX_WIDTH and served + max(rates[end], 0) / 2 < bits:
            served += max(float(rates[end]), 0)
            end += 1
        cells.append((at, end - at))
        at = end
    return cells


def _fill(cells: list[tuple[int, int]], coordinates: int, n_cells: int) -> Ranges:
    """Use up the cells that rounding left: on uncovered coordinates, then on second layers."""
    at = sum(cells[-1]) if cells else 0
    while len(cells) < n_cells and at < coordinates:
        width = cells[-1][1] + 1 if cells else -(-coordinates // n_cells)
        cells.append((at, min(width, coordinates - at)))
        at = sum(cells[-1])
    again = 0
    while len(cells) < n_cells:
        cells.append((again % coordinates, 1))
        again += 1
    first, width_of = np.array(cells[:n_cells], np.int32).T
    return np.ascontiguousarray(first), np.ascontiguousarray(width_of)
