"""The scan of 8-bit cells equals the NumPy oracle, bit for bit, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS, assert_cells_equal_the_oracle, random_bytes, random_cell_terms

from nestbit import _native
from nestbit.kernels import reference

pytestmark = pytest.mark.parametrize("isa", ISAS)

WIDTHS = [1, 2, 3, 5, 7, 15, 16, 17, 31, 32, 33, 64, 65, 100, 130, 255, 256, 257, 513]
ROWS = [1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 192, 193, 500]
QUERIES = [1, 2, 3, 4, 5, 6, 7, 9, 33]


def random_tables(rng, m, width):
    return rng.integers(0, 256, (m, width, 256), dtype=np.uint8)


@pytest.mark.parametrize("row_scale", [None, np.float16, np.float32])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_width_equals_the_oracle(isa, width, row_scale):
    rng = np.random.default_rng(width)
    for i, n in enumerate(ROWS):
        m = QUERIES[(width + 3 * i) % len(QUERIES)]
        rows, tables = random_bytes(rng, n, width, np.uint8), random_tables(rng, m, width)
        terms = random_cell_terms(rng, n, m, row_scale)
        for k in sorted({1, min(n, 10), n}):
            assert_cells_equal_the_oracle(isa, rows, tables, k, **terms)


@pytest.mark.parametrize("m", QUERIES)
@pytest.mark.parametrize("n", ROWS)
def test_every_count_of_rows_and_queries_equals_the_oracle(isa, n, m):
    rng = np.random.default_rng([n, m])
    for width in (1, 4, 9, 16, 40):
        rows, tables = random_bytes(rng, n, width, np.uint8), random_tables(rng, m, width)
        assert_cells_equal_the_oracle(isa, rows, tables, n)


@pytest.mark.parametrize("m", [1, 2, 5])
@pytest.mark.parametrize("width", [256, 257, 600, 65536])
def test_the_largest_tables_do_not_overflow(isa, width, m):
    rows = random_bytes(np.random.default_rng(m), 20, width, np.uint8)
    tables = np.full((m, width, 256), 255, np.uint8)
    ids, scores = _native.cells_scan(rows, tables, 20, None, None, None, None, 1, isa=isa)
    np.testing.assert_array_equal(ids, np.tile(np.arange(20), (m, 1)))
    assert (scores == np.float32(255 * width)).all()


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_each_byte_looks_in_its_own_table(isa, m):
    # One byte of a row differs from zero; only its own table tells its value.
    width, every = 37, np.arange(256)
    for cell in range(width):
        rows = np.zeros((256, width), np.uint8)
        rows[:, cell] = every
        tables = np.zeros((m, width, 256), np.uint8)
        tables[:, cell] = every
        got = _native.cells_scan(rows, tables, 256, None, None, None, None, 1, isa=isa)
        np.testing.assert_array_equal(got[0], np.tile(every[::-1], (m, 1)))
        np.testing.assert_array_equal(got[1], np.tile(every[::-1], (m, 1)))


@pytest.mark.parametrize("m", [1, 2, 5, 20])
def test_views_with_a_row_stride_are_read_in_place(isa, m):
    rng = np.random.default_rng(m)
    for n, width, offset in [(1, 3, 1), (70, 13, 5), (200, 65, 3), (33, 128, 7), (90, 24, 0)]:
        whole = random_bytes(rng, n, width + 20, np.uint8)
        rows = whole[:, offset : offset + width]
        tables = random_tables(rng, m, width)
        for view in (rows, rows[::-1], rows[::3]):
            assert_cells_equal_the_oracle(isa, view, tables, 1)
        for prefix in (1, width // 2, width):
            part = np.ascontiguousarray(tables[:, :prefix])
            assert_cells_equal_the_oracle(isa, whole[:, :prefix], part, n)


@pytest.mark.parametrize("m", [1, 3, 20])
def test_ties_go_to_the_smaller_id(isa, m):
    rng = np.random.default_rng(m)
    # Two megabytes of rows, so that several threads share them; few distinct scores.
    rows = random_bytes(rng, 7, 64, np.uint8)[rng.integers(0, 7, 33_000)]
    tables = random_tables(rng, m, 64)
    ids, scores = reference.cells_scan(rows, tables, 3000)
    for threads in (1, 2, 5):
        for k in (1, 100, 3000):
            got = _native.cells_scan(rows, tables, k, None, None, None, None, threads, isa=isa)
            np.testing.assert_array_equal(got[0], ids[:, :k])
            np.testing.assert_array_equal(got[1], scores[:, :k])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_shape_k_and_thread_count_gives_the_oracle_s_answer(isa, data):
    n = data.draw(st.integers(1, 400), label="n")
    m = data.draw(st.integers(0, 20), label="m")
    width = data.draw(st.integers(1, 150), label="width")
    k = data.draw(st.integers(1, n), label="k")
    threads = data.draw(st.integers(1, 4), label="threads")
    distinct = data.draw(st.integers(1, n), label="distinct rows")
    row_scale = data.draw(st.sampled_from([None, np.float16, np.float32]), label="row scale")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    pick = rng.integers(0, distinct, n)
    terms = random_cell_terms(rng, distinct, m, row_scale)
    for name in ("row_scale", "row_bias"):
        terms[name] = None if terms[name] is None else terms[name][pick]
    rows = random_bytes(rng, distinct, width, np.uint8)[pick]
    tables = random_tables(rng, m, width)
    assert_cells_equal_the_oracle(isa, rows, tables, k, threads, **terms)


def test_many_queries_in_several_passes_equal_the_oracle(isa):
    rng = np.random.default_rng(5)
    rows, tables = random_bytes(rng, 300, 256, np.uint8), random_tables(rng, 50, 256)
    assert_cells_equal_the_oracle(isa, rows, tables, 7, 3)


@pytest.mark.parametrize("width", WIDTHS)
def test_rescoring_sums_the_float_tables(isa, width):
    rng = np.random.default_rng(width)
    whole = random_bytes(rng, 50, width + 9, np.uint8)
    tables = rng.normal(size=(4, width, 256)).astype(np.float32)
    for rows in (
        np.ascontiguousarray(whole[:, :width]),
        whole[:, 4 : 4 + width],
        whole[::-2, :width],
    ):
        for c in (1, 5, 40):
            ids = rng.integers(0, len(rows), (4, c))
            got = _native.cells_rescore(rows, ids, tables, 2, isa=isa)
            assert got.dtype == np.float32
            expected = reference.cells_rescore(rows, ids, tables)
            sizes = reference.cells_rescore(rows, ids, np.abs(tables))
            assert (np.abs(got - expected) <= 2e-6 * sizes).all()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_thread_count_does_not_change_rescoring(isa, threads):
    rng = np.random.default_rng(4)
    rows = random_bytes(rng, 500, 100, np.uint8)
    for m, c in [(1, 8000), (3, 2000), (40, 50), (0, 5), (5, 0)]:
        tables = rng.normal(size=(m, 100, 256)).astype(np.float32)
        ids = rng.integers(0, 500, (m, c))
        got = _native.cells_rescore(rows, ids, tables, threads, isa=isa)
        np.testing.assert_array_equal(got, _native.cells_rescore(rows, ids, tables, 1, isa=isa))
