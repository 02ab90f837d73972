"""The report is one file that works offline, whatever the texts hold."""

import json
import re

import pytest

import nestbit as nb
from nestbit.advise import figures
from nestbit.evaluate import exact_search
from synthetic import text_like


@pytest.fixture(scope="module")
def advice():
    pytest.importorskip("ir_measures")
    rows, queries = text_like(2000, 64), text_like(80, 64, seed=1)
    near = exact_search(rows, queries, 3).ids
    qrels = {str(i): {str(row): 1 for row in found} for i, found in enumerate(near)}
    return nb.advise(
        rows,
        queries,
        qrels,
        keep=0.5,
        rows=6000,
        specs=("binary", "binary + int8", "int8"),
        query_texts=["</script><script>alert(1)</script>"] * 80,
        texts=["<img src=x>"] * 2000,
    )


@pytest.fixture(scope="module")
def page(advice, tmp_path_factory):
    pytest.importorskip("plotly")
    path = tmp_path_factory.mktemp("report") / "a.html"
    advice.save(path)
    return path.read_text()


def test_the_page_loads_nothing(page):
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    assert "@import" not in page


def test_texts_cannot_end_the_script_or_add_elements(page):
    assert "<script>alert(1)" not in page
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page


def test_the_page_has_sentence_code_costs_and_a_place_for_every_figure(page, advice):
    assert advice.recipe.spec in page
    assert "nestbit compress embeddings.npy" in page
    assert "250M rows" in page
    data = json.loads(re.search(r"const FIGURES = (\{.*\});\n", page)[1].replace("<\\/", "</"))
    places = re.findall(r'class="figure" id="([\w-]+)"', page)
    assert places == list(data)
    assert len(places) == 9


def test_the_figures_show_every_recipe_once_outside_the_mark(advice):
    for by in ("bytes", "ms"):
        figure = figures.pareto(advice, by)
        others, best, mark = figure.traces
        assert len(others["x"]) + len(best["x"]) == len(advice.options)
        assert len(mark["x"]) == 1
        low, high = figure.layout["xaxis"]["range"]
        assert all(10**low < x < 10**high for x in others["x"] + best["x"])


def test_the_recommended_recipe_is_named_on_the_charts(advice):
    for by in ("bytes", "ms"):
        names = [one["text"] for one in figures.pareto(advice, by).layout["annotations"]]
        assert names[0] == str(advice.recipe)


def test_growth_ends_at_the_size_asked_for(advice):
    measured, predicted, _ = figures.growth(advice).traces
    assert measured["x"][-1] == 2000
    assert predicted["x"] == [6000]
