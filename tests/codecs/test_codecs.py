"""What every codec must do, whatever its spec."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nestbit as nb
from nestbit.codecs.cell_coder import CellCoder
from nestbit.errors import FileFormatError, InputError, NotFittedError, SpecError
from synthetic import text_like

Rows = NDArray[np.float32]

SPECS = [
    "binary",
    "int8",
    "uint8",
    "float16",
    "bfloat16",
    "float32",
    "int8(quantile=0.99)",
    "center | binary",
    "normalize | int8",
    "truncate(40) | int8",
    "truncate(40) | binary",
    "pca(40) | int8",
    "pca(40) | itq(iterations=5) | binary",
    "rotate | binary",
    "project(200) | binary",
    "project(50) | float16",
    "hash(64, n_hashes=3) | int8",
    "prune(60) | int8",
    "prune(60, by=magnitude) | binary",
    "prune(60, by=supervised) | int8",
    "center | normalize | int8",
    "binary + int8",
    "pca(16) | int8 + binary + float16",
    "nested(1)",
    "nested(0.25) + nested(4)",
    "center | nested(0.5) + int8",
    "rabitq",
    "rabitq(3)",
    "pq(24)",
    "pca(50) | pq(25)",
]


METRICS = ["cosine", "dot", "l2"]
CASES = [(s, m) for s in SPECS for m in METRICS if m == "cosine" or "normalize" not in s]
# Here the float query is truncated or scaled like the rows, so it is not dotted as it came.
ROW_WISE = ("truncate", "center | normalize")


def fitted(spec: str, rows: Rows, metric: str = "cosine") -> nb.Codec:
    return nb.fit(rows, spec, metric=metric, queries=rows[:20])


def kept_products(codec: nb.Codec, codes: nb.Codes, rows: Rows) -> Rows:
    """What scores add to the decoded rows: rabitq knows the rows' products with the mean."""
    coder = codec.levels[-1].coder
    if coder.kind != "rabitq":
        return np.zeros(len(rows), np.float32)
    assert isinstance(coder, CellCoder)
    lost: Rows = (codec.prepare(rows) - codec.decode(codes)) @ coder.basis.mean
    return lost


@pytest.mark.parametrize(
    ("spec", "metric"), [case for case in CASES if not any(op in case[0] for op in ROW_WISE)]
)
def test_scores_are_those_of_the_float_query_and_the_decoded_rows(
    spec: str, metric: str, rows: Rows, queries: Rows
) -> None:
    codec = fitted(spec, rows, metric)
    codes = codec.encode(rows)
    hits = nb.search(codec, codes, queries, k=10)
    q = queries / np.linalg.norm(queries, axis=1, keepdims=True) if metric == "cosine" else queries
    products = q @ codec.decode(codes).T + kept_products(codec, codes, rows)
    expected = products
    if metric == "l2":
        lengths = (rows**2).sum(1)
        expected = 2 * products - lengths - (q**2).sum(1)[:, None]
    np.testing.assert_allclose(
        hits.scores, np.take_along_axis(expected, hits.ids, 1), rtol=1e-4, atol=2e-5
    )


@pytest.mark.parametrize(("spec", "metric"), CASES)
def test_a_saved_codec_encodes_and_scores_the_same(
    spec: str, metric: str, rows: Rows, queries: Rows, tmp_path: Path
) -> None:
    codec = fitted(spec, rows, metric)
    codec.save(tmp_path / "codec.safetensors")
    again = nb.Codec.load(tmp_path / "codec.safetensors")
    assert (again.spec, again.metric, again.dim) == (codec.spec, codec.metric, codec.dim)
    codes, codes_again = codec.encode(rows[:50]), again.encode(rows[:50])
    for level, level_again in zip(codes.levels, codes_again.levels, strict=True):
        np.testing.assert_array_equal(level.data, level_again.data)
    hits = nb.search(codec, codes, queries, k=5)
    hits_again = nb.search(again, codes_again, queries, k=5)
    np.testing.assert_array_equal(hits.ids, hits_again.ids)
    np.testing.assert_array_equal(hits.scores, hits_again.scores)


@pytest.mark.parametrize("spec", SPECS)
def test_one_row_is_encoded_with_the_corpus_calibration(spec: str, rows: Rows) -> None:
    codec = fitted(spec, rows)
    together, alone = codec.encode(rows[:8]), codec.encode(rows[3:4])
    for many, one in zip(together.levels, alone.levels, strict=True):
        if many.layout == "floats":  # a product of other shape may round differently
            close = np.abs(many.data[3].astype(float) - one.data[0].astype(float))
            assert close.max() <= (1 if many.data.dtype == np.uint16 else 1e-3)
        else:
            different = np.count_nonzero(many.data[3] != one.data[0])
            assert different <= 1


@pytest.mark.parametrize(("spec", "metric"), CASES)
def test_n_bytes_is_what_the_codes_occupy(spec: str, metric: str, rows: Rows) -> None:
    codec = fitted(spec, rows, metric)
    assert codec.encode(rows).nbytes == codec.n_bytes * len(rows)


@pytest.mark.parametrize("spec", SPECS)
def test_fitting_twice_gives_the_same_codec(spec: str, rows: Rows) -> None:
    first, second = fitted(spec, rows).state(), fitted(spec, rows).state()
    assert first[1] == second[1]
    for name, array in first[0].items():
        np.testing.assert_array_equal(array, second[0][name])


@pytest.mark.parametrize("dim", [1, 2, 5, 7, 13, 40, 100])
@pytest.mark.parametrize("spec", ["binary", "int8", "float16", "center | binary + int8"])
def test_any_dimension_is_allowed(spec: str, dim: int) -> None:
    x = text_like(60, max(dim, 2))[:, :dim]
    codec = nb.fit(x, spec, metric="dot")
    hits = nb.search(codec, codec.encode(x), x[:3], k=7)
    assert hits.ids.shape == (3, 7)


def test_binary_codes_are_numpy_packbits() -> None:
    x = text_like(30, 45)
    codes = nb.Codec("binary", dim=45).encode(x)
    np.testing.assert_array_equal(codes.levels[0].data, np.packbits(x > 0, axis=1))


def test_codes_packed_elsewhere_are_searched_as_they_are(rows: Rows, queries: Rows) -> None:
    codec = nb.Codec("binary", dim=96)
    codes = codec.codes_from(np.packbits(rows > 0, axis=1))
    hits = nb.search(codec, codes, queries, k=10, plan=nb.Plan.hamming(codec, oversample=1))
    distances = ((queries > 0)[:, None] != (rows > 0)[None]).sum(2)
    expected = np.lexsort((np.broadcast_to(np.arange(2000), distances.shape), distances))[:, :10]
    np.testing.assert_array_equal(hits.ids, expected)
    np.testing.assert_allclose(
        hits.scores, 1 - 2 * np.take_along_axis(distances, expected, 1) / 96, rtol=1e-5, atol=1e-6
    )


@given(st.integers(1, 40), st.integers(2, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_int8_is_within_half_a_step_inside_its_range(dim: int, n: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    codec = nb.fit(x, "int8", metric="dot")
    codes = codec.encode(x)
    step = (x.max(0) - x.min(0)) / 255
    assert codes.clipped == (0.0,)
    assert np.all(np.abs(codec.decode(codes) - x) <= step * 0.501 + 1e-6)


def test_values_beyond_the_calibrated_range_are_clipped_and_counted() -> None:
    sample = np.array([[0, -1], [1, 1]], np.float32)
    codec = nb.fit(sample, "int8", metric="dot")
    codes = codec.encode(np.array([[5, 0], [0.5, -9]], np.float32))
    assert codes.clipped == (0.5,)
    np.testing.assert_allclose(codec.decode(codes), [[1, 0], [0.5, -1]], atol=0.005)


def test_a_quantile_range_ignores_the_tails(rows: Rows) -> None:
    codec = nb.fit(rows, "int8(quantile=0.9)")
    assert codec.encode(rows).clipped[0] == pytest.approx(0.1, abs=0.01)


def test_a_constant_dimension_decodes_to_its_value() -> None:
    x = np.array([[0.5, 1], [0.5, 2]], np.float32)
    codec = nb.fit(x, "int8", metric="dot")
    np.testing.assert_allclose(codec.decode(codec.encode(x)), x, atol=0.01)


def test_bfloat16_rounds_to_the_nearest_even() -> None:
    values = np.array([[1.0, 1.00390625, 1.01171875, -3.14159, 3.4e38, 1e-40]], np.float32)
    codec = nb.Codec("bfloat16", metric="dot", dim=6)
    codes = codec.encode(values)
    assert codes.clipped[0] == pytest.approx(1 / 6)
    expected = [1.0, 1.0, 1.015625, -3.140625, 3.3895314e38]
    np.testing.assert_array_equal(codec.decode(codes)[0, :5], np.array(expected, np.float32))


def test_float16_clips_what_it_cannot_hold() -> None:
    codec = nb.Codec("float16", metric="dot", dim=2)
    codes = codec.encode(np.array([[1e6, -1e6]], np.float32))
    assert codes.clipped == (1.0,)
    np.testing.assert_array_equal(codec.decode(codes), [[65504, -65504]])


def test_truncation_restores_the_length(rows: Rows) -> None:
    codec = nb.Codec("truncate(40) | float32", dim=96)
    lengths = np.linalg.norm(codec.encode(rows).levels[0].data, axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    long = nb.Codec("truncate(40) | float32", metric="dot", dim=96)
    lengths = np.linalg.norm(long.encode(3 * rows).levels[0].data, axis=1)
    np.testing.assert_allclose(lengths, 3, rtol=1e-5)


def test_pca_keeps_more_of_the_rows_than_any_other_projection(rows: Rows) -> None:
    errors = {}
    for spec in ("pca(24) | float32", "prune(24) | float32", "project(24) | float32"):
        codec = nb.fit(rows, spec)
        errors[spec] = float(((codec.decode(codec.encode(rows)) - rows) ** 2).sum())
    assert min(errors, key=lambda spec: errors[spec]) == "pca(24) | float32"


def test_itq_bits_are_closer_to_the_rows_than_plain_bits(rows: Rows) -> None:
    plain, turned = nb.fit(rows, "center | binary"), nb.fit(rows, "itq(iterations=10) | binary")
    error = {c: ((c.decode(c.encode(rows)) - rows) ** 2).sum() for c in (plain, turned)}
    assert error[turned] < error[plain]


@pytest.mark.parametrize("spec", ["project(4000) | float32", "hash(4000, n_hashes=4) | float32"])
def test_wide_random_maps_keep_inner_products(spec: str, rows: Rows) -> None:
    codec = nb.Codec(spec, dim=96)
    z = codec.encode(rows[:40]).levels[0].data
    np.testing.assert_allclose(z @ z.T, rows[:40] @ rows[:40].T, atol=0.15)


def test_supervised_pruning_keeps_the_dimensions_that_tell_neighbours() -> None:
    rng = np.random.default_rng(0)
    topic = rng.standard_normal((400, 4)).astype(np.float32)
    noise = 3 * rng.standard_normal((400, 12)).astype(np.float32)
    x = np.concatenate([noise, topic], axis=1)
    queries = np.concatenate([np.zeros((50, 12), np.float32), topic[:50]], axis=1)
    codec = nb.fit(x, "prune(4, by=supervised) | float32", metric="dot", queries=queries)
    np.testing.assert_array_equal(codec.encode(x).levels[0].data, topic)


def test_a_zero_row_scores_as_the_zero_vector(rows: Rows, queries: Rows) -> None:
    x = rows[:50].copy()
    x[[7, 31]] = 0
    for spec in ("binary", "int8", "center | binary + int8", "pca(16) | int8"):
        for metric in ("cosine", "dot", "l2"):
            codec = nb.fit(x, spec, metric=metric)
            codes = codec.encode(x)
            assert codes.zero_rows.tolist() == [7, 31]
            for plan in (None, nb.Plan.hamming(codec) if "binary" in spec else None):
                hits = nb.search(codec, codes, queries, k=50, plan=plan)
                exact = -(queries**2).sum(1) if metric == "l2" else np.zeros(len(queries))
                for row in (7, 31):
                    np.testing.assert_allclose(hits.scores[hits.ids == row], exact, rtol=1e-5)
                assert np.all(np.sort(hits.ids, axis=1) == np.arange(50))
                assert np.all(np.diff(hits.scores, axis=1) <= 0)


def test_codes_slice_by_rows_with_their_zero_rows(rows: Rows, queries: Rows) -> None:
    x = rows[:20].copy()
    x[[3, 12]] = 0
    codes = nb.Codec("binary", dim=96).encode(x)
    assert codes[10:20].zero_rows.tolist() == [2]
    assert len(codes[10:20]) == 10
    with pytest.raises(InputError, match="contiguous"):
        codes[::2]


@pytest.mark.parametrize(
    ("x", "complaint"),
    [
        (np.zeros(5), r"shape \(n, dim\).*x\[None, :\]"),
        (np.zeros((2, 0)), "no dimensions"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.zeros((2, 2), complex), "real numbers"),
        (np.array([[1.0, 2], [np.nan, 3]]), "nan at row 1, dimension 0"),
        (np.array([[1.0, 2], [3, np.inf]]), "inf at row 1, dimension 1"),
        (np.array([[1.0, 2], [3, 1e300]]), "inf at row 1, dimension 1"),
        (np.zeros((0, 4)), "empty"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(x: NDArray[np.generic], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        nb.fit(x, "int8")


def test_other_misuse_is_refused_with_the_remedy(rows: Rows, queries: Rows) -> None:
    codec = nb.fit(rows, "int8")
    codes = codec.encode(rows)
    with pytest.raises(InputError, match="96"):
        codec.encode(rows[:, :50])
    with pytest.raises(InputError, match="k must be between 1 and the number of rows"):
        nb.search(codec, codes, queries, k=2001)
    with pytest.raises(InputError, match="codes are empty"):
        nb.search(codec, codec.encode(rows[:0]), queries, k=1)
    with pytest.raises(InputError, match="made by another codec"):
        nb.search(codec, nb.fit(rows, "binary").encode(rows), queries)
    with pytest.raises(InputError, match="has 2"):
        nb.search(nb.fit(rows, "binary + int8"), codes, queries)
    with pytest.raises(NotFittedError, match="not fitted"):
        nb.Codec("int8").encode(rows)
    with pytest.raises(InputError, match="unknown metric"):
        nb.fit(rows, "int8", metric="manhattan")
    with pytest.raises(SpecError, match="between 1 and 96"):
        nb.fit(rows, "pca(97) | int8")
    with pytest.raises(SpecError, match="between 1 and 96"):
        nb.Codec("truncate(97) | binary", dim=96)
    with pytest.raises(InputError, match="more than 40 rows"):
        nb.fit(rows[:40], "pca(40) | int8")
    with pytest.raises(InputError, match="sample queries"):
        nb.fit(rows, "prune(4, by=supervised) | int8")
    with pytest.raises(InputError, match="encode the embeddings"):
        nb.Codec("binary", dim=8, metric="l2").codes_from(np.zeros((2, 1), np.uint8))


def test_a_codec_state_that_does_not_fit_is_refused(rows: Rows) -> None:
    arrays, header = nb.fit(rows, "pca(8) | int8").state()
    damage = [
        (arrays, header | {"version": 99}),
        (arrays, header | {"dim": 95}),
        (arrays, header | {"levels": []}),
        (arrays, header | {"spec": "int8 + int8"}),
        (arrays, header | {"spec": "pca(8) | uint8"}),
        (arrays, header | {"metric": "luck"}),
        (arrays, {"version": 1}),
        ({}, header),
        ({k: v[:3] for k, v in arrays.items()}, header),
    ]
    for broken_arrays, broken_header in damage:
        with pytest.raises(FileFormatError):
            nb.Codec.from_state(broken_arrays, broken_header)
