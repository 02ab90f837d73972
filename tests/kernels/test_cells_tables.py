"""Tables of queries over cells equal the NumPy oracle, bit for bit, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS

from nestbit import _native, kernels
from nestbit.errors import InputError
from nestbit.kernels import reference

every_isa = pytest.mark.parametrize("isa", ISAS)
every_book = pytest.mark.parametrize("k", [16, 256])


def random_cells(rng, k, r, cells):
    """Cells that may overlap, and their books."""
    first = rng.integers(0, r, cells).astype(np.int32)
    width = rng.integers(1, r - first + 1).astype(np.int32)
    books = rng.normal(size=(int(width.sum()), k)).astype(np.float32)
    return first, width, books


def assert_equals_the_oracle(isa, z, first, width, books, threads=1):
    got = _native.cells_tables(z, first, width, books, threads, isa=isa)
    expected = reference.cells_tables(z, first, width, books)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    return got


@every_isa
@every_book
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_tables_equal_the_oracle(isa, k, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    r, m = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([0, 1, 2, 7]))
    z = rng.normal(size=(m, r)).astype(np.float32)
    cells = random_cells(rng, k, r, data.draw(st.integers(1, 9)))
    tables, rounded, _, _ = assert_equals_the_oracle(isa, z, *cells)
    assert tables.shape == rounded.shape == (m, reference_count(k, len(cells[0])), k)


def reference_count(k, cells):
    return cells + cells % 2 if k == 16 else cells


@every_isa
@every_book
def test_queries_may_be_strided_and_shared_among_threads(isa, k):
    rng = np.random.default_rng(1)
    cells = random_cells(rng, k, 60, 40)
    whole = rng.normal(size=(90, 130)).astype(np.float32)
    for z in (whole[:, 7:67], whole[::-2, :60]):
        for threads in (1, 3):
            assert_equals_the_oracle(isa, z, *cells, threads=threads)


@every_isa
@every_book
def test_tables_without_a_range_and_tiny_and_huge_ones_equal_the_oracle(isa, k):
    rng = np.random.default_rng(2)
    first, width, books = random_cells(rng, k, 12, 5)
    z = rng.normal(size=(6, 12)).astype(np.float32)
    z[0], z[1] = 0, -0.0
    for size in (0, 1e-44, 1e-40, 1e15):
        assert_equals_the_oracle(isa, z, first, width, (size * books).astype(np.float32))
    flat = np.repeat(books[:, :1], k, axis=1)
    _, rounded, scale, _ = assert_equals_the_oracle(isa, z, first, width, flat)
    assert not rounded.any()
    assert not scale.any()


@every_book
def test_rounded_tables_keep_their_bound(k):
    rng = np.random.default_rng(3)
    first, width = np.arange(0, 48, 2, dtype=np.int32), np.full(24, 2, np.int32)
    books = rng.normal(size=(48, k)).astype(np.float32)
    z = rng.normal(size=(5, 48)).astype(np.float32)
    tables, rounded, scale, base = kernels.cells_tables(z, first, width, books)
    cells, picked = np.arange(24), rng.integers(0, k, (200, 24))
    exact = tables[:, cells, picked].sum(axis=2, dtype=np.float64)
    sums = rounded[:, cells, picked].sum(axis=2, dtype=np.int64)
    error = np.abs(scale[:, None] * sums + base[:, None] - exact)
    assert np.all(error <= 24 * scale[:, None] / 2 + 1e-4)
    np.testing.assert_array_equal(rounded.max(axis=(1, 2)), 255)
    products = (z.reshape(5, 24, 1, 2) * books.reshape(24, 2, k).swapaxes(1, 2)).sum(axis=3)
    np.testing.assert_allclose(tables, products, rtol=1e-5, atol=1e-5)


@every_book
def test_bad_input_is_refused_by_name(k):
    rng = np.random.default_rng(4)
    first, width = np.array([0, 2], np.int32), np.array([2, 3], np.int32)
    books = rng.normal(size=(5, k)).astype(np.float32)
    z = np.zeros((4, 5), np.float32)

    def tables(**changed):
        given_ = {"z": z, "first": first, "width": width, "books": books} | changed
        kernels.cells_tables(**given_)

    tables()
    for message, changed in {
        "z must be": {"z": z.astype(np.float64)},
        "cell 1 of 3 coordinates from 2 on is not inside 4": {"z": z[:, :4]},
        "cell 0 of 0 coordinates": {"width": np.array([0, 5], np.int32)},
        "int32 arrays of one shape": {"first": first.astype(np.int64)},
        "books must be": {"books": books.astype(np.float64)},
        "books, transposed, must have 5 columns": {"books": books[1:]},
        "16 or 256 rows": {"books": books[:, 1:]},
        "query 2 are not finite": {"z": np.diag([0, 0, np.inf, 0, 0]).astype(np.float32)},
        "query 0 are not finite": {"z": np.full((1, 5), 3e38, np.float32)},
    }.items():
        with pytest.raises(InputError, match=message):
            tables(**changed)
