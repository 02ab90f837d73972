"""Standard errors cover what they say, on rows and queries that no fit has seen."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nestbit as nb
from nestbit.codecs.rabitq_bound import rabitq_bound
from nestbit.errors import FileFormatError, InputError
from synthetic import text_like

Rows = NDArray[np.float32]


def candidates_covered(codec: nb.Codec, x: Rows, q: Rows, k: int) -> float:
    """Share of the best k whose float score lies within 1.96 standard errors."""
    hits = nb.search(codec, codec.encode(x), q, k, errors=True)
    assert hits.errors is not None
    assert hits.errors.dtype == np.float32
    u, v = codec.prepare(q), codec.prepare(x)
    exact = u @ v.T
    if codec.metric == "l2":
        exact = 2 * exact - (v**2).sum(1) - (u**2).sum(1)[:, None]
    misses = np.abs(hits.scores - np.take_along_axis(exact, hits.ids, 1))
    return float((misses <= 1.96 * hits.errors).mean())


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(
    "spec",
    [
        "binary",
        "int8",
        "float16",
        "nested(0.5)",
        "nested(2)",
        "rabitq",
        "pq(32)",
        "pca(24) | int8",
        "truncate(40) | int8",
        "nested(1) + residual | nested(2)",
    ],
)
def test_1_96_errors_cover_95_percent_of_candidates(spec: str, metric: str) -> None:
    fitted, held, q = text_like(4000, 64), text_like(4000, 64, seed=7), text_like(200, 64, seed=1)
    codec = nb.fit(fitted, spec, metric=metric)
    assert 0.93 <= candidates_covered(codec, held, q, 100) <= 0.97


def test_a_learned_basis_on_few_rows_is_calibrated_on_rows_it_did_not_see() -> None:
    fitted, held, q = text_like(1200, 128), text_like(4000, 128, seed=7), text_like(99, 128, seed=1)
    codec = nb.fit(fitted, "pca(32) | int8")
    assert 0.92 <= candidates_covered(codec, held, q, 100) <= 0.98


def test_longer_queries_have_proportional_errors() -> None:
    x = text_like(1000, 32)
    codec = nb.fit(x, "nested(1)", metric="dot")
    np.testing.assert_allclose(
        codec.standard_errors(3 * x[:5]), 3 * codec.standard_errors(x[:5]), rtol=1e-5
    )


def test_errors_are_saved_with_the_codec_and_belong_to_the_last_stage(tmp_path: Path) -> None:
    x = text_like(1000, 32)
    codec = nb.fit(x, "binary + int8")
    codec.save(tmp_path / "codec.safetensors")
    again = nb.Codec.load(tmp_path / "codec.safetensors")
    for level in (0, 1):
        np.testing.assert_array_equal(
            codec.standard_errors(x[:9], level=level), again.standard_errors(x[:9], level=level)
        )
    assert codec.standard_errors(x[:1], level=0) > 5 * codec.standard_errors(x[:1], level=1)
    hits = nb.search(codec, codec.encode(x), x[:9], errors=True)
    assert hits.errors is not None
    np.testing.assert_array_equal(hits.errors[:, 0], codec.standard_errors(x[:9]))
    assert nb.search(codec, codec.encode(x), x[:9]).errors is None
    assert "standard errors cover 95%" in codec.explain()


def test_an_all_zero_row_has_no_error() -> None:
    x = text_like(300, 16)
    x[4] = 0
    codec = nb.fit(x, "binary")
    hits = nb.search(codec, codec.encode(x), x[:3], k=300, errors=True)
    assert hits.errors is not None
    assert np.all(hits.errors[hits.ids == 4] == 0)
    assert np.all(hits.errors[hits.ids != 4] > 0)


def test_errors_that_were_not_measured_are_refused() -> None:
    x = text_like(300, 16)
    loose = nb.Codec("binary", dim=16)
    with pytest.raises(InputError, match="has no standard errors"):
        nb.search(loose, loose.encode(x), x[:2], errors=True)
    few = nb.fit(x[:100], "int8")
    with pytest.raises(InputError, match="at least 200 rows"):
        few.standard_errors(x[:2])
    codec = nb.fit(x, "binary")
    with pytest.raises(InputError, match="whole codes"):
        nb.search(codec, codec.encode(x), x[:2], plan=nb.Plan((nb.Stage(0, dims=8),)), errors=True)
    arrays, header = codec.state()
    arrays["level0.errors.directions"] = arrays["level0.errors.directions"][:, :3]
    with pytest.raises(FileFormatError, match="standard errors"):
        nb.Codec.from_state(arrays, header)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("spec", ["rabitq", "rabitq(2)"])
def test_the_published_bound_of_rabitq_holds_for_most_rows(spec: str, metric: str) -> None:
    x, q = text_like(3000, 128), text_like(100, 128, seed=1)
    codec = nb.fit(x, spec, metric=metric)
    codes = codec.encode(x)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, len(x), (len(q), 200))
    u, v = codec.prepare(q), codec.prepare(x)
    exact = np.einsum("id,ijd->ij", u, v[ids])
    if metric == "l2":
        exact = 2 * exact - (v**2).sum(1)[ids] - (u**2).sum(1)[:, None]
    scores = codec.scorer(u, level=0).rescore(codes, ids)
    inside = np.abs(scores - exact) <= rabitq_bound(codec, codes, q, ids)
    assert 0.93 <= inside.mean() <= 0.99
    wider = np.abs(scores - exact) <= rabitq_bound(codec, codes, q, ids, epsilon=4)
    assert wider.mean() > 0.998


def test_the_bound_of_rabitq_is_not_given_for_other_codes() -> None:
    x = text_like(300, 16)
    for spec, metric in (("nested(1)", "cosine"), ("pca(8) | rabitq", "l2"), ("rabitq", "dot")):
        codec = nb.fit(x, spec, metric=metric)
        with pytest.raises(InputError, match="the bound"):
            rabitq_bound(codec, codec.encode(x), x[:1], np.zeros((1, 1), np.int64))


@pytest.mark.parametrize("spec", ["nested(1)", "rabitq", "int8"])
def test_candidates_of_real_queries_are_covered(spec: str, data_dir: Path) -> None:
    folder = data_dir / "embeddings" / "minilm"
    x, q = (
        np.load(folder / f"scifact_{part}.npy").astype(np.float32) for part in ("corpus", "queries")
    )
    held = np.arange(len(x)) % 5 == 0
    codec = nb.fit(x[~held], spec)
    assert 0.92 <= candidates_covered(codec, x[held], q, 25) <= 0.98
