"""The advice: what it recommends, when it refuses, and that what it promises holds."""

import json

import numpy as np
import pytest

import nestbit as nb
from nestbit.advise import Budget
from nestbit.errors import InputError
from nestbit.evaluate import exact_search, recall_at_k
from synthetic import text_like

SPECS = ("binary", "binary + int8", "int8", "truncate(48) | int8")


@pytest.fixture(scope="module")
def corpus():
    return text_like(3000, 96)


@pytest.fixture(scope="module")
def asked():
    return text_like(300, 96, seed=1)


@pytest.fixture(scope="module")
def advice(corpus, asked):
    return nb.advise(corpus, asked, recall=0.9, specs=SPECS, threads=1)


def test_the_recipe_is_the_cheapest_whose_lower_bound_meets_the_floor(advice):
    chosen = advice.choice.option
    assert chosen.recall.low >= 0.9
    cheaper = [o for o in advice.options if o.dollars_per_million < chosen.dollars_per_million]
    assert cheaper
    assert all(o.recall.low < 0.9 for o in cheaper)
    assert advice.best == "binary + int8"


def test_the_recipe_built_on_all_rows_keeps_what_was_promised(advice, corpus, asked):
    codec = nb.fit(corpus, advice.best)
    hits = nb.search(codec, codec.encode(corpus), asked, 10, advice.plan(codec))
    truth = exact_search(corpus, asked, 10).ids
    assert recall_at_k(hits.ids, truth) in advice.choice.option.recall


def test_queries_the_sweep_never_saw_stay_near_the_promise(advice, corpus):
    others = text_like(1000, 96, seed=2)
    codec = nb.fit(corpus, advice.best)
    hits = nb.search(codec, codec.encode(corpus), others, 10, advice.plan(codec))
    assert recall_at_k(hits.ids, exact_search(corpus, others, 10).ids) > 0.9 - 0.01


def test_other_queries_are_expected_in_a_wider_interval(advice):
    kept, expected = advice.choice.option.quality, advice.expect(100)
    assert expected.value == kept.value
    assert expected.low < kept.low
    assert expected.high > kept.high
    assert advice.expect(10**9).low == pytest.approx(kept.low)
    with pytest.raises(InputError, match="at least 1"):
        advice.expect(0)


def test_specs_beyond_the_budget_are_named(corpus, asked):
    found = nb.advise(corpus, asked, budget=Budget(bytes_per_vector=20), specs=SPECS)
    assert {why for _, why in found.dropped} == {"over the budget"}
    assert {name for name, _ in found.dropped} == {"int8", "truncate(48) | int8"}


def test_fronts_rise_and_hold_the_best(advice):
    for by in ("bytes", "dollars", "ms"):
        values = [o.quality.value for o in advice.front(by)]
        assert values == sorted(values)
        assert values[-1] == max(o.quality.value for o in advice.options)
    with pytest.raises(InputError, match="bytes, dollars, ms"):
        advice.front("tea")


def test_a_budget_alone_takes_what_keeps_most_within_it(corpus, asked):
    found = nb.advise(
        corpus, asked, budget=Budget(bytes_per_vector=48), specs=SPECS, resident="all"
    )
    assert found.floor is None
    chosen = found.choice.option
    rivals = [o for o in found.options if o.footprint.ram <= 48]
    assert chosen.recall.low == max(o.recall.low for o in rivals)


def test_an_impossible_budget_or_floor_is_refused_with_the_reason(corpus, asked):
    tight = nb.advise(corpus, asked, budget=Budget(bytes_per_vector=5), specs=SPECS[:2])
    assert "no recipe of the grid stays within 5 bytes" in tight.sentence
    high = nb.advise(corpus, asked, recall=0.99, specs=("binary",))
    assert "no recipe of the grid keeps 99.0% recall" in high.choice.refusal
    with pytest.raises(InputError, match="no recipe to recommend"):
        _ = high.best


def test_too_few_queries_lead_to_no_promise_but_a_number(corpus, asked):
    few = nb.advise(corpus, asked[:20], recall=0.9, specs=SPECS)
    assert "20 queries are too few" in few.choice.refusal
    assert few.choice.needed >= 50
    edge = nb.advise(corpus, asked[:60], recall=0.9, specs=("binary + int8",))
    values = sorted(o.recall.value for o in edge.options)
    floor = values[-1] - 1e-4
    found = nb.advise(corpus, asked[:60], recall=floor, specs=("binary + int8",))
    assert "too few to promise" in found.choice.refusal
    assert found.choice.needed > 60


def test_held_out_rows_are_asked_where_there_are_no_queries(corpus):
    found = nb.advise(corpus, recall=0.9, specs=("int8",), held_out=100)
    assert found.n == 2900
    assert found.n_queries == 100
    assert found.best == "int8"
    assert "held out" in found.queries_from


def test_a_floor_of_recall_must_hold_at_the_size_to_come(corpus, asked):
    now = nb.advise(corpus, asked, recall=0.8, specs=SPECS)
    later = nb.advise(corpus, asked, recall=0.8, specs=SPECS, rows=30_000)
    grown = later.choice.option
    assert grown.grown.rows == 30_000
    assert grown.grown.recall.low >= 0.8
    assert grown.recipe.oversample > now.choice.option.recipe.oversample or (
        grown.footprint.total > now.choice.option.footprint.total
    )
    assert "at 30,000 rows" in later.sentence


def test_a_floor_that_only_growth_breaks_is_refused_for_that(corpus, asked):
    found = nb.advise(corpus, asked, recall=0.95, specs=("binary + int8",), rows=10**9)
    assert "reach 95.0% recall now, but at 1,000,000,000 rows none is certain" in found.sentence
    assert found.choice.needed is None


def test_zero_rows_are_left_out_and_numbers_stay_the_users(corpus, asked):
    x = np.insert(corpus, [0, 10], 0, axis=0)
    found = nb.advise(x, asked, recall=0.5, specs=("int8",))
    assert found.n == len(corpus)
    best = exact_search(x, asked, 1).ids[:, 0]
    ids = found.choice.option.ids
    assert (ids[:, 0] == best).mean() > 0.95
    assert ids.min() > 0


@pytest.fixture(scope="module")
def judged(corpus, asked):
    """Advice with judgements: the nearest three rows are relevant, with falling grades."""
    pytest.importorskip("ir_measures")
    near = exact_search(corpus, asked, 3).ids
    docs = [f"d{i}" for i in range(len(corpus))]
    names = [f"q{i}" for i in range(len(asked))]
    qrels = {
        name: {docs[row]: 3 - place for place, row in enumerate(rows)}
        for name, rows in zip(names, near, strict=True)
    }
    return nb.advise(
        corpus,
        asked,
        qrels,
        keep=0.98,
        specs=SPECS,
        query_ids=names,
        doc_ids=docs,
        query_texts=[f"question {i}" for i in range(len(asked))],
        texts=[f"text <{i}>" for i in range(len(corpus))],
    )


def test_judgements_make_ndcg_the_measure(judged):
    assert judged.float_ndcg == pytest.approx(1)
    chosen = judged.choice.option
    assert chosen.keep.low >= 0.98
    assert chosen.ndcg / judged.float_ndcg == pytest.approx(chosen.keep.value)
    assert "nDCG@10" in judged.sentence


def test_a_floor_of_ndcg_reckons_with_the_recall_to_come(judged, corpus, asked):
    near = exact_search(corpus, asked, 3).ids
    qrels = {str(i): {str(row): 1 for row in found} for i, found in enumerate(near)}
    later = nb.advise(corpus, asked, qrels, keep=0.9, specs=SPECS, rows=300_000)
    now = nb.advise(corpus, asked, qrels, keep=0.9, specs=SPECS)
    enough = min(o.recall.value for o in later.options if o.keep.low >= 0.9)
    if later.choice.option is None:
        assert "at 300,000 rows none is certain" in later.choice.refusal
    else:
        assert later.choice.option.grown.recall.low >= enough
    cheapest = [o for o in later.options if o.recipe == now.recipe]
    assert cheapest[0].grown.recall.low < enough


def test_losers_are_the_queries_that_lose_most_with_their_texts(judged):
    losses = [loser.floats - loser.compressed for loser in judged.losers]
    assert losses == sorted(losses, reverse=True)
    assert all(round(one.floats, 2) > round(one.compressed, 2) for one in judged.losers)
    first = judged.losers[0]
    assert first.text == f"question {first.query[1:]}"
    assert all(
        loser.missed_texts == tuple(f"text <{d[1:]}>" for d in loser.missed)
        for loser in judged.losers
    )


def test_json_and_markdown_tell_the_same(judged, tmp_path):
    judged.save(tmp_path / "a.json")
    judged.save(tmp_path / "a.md")
    data = json.loads((tmp_path / "a.json").read_text())
    page = (tmp_path / "a.md").read_text()
    assert data["sentence"] == judged.sentence
    assert data["best"]["spec"] == judged.best
    assert len(data["options"]) == len(judged.options)
    assert judged.sentence in page
    assert "truncate(48) \\| int8" in page
    assert judged.recipe.code in page
    with pytest.raises(InputError, match=r"\.json, \.md, \.html"):
        judged.save(tmp_path / "a.txt")


def test_the_code_of_a_recipe_runs(judged, corpus, asked):
    scope = {"nb": nb, "embeddings": corpus, "queries": asked}
    exec(judged.recipe.code, scope)
    assert scope["hits"].ids.shape == (300, 10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": 0.9}, "needs qrels"),
        ({"keep": 0.9, "recall": 0.9}, "not both"),
        ({"recall": 1.0}, "between 0 and 1"),
        ({"recall": 0.9, "specs": ()}, "specs are empty"),
        ({"recall": 0.9, "resident": "tape"}, "coarse, all"),
        ({"recall": 0.9, "confidence": 95}, "confidence"),
        ({"recall": 0.9, "texts": ["one"]}, "texts must be 3000 strings"),
        ({"recall": 0.9, "qrels": {"7": {"1": 1}}}, "are not judged"),
        ({"recall": 0.9, "rows": 0}, "rows"),
    ],
)
def test_what_does_not_fit_together_is_refused(corpus, asked, options, words):
    if "qrels" in options:
        pytest.importorskip("ir_measures")
    with pytest.raises(InputError, match=words):
        nb.advise(corpus, asked, **{"specs": ("int8",), **options})


def test_qrels_without_queries_are_refused(corpus):
    with pytest.raises(InputError, match="give the queries"):
        nb.advise(corpus, qrels={"0": {"1": 1}})


def test_qrels_of_other_documents_are_refused(corpus, asked):
    pytest.importorskip("ir_measures")
    qrels = {str(i): {"elsewhere": 1} for i in range(len(asked))}
    with pytest.raises(InputError, match="no judged document is among the rows"):
        nb.advise(corpus, asked, qrels, specs=("int8",))
