import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from nestbit.demo.contenders import contenders, describe
from nestbit.demo.corpus import Corpus, Entry
from nestbit.demo.report import render, write_report
from nestbit.demo.run import ANSWERS_FROM, Measured, run_demo
from nestbit.demo.wording import cells, headline, standings
from nestbit.errors import InputError
from nestbit.search import Plan

pytest.importorskip("threadpoolctl", reason="the package threadpoolctl is not installed")

DIM = 64


class WordModel:
    """Embeds a text as the sum of one random vector per word: shared words make it near."""

    name, dim = "words", DIM

    def encode_documents(self, texts):
        return np.array([self._row(text) for text in texts], dtype=np.float32).reshape(-1, DIM)

    encode_queries = encode_documents

    def _row(self, text):
        words = [
            np.random.default_rng(list(word.encode())).normal(size=DIM) for word in text.split()
        ]
        return np.sum(words, axis=0) if words else np.zeros(DIM)


def make_corpus(n, examples=()):
    rng = np.random.default_rng(1)
    entries = []
    for i in range(n):
        words = [f"w{w}" for w in rng.integers(400, size=12)]
        entries.append(Entry(f"item{i}", " ".join(words[:4]), " ".join(words[2:])))
    return Corpus(tuple(entries), f"{n} made texts", "a few words must find the rest", examples)


@pytest.fixture(scope="module")
def result():
    return run_demo(
        make_corpus(400, ("w1 w2 w3", "w4 w5")), WordModel(), n_queries=120, seed=0, progress=False
    )


def test_every_contender_is_measured_against_float(result):
    names = [row.name for row in result.rows]
    assert names == [c.name for c in contenders(DIM, 400)]
    assert {"binary", "int8", "binary + int8", "pca(32) | int8", "truncate(16) | int8"} <= set(
        names
    )
    assert (result.baseline.retention, result.baseline.recall) == (1.0, 1.0)
    assert (result.n, result.n_queries, result.k) == (400, 120, 10)


def test_bytes_and_factors_are_those_of_the_codes(result):
    by_name = {row.name: row for row in result.rows}
    assert by_name["binary"].n_bytes == DIM // 8
    assert by_name["int8"].n_bytes == DIM
    assert by_name["binary + int8"].n_bytes == DIM + DIM // 8
    assert by_name["truncate(32) | float16"].n_bytes == DIM
    for row in result.rows:
        assert row.times_smaller == pytest.approx(4 * DIM / row.n_bytes)
        assert row.speed == pytest.approx(result.baseline.milliseconds / row.milliseconds)


def test_finer_codes_keep_more(result):
    by_name = {row.name: row for row in result.rows}
    assert by_name["int8"].recall > 0.97
    assert by_name["int8"].retention > 0.98
    assert by_name["int8"].recall > by_name["binary"].recall
    assert by_name["binary"].recall > by_name["binary, Hamming"].recall
    assert by_name["truncate(32) | int8"].recall > by_name["truncate(16) | int8"].recall


def test_the_same_seed_gives_the_same_quality(result):
    again = run_demo(make_corpus(400), WordModel(), n_queries=120, seed=0, progress=False)
    assert [(r.name, r.recall, r.ndcg) for r in again.rows] == [
        (r.name, r.recall, r.ndcg) for r in result.rows
    ]


def test_a_query_typed_is_answered_from_the_compressed_rows(result):
    assert [answer.query for answer in result.answers] == ["w1 w2 w3", "w4 w5"]
    corpus = make_corpus(400)
    typed = corpus.entries[77].document
    asked = run_demo(corpus, WordModel(), n_queries=5, seed=0, typed=(typed,), progress=False)
    (answer,) = asked.answers
    entry, score = answer.found[0]
    assert entry.name == "item77"
    assert score == pytest.approx(1, abs=0.02)
    assert asked.answers_from == ANSWERS_FROM


@pytest.mark.parametrize("n", [1, 3, 9])
def test_a_tiny_corpus_is_searched_for_all_it_has(n):
    tiny = run_demo(make_corpus(n), WordModel(), n_queries=100, seed=0, progress=False)
    assert tiny.k == n
    assert all(row.recall == 1 for row in tiny.rows)
    assert all(row.verdict == "unknown" and row.margin is None for row in tiny.rows)
    assert "too few to tell codecs apart" in " ".join(standings(tiny))
    assert not any(row.name.startswith("pca(32)") for row in tiny.rows)
    render(tiny)


def test_a_corpus_without_a_known_item_is_refused():
    corpus = make_corpus(5)
    blank = Corpus(tuple(replace(e, query="") for e in corpus.entries), "x", "")
    with pytest.raises(InputError, match=r"none of the texts \(5\) has a title"):
        run_demo(blank, WordModel(), n_queries=5, seed=0, progress=False)
    with pytest.raises(InputError, match="at least 1 query"):
        run_demo(corpus, WordModel(), n_queries=0, seed=0, progress=False)


def test_where_float_finds_nothing_retention_is_undefined_and_said_to_be():
    class Blind(WordModel):
        def encode_queries(self, texts):
            return -self.encode_documents(texts)

    blind = run_demo(make_corpus(200), Blind(), n_queries=20, seed=0, progress=False)
    assert blind.baseline.ndcg == 0
    assert all(row.retention is None for row in blind.rows)
    assert "retention is undefined" in " ".join(standings(blind))
    assert "no quality to plot" in render(blind)
    assert "of float32's top 10" in headline(blind)


@pytest.mark.parametrize(("dim", "n"), [(256, 20_000), (1024, 50), (16, 9), (8, 100), (3, 5)])
def test_contenders_fit_every_dim_and_number_of_rows(dim, n):
    x = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)[:500]
    import nestbit as nb

    names = [c.name for c in contenders(dim, len(x))]
    assert len(set(names)) == len(names)
    assert {"binary", "int8", ANSWERS_FROM} <= set(names)
    for contender in contenders(dim, len(x)):
        codec = nb.fit(x, contender.spec)
        contender.plan(codec).check(codec)
        assert "scan" in describe(contender.plan(codec), codec, 3, len(x))


def test_a_plan_is_described_by_what_it_reads():
    import nestbit as nb

    x = np.random.default_rng(0).normal(size=(500, 32)).astype(np.float32)
    codec = nb.fit(x, "binary + int8")
    assert describe(Plan.default(codec), codec, 10, 500) == "scan binary, best 100 again by int8"
    assert describe(Plan.default(codec), codec, 10, 60) == "scan binary, best 60 again by int8"
    hamming = Plan.hamming(nb.fit(x, "binary"), oversample=1)
    assert describe(hamming, nb.fit(x, "binary"), 10, 500) == "scan binary by Hamming distance"


ROW = Measured("x", "p", 8, 32.0, 0.9, 0.3, 1.0, 0.01, 0.1, 2.0)


@pytest.mark.parametrize(
    ("retention", "margin", "verdict"),
    [
        (1.02, 0.01, "ahead"),
        (0.98, 0.01, "behind"),
        (0.995, 0.01, "level"),
        (1.005, 0.01, "level"),
        (1.0, 0.0, "level"),
        (0.5, None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_float_is_beaten_or_lost_to_only_beyond_the_interval(retention, margin, verdict):
    assert replace(ROW, retention=retention, margin=margin).verdict == verdict


def test_the_standings_name_winners_losers_and_the_slow(result):
    rows = (
        replace(ROW, name="wins", retention=1.1),
        replace(ROW, name="draws", speed=0.5),
        replace(ROW, name="fails", retention=0.8),
    )
    assert standings(replace(result, rows=rows)) == [
        "Beat float32 (nDCG@10, 95% interval): wins.",
        "Not told apart from float32 (nDCG@10, 95% interval): draws.",
        "Lose to float32 (nDCG@10, 95% interval): fails.",
        "Slower than float32 for one query: draws.",
    ]


def test_the_headline_takes_the_smallest_that_keeps_99_percent(result):
    rows = (
        replace(ROW, name="large", n_bytes=64, retention=1.0),
        replace(ROW, name="small", n_bytes=16, retention=0.991),
        replace(ROW, name="poor", n_bytes=8, retention=0.98, ndcg=0.2),
    )
    assert replace(result, rows=rows).headline.name == "small"
    assert replace(result, rows=rows[2:]).headline.name == "poor"


def test_the_report_holds_every_figure_of_the_table_and_reaches_for_nothing(result, tmp_path):
    path = tmp_path / "report.html"
    write_report(path, result)
    page = path.read_text(encoding="utf-8")
    for row in (result.baseline, *result.rows):
        for value in cells(row, result):
            assert f">{value}<" in page or f"<b>{value}</b>" in page
    assert not re.search(r"""(src|href)\s*=|@import|url\(|<script|https?:""", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert sorted(tmp_path.iterdir()) == [path]


def test_the_report_is_well_formed(result):
    page = render(result).replace("<!doctype html>", "")
    page = re.sub(r"<(meta[^>]*|br)>", r"<\1/>", page)
    ET.fromstring(page)


def test_what_the_corpus_says_is_escaped(result):
    nasty = Entry("<script>x</script>", "<b>&\"'", "</main>")
    answer = replace(result.answers[0], query="<i>q</i>", found=((nasty, 0.5),))
    corpus = replace(result.corpus, source="<img>")
    page = render(replace(result, answers=(answer,), corpus=corpus))
    assert "<script>" not in page
    assert "<img>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;" in page


def test_a_failed_report_leaves_an_older_one_alone(result, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("older")
    broken = replace(result, answers_from="none of them")
    with pytest.raises(StopIteration):
        write_report(path, broken)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]
