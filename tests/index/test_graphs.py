"""An index with a graph finds what one without finds, reads less, and stays whole."""

import os
import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from index_cases import SPEC, metadata, recall

import nestbit as nb
from nestbit.errors import FileFormatError, InputError
from nestbit.index import profiles
from nestbit.index.graph_file import Measured
from nestbit.index.walk import walker_of
from synthetic import text_like

N = 2000
ALL = {"plan": nb.Plan((nb.Stage(0, oversample=20), nb.Stage(1)))}


def make(path, rows, codec=SPEC, **options):
    index = nb.create(path, codec, **options)
    index.add(
        range(len(rows)),
        rows,
        [f"text {i}" for i in range(len(rows))],
        [metadata(i) | {"n": i} for i in range(len(rows))],
    )
    return index


@pytest.fixture(scope="module", params=["balanced", "speed"])
def original(request, tmp_path_factory, rows):
    path = tmp_path_factory.mktemp(request.param) / "x.nest"
    with make(path, rows, profile=request.param) as index:
        index.compact(partitions=20)
    return path


@pytest.fixture
def path(original, tmp_path):
    return shutil.copytree(original, tmp_path / "x.nest")


@pytest.fixture
def index(path):
    with nb.open(path) as index:
        yield index


def graph_files(path):
    return sorted(f.name for f in (path / "segments").glob("*.graph.safetensors"))


def test_walks_find_the_share_that_is_asked_for_and_read_less(index, queries, truth):
    index.check()
    for target in (0.9, 0.95, 0.99):
        hits = index.search(queries, target_recall=target, explain=True)
        assert recall(hits.ids, truth()) >= target - 0.02
        coarse, fine = hits.stages
        assert coarse.graph.startswith(index.stats().profile)
        assert fine.rows_read == coarse.rows_kept
        if target == 0.9:
            assert coarse.rows_read < 0.9 * N * len(queries)
    plain = index.search(queries, explain=True)
    assert plain.stages[0].graph is not None


def test_a_wider_beam_finds_more(index, queries, truth):
    found = [recall(index.search(queries, beam=b).ids, truth()) for b in (10, 20, 40, 160)]
    assert found == sorted(found)
    assert found[-1] > 0.98


def test_scores_are_those_of_the_finest_level(index, queries):
    walked, scanned = index.search(queries, beam=200), index.search(queries, **ALL)
    same = walked.ids == scanned.ids
    assert same.mean() > 0.98
    np.testing.assert_allclose(walked.scores[same], scanned.scores[same], atol=2e-4)


def test_a_plan_or_n_probe_reads_as_without_a_graph(index, queries):
    assert index.search(queries, explain=True, **ALL).stages[0].graph is None
    hits = index.search(queries, n_probe=3, explain=True)
    assert hits.stages[0].graph is None
    assert hits.stages[0].partitions.most <= 20


def test_changes_after_the_graph_are_found_at_once(index, queries, rows):
    best = index.search(queries, 1).ids[:, 0]
    index.delete(np.unique(best))
    assert not np.isin(index.search(queries, 50).ids, best).any()
    moved = text_like(30, rows.shape[1], seed=5)
    index.add(range(N, N + 30), moved)
    index.upsert(range(5), moved[:5] * -1)
    found = index.search(moved, 1).ids[:, 0]
    np.testing.assert_array_equal(found, np.arange(N, N + 30))
    assert index.search(moved[:5] * -1, 1).ids[:, 0].tolist() == [0, 1, 2, 3, 4]
    index.compact()
    assert index.stats().segments == 1
    np.testing.assert_array_equal(index.search(moved, 1).ids[:, 0], found)
    index.check()


def test_rows_that_are_too_few_or_all_zero_have_no_graph(tmp_path, rows):
    codec = nb.fit(rows, SPEC)
    for i, some in enumerate((rows[:1], 0 * rows[:50], np.concatenate([rows[:1], 0 * rows[:9]]))):
        with make(tmp_path / f"{i}.nest", some, codec, profile="balanced") as index:
            index.compact()
            assert index.stats().graphs == ()
            assert index.search(rows[:1], 1).ids.shape == (1, 1)


def test_merges_that_come_with_additions_make_a_graph_only_in_the_place_of_one(tmp_path, rows):
    more = text_like(8 * 1100, rows.shape[1], seed=6)
    with nb.create(tmp_path / "x.nest", nb.fit(rows, SPEC), profile="balanced") as index:
        for start in range(0, len(more), 1100):
            index.add(range(start, start + 1100), more[start : start + 1100])
        assert (index.stats().segments, index.stats().graphs) == (1, ())
        index.compact()
        assert len(index.stats().graphs) == 1
        graph = index._snapshot.segments[0].graph_entry
        index.add([10_000], rows[:1])
        assert index._snapshot.segments[0].graph_entry == graph
    with make(tmp_path / "y.nest", rows, profile="balanced") as index:
        index.compact()
        for start in range(0, 7 * 1100, 1100):
            index.add(range(N + start, N + start + 1100), more[start : start + 1100])
        assert (index.stats().segments, len(index.stats().graphs)) == (1, 1)
        hits = index.search(more[:20], 1, explain=True)
        assert hits.stages[0].graph is not None
        np.testing.assert_array_equal(hits.ids[:, 0], N + np.arange(20))


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_a_filter_costs_no_recall(index, queries, truth, share):
    passing = np.arange(N) % round(1 / share) == 0
    where = {"n": {"in": np.flatnonzero(passing).tolist()}}
    expected = truth(passing, min(10, int(passing.sum())))
    hits = index.search(queries, 10, where=where, target_recall=0.95)
    assert passing[hits.ids].all()
    assert recall(hits.ids, expected) >= 0.93


def test_a_narrow_walk_that_meets_too_few_rows_of_a_filter_gives_way_to_a_scan(
    index, rows, queries
):
    far = np.sort(np.argsort(rows @ queries[0])[: N // 5])
    where = {"n": {"in": far.tolist()}}
    hits = index.search(queries[:1], 10, where=where, beam=10, explain=True)
    scanned = index.search(queries[:1], 10, where=where, plan=nb.Plan.default(index.codec))
    assert np.isin(hits.ids, far).all()
    assert [stage.graph is None for stage in hits.stages] == [False, True, True]
    np.testing.assert_array_equal(hits.ids, scanned.ids)


def test_all_rows_are_found_where_fewer_than_k_are_left(index, queries):
    index.delete(range(30, N))
    hits = index.search(queries[:3], 50)
    assert [sorted(ids) for ids in hits.ids.tolist()] == [list(range(30))] * 3


@pytest.mark.parametrize("metric", ["dot", "l2"])
@pytest.mark.parametrize(
    "spec",
    [
        "nested(1) + int8",
        "rabitq(2)",
        "nested(4)",
        "nested(1) + int8 + float16",
        "nested(2) + float16",
        "nested(1) + residual | nested(3)",
    ],
)
def test_every_metric_and_number_of_levels_is_walked(tmp_path, rows, queries, metric, spec):
    scaled = rows * np.linspace(0.5, 2, N, dtype=np.float32)[:, None]
    scaled[7] = 0
    with make(tmp_path / "x.nest", scaled, spec, metric=metric, profile="speed") as index:
        index.compact()
        expected = index.search(queries, plan=nb.Plan.default(index.codec, oversample=20))
        hits = index.search(queries, beam=300, explain=True)
        assert hits.stages[0].graph is not None
        assert recall(hits.ids, expected.ids) > 0.97
        same = hits.ids == expected.ids
        np.testing.assert_allclose(hits.scores[same], expected.scores[same], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(
    "spec",
    ["nested(1) + int8", "nested(2, cell=4) + uint8", "rabitq(2) + int8", "rabitq(1)", "pq(8)"],
)
def test_queries_are_mapped_at_once_as_the_levels_map_them(tmp_path, rows, queries, metric, spec):
    with make(tmp_path / "x.nest", rows, spec, metric=metric, profile="balanced") as index:
        index.compact()
        (segment,) = index._snapshot.segments
        walker = walker_of(segment)
        asked = 3 * queries
        for got, want in zip(walker.mapping.floats(asked), walker._floats(asked), strict=True):
            if want is None:
                assert got is None
            else:
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("last", ["float16", "bfloat16", "float32"])
def test_a_finest_level_in_memory_ends_walks_as_one_that_is_read(
    tmp_path, rows, queries, metric, last
):
    spec = f"nested(1) + int8 + {last}"
    with make(tmp_path / "x.nest", rows, spec, metric=metric, profile="speed") as index:
        index.compact()
        walker = walker_of(index._snapshot.segments[0])
        assert walker.finishes
        reading = replace(walker, finishes=False)
        mask = np.random.default_rng(1).integers(0, 256, N // 8).astype(np.uint8)
        for options in ({}, {"mask": mask, "passing": 0.5, "offset": 50}, {"threads": 3}):
            found = walker.walk(queries, 10, 40, **options)
            expected = reading.walk(queries, 10, 40, **options)
            np.testing.assert_array_equal(found.ids, expected.ids)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-5)
        one = walker.walk(queries[:1], 10, 40)
        np.testing.assert_array_equal(one.scores, walker.walk(queries, 10, 40).scores[:1])
        few = np.zeros(N // 8, np.uint8)
        few[3] = 5
        assert (walker.walk(queries, 10, 40, mask=few, passing=0.001).ids[:, 2:] == -1).all()


def test_levels_behind_row_maps_are_walked_too(tmp_path, rows, queries):
    spec = "pca(24) | nested(2) + int8"
    with make(tmp_path / "x.nest", rows, spec, profile="speed") as index:
        index.compact()
        assert walker_of(index._snapshot.segments[0]).mapping is None
        expected = index.search(queries, **ALL)
        assert recall(index.search(queries, beam=200).ids, expected.ids) > 0.97


def test_a_level_finer_than_the_walks_scores_what_is_found_anew(tmp_path, rows, queries):
    spec = "nested(1) + int8 + float16"
    with make(tmp_path / "x.nest", rows, spec, profile="balanced") as index:
        index.compact()
        hits = index.search(queries, 10, beam=64, explain=True)
        _, fine, last = hits.stages
        assert fine.rows_kept == last.rows_read == 36 * len(queries)
        assert last.rows_kept == hits.ids.size
        exact = np.einsum("qd,qkd->qk", queries, rows[hits.ids])
        np.testing.assert_allclose(hits.scores, exact, atol=5e-4)
        one = index.search(queries[:1], 10, beam=64)
        np.testing.assert_array_equal(one.ids, hits.ids[:1])
        np.testing.assert_array_equal(one.scores, hits.scores[:1])
        where = {"n": {"lt": N // 2}}
        assert (index.search(queries, 10, beam=64, where=where).ids < N // 2).all()
        index.compact(profile="speed")
        np.testing.assert_array_equal(index.search(queries, 10, beam=64).ids, hits.ids)
        stats = index.stats()
        assert stats.pinned_bytes == sum(stats.level_bytes) + 4 * 32 * N


def test_profiles_come_and_go_and_leave_no_file(path, queries):
    with nb.open(path) as index:
        for profile, files in (("memory", 0), ("speed", 1), ("balanced", 1), ("memory", 0)):
            index.compact(profile=profile)
            stats = index.stats()
            assert (stats.profile, len(graph_files(path)), len(stats.graphs)) == (
                profile,
                files,
                files,
            )
            assert (stats.graph_bytes > 0) == bool(files)
            index.check()
            index.search(queries)
    assert len(list((path / "segments").iterdir())) == 1


def test_what_was_told_once_holds_for_later_compactions(path):
    with nb.open(path) as index:
        index.compact(profile="auto", memory_mb=5)
        index.compact(profile="memory")
        state = index._snapshot.state
        assert (state.profile, state.memory_mb) == ("memory", 5)


def test_a_reader_keeps_the_graph_it_has_open(path, queries):
    with nb.open(path, read_only=True) as reader:
        before = reader.search(queries)
        with nb.open(path) as index:
            index.compact(profile="memory")
        after = reader.search(queries)
        np.testing.assert_array_equal(before.ids, after.ids)
        assert reader.refresh()
        assert reader.search(queries, explain=True).stages[0].graph is None


def test_a_pinned_graph_is_held_in_memory(path, queries):
    with nb.open(path, pin="coarse") as pinned, nb.open(path) as mapped:
        one, other = pinned.search(queries), mapped.search(queries)
        np.testing.assert_array_equal(one.ids, other.ids)
        coarse, fine = mapped.stats().level_bytes
        everything = 4 * 32 * N + coarse + fine
        speed = mapped.stats().profile == "speed"
        assert mapped.stats().pinned_bytes == (everything if speed else 0)
        assert pinned.stats().pinned_bytes == (everything if speed else everything - fine)


def test_given_queries_measure_how_widely_to_walk(path, queries):
    with nb.open(path) as index:
        index.compact(queries=queries)
        (name,) = graph_files(path)
        measured = index._snapshot.segments[0].graph.measured
        assert name in os.listdir(path / "segments")
        assert (np.diff(measured.recalls[0]) > -0.05).all()


def test_auto_takes_what_fits_and_tells_why(tmp_path, rows, monkeypatch, queries):
    monkeypatch.setattr(profiles, "FEWEST_ROWS", 1000)
    codec = nb.fit(rows, SPEC)
    sizes = {p: N * profiles.walked_bytes(codec, p) / 1e6 for p in ("balanced", "speed")}
    assert profiles.choose(codec, N, "auto", None)[0] == "balanced"
    assert profiles.choose(codec, N, "auto", sizes["speed"] + 0.01)[0] == "speed"
    assert profiles.choose(codec, N, "auto", sizes["balanced"] + 0.01)[0] == "balanced"
    profile, why = profiles.choose(codec, N, "auto", sizes["balanced"] / 2)
    assert profile == "memory"
    assert "MB" in why
    assert profiles.choose(codec, 999, "auto", None)[0] == "memory"
    assert profiles.choose(nb.fit(rows, "binary + int8"), N, "auto", None)[0] == "memory"


def test_unfit_profiles_are_refused(tmp_path, rows, queries):
    with pytest.raises(InputError, match="needs a graph, and binary"):
        nb.create(tmp_path / "x.nest", nb.fit(rows, "binary + int8"), profile="speed")
    with pytest.raises(InputError, match="profile is one of auto, memory"):
        nb.create(tmp_path / "x.nest", SPEC, profile="fast")
    with pytest.raises(InputError, match="memory_mb must be more than 0"):
        nb.create(tmp_path / "x.nest", SPEC, memory_mb=0)
    with make(tmp_path / "x.nest", rows, "binary + int8") as index:
        with pytest.raises(InputError, match="needs a graph, and binary"):
            index.compact(profile="balanced")
        with pytest.raises(InputError, match="beam must be a whole number"):
            index.search(queries, beam=0)
        with pytest.raises(InputError, match="give one"):
            index.search(queries, beam=10, target_recall=0.9)
        with pytest.raises(InputError, match="give one"):
            index.search(queries, beam=10, plan=nb.Plan.default(index.codec))


def test_a_damaged_graph_is_named(path, queries):
    (name,) = graph_files(path)
    file = path / "segments" / name
    whole = file.read_bytes()

    def found():
        with nb.open(path) as index:
            index.check()

    for position in (20, len(whole) // 2, len(whole) - 1000):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        file.write_bytes(flipped)
        with pytest.raises(FileFormatError, match="graph"):
            found()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="graph"):
        found()
    shutil.copy(next(f for f in (path / "segments").iterdir() if "graph" not in f.name), file)
    with pytest.raises(FileFormatError, match="is not a graph"):
        found()
    file.unlink()
    with pytest.raises(FileFormatError, match=r"graph.*missing"):
        found()


def test_a_graph_that_no_catalog_names_is_removed(path):
    (name,) = graph_files(path)
    orphan = path / "segments" / f"x-{name}"
    shutil.copy(path / "segments" / name, orphan)
    with nb.open(path) as index:
        index.add([N], np.ones((1, index.dim)))
    assert not orphan.exists()
    assert graph_files(path) == [name]


def test_the_catalog_is_of_the_older_format_until_there_is_a_graph(tmp_path, rows):
    def version():
        with sqlite3.connect(tmp_path / "x.nest" / "catalog.sqlite") as connection:
            return connection.execute("PRAGMA user_version").fetchone()[0]

    with make(tmp_path / "x.nest", rows) as index:
        index.compact()
        assert version() == 1
        index.compact(profile="balanced")
        assert version() == 2


def test_the_narrowest_beam_that_is_sure_to_suffice_is_taken():
    nan = np.nan
    measured = Measured(
        np.array([1, 10]),
        np.array([10, 20, 40]),
        np.array([[0.9, 0.96, 0.99], [nan, 0.9, 0.96]], np.float32),
        np.array([[0.01, 0.01, 0.0], [nan, 0.0, 0.0]], np.float32),
    )
    assert measured.beam(1, 0.95) == 20
    assert measured.beam(1, 0.5) == 10
    assert 20 < measured.beam(2, 0.93) < 40
    assert measured.beam(10, 0.97) is None
    assert measured.beam(11, 0.5) is None
