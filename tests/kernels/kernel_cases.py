"""Random inputs and the instruction sets the kernel tests run over."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit.kernels import reference

ISAS = _native.available_isas()
DIMS = [1, 2, 5, 7, 8, 13, 40, 63, 64, 65, 100, 127, 384, 1000, 1024, 1025]
ROWS = [1, 2, 7, 8, 9, 63, 64, 65, 1000]
QUERIES = [1, 2, 3, 4, 5, 16, 17, 64]


def random_bits(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.uint8]:
    return np.packbits(rng.integers(0, 2, (n, dim), dtype=np.uint8), axis=1)


def random_bytes(rng: np.random.Generator, n: int, dim: int, dtype: type) -> NDArray[np.integer]:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (n, dim), dtype=dtype, endpoint=True)


def random_weights(rng: np.random.Generator, m: int, dim: int) -> NDArray[np.int8]:
    return rng.integers(-127, 127, (m, dim), dtype=np.int8, endpoint=True)


def random_factors(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    return rng.normal(size=n).astype(np.float32)


def random_cell_terms(
    rng: np.random.Generator, n: int, m: int, row_scale: type | None
) -> dict[str, Any]:
    """Every factor of a score; the row scales hold zeros of both signs and subnormals."""
    scale = random_factors(rng, n)
    scale[::7], scale[3::7], scale[5::7] = 0.0, -0.0, 1e-40 if row_scale == np.float32 else 3e-8
    return {
        "scales": random_factors(rng, m),
        "bases": random_factors(rng, m) * np.float32(1000),
        "row_scale": None if row_scale is None else scale.astype(row_scale),
        "row_bias": random_factors(rng, n),
    }


def assert_cells_equal_the_oracle(
    isa: str, rows: Any, tables: Any, k: int, threads: int = 1, **terms: Any
) -> None:
    """The scan of cells, of four or eight bits, returns the oracle's ids and bits of scores."""
    names = ("scales", "bases", "row_scale", "row_bias")
    given_terms = [terms.get(name) for name in names]
    got = _native.cells_scan(rows, tables, k, *given_terms, threads, isa=isa)
    ids, scores = reference.cells_scan(rows, tables, k, **terms)
    np.testing.assert_array_equal(got[0], ids)
    bits = np.ascontiguousarray(got[1]).view(np.int32)
    np.testing.assert_array_equal(bits, np.ascontiguousarray(scores).view(np.int32))


def shapes() -> list[tuple[int, int, int]]:
    """Every dim, row count and query count at least once, the small ones in all combinations."""
    small = [(n, m, dim) for n in (1, 8, 9, 65) for m in (1, 4, 5, 17) for dim in (1, 7, 64, 65)]
    large = [
        (ROWS[i % len(ROWS)], QUERIES[(i * 5 + 3) % len(QUERIES)], dim)
        for i, dim in enumerate(DIMS * 5)
    ]
    return sorted(set(small + large))
