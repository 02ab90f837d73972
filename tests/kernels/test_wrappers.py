"""The public kernels refuse what they cannot use, and otherwise equal the oracle."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from kernel_cases import random_bits, random_bytes, random_factors, random_weights

from nestbit import kernels
from nestbit.errors import InputError
from nestbit.kernels import reference

RNG = np.random.default_rng(0)
BITS = random_bits(RNG, 300, 61)
BYTES = random_bytes(RNG, 300, 61, np.int8)
WEIGHTS = random_weights(RNG, 5, 61)
SCALES, BIAS = random_factors(RNG, 5), random_factors(RNG, 300)
CELLS = random_bytes(RNG, 300, 9, np.uint8)
TABLES = RNG.integers(0, 256, (5, 18, 16), dtype=np.uint8)
FLOAT_TABLES = RNG.normal(size=(5, 18, 16)).astype(np.float32)
WIDE_TABLES = np.random.default_rng(1).integers(0, 256, (5, 9, 256), dtype=np.uint8)
FLOAT_WEIGHTS = RNG.normal(size=(5, 61)).astype(np.float32)
IDS = RNG.integers(0, 300, (5, 40))


def test_scans_equal_the_oracle():
    cases = [
        ("hamming_scan", (BITS, random_bits(RNG, 5, 61), 7), {}),
        ("bits_scan", (BITS, WEIGHTS, 7), {}),
        ("bits_scan", (BITS, WEIGHTS, 7), {"scales": SCALES, "row_bias": BIAS}),
        ("bytes_scan", (BYTES, WEIGHTS, 7), {"scales": SCALES}),
        ("bytes_scan", (BYTES.view(np.uint8), WEIGHTS, 7), {"row_bias": BIAS}),
        ("cells_scan", (CELLS, TABLES, 7), {}),
        ("cells_scan", (CELLS, WIDE_TABLES, 7), {}),
        ("cells_scan", (CELLS, TABLES, 7), {"scales": SCALES, "row_scale": BIAS}),
        (
            "cells_scan",
            (CELLS, TABLES[:, ::-1], 7),
            {"bases": SCALES, "row_scale": BIAS.astype(np.float16), "row_bias": BIAS},
        ),
    ]
    for name, args, options in cases:
        got = getattr(kernels, name)(*args, **options)
        expected = getattr(reference, name)(*args, **options)
        np.testing.assert_array_equal(got[0], expected[0], err_msg=name)
        np.testing.assert_array_equal(got[1], expected[1], err_msg=name)
        assert got[0].dtype == expected[0].dtype
        assert got[1].dtype == expected[1].dtype


def test_rescoring_agrees_with_the_oracle():
    floats = RNG.normal(size=(300, 61)).astype(np.float32)
    cases = [
        ("bits_rescore", BITS),
        ("bytes_rescore", BYTES),
        ("bytes_rescore", BYTES.view(np.uint8)),
        ("floats_rescore", floats),
        ("floats_rescore", floats.astype(np.float16)),
        ("floats_rescore", (floats.view(np.uint32) >> 16).astype(np.uint16)),
    ]
    for name, rows in cases:
        got = getattr(kernels, name)(rows, IDS, FLOAT_WEIGHTS, threads=2)
        expected = getattr(reference, name)(rows, IDS, FLOAT_WEIGHTS)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3, err_msg=name)


def test_rescoring_cells_agrees_with_the_oracle():
    for tables in (FLOAT_TABLES, WIDE_TABLES.astype(np.float32)):
        got = kernels.cells_rescore(CELLS, IDS, tables, threads=2)
        expected = reference.cells_rescore(CELLS, IDS, tables)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_cells_are_the_low_half_of_a_byte_and_then_the_high_half():
    tables = np.zeros((1, 4, 16), np.uint8)
    tables[0, [0, 1, 2, 3], [1, 2, 3, 4]] = [10, 20, 30, 40]
    rows = np.array([[0x21, 0x43], [0x12, 0x34]], np.uint8)
    for module in (kernels, reference):
        ids, scores = module.cells_scan(rows, tables, 2)
        assert ids.tolist() == [[0, 1]]
        assert scores.tolist() == [[100.0, 0.0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 4095, 4096, 9999])
def test_one_value_that_is_not_finite_is_found_anywhere(dtype, bad, at):
    values = np.full(10_000, np.finfo(dtype).max, dtype)
    values[1::2] *= -1
    rows = np.zeros((10_000, 1), np.uint8)
    kernels.cells_scan(rows, TABLES[:, :2], 1, row_scale=values)
    values[at] = bad
    with pytest.raises(InputError, match=f"row_scale hold NaN or infinity at {at}"):
        kernels.cells_scan(rows, TABLES[:, :2], 1, row_scale=values)


def test_no_queries_give_empty_results_and_read_only_rows_are_fine():
    rows = BYTES.copy()
    rows.flags.writeable = False
    ids, scores = kernels.bytes_scan(rows, WEIGHTS[:0], 3)
    assert ids.shape == scores.shape == (0, 3)
    assert kernels.bits_rescore(BITS, IDS[:0], FLOAT_WEIGHTS[:0]).shape == (0, 40)


def test_a_strided_last_axis_is_copied():
    wide = random_bytes(RNG, 50, 122, np.int8)
    got = kernels.bytes_scan(wide[:, ::2], WEIGHTS, 5)
    np.testing.assert_array_equal(got[0], reference.bytes_scan(wide[:, ::2], WEIGHTS, 5)[0])


BAD = {
    "rows of floats": (lambda: kernels.hamming_scan(BITS.astype(float), BITS[:1], 1), "float64"),
    "one dimension": (lambda: kernels.hamming_scan(BITS[0], BITS[:1], 1), r"shape \(8,\)"),
    "no columns": (lambda: kernels.hamming_scan(BITS[:, :0], BITS[:1, :0], 1), "no columns"),
    "other width": (lambda: kernels.hamming_scan(BITS, BITS[:1, :3], 1), "8 columns"),
    "k of zero": (lambda: kernels.hamming_scan(BITS, BITS[:1], 0), "k must be"),
    "k beyond n": (lambda: kernels.hamming_scan(BITS, BITS[:1], 301), "300"),
    "no rows": (lambda: kernels.hamming_scan(BITS[:0], BITS[:1], 1), "no rows"),
    "narrow bits": (lambda: kernels.bits_scan(BITS[:, :7], WEIGHTS, 1), "8 bytes wide"),
    "weight of -128": (
        lambda: kernels.bytes_scan(BYTES, np.full((2, 61), -128, np.int8), 1),
        "-128 in row 0",
    ),
    "float weights": (lambda: kernels.bytes_scan(BYTES, FLOAT_WEIGHTS, 1), "int8"),
    "scales of another length": (
        lambda: kernels.bytes_scan(BYTES, WEIGHTS, 1, scales=BIAS),
        r"shape \(5,\)",
    ),
    "a NaN bias": (
        lambda: kernels.bytes_scan(BYTES, WEIGHTS, 1, row_bias=np.where(BIAS > 0, np.nan, BIAS)),
        "NaN",
    ),
    "float64 bias": (
        lambda: kernels.bytes_scan(BYTES, WEIGHTS, 1, row_bias=BIAS.astype(float)),
        "float64",
    ),
    "too many dimensions": (
        lambda: kernels.bytes_scan(np.zeros((2, 65537), np.int8), np.zeros((1, 65537), np.int8), 1),
        "65536",
    ),
    "tables of another width": (
        lambda: kernels.cells_scan(CELLS, TABLES[:, :17], 1),
        r"\(m, 18, 16\)",
    ),
    "wide tables of another width": (
        lambda: kernels.cells_scan(CELLS, WIDE_TABLES[:, :8], 1),
        r"\(m, 9, 256\)",
    ),
    "wide tables two for a byte": (
        lambda: kernels.cells_scan(CELLS, np.repeat(WIDE_TABLES, 2, axis=1), 1),
        r"\(m, 9, 256\)",
    ),
    "tables of eight values": (lambda: kernels.cells_scan(CELLS, TABLES[:, :, :8], 1), "16"),
    "float tables to scan": (lambda: kernels.cells_scan(CELLS, FLOAT_TABLES, 1), "uint8"),
    "byte tables to rescore": (lambda: kernels.cells_rescore(CELLS, IDS, TABLES), "float32"),
    "a NaN table": (
        lambda: kernels.cells_rescore(CELLS, IDS, FLOAT_TABLES * np.float32(np.nan)),
        "NaN",
    ),
    "signed cells": (lambda: kernels.cells_scan(CELLS.view(np.int8), TABLES, 1), "uint8"),
    "a float64 row scale": (
        lambda: kernels.cells_scan(CELLS, TABLES, 1, row_scale=BIAS.astype(float)),
        "float16 or float32",
    ),
    "a row scale per query": (
        lambda: kernels.cells_scan(CELLS, TABLES, 1, row_scale=SCALES),
        r"shape \(300,\)",
    ),
    "too many cells": (
        lambda: kernels.cells_scan(
            np.zeros((2, 32769), np.uint8), np.zeros((1, 65538, 16), np.uint8), 1
        ),
        "65536",
    ),
    "too many wide cells": (
        lambda: kernels.cells_scan(
            np.zeros((2, 65537), np.uint8), np.zeros((1, 65537, 256), np.uint8), 1
        ),
        "65536",
    ),
    "a NaN wide table": (
        lambda: kernels.cells_rescore(CELLS, IDS, WIDE_TABLES * np.float32(np.nan)),
        "NaN",
    ),
    "threads of zero": (lambda: kernels.hamming_scan(BITS, BITS[:1], 1, threads=0), "threads"),
    "threads of true": (lambda: kernels.hamming_scan(BITS, BITS[:1], 1, threads=True), "threads"),
    "an id beyond n": (lambda: kernels.bytes_rescore(BYTES, IDS + 200, FLOAT_WEIGHTS), "299"),
    "a negative id": (lambda: kernels.bytes_rescore(BYTES, -1 - IDS, FLOAT_WEIGHTS), "between 0"),
    "int32 ids": (
        lambda: kernels.bytes_rescore(BYTES, IDS.astype(np.int32), FLOAT_WEIGHTS),
        "int64",
    ),
    "ids of other queries": (
        lambda: kernels.bytes_rescore(BYTES, IDS[:2], FLOAT_WEIGHTS),
        r"\(5, c\)",
    ),
    "infinite weights": (
        lambda: kernels.bytes_rescore(BYTES, IDS, FLOAT_WEIGHTS * np.float32(np.inf)),
        "infinity",
    ),
    "float64 rows": (
        lambda: kernels.floats_rescore(BYTES.astype(float), IDS, FLOAT_WEIGHTS),
        "float64",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_what_was_found(name):
    call, found = BAD[name]
    with pytest.raises(InputError, match=found):
        call()


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5"])
def test_a_bad_thread_count_in_the_environment_is_refused(monkeypatch, text):
    monkeypatch.setenv("NESTBIT_THREADS", text)
    with pytest.raises(InputError, match="NESTBIT_THREADS"):
        kernels.hamming_scan(BITS, BITS[:1], 1)


def test_threads_default_to_the_environment_or_the_usable_cpus(monkeypatch):
    monkeypatch.setenv("NESTBIT_THREADS", "3")
    assert kernels.default_threads() == 3
    monkeypatch.delenv("NESTBIT_THREADS")
    assert kernels.default_threads() >= 1


def run_python(code: str, isa: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NESTBIT_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("isa", kernels.available_isas())
def test_the_environment_forces_an_instruction_set(isa):
    done = run_python("from nestbit import kernels; print(kernels.isa())", isa)
    assert done.stdout.strip() == isa, done.stderr


def test_an_unknown_instruction_set_is_refused_with_the_available_ones():
    code = (
        "import numpy as np; from nestbit import kernels; from nestbit.errors import InputError\n"
        "rows = np.zeros((2, 1), np.uint8)\n"
        "try: kernels.hamming_scan(rows, rows, 1)\n"
        "except InputError as error: print(error)"
    )
    done = run_python(code, "mmx")
    assert "NESTBIT_ISA" in done.stdout
    assert "'mmx'" in done.stdout
    for name in kernels.available_isas():
        assert name in done.stdout
