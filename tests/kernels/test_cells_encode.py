"""Encoding rows into cells equals the NumPy oracle, bit for bit, on every instruction set."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS

from nestbit import _native, kernels
from nestbit.errors import InputError
from nestbit.kernels import reference

BOOKS = [16, 256]
ROWS = [0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 131]

every_isa = pytest.mark.parametrize("isa", ISAS)
every_book = pytest.mark.parametrize("k", BOOKS)


def side_by_side(widths):
    width = np.array(widths, np.int32)
    return (np.cumsum(width) - width).astype(np.int32), width


def random_books(rng, k, width):
    """Centroids, and what they decode to."""
    centroids = rng.normal(size=(k, int(width.sum()))).astype(np.float32)
    return centroids, centroids / rng.uniform(0.5, 1, centroids.shape[1]).astype(np.float32)


def assert_equals_the_oracle(isa, z, first, width, centroids, decoded, threads=1):
    codes, sums = _native.cells_encode(z, first, width, centroids, decoded, threads, isa=isa)
    expected = reference.cells_encode(z, first, width, centroids, decoded)
    np.testing.assert_array_equal(codes, expected[0])
    np.testing.assert_array_equal(sums[0], expected[1])
    np.testing.assert_array_equal(sums[1], expected[2])
    return codes


@every_isa
@every_book
@pytest.mark.parametrize("n", ROWS)
def test_cells_side_by_side_equal_the_oracle(isa, k, n):
    rng = np.random.default_rng(n)
    first, width = side_by_side([1, 4, 2, 16, 3, 1, 7, 5, 8])
    z = rng.normal(size=(n, int(width.sum()) + 3)).astype(np.float32)
    assert_equals_the_oracle(isa, z, first, width, *random_books(rng, k, width))


@every_isa
@every_book
@pytest.mark.parametrize("cell", range(1, 41))
def test_cells_of_every_width_equal_the_oracle(isa, k, cell):
    rng = np.random.default_rng(cell)
    first, width = side_by_side([cell] * 2)
    z = rng.normal(size=(21, 2 * cell)).astype(np.float32)
    assert_equals_the_oracle(isa, z, first, width, *random_books(rng, k, width))


@every_isa
@every_book
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_overlapping_cells_equal_the_oracle(isa, k, data):
    r = data.draw(st.integers(1, 30))
    starts = data.draw(st.lists(st.integers(0, r - 1), min_size=1, max_size=9))
    widths = [data.draw(st.integers(1, r - start)) for start in starts]
    first, width = np.array(starts, np.int32), np.array(widths, np.int32)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    z = rng.normal(size=(data.draw(st.sampled_from(ROWS)), r)).astype(np.float32)
    assert_equals_the_oracle(isa, z, first, width, *random_books(rng, k, width))


@every_isa
@every_book
def test_the_first_of_equal_centroids_is_chosen(isa, k):
    rng = np.random.default_rng(5)
    first, width = side_by_side([3, 1, 2])
    few = rng.integers(-1, 2, (k // 4, 6)).astype(np.float32)
    centroids = np.tile(few, (4, 1))
    z = rng.integers(-2, 3, (200, 6)).astype(np.float32)
    codes = assert_equals_the_oracle(isa, z, first, width, centroids, centroids)
    chosen = codes if k == 256 else np.stack([codes & 15, codes >> 4])
    assert chosen.max() < k // 4


@every_isa
@every_book
def test_rows_may_be_strided(isa, k):
    rng = np.random.default_rng(6)
    first, width = side_by_side([2, 5, 1])
    books = random_books(rng, k, width)
    whole = rng.normal(size=(90, 20)).astype(np.float32)
    for z in (whole[:, 7:15], whole[::-2, :8], whole[::3, 12:]):
        assert_equals_the_oracle(isa, z, first, width, *books)


@every_isa
@every_book
def test_tiny_and_huge_coordinates_equal_the_oracle(isa, k):
    rng = np.random.default_rng(7)
    first, width = side_by_side([2, 3])
    for size in (1e-22, 1e-38, 1e15):
        centroids, decoded = (size * book for book in random_books(rng, k, width))
        z = (size * rng.normal(size=(40, 5))).astype(np.float32)
        as_floats = centroids.astype(np.float32), decoded.astype(np.float32)
        assert_equals_the_oracle(isa, z, first, width, *as_floats)


@every_isa
def test_a_score_that_is_not_a_number_is_never_chosen(isa):
    first, width = side_by_side([1])
    centroids = np.zeros((16, 1), np.float32)
    centroids[5] = 1
    z = np.array([[np.inf], [-np.inf], [np.nan], [2]], np.float32)
    codes, _ = _native.cells_encode(z, first, width, centroids, centroids, 1, isa=isa)
    assert codes[:, 0].tolist() == [5, 0, 0, 5]


@every_isa
@every_book
def test_thread_count_changes_nothing(isa, k):
    rng = np.random.default_rng(8)
    first, width = side_by_side([4] * 5)
    z = rng.normal(size=(1500, 20)).astype(np.float32)
    books = random_books(rng, k, width)
    one = _native.cells_encode(z, first, width, *books, 1, isa=isa)
    for threads in (2, 3, 7):
        more = _native.cells_encode(z, first, width, *books, threads, isa=isa)
        for a, b in zip(one, more, strict=True):
            np.testing.assert_array_equal(a, b)


@every_book
@pytest.mark.parametrize("n", [*ROWS, 1100])
def test_decoding_equals_the_oracle(k, n):
    rng = np.random.default_rng(n)
    first = np.array([0, 4, 2, 9, 9], np.int32)
    width = np.array([5, 3, 6, 1, 3], np.int32)
    centroids, decoded = random_books(rng, k, width)
    z = rng.normal(size=(n, 14)).astype(np.float32)
    codes, along, length2 = kernels.cells_encode(z, first, width, centroids, decoded)
    padded = np.pad(codes, [(0, 0), (2, 1)])
    for rows in (codes, padded[:, 2:-1], codes[::-1]):
        got = kernels.cells_decode(rows, first, width, decoded, 14, threads=2)
        assert got.shape == (n, 14)
        np.testing.assert_array_equal(got, reference.cells_decode(rows, first, width, decoded, 14))
    back = kernels.cells_decode(codes, first, width, decoded, 14).astype(np.float64)
    np.testing.assert_allclose(along, (back * z).sum(axis=1), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(length2, (back * back).sum(axis=1), rtol=1e-5, atol=1e-4)


def test_the_oracle_rounds_a_product_and_sum_once():
    rng = np.random.default_rng(9)
    x, y, z = (rng.normal(size=3000).astype(np.float32) for _ in range(3))
    z[::3] *= np.float32(2.0**-30)
    z[1::3] *= np.float32(2.0**30)
    # Halfway between two floats, but for the last bit of a far smaller addend.
    x[:2], y[:2], z[:2] = 1 + 2.0**-12, 1 + 2.0**-12, [2.0**-80, -(2.0**-80)]
    for a, b, c, got in zip(x, y, z, reference._fma(x, y, z), strict=True):
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        near = [np.nextafter(got, np.float32(s * np.inf)) for s in (-1, 1)]
        errors = [abs(exact - Fraction(float(v))) for v in near]
        assert abs(exact - Fraction(float(got))) <= min(errors)
    assert np.diff(reference._fma(x, y, z)[:2])[0] < 0


@every_book
def test_bad_input_is_refused_by_name(k):
    rng = np.random.default_rng(10)
    first, width = side_by_side([2, 3])
    centroids, decoded = random_books(rng, k, width)
    z = np.zeros((4, 5), np.float32)

    def encode(**changed):
        given_ = {"first": first, "width": width, "centroids": centroids, "decoded": decoded}
        kernels.cells_encode(changed.pop("z", z), **(given_ | changed))

    encode()
    for message, changed in {
        "z must be": {"z": z.astype(np.float64)},
        "cell 1 of 3 coordinates from 2 on is not inside 4": {"z": z[:, :4]},
        "cell 0 of 2 coordinates from -1": {"first": first - np.int32(1)},
        "cell 0 of 0 coordinates": {"width": np.array([0, 5], np.int32)},
        "int32 arrays of one shape": {"first": first.astype(np.int64)},
        r"of shape \(1,\) and": {"first": first[:1]},
        "centroids must have 5 columns": {"centroids": centroids[:, 1:]},
        "16 or 256 rows": {"centroids": centroids[:15]},
        r"decoded must have shape \(": {"decoded": random_books(rng, 272 - k, width)[1]},
    }.items():
        with pytest.raises(InputError, match=message):
            encode(**changed)
    n_bytes = 1 if k == 16 else 2
    with pytest.raises(InputError, match=f"codes must have {n_bytes} columns"):
        kernels.cells_decode(np.zeros((3, 3), np.uint8), first, width, decoded, 5)
