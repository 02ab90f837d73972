"""A target recall is met while each query reads what it needs."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nestbit as nb
from nestbit.errors import InputError
from nestbit.evaluate import recall_at_k
from nestbit.kernels.reference_misses import normal_share
from nestbit.search.adaptive import rescore_to_target
from synthetic import text_like

Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def corpus() -> Rows:
    return text_like(6000, 64)


@pytest.fixture(scope="module")
def asked() -> Rows:
    return text_like(60, 64, seed=1)


def exhaustive(codec: nb.Codec, codes: nb.Codes, asked: Rows, k: int) -> nb.Hits:
    last = len(codec.levels) - 1
    first = next(i for i in range(last, -1, -1) if not codec.levels[i].residual)
    plan = nb.Plan((nb.Stage(first, oversample=len(codes) / k), nb.Stage(last)))
    return nb.search(codec, codes, asked, k, plan)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(
    "spec",
    [
        "binary + int8",
        "nested(0.5) + int8",
        "nested(0.25) + nested(4)",
        "pca(16) | int8 + float16",
        "nested(0.5) + residual | int8",
    ],
)
def test_the_finest_levels_own_top_k_is_found_to_the_target(
    spec: str, metric: str, corpus: Rows, asked: Rows
) -> None:
    codec = nb.fit(corpus, spec, metric=metric)
    codes = codec.encode(corpus)
    truth = exhaustive(codec, codes, asked, 10)
    for target in (0.9, 0.99):
        plan = nb.Plan.default(codec, target_recall=target)
        hits = nb.search(codec, codes, asked, 10, plan, explain=True)
        assert recall_at_k(hits.ids, truth.ids) >= target - 0.01
        scan, rescored = hits.stages
        assert rescored.reads is not None
        assert rescored.rows_read == scan.rows_kept == round(rescored.reads.mean * len(asked))
        assert 10 <= rescored.reads.median <= rescored.reads.most < len(corpus)


def test_a_query_is_answered_alike_alone_and_among_others(corpus: Rows, asked: Rows) -> None:
    codec = nb.fit(corpus, "binary + int8")
    codes = codec.encode(corpus)
    plan = nb.Plan.default(codec, target_recall=0.95)
    together = nb.search(codec, codes, asked, 10, plan)
    alone = [nb.search(codec, codes, q[None], 10, plan) for q in asked[:8]]
    np.testing.assert_array_equal(together.ids[:8], np.concatenate([hits.ids for hits in alone]))


def test_a_higher_target_reads_more(corpus: Rows, asked: Rows) -> None:
    codec = nb.fit(corpus, "nested(0.25) + int8")
    codes = codec.encode(corpus)
    reads = []
    for target in (0.5, 0.9, 0.999):
        plan = nb.Plan.default(codec, target_recall=target)
        stage = nb.search(codec, codes, asked, 10, plan, explain=True).stages[1]
        reads.append(stage.rows_read)
    assert reads == sorted(set(reads))


def test_queries_that_run_out_of_candidates_are_scanned_again_and_need_not_stop() -> None:
    """A coarse score of pure noise: only reading every row can meet the target."""
    rng = np.random.default_rng(0)
    n, m = 5000, 6
    coarse, fine = rng.standard_normal((2, m, n)).astype(np.float32)
    order = np.argsort(-coarse, axis=1)
    scans: list[int] = []

    def scan(queries: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], Rows]:
        scans.append(count)
        ids = order[queries, :count]
        return ids, np.take_along_axis(coarse[queries], ids, 1)

    def rescore(queries: NDArray[np.int64], ids: NDArray[np.int64]) -> Rows:
        return np.take_along_axis(fine[queries], ids, 1)

    found = rescore_to_target(scan, rescore, m, n, 10, 0.99, None)
    assert scans == [1000, 5000]
    assert found.scanned == 2 * m * n
    assert found.read.min() > 0.9 * n
    truth = np.argsort(-fine, axis=1)[:, :10]
    assert recall_at_k(found.ids, truth) >= 0.98
    np.testing.assert_array_equal(found.scores, np.take_along_axis(fine, found.ids, 1))


def test_other_plans_may_have_a_target(corpus: Rows, asked: Rows) -> None:
    """Hamming first, a prefix first, one level alone, three levels, and all-zero rows."""
    x = corpus.copy()
    x[[5, 99]] = 0
    cases = [
        ("binary + int8", (nb.Stage(0, query="binary", target_recall=0.95), nb.Stage(1))),
        ("int8", (nb.Stage(0, target_recall=0.95), nb.Stage(0))),
        ("nested(1)", (nb.Stage(0, dims=8, target_recall=0.95), nb.Stage(0))),
    ]
    for spec, stages in cases:
        codec = nb.fit(x, spec)
        codes = codec.encode(x)
        hits = nb.search(codec, codes, asked, 10, nb.Plan(stages))
        assert recall_at_k(hits.ids, exhaustive(codec, codes, asked, 10).ids) >= 0.94
    codec = nb.fit(x, "binary + nested(1) + float16")
    codes = codec.encode(x)
    plan = nb.Plan.default(codec, target_recall=0.95, oversample=60)
    hits = nb.search(codec, codes, asked, 10, plan, explain=True)
    assert [stage.level for stage in hits.stages] == [0, 1, 2]
    assert recall_at_k(hits.ids, exhaustive(codec, codes, asked, 10).ids) >= 0.94


def test_misplaced_targets_are_refused() -> None:
    for target in (0, 1, 1.5, -1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            nb.Stage(0, target_recall=target)
    with pytest.raises(InputError, match="first of several"):
        nb.Plan((nb.Stage(0, target_recall=0.9),))
    with pytest.raises(InputError, match="first of several"):
        nb.Plan((nb.Stage(0), nb.Stage(1, target_recall=0.9), nb.Stage(2)))


def test_the_normal_share_is_that_of_the_error_function() -> None:
    from math import erfc, sqrt

    z = np.linspace(-9, 9, 181)
    exact = np.array([erfc(-each / sqrt(2)) / 2 for each in z])
    np.testing.assert_allclose(normal_share(z), exact, atol=1e-7)
    np.testing.assert_allclose(normal_share(z[:60]), exact[:60], rtol=0.02)


@pytest.mark.parametrize("name", ["minilm/scifact", "minilm/nfcorpus", "me5-small-q4/nfcorpus"])
def test_targets_are_met_on_real_queries(name: str, data_dir: Path) -> None:
    model, collection = name.split("/")
    folder = data_dir / "embeddings" / model
    x, q = (
        np.load(folder / f"{collection}_{part}.npy").astype(np.float32)
        for part in ("corpus", "queries")
    )
    codec = nb.fit(x, "nested(0.5) + int8")
    codes = codec.encode(x)
    truth = exhaustive(codec, codes, q, 10)
    for target in (0.9, 0.99):
        hits = nb.search(codec, codes, q, 10, nb.Plan.default(codec, target_recall=target))
        assert recall_at_k(hits.ids, truth.ids) >= target - 0.01
