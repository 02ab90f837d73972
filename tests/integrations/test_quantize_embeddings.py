"""`quantize_embeddings` on its own: results, validation, and where it departs on purpose."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestbit.errors import InputError
from nestbit.integrations import quantize_embeddings

RNG = np.random.default_rng(7)
X = RNG.standard_normal((150, 24), dtype=np.float32)
RANGES = np.stack((X.min(axis=0), X.max(axis=0)))


def truncating_codes(x, ranges, dtype):
    """What releases before 5.7 compute: a plain cast, which wraps and truncates toward zero."""
    offset = 128 if dtype is np.int8 else 0
    with np.errstate(all="ignore"):
        scaled = (x - ranges[0]) / ((ranges[1] - ranges[0]) / 255) - offset
        # A cast of an out-of-range float is undefined in C; by way of int64 it wraps.
        return scaled.astype(np.int64).astype(dtype)


def test_ubinary_is_packbits_of_the_positive_values():
    assert np.array_equal(quantize_embeddings(X, "ubinary"), np.packbits(X > 0, axis=1))


def test_binary_is_ubinary_less_128_and_the_default():
    expected = (quantize_embeddings(X, "ubinary").astype(int) - 128).astype(np.int8)
    assert np.array_equal(quantize_embeddings(X, "binary"), expected)
    assert np.array_equal(quantize_embeddings(X), expected)


@pytest.mark.parametrize("dim", [1, 2, 5, 7, 13, 40, 100])
def test_each_row_of_an_odd_dim_is_padded_with_zero_bits(dim):
    x = RNG.standard_normal((9, dim))
    codes = quantize_embeddings(x, "ubinary")
    bits = np.unpackbits(codes, axis=1)
    assert codes.shape == (9, -(-dim // 8))
    assert np.array_equal(bits[:, :dim], x > 0)
    assert not bits[:, dim:].any()


def test_zero_and_negative_zero_give_a_zero_bit():
    assert quantize_embeddings(np.array([[0.0, -0.0, 1.0]]), "ubinary").tolist() == [[0b00100000]]


def test_uint8_is_the_bucket_between_low_and_high():
    x = np.array([[0.0], [1.0], [1.5], [254.0], [255.0]], dtype=np.float32)
    assert quantize_embeddings(x, "uint8").ravel().tolist() == [0, 1, 1, 254, 255]
    assert quantize_embeddings(x, "int8").ravel().tolist() == [-128, -127, -127, 126, 127]


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 40))
def test_int8_is_always_uint8_less_128(seed, n, dim):
    x = np.random.default_rng(seed).standard_normal((n, dim))
    signed, unsigned = quantize_embeddings(x, "int8"), quantize_embeddings(x, "uint8")
    assert signed.dtype == np.int8
    assert np.array_equal(signed.astype(int) + 128, unsigned)


def test_a_value_inside_its_range_is_restored_to_within_one_step():
    steps = (RANGES[1] - RANGES[0]) / 255
    restored = RANGES[0] + quantize_embeddings(X, "uint8", ranges=RANGES) * steps
    assert (np.abs(X - restored) <= steps * 1.001).all()


def test_values_outside_the_ranges_are_clipped_where_old_releases_wrap():
    x = np.concatenate((X, RANGES[:1] - 1, RANGES[1:] + 1))
    codes = quantize_embeddings(x, "uint8", ranges=RANGES)
    wrapped = truncating_codes(x, RANGES, np.uint8)
    assert np.array_equal(codes[: len(X)], wrapped[: len(X)])
    assert (codes[-2] == 0).all()
    assert (codes[-1] == 255).all()
    assert (wrapped[-1] < 128).any()  # the large value reads as a small one


def test_int8_is_one_below_what_old_releases_truncate_for_negative_codes_only():
    inside = np.all((RANGES[0] < X) & (RANGES[1] > X), axis=1)
    x = X[inside]
    codes = quantize_embeddings(x, "int8", ranges=RANGES)
    difference = truncating_codes(x, RANGES, np.int8).astype(int) - codes
    assert set(np.unique(difference[codes >= 0])) == {0}
    assert set(np.unique(difference[codes < 0])) == {1}


def test_a_constant_dimension_gets_bucket_0_where_old_releases_divide_by_zero():
    x = X.copy()
    x[:, 3] = 0.25
    assert (quantize_embeddings(x, "uint8")[:, 3] == 0).all()
    assert (quantize_embeddings(x, "int8")[:, 3] == -128).all()
    others = np.delete(np.arange(24), 3)
    assert np.array_equal(
        quantize_embeddings(x, "uint8")[:, others], quantize_embeddings(X, "uint8")[:, others]
    )


def test_ranges_win_over_calibration_embeddings():
    given_both = quantize_embeddings(X[:3], "uint8", RANGES, RNG.standard_normal((120, 24)))
    assert np.array_equal(given_both, quantize_embeddings(X, "uint8")[:3])


def test_calibration_embeddings_give_a_single_query_the_ranges_of_the_corpus():
    query = quantize_embeddings(X[5:6], "int8", calibration_embeddings=X)
    assert np.array_equal(query[0], quantize_embeddings(X, "int8")[5])


def test_float64_ranges_give_the_codes_of_float32_ranges():
    assert np.array_equal(
        quantize_embeddings(X, "uint8", ranges=RANGES.astype(np.float64)),
        quantize_embeddings(X, "uint8", ranges=RANGES),
    )


def test_many_blocks_give_the_codes_of_one_block(monkeypatch):
    whole = quantize_embeddings(X, "int8")
    monkeypatch.setattr("nestbit.integrations.sentence_transformers._BLOCK_VALUES", 100)
    assert np.array_equal(quantize_embeddings(X, "int8"), whole)


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_a_list_of_vectors_is_the_array_of_its_rows(precision):
    assert np.array_equal(
        quantize_embeddings(list(X), precision), quantize_embeddings(X, precision)
    )


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_matrices_of_several_lengths_share_their_ranges(precision):
    parts = quantize_embeddings([X[:40], X[40:40], X[40:]], precision)
    assert [len(part) for part in parts] == [40, 0, 110]
    assert np.array_equal(np.concatenate(parts), quantize_embeddings(X, precision))


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_no_rows_give_no_rows_of_the_right_width_and_dtype(precision):
    some, none = quantize_embeddings(X, precision), quantize_embeddings(X[:0], precision)
    assert none.shape == (0, some.shape[1])
    assert none.dtype == some.dtype


def test_an_empty_list_gives_an_empty_list():
    assert quantize_embeddings([], "binary") == []


def test_float32_of_float32_is_a_copy():
    out = quantize_embeddings(X, "float32")
    assert np.array_equal(out, X)
    assert not np.shares_memory(out, X)


def test_few_rows_to_infer_ranges_from_are_logged(caplog):
    with caplog.at_level(logging.WARNING, logger="nestbit"):
        quantize_embeddings(X, "int8")
        assert not caplog.records
        quantize_embeddings(X[:99], "int8")
    assert "only 99 embeddings" in caplog.text


BAD = [
    (X, {"precision": "int4"}, "float32, int8, uint8, binary, ubinary"),
    (X, {"precision": None}, "unknown precision None"),
    (X.astype(np.int8), {}, "quantized already"),
    (np.packbits(X > 0, axis=1), {}, "quantized already"),
    (X + 1j, {}, "complex"),
    (np.array([["a"]]), {}, "real numbers"),
    (np.float32(1.0), {}, "shape"),
    (X[:, :0], {}, "shape"),
    ([[1.0, 2.0], [1.0]], {}, r"embeddings\[1\] has shape \(1,\)"),
    ([X[:2], X[:2, :5]], {}, r"embeddings\[1\] has shape \(2, 5\)"),
    (([1.0, 2.0], [1.0]), {}, "do not form an array"),
    (X, {"precision": "int8", "ranges": RANGES.T}, r"ranges must have shape \(2, 24\)"),
    (X, {"precision": "int8", "ranges": RANGES[:, :5]}, r"got shape \(2, 5\)"),
    (X, {"precision": "int8", "ranges": RANGES[::-1]}, "dimension 0 run from"),
    (X, {"precision": "int8", "ranges": RANGES * np.nan}, "ranges hold nan"),
    (X, {"precision": "int8", "ranges": RANGES.astype(float) * 1e300}, "ranges as float32 hold"),
    (X, {"precision": "int8", "ranges": np.sign(RANGES) * 3e38}, "dimension 0 are further apart"),
    (X, {"precision": "uint8", "calibration_embeddings": X[:, :5]}, "calibration_embeddings must"),
    (X, {"precision": "uint8", "calibration_embeddings": X[:0]}, "at least one row"),
    (X[:1], {"precision": "uint8"}, "cannot be inferred"),
    (X[0], {"precision": "int8"}, "cannot be inferred"),
    (X.reshape(5, 30, 24), {"precision": "int8"}, "cannot be inferred"),
    (X.astype(float) * 1e300, {"precision": "float32"}, "embeddings as float32 hold"),
]


@pytest.mark.parametrize(("x", "arguments", "message"), BAD, ids=[b[2] for b in BAD])
def test_bad_input_is_refused_with_what_was_found(x, arguments, message):
    with pytest.raises(InputError, match=message):
        quantize_embeddings(x, **arguments)


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_row(precision, value):
    x = X.copy()
    x[17, 4] = value
    with pytest.raises(InputError, match="row 17, dimension 4"):
        quantize_embeddings(x, precision, ranges=RANGES)


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_a_calibration_value_that_is_not_finite_is_refused_with_its_row(precision):
    x = X.copy()
    x[17, 4] = np.nan
    with pytest.raises(InputError, match="calibration_embeddings hold nan at row 17"):
        quantize_embeddings(X, precision, calibration_embeddings=x)


def test_it_works_where_torch_and_sentence_transformers_cannot_be_imported():
    code = (
        "import sys; sys.modules.update(torch=None, sentence_transformers=None)\n"
        "import numpy as np\n"
        "from nestbit.integrations import quantize_embeddings\n"
        "print(quantize_embeddings(np.eye(8), 'ubinary').ravel().tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[128, 64, 32, 16, 8, 4, 2, 1]"
