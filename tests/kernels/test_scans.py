"""The scans equal the NumPy oracle, bit for bit, on every instruction set of this machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    ISAS,
    random_bits,
    random_bytes,
    random_factors,
    random_weights,
    shapes,
)

from nestbit import _native
from nestbit.kernels import reference

pytestmark = pytest.mark.parametrize("isa", ISAS)


def assert_same(got, expected):
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(
        np.ascontiguousarray(got[1]).view(np.int32),
        np.ascontiguousarray(expected[1]).view(np.int32),
    )


def ks(n):
    return sorted({1, min(n, 10), n})


@pytest.mark.parametrize(("n", "m", "dim"), shapes())
def test_hamming_scan_equals_the_oracle(isa, n, m, dim):
    rng = np.random.default_rng([n, m, dim])
    rows, queries = random_bits(rng, n, dim), random_bits(rng, m, dim)
    for k in ks(n):
        got = _native.hamming_scan(rows, queries, k, 1, isa=isa)
        assert_same(got, reference.hamming_scan(rows, queries, k))


@pytest.mark.parametrize(("n", "m", "dim"), shapes())
def test_bits_scan_equals_the_oracle(isa, n, m, dim):
    rng = np.random.default_rng([n, m, dim])
    rows, weights = random_bits(rng, n, dim), random_weights(rng, m, dim)
    scales, bias = random_factors(rng, m), random_factors(rng, n)
    for k in ks(n):
        got = _native.bits_scan(rows, weights, k, scales, bias, 1, isa=isa)
        assert_same(got, reference.bits_scan(rows, weights, k, scales=scales, row_bias=bias))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize(("n", "m", "dim"), shapes())
def test_bytes_scan_equals_the_oracle(isa, dtype, n, m, dim):
    rng = np.random.default_rng([n, m, dim])
    rows, weights = random_bytes(rng, n, dim, dtype), random_weights(rng, m, dim)
    scales, bias = random_factors(rng, m), random_factors(rng, n)
    for k in ks(n):
        got = _native.bytes_scan(rows, weights, k, scales, bias, 1, isa=isa)
        assert_same(got, reference.bytes_scan(rows, weights, k, scales=scales, row_bias=bias))


@pytest.mark.parametrize("row", [-128, 127, 0, 255])
@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("m", [1, 17])
def test_extreme_bytes_do_not_saturate(isa, row, weight, m):
    dtype = np.uint8 if row == 255 else np.int8
    for dim in (1024, 65536):
        rows = np.full((3, dim), row, dtype)
        rows[1, dim // 2] = 1
        weights = np.full((m, dim), weight, np.int8)
        got = _native.bytes_scan(rows, weights, 3, None, None, 1, isa=isa)
        assert_same(got, reference.bytes_scan(rows, weights, 3))


@pytest.mark.parametrize("m", [1, 3, 16, 33])
def test_the_widest_bits_are_summed_exactly(isa, m):
    rng = np.random.default_rng(m)
    rows = random_bits(rng, 20, 65536)
    rows[3] = 255
    weights = np.full((m, 65536), 127, np.int8)
    got = _native.bits_scan(rows, weights, 20, None, None, 1, isa=isa)
    assert_same(got, reference.bits_scan(rows, weights, 20))
    got = _native.hamming_scan(rows, rows[:m], 20, 1, isa=isa)
    assert_same(got, reference.hamming_scan(rows, rows[:m], 20))


@pytest.mark.parametrize("m", [1, 2, 5, 16, 40])
def test_views_with_a_row_stride_are_read_in_place(isa, m):
    rng = np.random.default_rng(m)
    for n, width, offset in [(1, 3, 1), (70, 13, 5), (200, 65, 3), (33, 128, 7)]:
        whole = random_bytes(rng, n, width + 20, np.uint8)
        rows = whole[:, offset : offset + width]
        queries = random_bytes(rng, m, width + 9, np.uint8)[:, 4 : 4 + width]
        weights = random_weights(rng, m, width + 3)[:, 1 : 1 + width]
        assert_same(
            _native.hamming_scan(rows, queries, 1, 1, isa=isa),
            reference.hamming_scan(rows, queries, 1),
        )
        for view in (rows, rows.view(np.int8), rows[::-1], rows[::3]):
            assert_same(
                _native.bytes_scan(view, weights, 1, None, None, 1, isa=isa),
                reference.bytes_scan(view, weights, 1),
            )
        wide = random_weights(rng, m, width * 8)
        assert_same(
            _native.bits_scan(rows, wide, 1, None, None, 1, isa=isa),
            reference.bits_scan(rows, wide, 1),
        )


@pytest.mark.parametrize("m", [1, 3, 20])
def test_ties_go_to_the_smaller_id(isa, m):
    rng = np.random.default_rng(m)
    # Two megabytes of rows, so that several threads share them; few distinct scores.
    rows = random_bits(rng, 7, 512)[rng.integers(0, 7, 33_000)]
    queries = random_bits(rng, m, 512)
    ids, distances = reference.hamming_scan(rows, queries, 3000)
    for threads in (1, 2, 5):
        for k in (1, 100, 3000):
            got = _native.hamming_scan(rows, queries, k, threads, isa=isa)
            assert_same(got, (ids[:, :k], distances[:, :k]))


def test_negative_zero_ties_with_zero(isa):
    rows = np.zeros((40, 8), np.int8)
    bias = np.where(np.arange(40) % 2, np.float32(-0.0), np.float32(0.0))
    weights = np.ones((2, 8), np.int8)
    scales = np.array([-1, 1], np.float32)
    for row_bias in (bias, None):
        ids, scores = _native.bytes_scan(rows, weights, 40, scales, row_bias, 1, isa=isa)
        np.testing.assert_array_equal(ids, np.tile(np.arange(40), (2, 1)))
        assert not np.signbit(scores).any()


def test_overflowing_scores_still_return_k_rows(isa):
    rows = np.full((100, 4), 127, np.int8)
    weights = np.full((1, 4), 127, np.int8)
    scales = np.array([-3e38], np.float32)
    ids, scores = _native.bytes_scan(rows, weights, 70, scales, None, 1, isa=isa)
    np.testing.assert_array_equal(ids[0], np.arange(70))
    assert np.isneginf(scores).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_shape_k_and_thread_count_gives_the_oracle_s_answer(isa, data):
    n = data.draw(st.integers(1, 400), label="n")
    m = data.draw(st.integers(0, 70), label="m")
    dim = data.draw(st.integers(1, 300), label="dim")
    k = data.draw(st.integers(1, n), label="k")
    threads = data.draw(st.integers(1, 4), label="threads")
    distinct = data.draw(st.integers(1, n), label="distinct rows")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    pick = rng.integers(0, distinct, n)
    scales, bias = random_factors(rng, m), random_factors(rng, distinct)[pick]
    weights = random_weights(rng, m, dim)

    bits, queries = random_bits(rng, distinct, dim)[pick], random_bits(rng, m, dim)
    assert_same(
        _native.hamming_scan(bits, queries, k, threads, isa=isa),
        reference.hamming_scan(bits, queries, k),
    )
    assert_same(
        _native.bits_scan(bits, weights, k, scales, bias, threads, isa=isa),
        reference.bits_scan(bits, weights, k, scales=scales, row_bias=bias),
    )
    rows = random_bytes(rng, distinct, dim, data.draw(st.sampled_from([np.int8, np.uint8])))[pick]
    assert_same(
        _native.bytes_scan(rows, weights, k, scales, bias, threads, isa=isa),
        reference.bytes_scan(rows, weights, k, scales=scales, row_bias=bias),
    )


def test_many_queries_in_several_passes_equal_the_oracle(isa):
    rng = np.random.default_rng(5)
    rows, queries = random_bits(rng, 300, 8192), random_bits(rng, 300, 8192)
    got = _native.hamming_scan(rows, queries, 7, 3, isa=isa)
    assert_same(got, reference.hamming_scan(rows, queries, 7))
    weights = random_weights(rng, 300, 8192)
    got = _native.bits_scan(rows, weights, 7, None, None, 2, isa=isa)
    assert_same(got, reference.bits_scan(rows, weights, 7))
