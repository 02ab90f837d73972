"""Encoding rows into bytes equals the NumPy oracle."""

from __future__ import annotations

import numpy as np
import pytest

from nestbit import kernels
from nestbit.errors import InputError
from nestbit.kernels import reference

every_dtype = pytest.mark.parametrize("dtype", [np.int8, np.uint8])


@every_dtype
@pytest.mark.parametrize("dim", [1, 2, 5, 7, 8, 15, 16, 17, 100, 1025])
def test_every_dimension_equals_the_oracle(dtype, dim):
    rng = np.random.default_rng(dim)
    offset, inverse = rng.normal(size=(2, dim)).astype(np.float32)
    inverse[::5] = 0
    for n in (0, 1, 33):
        whole = (100 * rng.normal(size=(n, dim + 3))).astype(np.float32)
        for z in (whole[:, :dim], whole[::-1, 3:]):
            codes, clipped = kernels.bytes_encode(z, offset, inverse, dtype)
            expected, expected_clipped = reference.bytes_encode(z, offset, inverse, dtype)
            assert codes.dtype == dtype
            np.testing.assert_array_equal(codes, expected)
            assert clipped == expected_clipped


@every_dtype
def test_halves_go_to_even_and_the_range_ends_where_it_should(dtype):
    z = np.arange(-600, 601, dtype=np.float32)[:, None] / 2
    z = np.concatenate([z, np.nextafter(z, np.float32(np.inf)), np.nextafter(z, np.float32(-1e9))])
    z = np.concatenate([z, np.array([[3e38], [-3e38], [1e-40], [-0.0]], np.float32)])
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    codes, clipped = kernels.bytes_encode(z, zero, one, dtype)
    expected, expected_clipped = reference.bytes_encode(z, zero, one, dtype)
    np.testing.assert_array_equal(codes, expected)
    assert clipped == expected_clipped


@every_dtype
def test_thread_count_changes_nothing(dtype):
    rng = np.random.default_rng(3)
    z = (100 * rng.normal(size=(3000, 300))).astype(np.float32)
    offset, inverse = rng.normal(size=(2, 300)).astype(np.float32)
    one, clipped = kernels.bytes_encode(z, offset, inverse, dtype, threads=1)
    assert clipped > 0
    for threads in (2, 3, 7):
        more, same = kernels.bytes_encode(z, offset, inverse, dtype, threads=threads)
        np.testing.assert_array_equal(more, one)
        assert same == clipped


def test_bad_input_is_refused_by_name():
    z, row = np.zeros((3, 4), np.float32), np.ones(4, np.float32)
    with pytest.raises(InputError, match="z must be"):
        kernels.bytes_encode(z.astype(np.float64), row, row, np.int8)
    with pytest.raises(InputError, match="inverse must be"):
        kernels.bytes_encode(z, row, row[:3], np.int8)
    with pytest.raises(InputError, match="offset hold NaN"):
        kernels.bytes_encode(z, row * np.float32(np.nan), row, np.int8)
    with pytest.raises(InputError, match="int8 or uint8"):
        kernels.bytes_encode(z, row, row, np.int16)
