"""Rescoring agrees with float64 sums on every instruction set of this machine."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import DIMS, ISAS, random_bits, random_bytes

from nestbit import _native
from nestbit.kernels import reference

pytestmark = pytest.mark.parametrize("isa", ISAS)

DTYPES = [np.int8, np.uint8, np.float16, np.float32, np.uint16]


def random_rows(rng, n, dim, dtype):
    if np.dtype(dtype).itemsize == 1:
        return random_bytes(rng, n, dim, dtype)
    floats = rng.normal(size=(n, dim)).astype(np.float32)
    if dtype is np.uint16:  # bfloat16
        return (floats.view(np.uint32) >> 16).astype(np.uint16)
    return floats.astype(dtype)


def as_float64(rows):
    if rows.dtype == np.uint16:
        return (rows.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return rows.astype(np.float64)


def assert_sums(got, rows64, ids, weights):
    terms = rows64[ids] * weights.astype(np.float64)[:, None, :]
    # Single-precision summation in any order: an error of a few units in the terms' total size.
    assert (np.abs(got - terms.sum(axis=2)) <= 2e-6 * np.abs(terms).sum(axis=2)).all()
    assert got.dtype == np.float32


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rescoring_is_the_dot_product(isa, dtype, dim):
    rng = np.random.default_rng(dim)
    rows = random_rows(rng, 50, dim, dtype)
    weights = rng.normal(size=(4, dim)).astype(np.float32)
    ids = rng.integers(0, 50, (4, 21))
    assert_sums(_native.rescore(rows, ids, weights, 2, isa=isa), as_float64(rows), ids, weights)


@pytest.mark.parametrize("dim", DIMS)
def test_rescoring_bits_sums_the_weights_of_the_ones(isa, dim):
    rng = np.random.default_rng(dim)
    rows = random_bits(rng, 50, dim)
    weights = rng.normal(size=(4, dim)).astype(np.float32)
    ids = rng.integers(0, 50, (4, 21))
    bits = np.unpackbits(rows, axis=1, count=dim)
    got = _native.bits_rescore(rows, ids, weights, 2, isa=isa)
    assert_sums(got, bits.astype(np.float64), ids, weights)


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_with_a_row_stride_are_read_in_place(isa, dtype):
    rng = np.random.default_rng(3)
    whole = random_rows(rng, 30, 77, dtype)
    for view in (whole[:, 3:70], whole[::-2, :65], whole[:, :1]):
        weights = rng.normal(size=(2, view.shape[1])).astype(np.float32)
        ids = rng.integers(0, len(view), (2, 9))
        got = _native.rescore(view, ids, weights, 1, isa=isa)
        assert_sums(got, as_float64(np.ascontiguousarray(view)), ids, weights)


def test_every_float16_value_is_read_exactly(isa):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    rows = every[np.isfinite(every)][:, None].copy()
    ids = np.arange(len(rows))[None, :]
    got = _native.rescore(rows, ids, np.ones((1, 1), np.float32), 1, isa=isa)
    np.testing.assert_array_equal(got[0], rows[:, 0].astype(np.float32))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_thread_count_does_not_change_the_result(isa, threads):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(500, 1000)).astype(np.float32)
    for m, c in [(1, 2000), (3, 700), (40, 50), (0, 5), (5, 0)]:
        weights = rng.normal(size=(m, 1000)).astype(np.float32)
        ids = rng.integers(0, 500, (m, c))
        got = _native.rescore(rows, ids, weights, threads, isa=isa)
        np.testing.assert_array_equal(got, _native.rescore(rows, ids, weights, 1, isa=isa))
        np.testing.assert_allclose(got, reference.floats_rescore(rows, ids, weights), atol=1e-3)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 64, 65, 255, 256, 257, 4099])
def test_read_bytes_sums_the_words(isa, size):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    padded = np.zeros(-(-size // 8) * 8, np.uint8)
    padded[:size] = data
    assert _native.read_bytes(data, isa=isa) == int(padded.view(np.uint64).sum(dtype=np.uint64))
