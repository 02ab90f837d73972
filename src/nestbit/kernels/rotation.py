"""A random rotation by fast Hadamard transforms, and the encoder of RaBitQ's grids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit.errors import InputError
from nestbit.kernels import _matrix, _threads

Floats = NDArray[np.float32]


def hadamard(x: Any, signs: Any, *, inverse: bool = False, threads: int | None = None) -> Floats:
    """Return rows ``x`` (n, d) rotated, (n, r), each followed by r - d zeros before.

    ``signs`` (rounds, r) float32 are 1 and -1. A round multiplies by its signs, then applies the
    normalised Walsh-Hadamard transform to the largest power of two of dimensions, the first and
    the last ones in turns; if these are not all, then after the last the two halves of the row
    become their sum and difference times √½, a Kac walk. Three rounds for a power of two, else
    six, leave no trace of single coordinates. ``inverse`` undoes a rotation. Raises `InputError`
    for another dtype or shape.
    """
    x = _matrix(x, "x", np.float32)
    signs = np.ascontiguousarray(_matrix(signs, "signs", np.float32))
    if len(signs) == 0 or x.shape[1] > signs.shape[1]:
        raise InputError(f"signs of shape {signs.shape} cannot rotate x of shape {x.shape}")
    return _native.hadamard(x, signs, inverse, _threads(threads))


def rabitq_encode(
    z: Any, bits: int, *, threads: int | None = None
) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Return codes of rows ``z`` (n, r), and (n,) each ⟨ẑ, z⟩ and ‖ẑ‖² of the grid points ẑ.

    A point has code - (2^bits - 1) / 2 at every coordinate, ``bits`` from 1 to 8. Of the nearest
    points under eight steps of the grid, for one bit under one, the first of largest
    ⟨ẑ, z⟩ / ‖ẑ‖ is taken. The codes are cells of four bits, two to a byte: of each four
    coordinates the planes, the highest first. Raises `InputError` for another dtype, or r not a
    multiple of 4.
    """
    z = _matrix(z, "z", np.float32)
    if z.shape[1] % 4 or not 1 <= bits <= 8:
        raise InputError(f"rabitq codes 4 coordinates at once by 1 to 8 bits, got {z.shape[1]}")
    codes, sums = _native.rabitq_encode(z, bits, _threads(threads))
    return codes, sums[0], sums[1]
