"""Scans of some rows return what scans of all rows do, less the rows that may not be found."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS, random_bits, random_bytes, random_factors, random_weights

from nestbit import _native
from nestbit.kernels import reference
from nestbit.kernels.allowed import bitmap

pytestmark = pytest.mark.parametrize("isa", ISAS)

OPS = [
    "hamming",
    "bits",
    "bytes_i8",
    "bytes_u8",
    "cells",
    "cells of float32 scale",
    "cells of a byte",
]
SHARES = [0, 0.001, 0.01, 0.1, 0.5, 0.9, 1]


@dataclass(frozen=True)
class Scan:
    """One scan on one instruction set, and its oracle."""

    native: Callable[..., Any]
    oracle: Callable[..., Any]

    def check(self, k: int, threads: int = 1, **allowed: Any) -> None:
        ids, values = self.native(k, threads, **allowed)
        expected_ids, expected = self.oracle(k, **allowed)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(values, expected)


def random_scan(isa: str, op: str, n: int, m: int, width: int, *, distinct: int = 0) -> Scan:
    """A scan of n rows of ``width`` bytes, of at most ``distinct`` different ones, if given."""
    rng = np.random.default_rng([n, m, width])
    pick = rng.integers(0, distinct, n) if distinct else np.arange(n)
    rows = random_bytes(rng, n, width, np.int8 if op == "bytes_i8" else np.uint8)[pick]
    if op == "hamming":
        queries = random_bytes(rng, m, width, np.uint8)
        return Scan(
            lambda k, t, **a: _native.hamming_scan(rows, queries, k, t, isa=isa, **a),
            lambda k, **a: reference.hamming_scan(rows, queries, k, **a),
        )
    terms = {"scales": random_factors(rng, m), "row_bias": random_factors(rng, n)[pick]}
    if op.startswith("cells"):
        shape = (m, width, 256) if "byte" in op else (m, 2 * width, 16)
        tables = rng.integers(0, 256, shape, dtype=np.uint8)
        terms["bases"] = random_factors(rng, m)
        kind = np.float32 if "float32" in op else np.float16
        terms["row_scale"] = random_factors(rng, n)[pick].astype(kind)
        return Scan(
            lambda k, t, **a: _native.cells_scan(rows, tables, k, **terms, threads=t, isa=isa, **a),
            lambda k, **a: reference.cells_scan(rows, tables, k, **terms, **a),
        )
    weights = random_weights(rng, m, 8 * width if op == "bits" else width)
    name = "bits_scan" if op == "bits" else "bytes_scan"
    return Scan(
        lambda k, t, **a: getattr(_native, name)(
            rows, weights, k, **terms, threads=t, isa=isa, **a
        ),
        lambda k, **a: getattr(reference, name)(rows, weights, k, **terms, **a),
    )


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("m", [1, 3, 4, 17])
def test_any_share_of_rows_in_a_mask_equals_the_oracle(isa, op, m):
    rng = np.random.default_rng(m)
    for n, width in [(1, 3), (7, 1), (65, 13), (1025, 8), (4100, 33)]:
        scan = random_scan(isa, op, n, m, width)
        for share in SHARES:
            allowed = bitmap(rng.random(n) < share)
            for k in sorted({1, min(n, 10), min(n, 300)}):
                scan.check(k, mask=allowed)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("m", [1, 5])
def test_runs_of_rows_in_a_mask_equal_the_oracle(isa, op, m):
    n = 5000
    scan = random_scan(isa, op, n, m, 9)
    for start, stop in [(0, 64), (64, 128), (63, 65), (1000, 1100), (1024, 2048), (1, 4999)]:
        run = np.zeros(n, np.bool_)
        run[start:stop] = True
        scan.check(20, mask=bitmap(run))
        scan.check(20, mask=bitmap(~run))
    # Windows in which all, half, few and none of the rows are allowed, one after another.
    shares = np.repeat([1, 0.5, 0.05, 0, 0.05, 1, 0.01, 0.01], 640)[:n]
    scan.check(200, mask=bitmap(np.random.default_rng(0).random(n) < shares))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("m", [1, 3, 17])
def test_ranges_equal_the_oracle(isa, op, m):
    n = 3001
    scan = random_scan(isa, op, n, m, 17)
    cases = [
        [],
        [(0, 0)],
        [(0, n)],
        [(5, 5), (5, 5), (7, 8)],
        [(0, 1), (1, 64), (64, 1030), (1030, n)],
        [(3, 4), (70, 75), (75, 75), (1023, 1025), (2000, 2777), (n - 1, n)],
        [(i, i + 3) for i in range(0, n - 3, 11)],
        [(i, i + 90) for i in range(0, n - 90, 100)],
    ]
    mask = bitmap(np.random.default_rng(1).random(n) < 0.3)
    for case in cases:
        ranges = np.array(case, np.int64).reshape(-1, 2)
        for k in (1, 10, 500):
            scan.check(k, ranges=ranges)
            scan.check(k, ranges=ranges, mask=mask)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("m", [1, 3, 17, 70])
def test_each_query_finds_the_rows_of_the_ranges_that_it_sees(isa, op, m):
    # 150 bytes of wide cells have tables so large that a pass takes few of the queries.
    n, width = 3001, 150 if op == "cells of a byte" else 17
    scan, rng = random_scan(isa, op, n, m, width, distinct=900), np.random.default_rng(m)
    every, values = scan.native(n, 1)
    mask = bitmap(rng.random(n) < 0.3)
    cuts = [[0, n], [0, 1, 64, 1030, n], [3, 4, 70, 75, 75, 1023, 2777, n], list(range(0, n, 91))]
    for cut, masked, share in itertools.product(cuts, (False, True), (0.05, 0.4, 1)):
        ranges = np.stack([cut[:-1], cut[1:]], axis=1)[rng.random(len(cut) - 1) < 0.9]
        sees = rng.random((len(ranges), m)) < share
        options = {"ranges": ranges, "visits": np.packbits(sees, axis=1, bitorder="little")}
        if masked:
            options["mask"] = mask
        threads, k = (1, 3)[masked], int(rng.choice([1, 10, 400]))
        ids, scores = scan.native(k, threads, **options)
        for q in range(m):
            allowed = np.zeros(n, np.bool_)
            for (start, stop), seen in zip(ranges, sees[:, q], strict=True):
                allowed[start:stop] = seen
            if masked:
                allowed &= np.unpackbits(mask, count=n, bitorder="little").view(np.bool_)
            found = np.flatnonzero(allowed[every[q]])[:k]
            np.testing.assert_array_equal(ids[q, : len(found)], every[q, found])
            np.testing.assert_array_equal(scores[q, : len(found)], values[q, found])
            assert (ids[q, len(found) :] == -1).all()


@pytest.mark.parametrize("op", OPS)
def test_threads_change_nothing_and_ties_go_to_the_smaller_id(isa, op):
    # Four megabytes of rows, so that several threads share even some of them.
    n, width = 16_000, 256
    scan = random_scan(isa, op, n, 2, width, distinct=7)
    rng = np.random.default_rng(2)
    ranges = np.array([[3, 40], [1000, 14_500], [15_000, 15_001]])
    for share in (0.1, 0.9):
        mask = bitmap(rng.random(n) < share)
        for options in ({"mask": mask}, {"ranges": ranges}, {"mask": mask, "ranges": ranges}):
            expected = scan.oracle(3000, **options)
            for threads in (1, 2, 5):
                for k in (1, 3000):
                    got = scan.native(k, threads, **options)
                    np.testing.assert_array_equal(got[0], expected[0][:, :k])
                    np.testing.assert_array_equal(got[1], expected[1][:, :k])


def test_columns_without_a_row_are_padded(isa):
    mask = bitmap(np.arange(100) == 42)
    for op in OPS:
        none = 2**31 - 1 if op == "hamming" else -np.inf
        ids, values = random_scan(isa, op, 100, 2, 5).native(3, 1, mask=mask)
        np.testing.assert_array_equal(ids, [[42, -1, -1]] * 2)
        assert (values[:, 1:] == none).all()
        assert (values[:, 0] != none).all()
        ids, values = random_scan(isa, op, 100, 2, 5).native(3, 2, mask=np.zeros(13, np.uint8))
        assert (ids == -1).all()
        assert (values == none).all()


def test_bits_of_a_mask_past_the_last_row_are_ignored(isa):
    for n in (1, 9, 1021):
        mask = np.full((n + 7) // 8, 255, np.uint8)
        for op in OPS:
            ids, _ = random_scan(isa, op, n, 1, 4).native(n, 1, mask=mask)
            np.testing.assert_array_equal(np.sort(ids[0]), np.arange(n))


@pytest.mark.parametrize("m", [1, 20])
def test_views_with_a_row_stride_are_picked_in_place(isa, m):
    rng = np.random.default_rng(m)
    whole = random_bytes(rng, 300, 40, np.uint8)
    queries = random_bits(rng, m, 8 * 13)
    for rows in (whole[:, 5:18], whole[::-1, 5:18], whole[::3, 5:18]):
        for share in (0.05, 0.6):
            mask = bitmap(rng.random(len(rows)) < share)
            got = _native.hamming_scan(rows, queries, 20, 1, mask=mask, isa=isa)
            expected = reference.hamming_scan(rows, queries, 20, mask=mask)
            np.testing.assert_array_equal(got[0], expected[0])
            np.testing.assert_array_equal(got[1], expected[1])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_filtered_scan_is_the_full_one_less_the_rows_not_allowed(isa, data):
    n = data.draw(st.integers(1, 3000), label="n")
    m = data.draw(st.integers(0, 20), label="m")
    op = data.draw(st.sampled_from(OPS), label="op")
    k = data.draw(st.integers(1, n), label="k")
    threads = data.draw(st.integers(1, 3), label="threads")
    distinct = data.draw(st.integers(1, n), label="distinct rows")
    width = data.draw(st.integers(1, 70), label="width")
    scan = random_scan(isa, op, n, m, width, distinct=distinct)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    # The share changes every few rows, from none to all.
    each = data.draw(st.sampled_from([1, 30, 64, 700]), label="rows of one share")
    shares = np.repeat(rng.choice([0, 0.02, 0.3, 1], n // each + 1), each)[:n]
    allowed = rng.random(n) < shares
    options: dict[str, Any] = {"mask": bitmap(allowed)}
    if data.draw(st.booleans(), label="with ranges"):
        ends = np.sort(rng.integers(0, n + 1, 2 * data.draw(st.integers(0, 40), label="ranges")))
        options["ranges"] = ends.reshape(-1, 2)
        inside = np.zeros(n, np.bool_)
        for start, stop in options["ranges"]:
            inside[start:stop] = True
        allowed &= inside
    ids, values = scan.native(k, threads, **options)
    every, scores = scan.native(n, threads)
    for q in range(m):
        kept = allowed[every[q]]
        found = np.flatnonzero(kept)[:k]
        np.testing.assert_array_equal(ids[q, : len(found)], every[q, found])
        np.testing.assert_array_equal(values[q, : len(found)], scores[q, found])
        assert (ids[q, len(found) :] == -1).all()
