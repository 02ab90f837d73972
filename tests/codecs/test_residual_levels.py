"""A residual level adds to the level before it; nothing is stored twice."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nestbit as nb
from nestbit.codecs import parse
from nestbit.errors import InputError, SpecError
from nestbit.evaluate import exact_search, recall_at_k
from nestbit.io import read_codes, write_codes

Rows = NDArray[np.float32]

SPECS = [
    "nested(1) + residual | nested(3)",
    "nested(0.5) + residual | int8",
    "binary + residual | float16",
    "pca(32) | int8 + residual | rotate | binary",
    "nested(0.5) + residual | nested(1) + residual | int8",
    "binary + nested(1) + residual | nested(2)",
]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("spec", SPECS)
def test_scores_are_those_of_the_sum_of_the_levels(
    spec: str, metric: str, rows: Rows, queries: Rows
) -> None:
    codec = nb.fit(rows, spec, metric=metric)
    codes = codec.encode(rows)
    assert codes.nbytes == codec.n_bytes * len(rows)
    hits = nb.search(codec, codes, queries, k=10)
    q = codec.prepare(queries)
    expected = q @ codec.decode(codes).T
    if metric == "l2":
        expected = 2 * expected - (rows**2).sum(1) - (q**2).sum(1)[:, None]
    found = np.take_along_axis(expected, hits.ids, 1)
    np.testing.assert_allclose(hits.scores, found, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_every_residual_level_comes_closer_to_the_rows(spec: str, rows: Rows) -> None:
    codec = nb.fit(rows, spec)
    codes = codec.encode(rows)
    for i, level in enumerate(codec.levels):
        if level.residual:
            errors = [((codec.decode(codes, level=j) - rows) ** 2).sum() for j in (i - 1, i)]
            assert errors[1] < errors[0]


@pytest.mark.parametrize("spec", SPECS)
def test_codecs_and_files_come_back(spec: str, rows: Rows, queries: Rows, tmp_path: Path) -> None:
    codec = nb.fit(rows, spec, metric="l2")
    codes = codec.encode(rows)
    write_codes(tmp_path / "codes.nest", codec, codes)
    again, stored, _ = read_codes(tmp_path / "codes.nest")
    assert again.spec == codec.spec == str(parse(spec))
    one, other = nb.search(codec, codes, queries), nb.search(again, stored, queries)
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_rows_coded_in_slices_are_coded_alike(rows: Rows) -> None:
    codec = nb.fit(rows, "nested(1) + residual | int8")
    whole, part = codec.encode(rows), codec.encode(rows[500:700])
    for a, b in zip(whole.levels, part.levels, strict=True):
        assert np.mean(a.data[500:700] != b.data) < 0.001


def test_a_funnel_runs_over_the_prefixes_that_the_residual_completes(
    rows: Rows, queries: Rows
) -> None:
    codec = nb.fit(rows, "nested(1) + residual | nested(2)")
    codes = codec.encode(rows)
    plan = nb.Plan.funnel(codec, oversample=2000)
    assert [stage.level for stage in plan.stages][-2:] == [0, 1]
    wide = nb.search(codec, codes, queries, plan=plan, explain=True)
    exact = nb.search(codec, codes, queries, plan=nb.Plan.default(codec, oversample=200))
    np.testing.assert_array_equal(wide.ids, exact.ids)
    # The last stage reads both codes of a row.
    assert wide.stages[-1].bytes_read == wide.stages[-1].rows_read * codec.n_bytes


def test_all_zero_rows_stay_exact(rows: Rows, queries: Rows) -> None:
    x = rows[:300].copy()
    x[7] = 0
    codec = nb.fit(x, "nested(1) + residual | int8")
    hits = nb.search(codec, codec.encode(x), queries, k=300)
    assert np.all(hits.scores[hits.ids == 7] == 0)
    assert np.all(codec.decode(codec.encode(x))[7] == 0)


def test_explain_tells_of_the_residual(rows: Rows) -> None:
    lines = nb.fit(rows, "binary + residual | int8").explain().splitlines()
    assert lines[lines.index("level 1") + 1] == "  code what the level before left of the row"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("residual | int8", "no level before it"),
        ("residual | nested(1) + int8", "no level before it"),
        ("binary + pca(8) | residual | int8", "must come first"),
        ("binary + int8 | residual", "must come first"),
        ("binary + residual(2) | int8", "must come first"),
        ("binary + residual", "lacks a coder"),
        ("truncate(8) | int8 + residual | int8", "scales every row"),
        ("int8 + residual | normalize | int8", "scales every row"),
    ],
)
def test_residuals_of_nothing_are_refused(spec: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        parse(spec)


def test_a_residual_alone_is_not_scanned(rows: Rows, queries: Rows) -> None:
    codec = nb.fit(rows, "binary + residual | int8")
    with pytest.raises(InputError, match="holds a residual alone"):
        nb.search(codec, codec.encode(rows), queries, plan=nb.Plan((nb.Stage(1),)))


def test_a_residual_saves_bytes_on_real_rows(data_dir: Path) -> None:
    folder = data_dir / "embeddings" / "minilm"
    x, q = (
        np.load(folder / f"scifact_{part}.npy").astype(np.float32) for part in ("corpus", "queries")
    )
    truth = exact_search(x, q, 10).ids
    recall, size = {}, {}
    for spec in ("nested(1) + residual | nested(3)", "nested(1) + nested(3)"):
        codec = nb.fit(x, spec)
        hits = nb.search(codec, codec.encode(x), q, plan=nb.Plan.default(codec, oversample=20))
        recall[spec], size[spec] = recall_at_k(hits.ids, truth), codec.n_bytes
    residual, twice = recall
    assert size[residual] == size[twice]
    assert recall[residual] > recall[twice]


def test_a_residual_of_rabitq_is_refused() -> None:
    with pytest.raises(SpecError, match="begin with another coder"):
        parse("rabitq(2) + residual | int8")
    parse("nested(1) + residual | rabitq")
