"""Masks and ranges are checked before a scan; the scan of floats follows them too."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import random_bytes, random_factors

from nestbit import kernels
from nestbit.errors import InputError
from nestbit.kernels import reference
from nestbit.kernels.allowed import bitmap, row_numbers
from nestbit.kernels.floats import floats_scan

RNG = np.random.default_rng(0)
N = 2011
ROWS = random_bytes(RNG, N, 9, np.uint8)
TABLES = RNG.integers(0, 256, (2, 18, 16), dtype=np.uint8)
RANGES = np.array([[0, 3], [3, 40], [100, 100], [900, 1900], [2010, 2011]])
MASKS = [bitmap(RNG.random(N) < share) for share in (0, 0.01, 0.5, 1)]

CALLS = {
    "hamming_scan": lambda **a: kernels.hamming_scan(ROWS, ROWS[:2], 30, **a),
    "bits_scan": lambda **a: kernels.bits_scan(ROWS, np.ones((2, 70), np.int8), 30, **a),
    "bytes_scan": lambda **a: kernels.bytes_scan(ROWS, np.ones((2, 9), np.int8), 30, **a),
    "cells_scan": lambda **a: kernels.cells_scan(ROWS, TABLES, 30, **a),
    "floats_scan": lambda **a: floats_scan(
        ROWS.astype(np.float32), np.ones((2, 9), np.float32), 30, **a
    ),
}

BAD = {
    "a boolean mask": ({"mask": np.ones(N, np.bool_)}, r"mask must be a uint8 array.*packbits"),
    "a long mask": ({"mask": np.ones(253, np.uint8)}, r"shape \(252,\).*got uint8.*\(253,\)"),
    "a short mask": ({"mask": MASKS[0][:-1]}, r"shape \(252,\)"),
    "a mask of two axes": ({"mask": MASKS[0][None]}, r"\(1, 252\)"),
    "int32 ranges": ({"ranges": RANGES.astype(np.int32)}, r"int64 array of shape \(p, 2\)"),
    "ranges of three": ({"ranges": RANGES.reshape(-1)[:9].reshape(3, 3)}, r"\(3, 3\)"),
    "flat ranges": ({"ranges": RANGES[0]}, r"\(2,\)"),
    "a stop before its start": (
        {"ranges": np.array([[0, 3], [9, 8]])},
        r"range 1 is \[9, 8\)",
    ),
    "overlapping ranges": (
        {"ranges": np.array([[0, 3], [2, 8]])},
        r"range 1 is \[2, 8\) after row 3",
    ),
    "unsorted ranges": ({"ranges": RANGES[::-1]}, "range 1"),
    "a negative start": ({"ranges": np.array([[-1, 3]])}, r"range 0 is \[-1, 3\)"),
    "a stop past the rows": ({"ranges": np.array([[0, N + 1]])}, r"2011 in each, range 0"),
}


BAD_VISITS = {
    "visits without ranges": ({"visits": np.ones((5, 1), np.uint8)}, "give both"),
    "boolean visits": ({"ranges": RANGES, "visits": np.ones((5, 2), np.bool_)}, "uint8 array"),
    "visits of a row too few": ({"ranges": RANGES, "visits": np.ones((4, 1), np.uint8)}, "4, 1"),
    "visits of too many bits": ({"ranges": RANGES, "visits": np.ones((5, 2), np.uint8)}, "5, 2"),
}


@pytest.mark.parametrize("name", BAD_VISITS)
@pytest.mark.parametrize("scan", [name for name in CALLS if name != "floats_scan"])
def test_visits_that_do_not_fit_are_refused(scan, name):
    options, found = BAD_VISITS[name]
    with pytest.raises(InputError, match=found):
        CALLS[scan](**options)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("scan", CALLS)
def test_bad_masks_and_ranges_are_refused_with_what_was_found(scan, name):
    options, found = BAD[name]
    with pytest.raises(InputError, match=found):
        CALLS[scan](**options)


@pytest.mark.parametrize("scan", [name for name in CALLS if name != "floats_scan"])
def test_public_scans_of_some_rows_equal_the_oracle(scan):
    arguments = {
        "hamming_scan": (ROWS, ROWS[:2]),
        "bits_scan": (ROWS, np.ones((2, 70), np.int8)),
        "bytes_scan": (ROWS, np.ones((2, 9), np.int8)),
        "cells_scan": (ROWS, TABLES),
    }[scan]
    for mask in (None, *MASKS):
        for ranges in (None, RANGES):
            got = CALLS[scan](mask=mask, ranges=ranges)
            expected = getattr(reference, scan)(*arguments, 30, mask=mask, ranges=ranges)
            np.testing.assert_array_equal(got[0], expected[0])
            np.testing.assert_array_equal(got[1], expected[1])
            assert got[1].dtype == expected[1].dtype


def test_strided_masks_and_ranges_are_copied():
    mask = np.repeat(MASKS[2], 2)[::2]
    ranges = np.asfortranarray(RANGES)
    for scan in CALLS.values():
        got, expected = scan(mask=mask, ranges=ranges), scan(mask=MASKS[2], ranges=RANGES)
        np.testing.assert_array_equal(got[0], expected[0])


def test_factors_are_checked_in_the_ranges_alone():
    factors = random_factors(RNG, N)
    factors[50] = np.nan
    for name in ("row_scale", "row_bias"):
        got = kernels.cells_scan(ROWS, TABLES, 30, ranges=RANGES, **{name: factors})
        repaired = np.nan_to_num(factors)
        expected = reference.cells_scan(ROWS, TABLES, 30, ranges=RANGES, **{name: repaired})
        np.testing.assert_array_equal(got[1], expected[1])
        with pytest.raises(InputError, match=f"{name} hold NaN or infinity at 50"):
            kernels.cells_scan(
                ROWS, TABLES, 30, ranges=np.array([[0, 3], [40, 51]]), **{name: factors}
            )


@pytest.mark.parametrize("ranges", [None, RANGES, RANGES[:0]])
def test_row_numbers_are_those_in_both(ranges):
    inside = np.full(N, ranges is None)
    for start, stop in () if ranges is None else ranges:
        inside[start:stop] = True
    np.testing.assert_array_equal(row_numbers(N, None, ranges), np.flatnonzero(inside))
    for mask in MASKS:
        bits = np.unpackbits(mask, count=N, bitorder="little") == 1
        np.testing.assert_array_equal(row_numbers(N, mask, ranges), np.flatnonzero(inside & bits))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint16])
@pytest.mark.parametrize("m", [1, 12])
def test_float_scan_of_some_rows_is_the_full_one_less_the_others(dtype, m):
    n = 70_000  # several blocks; small whole numbers, so that products are exact
    values = RNG.integers(-3, 4, (n, 24)).astype(np.float32)
    rows = (values.view(np.uint32) >> 16).astype(dtype) if dtype == np.uint16 else values
    rows = rows.astype(dtype)
    weights = RNG.integers(-3, 4, (m, 24)).astype(np.float32)
    bias = RNG.integers(-3, 4, n).astype(np.float32)
    ids, scores = floats_scan(rows, weights, n, row_bias=bias)
    ranges = np.array([[0, 17], [30_000, 64_000]])
    for share in (0, 0.0001, 0.3, 1):
        mask = bitmap(RNG.random(n) < share)
        for some in (None, ranges):
            allowed = np.zeros(n, np.bool_)
            allowed[row_numbers(n, mask, some)] = True
            for k in (1, 50, 4000):
                got = floats_scan(rows, weights, k, row_bias=bias, mask=mask, ranges=some)
                for q in range(m):
                    kept = np.flatnonzero(allowed[ids[q]])[:k]
                    pad = k - len(kept)
                    np.testing.assert_array_equal(got[0][q], [*ids[q, kept], *[-1] * pad])
                    np.testing.assert_array_equal(got[1][q], [*scores[q, kept], *[-np.inf] * pad])
