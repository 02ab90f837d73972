"""Plans find what they promise, and say what they read."""

import numpy as np
import pytest
from numpy.typing import NDArray

import nestbit as nb
from nestbit.errors import InputError
from nestbit.kernels.floats import floats_scan, top_k
from synthetic import text_like

Rows = NDArray[np.float32]


def nearest(rows: Rows, queries: Rows, k: int) -> NDArray[np.int64]:
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :k]


def recall(hits: nb.Hits, truth: NDArray[np.int64]) -> float:
    found = [len(set(a) & set(b)) for a, b in zip(hits.ids, truth, strict=True)]
    return float(np.mean(found)) / truth.shape[1]


@pytest.fixture(scope="module")
def truth(rows: Rows, queries: Rows) -> NDArray[np.int64]:
    return nearest(rows, queries, 10)


@pytest.mark.parametrize(
    ("spec", "floor"),
    [
        ("float32", 1.0),
        ("float16", 0.98),
        ("int8", 0.95),
        ("pca(64) | int8", 0.75),
        ("binary", 0.4),
        ("binary + int8", 0.9),
        ("binary + float32", 0.92),
    ],
)
def test_recall_of_the_float_top_10(
    spec: str, floor: float, rows: Rows, queries: Rows, truth: NDArray[np.int64]
) -> None:
    codec = nb.fit(rows, spec)
    hits = nb.search(codec, codec.encode(rows), queries, k=10)
    assert recall(hits, truth) >= floor


def test_rescoring_bits_by_the_float_query_beats_hamming_alone(
    rows: Rows, queries: Rows, truth: NDArray[np.int64]
) -> None:
    codec = nb.fit(rows, "binary")
    codes = codec.encode(rows)
    alone = nb.search(codec, codes, queries, plan=nb.Plan.hamming(codec, oversample=1))
    rescored = nb.search(codec, codes, queries, plan=nb.Plan.hamming(codec))
    assert recall(rescored, truth) > recall(alone, truth) + 0.05


def test_a_plan_that_keeps_every_row_equals_the_exact_scan_of_its_last_level(
    rows: Rows, queries: Rows
) -> None:
    codec = nb.fit(rows, "binary + int8")
    codes = codec.encode(rows)
    everything = nb.Plan.hamming(codec, oversample=len(rows))
    exact = nb.Plan((nb.Stage(1, oversample=20), nb.Stage(1)))
    one = nb.search(codec, codes, queries, plan=everything)
    other = nb.search(codec, codes, queries, plan=exact)
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("spec", ["float32", "float16", "int8", "uint8", "binary"])
def test_a_funnel_ends_on_the_whole_code(spec: str, rows: Rows, queries: Rows) -> None:
    codec = nb.fit(rows, spec)
    codes = codec.encode(rows)
    wide = nb.search(codec, codes, queries, plan=nb.Plan.funnel(codec, oversample=2000))
    whole = nb.search(codec, codes, queries)
    np.testing.assert_array_equal(wide.ids, whole.ids)
    narrow = nb.search(codec, codes, queries, plan=nb.Plan.funnel(codec), explain=True)
    assert narrow.ids.shape == (20, 10)
    assert [stage.dims for stage in narrow.stages] == sorted(s.dims for s in narrow.stages)


def test_a_prefix_stage_scores_the_prefix_of_query_and_row(rows: Rows, queries: Rows) -> None:
    for spec in ("float32", "int8", "binary", "pca(80) | int8"):
        codec = nb.fit(rows, spec)
        codes = codec.encode(rows)
        plan = nb.Plan((nb.Stage(0, dims=32, oversample=200), nb.Stage(0, dims=32)))
        hits = nb.search(codec, codes, queries, plan=plan)
        level = codec.levels[0]
        moved, bias = level._move(codec.prepare(queries))
        z = level.coder.decode(codes.levels[0].data, {})
        expected = moved[:, :32] @ z[:, :32].T + bias[:, None]
        found = np.take_along_axis(expected, hits.ids, 1)
        np.testing.assert_allclose(hits.scores, found, atol=1e-5)
        np.testing.assert_allclose(found, -np.sort(-expected, axis=1)[:, :10], atol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_each_metric_ranks_as_its_definition(metric: str) -> None:
    rows = text_like(500, 48) * np.random.default_rng(3).uniform(0.2, 3, (500, 1)).astype("f4")
    queries = 2 * text_like(10, 48, seed=5)
    products = queries @ rows.T
    lengths = np.linalg.norm(rows, axis=1)
    score = {
        "dot": products,
        "cosine": products / lengths / np.linalg.norm(queries, axis=1)[:, None],
        "l2": 2 * products - lengths**2 - (queries**2).sum(1)[:, None],
    }[metric]
    truth = np.argsort(-score, axis=1)[:, :10]
    for spec, floor in (("float32", 1.0), ("int8", 0.9), ("binary + int8", 0.85)):
        codec = nb.fit(rows, spec, metric=metric)
        plan = nb.Plan.default(codec, oversample=25)
        hits = nb.search(codec, codec.encode(rows), queries, plan=plan)
        assert recall(hits, truth) >= floor
        found = np.take_along_axis(score, hits.ids, 1)
        np.testing.assert_allclose(hits.scores, found, atol=0.05 * np.abs(score).max())


def test_ties_go_to_the_smaller_row_number(rows: Rows, queries: Rows) -> None:
    twice = np.concatenate([rows[:100], rows[:100]])
    for spec in ("binary", "int8", "float32", "binary + int8"):
        codec = nb.fit(twice, spec)
        hits = nb.search(codec, codec.encode(twice), queries, k=20)
        np.testing.assert_array_equal(hits.ids[:, 1::2], hits.ids[:, ::2] + 100)


def test_threads_change_nothing() -> None:
    rows, queries = text_like(30_000, 96), text_like(5, 96, seed=1)
    codec = nb.fit(rows, "binary + int8")
    codes = codec.encode(rows)
    for plan in (None, nb.Plan.hamming(codec)):
        one = nb.search(codec, codes, queries, plan=plan, threads=1)
        many = nb.search(codec, codes, queries, plan=plan, threads=7)
        np.testing.assert_array_equal(one.ids, many.ids)
        np.testing.assert_array_equal(one.scores, many.scores)


def test_an_explained_search_reports_rows_and_bytes_of_each_stage(
    rows: Rows, queries: Rows
) -> None:
    codec = nb.fit(rows, "binary + int8")
    codes = codec.encode(rows)
    first, second = nb.search(codec, codes, queries, k=10, explain=True).stages
    assert (first.rows_read, first.bytes_read) == (20 * 2000, 20 * 2000 * 12)
    assert (second.rows_read, second.bytes_read) == (20 * 100, 20 * 100 * 96)
    assert (first.rows_kept, second.rows_kept) == (20 * 100, 20 * 10)
    assert nb.search(codec, codes, queries).stages == ()


@pytest.mark.parametrize(
    ("spec", "metric", "row_bytes"),
    [
        ("binary", "cosine", 12),
        ("int8", "l2", 96 + 4),
        ("float16", "cosine", 2 * 96),
        ("pq(24)", "cosine", 12),
        ("nested(1)", "cosine", 12 + 2),
        ("rabitq(2)", "l2", 24 + 2 + 4 + 4),
        ("rabitq", "cosine", 12 + 2 + 4),
    ],
)
def test_bytes_read_are_those_of_the_layout_and_its_factors(
    spec: str, metric: str, row_bytes: int, rows: Rows, queries: Rows
) -> None:
    codec = nb.fit(rows, spec, metric=metric)
    assert codec.n_bytes == row_bytes
    first = nb.search(codec, codec.encode(rows), queries, explain=True).stages[0]
    assert first.bytes_read == 20 * 2000 * row_bytes


def test_a_prefix_of_cells_reads_half_a_byte_each(rows: Rows, queries: Rows) -> None:
    codec = nb.fit(rows, "rabitq")
    plan = nb.Plan((nb.Stage(0, dims=8),))
    report = nb.search(codec, codec.encode(rows), queries, plan=plan, explain=True).stages[0]
    assert (report.dims, report.bytes_read) == (8, 20 * 2000 * (4 + 2 + 4))


def test_a_prefix_of_wide_cells_reads_a_byte_each(rows: Rows, queries: Rows) -> None:
    codec = nb.fit(rows, "pq(12, nbits=8)")
    plan = nb.Plan((nb.Stage(0, dims=8),))
    report = nb.search(codec, codec.encode(rows), queries, plan=plan, explain=True).stages[0]
    assert (report.dims, report.bytes_read) == (8, 20 * 2000 * 8)


def test_k_may_be_all_rows(rows: Rows, queries: Rows) -> None:
    for spec in ("binary", "int8", "float16", "binary + int8"):
        codec = nb.fit(rows, spec)
        hits = nb.search(codec, codec.encode(rows[:33]), queries, k=33)
        assert np.all(np.sort(hits.ids, axis=1) == np.arange(33))


def test_no_queries_give_no_hits(rows: Rows) -> None:
    codec = nb.fit(rows, "binary + int8")
    hits = nb.search(codec, codec.encode(rows), np.empty((0, 96), np.float32), k=3)
    assert hits.ids.shape == hits.scores.shape == (0, 3)


def test_a_plan_that_does_not_fit_the_codec_is_refused(rows: Rows, queries: Rows) -> None:
    codec = nb.fit(rows, "binary + int8")
    codes = codec.encode(rows)
    for stage, complaint in [
        (nb.Stage(2), "reads level 2"),
        (nb.Stage(1, query="binary"), "level 1 is int8"),
        (nb.Stage(1, dims=97), "97 of 96"),
        (nb.Stage(0, dims=12), "multiple of 8"),
    ]:
        with pytest.raises(InputError, match=complaint):
            nb.search(codec, codes, queries, plan=nb.Plan((stage,)))
    with pytest.raises(InputError, match="at least 1"):
        nb.Stage(0, oversample=0.5)
    with pytest.raises(InputError, match="'float' or 'binary'"):
        nb.Stage(0, query="int8")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one stage"):
        nb.Plan(())
    with pytest.raises(InputError, match="ascend"):
        nb.Plan.funnel(codec, dims=(64, 32))


def test_float_scan_equals_a_full_sort_across_blocks() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-3, 4, (70_000, 24)).astype(np.float16)
    for m, k in ((1, 10), (3, 1), (3, 3000), (12, 10), (12, 3000)):
        weights = rng.integers(-3, 4, (m, 24)).astype(np.float32)
        scores = weights @ rows.astype(np.float32).T
        ids, best = floats_scan(rows, weights, k)
        order = np.lexsort((np.broadcast_to(np.arange(70_000), scores.shape), -scores))[:, :k]
        np.testing.assert_array_equal(ids, order)
        np.testing.assert_array_equal(best, np.take_along_axis(scores, order, 1))


def test_top_k_keeps_all_ties_at_the_threshold() -> None:
    ids = np.arange(100)[::-1][None].repeat(2, 0)
    scores = np.zeros((2, 100), np.float32)
    scores[1, 50] = 1
    best, _ = top_k(ids, scores, 3)
    np.testing.assert_array_equal(best, [[0, 1, 2], [49, 0, 1]])
