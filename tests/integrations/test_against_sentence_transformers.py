"""`quantize_embeddings` gives, byte for byte, what the real package gives."""

import importlib.metadata
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nestbit.integrations import quantize_embeddings

PRECISIONS = ["float32", "int8", "uint8", "binary", "ubinary"]


def installed_version():
    try:
        version = importlib.metadata.version("sentence-transformers")
    except importlib.metadata.PackageNotFoundError:
        return None
    return tuple(int(part) for part in version.split(".")[:2])


VERSION = installed_version()
pytestmark = [
    pytest.mark.skipif(VERSION is None, reason="sentence-transformers is not installed"),
    pytest.mark.skipif(
        VERSION is not None and VERSION < (6, 2),
        reason="sentence-transformers before 6.2 wraps, truncates or keeps float64 ranges",
    ),
]


@pytest.fixture(scope="module")
def theirs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing torch warns on some machines
        from sentence_transformers.util import quantization
    quantization.logger.disabled = True  # it repeats the advice on few rows for every call
    return quantization.quantize_embeddings


@pytest.fixture(scope="module")
def torch(theirs):
    return pytest.importorskip("torch")


def assert_same(ours, expected):
    if isinstance(expected, list):
        assert isinstance(ours, list)
        assert len(ours) == len(expected)
        for a, b in zip(ours, expected, strict=True):
            assert_same(a, b)
        return
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    assert ours.tobytes() == expected.tobytes()


def gaussian(n, dim, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("dim", [1, 2, 5, 7, 13, 40, 100, 384])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_bytes_at_every_dim_and_dtype(theirs, precision, dim, dtype):
    x = gaussian(120, dim, dtype, seed=dim)
    assert_same(quantize_embeddings(x, precision), theirs(x, precision))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_same_bytes_with_calibration_embeddings(theirs, precision, dtype):
    x, sample = gaussian(7, 33, dtype), gaussian(500, 33, dtype, seed=1)
    assert_same(
        quantize_embeddings(x, precision, calibration_embeddings=sample),
        theirs(x, precision, calibration_embeddings=sample),
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_same_bytes_with_ranges_in_and_out_of_range(theirs, precision, dtype):
    ranges = np.stack((np.full(33, -0.7), np.linspace(-0.7, 2, 33))).astype(dtype)
    x = gaussian(50, 33, dtype)
    with np.errstate(all="ignore"):
        expected = theirs(x, precision, ranges=ranges)
    assert_same(quantize_embeddings(x, precision, ranges=ranges), expected)
    codes = expected.astype(int) + (128 if precision == "int8" else 0)
    assert 0 in codes
    assert 255 in codes


@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_bytes_for_lists_tensors_and_lists_of_either(theirs, torch, precision):
    x = gaussian(110, 19)
    tensor = torch.from_numpy(x)
    matrices = [x[:50], x[50:51], x[51:]]
    inputs = [list(x), tensor, list(tensor), matrices, [torch.from_numpy(m) for m in matrices]]
    for given_input in inputs:
        assert_same(quantize_embeddings(given_input, precision), theirs(given_input, precision))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_bytes_for_bfloat16_tensors(theirs, torch, precision):
    x = torch.from_numpy(gaussian(110, 19)).to(torch.bfloat16)
    assert_same(quantize_embeddings(x, precision), theirs(x, precision))
    assert_same(quantize_embeddings(list(x), precision), theirs(list(x), precision))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_bytes_for_one_vector_three_axes_and_integers(theirs, precision):
    ranges = np.stack((np.full(19, -1), np.full(19, 1))).astype(np.float32)
    integers = np.arange(-10, 9)[None, :] % 4
    for x in [gaussian(1, 19)[0], gaussian(1, 19), gaussian(12, 19).reshape(3, 4, 19), integers]:
        assert_same(
            quantize_embeddings(x, precision, ranges=ranges), theirs(x, precision, ranges=ranges)
        )


def test_a_tensor_that_requires_grad_is_taken_as_its_values(torch):
    tensor = torch.from_numpy(gaussian(4, 8)).requires_grad_()
    assert_same(quantize_embeddings(tensor, "ubinary"), np.packbits(gaussian(4, 8) > 0, axis=1))


@given(
    x=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=20),
        elements=st.floats(-1000, 1000, width=16),
    ),
    precision=st.sampled_from(PRECISIONS),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_same_bytes_on_any_small_array(theirs, x, precision):
    with np.errstate(all="ignore"):
        expected = theirs(x, precision)
    assert_same(quantize_embeddings(x, precision), expected)


@given(
    x=hnp.arrays(
        np.float32, (6, 5), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
    ),
    ends=hnp.arrays(np.float32, (2, 5), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    precision=st.sampled_from(["int8", "uint8"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_same_bytes_with_any_ranges(theirs, x, ends, precision):
    ranges = np.sort(ends, axis=0)
    with np.errstate(all="ignore"):
        expected = theirs(x, precision, ranges=ranges)
    assert_same(quantize_embeddings(x, precision, ranges=ranges), expected)
