"""A sweep measures what a search by the same recipe finds, once."""

import numpy as np
import pytest

import nestbit as nb
from nestbit.advise.levels import LevelStore, join
from nestbit.advise.recipes import default_grid, levels_of
from nestbit.advise.sweep import OVER_BUDGET, Setting, sweep
from nestbit.codecs import Codec
from nestbit.evaluate import exact_search, recall_per_query
from synthetic import text_like

SPECS = (
    "int8",
    "binary",
    "binary + int8",
    "truncate(32) | int8 + int8",
    "binary + int8 + float32",
    "pca(24) | int8 + residual | int8",
)


@pytest.fixture(scope="module")
def measured(rows, queries):
    return sweep(rows, queries, SPECS, Setting(k=5, sample=2000))


def test_every_recipe_finds_what_its_plan_finds(rows, queries, measured):
    shuffled = rows[measured.order]
    for result in measured.results:
        codec = nb.fit(rows, result.spec, sample=2000)
        codes = codec.encode(shuffled)
        assert result.level_bytes == tuple(level.n_bytes for level in codec.levels)
        for one in result.recipes:
            plan = one.recipe.plan(codec)
            hits = nb.search(codec, codes, queries, 5, plan)
            np.testing.assert_array_equal(one.ids, hits.ids)
            np.testing.assert_array_equal(one.scores, hits.scores)
            truth = exact_search(shuffled, queries, 5).ids
            np.testing.assert_array_equal(one.recalls[-1], recall_per_query(hits.ids, truth))
            assert one.milliseconds > 0


def test_results_do_not_depend_on_threads(rows, queries, measured):
    again = sweep(rows, queries, SPECS, Setting(k=5, sample=2000), threads=3)
    for one, other in zip(measured.results, again.results, strict=True):
        for a, b in zip(one.recipes, other.recipes, strict=True):
            np.testing.assert_array_equal(a.ids, b.ids)
            np.testing.assert_array_equal(a.recalls, b.recalls)


def count_fits(monkeypatch):
    """The list of the specs fitted from now on."""
    fitted = []
    fit = Codec.fit

    def counting(self, *args, **kwargs):
        fitted.append(self.spec)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Codec, "fit", counting)
    return fitted


def test_a_level_is_fitted_once(rows, queries, monkeypatch):
    fitted = count_fits(monkeypatch)
    sweep(rows, queries, SPECS, Setting(k=5), threads=2)
    whole = "pca(24) | int8 + residual | int8"  # its levels depend on each other
    assert sorted(fitted) == ["binary", "float32", "int8", whole, "truncate(32) | int8"]


def test_a_cached_result_is_not_measured_again(rows, queries, tmp_path, monkeypatch):
    setting = Setting(k=5)
    first = sweep(rows, queries, SPECS[:2], setting, cache=tmp_path)

    def refuse(*args, **kwargs):
        raise AssertionError("fitted again")

    with monkeypatch.context() as patch:
        patch.setattr(Codec, "fit", refuse)
        again = sweep(rows, queries, SPECS[:2], setting, cache=tmp_path)
        for one, other in zip(first.results, again.results, strict=True):
            np.testing.assert_array_equal(one.recipes[0].ids, other.recipes[0].ids)
            assert one.recipes[0].milliseconds == other.recipes[0].milliseconds
        other_rows = rows.copy()
        other_rows[0, 0] += 1
        for data, changed in ((other_rows, setting), (rows, Setting(k=6))):
            with pytest.raises(AssertionError, match="fitted again"):
                sweep(data, queries, SPECS[:1], changed, cache=tmp_path)


def test_an_interrupted_sweep_goes_on_where_it_stopped(rows, queries, tmp_path, monkeypatch):
    class StopError(Exception):
        pass

    def stop(done, total, what):
        if done == 3:
            raise StopError

    specs = ("int8", "pca(16) | int8", "pca(24) | int8", "pca(32) | int8")
    with pytest.raises(StopError):
        sweep(rows, queries, specs, Setting(k=5), cache=tmp_path, progress=stop)
    fitted = count_fits(monkeypatch)
    done = sweep(rows, queries, specs, Setting(k=5), cache=tmp_path)
    assert all(result.recipes for result in done.results)
    assert set(fitted) <= set(specs[2:])


def test_progress_counts_every_step_to_the_end(rows, queries):
    steps = []
    sweep(rows, queries, SPECS[:2], Setting(k=5), progress=lambda *step: steps.append(step))
    assert [done for done, _, _ in steps] == [1, 2, 3, 4, 5]
    assert {total for _, total, _ in steps} == {5}


def test_a_clearly_worse_spec_of_the_same_size_is_left_early():
    rows, queries = text_like(16_000, 32), text_like(60, 32, seed=1)
    found = sweep(rows, queries, ("int8", "hash(32) | int8"), Setting())
    kept, left = found.results
    assert kept.dropped is None
    assert kept.recipes[0].recalls.shape == (2, 60)
    assert left.dropped == "dominated by int8"


def test_parts_are_means_over_disjoint_blocks(rows, queries):
    found = sweep(rows, queries, ("binary",), Setting(k=5, growth=True))
    assert [(part.rows, len(part.blocks)) for part in found.parts] == [
        (250, 4), (500, 4), (1000, 2), (2000, 1),
    ]  # fmt: skip
    shuffled = rows[found.order]
    codec = nb.fit(rows, "binary")
    codes = codec.encode(shuffled)
    expected = [
        recall_per_query(
            nb.search(codec, codes[start : start + 500], queries, 5).ids,
            exact_search(shuffled[start : start + 500], queries, 5).ids,
        )
        for start in (0, 500, 1000, 1500)
    ]
    (one,) = found.results[0].recipes
    np.testing.assert_allclose(one.recalls[1], np.mean(expected, axis=0))


def test_specs_beyond_the_budget_are_not_fitted(rows, queries, monkeypatch):
    fitted = []
    fit = Codec.fit

    def counting(self, x, **options):
        if len(x) > 300:
            fitted.append(self.spec)
        return fit(self, x, **options)

    monkeypatch.setattr(Codec, "fit", counting)
    specs = ("binary", "int8", "nested(1)", "binary + int8")
    found = sweep(rows, queries, specs, Setting(k=5), allows=lambda sizes: sizes[0] <= 12)
    assert sorted(fitted) == ["binary", "int8"]  # int8 as the second level of the last
    assert [r.dropped for r in found.results] == [None, OVER_BUDGET, OVER_BUDGET, None]
    for result in found.results:
        assert result.level_bytes == tuple(
            level.n_bytes for level in nb.fit(rows, result.spec).levels
        )
    none = sweep(rows, queries, specs, Setting(k=5), allows=lambda sizes: False)
    assert [r.spec for r in none.results if r.dropped is None] == ["binary"]


def test_joined_levels_are_the_codec_of_the_whole_spec(rows, queries):
    spec = "binary + int8"
    store = LevelStore(rows, np.arange(len(rows)), "cosine", 2000, 0)
    joined, codes = store.whole(spec, 0, 1500)
    whole = nb.fit(rows, spec, sample=2000)
    assert joined.spec == whole.spec
    assert len(codes) == 1500
    for one, other in zip(codes.levels, whole.encode(rows[:1500]).levels, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    assert join([whole], spec) is whole


def test_the_grid_fits_the_width():
    assert "truncate(192) | int8" in default_grid(384, matryoshka=True)
    assert not any("truncate" in spec for spec in default_grid(384, matryoshka=False))
    for dim in (8, 33, 384):
        for spec in default_grid(dim, matryoshka=True):
            assert levels_of(spec)
