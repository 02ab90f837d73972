"""What goes into an index comes out of it: rows, ids, documents, across handles and compactions."""

import os

import numpy as np
import pytest
from index_cases import SPEC, metadata, recall

import nestbit as nb
from nestbit.errors import InputError, LockedError, SpecError
from synthetic import text_like


def test_search_finds_what_the_arrays_give(index, rows, queries, truth):
    hits = index.search(queries, k=10)
    codes = index.codec.encode(rows)
    expected = nb.search(index.codec, codes, queries, k=10)
    np.testing.assert_array_equal(hits.ids, expected.ids + 1000)
    np.testing.assert_allclose(hits.scores, expected.scores, rtol=1e-6)
    assert recall(hits.ids - 1000, truth()) > 0.9


@pytest.mark.parametrize(
    "spec", ["binary", "binary + int8", "nested(1) + float16", "float32", "pca(32) | int8",
             "nested(0.5) + bfloat16", "nested(1) + residual | int8", "rabitq(1)"],
)  # fmt: skip
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_many_segments_give_what_one_gives(tmp_path, rows, queries, spec, metric):
    x = rows * np.linspace(0.5, 2, len(rows), dtype=np.float32)[:, None]
    x[[5, 700]] = 0
    codec = nb.fit(x, spec, metric=metric)
    codes = codec.encode(x)
    plan = nb.Plan((*nb.Plan.default(codec, oversample=200).stages,))
    with nb.create(tmp_path / "x.nest", codec) as index:
        for start in range(0, 2000, 400):
            index.add(range(start, start + 400), x[start : start + 400])
        assert index.stats().segments == 5
        for k in (1, 10, 2000):
            hits = index.search(queries, k=k, plan=plan)
            expected = nb.search(codec, codes, queries, k=k, plan=plan)
            # Products of blocks of other sizes round otherwise, and a row may change its cell.
            np.testing.assert_allclose(hits.scores, expected.scores, rtol=1e-3, atol=1e-3)
            if k == 10:
                assert (hits.ids == expected.ids).mean() > 0.99  # equal scores may swap
        before = index.search(queries, k=10)
        index.compact()
        assert index.stats().segments == 1
        np.testing.assert_array_equal(index.search(queries, k=10).ids, before.ids)


def test_coarse_candidates_are_merged_before_finer_levels_are_read(tmp_path, rows, queries):
    codec = nb.fit(rows, SPEC)
    with nb.create(tmp_path / "x.nest", codec) as index:
        for start in range(0, 1400, 200):
            index.add(range(start, start + 200), rows[start : start + 200])
        scan, rescore = index.search(queries, k=5, explain=True).stages
    assert scan.rows_read == 1400 * len(queries)
    assert rescore.rows_read == scan.rows_kept == 50 * len(queries)


@pytest.mark.parametrize("make", [str, int], ids=["strings", "integers"])
def test_ids_keep_their_type_over_reopening(tmp_path, rows, queries, make):
    ids = [make(i) for i in range(-100, 1900)]
    with nb.create(tmp_path / "x.nest", "binary + int8") as index:
        index.add(ids, rows)
    with nb.open(tmp_path / "x.nest") as index:
        assert [record.id for record in index.iterate(batch=300)] == ids
        found = index.search(queries, k=3).ids
        assert found.dtype == (object if make is str else np.int64)
        assert all(type(i) is make for i in found.ravel().tolist())
        assert index.get([ids[7]])[0].id == ids[7]


def test_the_extremes_of_integers_are_ids(tmp_path, rows):
    ids = [-(1 << 63), 0, (1 << 63) - 1]
    with nb.create(tmp_path / "x.nest", "float32") as index:
        index.add(ids, rows[:3])
        assert [record.id for record in index.get(ids)] == ids
        assert index.search(rows[:3], k=1).ids.ravel().tolist() == ids
        assert index.delete(ids[:1]) == 1


def test_documents_and_metadata_come_back(index, queries):
    record = index.get([1003])[0]
    assert (record.document, record.metadata) == ("text 3", metadata(3))
    hits = index.search(queries, k=4, documents=True)
    assert hits.documents.tolist() == [[f"text {i - 1000}" for i in row] for row in hits.ids]
    assert hits.metadata[0, 0] == metadata(hits.ids[0, 0] - 1000)
    assert index.search(queries, k=4).documents is None


def test_embeddings_come_back_as_the_finest_level_has_them(index, rows):
    records = index.get([2500, 1000], embeddings=True)
    expected = index.codec.decode(index.codec.encode(rows[[1500, 0]]))
    np.testing.assert_allclose([r.embedding for r in records], expected, rtol=1e-6)
    first = next(iter(index.iterate(embeddings=True)))
    np.testing.assert_allclose(first.embedding, expected[1], rtol=1e-6)


def test_deleted_rows_are_found_no_more(index, queries, truth):
    gone = np.arange(1000, 3000, 3)
    assert index.delete(gone) == len(gone)
    assert index.delete(gone) == 0
    assert len(index) == index.count() == 2000 - len(gone)
    keep = np.arange(2000) % 3 != 0
    for _ in range(2):
        hits = index.search(queries, k=10)
        assert not np.isin(hits.ids, gone).any()
        assert recall(hits.ids - 1000, truth(keep)) > 0.9
        assert index.get([1000, 1001])[0] is None
        assert [r.id for r in index.iterate()] == (np.flatnonzero(keep) + 1000).tolist()
        index.compact()
    assert index.stats().deleted == 0
    assert index.search(queries, k=2000).ids.shape == (20, 2000 - len(gone))


def test_an_upserted_row_takes_the_place_of_the_old_one(index, rows):
    index.upsert([1000, 5000], rows[[1, 2]], documents=["new", None])
    assert len(index) == 2001
    assert index.get([1000])[0].document == "new"
    assert set(index.search(rows[1:2], k=2).ids[0].tolist()) == {1000, 1001}
    assert 1000 not in index.search(rows[:1], k=1).ids
    index.compact()
    assert set(index.search(rows[1:2], k=2).ids[0].tolist()) == {1000, 1001}
    assert len(list(index.iterate())) == 2001


def test_rows_wait_as_float32_until_there_are_enough_to_learn_from(tmp_path, rows, queries, truth):
    with nb.create(tmp_path / "x.nest", SPEC, fit_rows=1500) as index:
        index.add(range(700), rows[:700])
        index.add(range(700, 1400), rows[700:1400])
        assert index.codec is None
        assert index.stats().float_rows == 1400
        exact = index.search(queries, k=10)
        np.testing.assert_array_equal(exact.ids, truth(np.arange(2000) < 1400))
        index.add(range(1400, 2000), rows[1400:])
        assert index.codec.spec == SPEC
        index.compact()
        assert index.stats().float_rows == 0
        assert recall(index.search(queries, k=10).ids, truth()) > 0.9


def test_a_plan_applies_to_the_fitted_codec(index, queries):
    plan = nb.Plan((nb.Stage(1),))
    assert index.search(queries, plan=plan, explain=True).stages[0].level == 1
    with pytest.raises(InputError, match="reads level 5"):
        index.search(queries, plan=nb.Plan((nb.Stage(5),)))


@pytest.mark.parametrize("spec", ["nested(1) + int8", "nested(1) + residual | int8"])
def test_a_target_recall_is_met_over_many_segments(tmp_path, rows, queries, spec):
    codec = nb.fit(rows, spec)
    whole = nb.Plan.default(codec, oversample=200)
    plan = nb.Plan.default(codec, target_recall=0.95)
    with nb.create(tmp_path / "x.nest", codec) as index:
        for start in range(0, 2000, 400):
            index.add(range(start, start + 400), rows[start : start + 400])
        hits = index.search(queries, plan=plan, explain=True)
        assert recall(hits.ids, index.search(queries, plan=whole).ids) > 0.9
        expected = nb.search(codec, codec.encode(rows), queries, plan=plan, explain=True)
        assert hits.stages[1].reads.mean == pytest.approx(expected.stages[1].reads.mean, rel=0.2)
        assert hits.stages[1].reads.most < 2000


def test_all_zero_rows_are_scored_exactly(tmp_path, rows, queries):
    x = np.concatenate([rows[:50], np.zeros((2, 96), np.float32)])
    with nb.create(tmp_path / "x.nest", "binary") as index:
        index.add(range(52), x)
        hits = index.search(queries, k=52)
        at_zero = np.isin(hits.ids, [50, 51])
        assert at_zero.sum() == 2 * len(queries)
        assert (hits.scores[at_zero] == 0).all()
        index.delete([50])
        assert (index.search(queries, k=52).ids == 51).sum() == len(queries)


def test_an_empty_index_answers(tmp_path, queries):
    with nb.create(tmp_path / "x.nest", SPEC) as index:
        assert index.search(queries).ids.shape == (20, 0)
        assert index.search(queries[:0]).ids.shape == (0, 0)
        assert index.get([1]) == [None]
        assert index.delete([1]) == 0
        assert index.count({"a": 1}) == 0
        index.compact()
        index.check()
        assert index.stats().rows == len(index) == 0


def test_small_adds_are_merged_as_they_come(tmp_path, rows):
    codec = nb.fit(rows, SPEC)
    with nb.create(tmp_path / "x.nest", codec) as index:
        for i in range(40):
            index.add([i], rows[i : i + 1])
        assert index.stats().segments < 16
        assert len(list((tmp_path / "x.nest/segments").iterdir())) == index.stats().segments
        assert index.search(rows[:40], k=1).ids.ravel().tolist() == list(range(40))


def test_rows_may_be_mapped_from_a_file(tmp_path, rows):
    np.save(tmp_path / "rows.npy", rows.astype(np.float16))
    with nb.create(tmp_path / "x.nest", SPEC) as index:
        index.add(range(2000), np.load(tmp_path / "rows.npy", mmap_mode="r"))
        assert len(index) == 2000


def test_blocks_of_a_large_add_keep_their_order(tmp_path):
    x = text_like(3000, 2000)
    with nb.create(tmp_path / "x.nest", "float16") as index:
        index.add(range(3000), x)  # 2,097 rows fill a block
        assert index.search(x[[0, 2096, 2097, 2999]], k=1).ids.ravel().tolist() == [
            0, 2096, 2097, 2999,
        ]  # fmt: skip


def test_the_coarse_level_can_be_pinned(index, tmp_path, queries):
    expected = index.search(queries)
    with nb.open(tmp_path / "x.nest", pin="coarse") as other:
        assert other.stats().pinned_bytes == 0  # opening reads nothing
        np.testing.assert_array_equal(other.search(queries).ids, expected.ids)
        assert other.stats().pinned_bytes == other.stats().level_bytes[0] > 0


def test_bytes_on_disk_are_told_by_level(index):
    stats = index.stats()
    per_row = [level.n_bytes for level in index.codec.levels]
    assert stats.level_bytes == tuple(2000 * b for b in per_row)
    assert stats.segment_bytes >= sum(stats.level_bytes)
    assert stats.total_bytes > stats.segment_bytes
    assert (stats.rows, stats.deleted, stats.segments) == (2000, 0, 1)


def bad(value):
    return pytest.param(*value, id=value[-1][:30])


@pytest.mark.parametrize(
    ("ids", "more", "message"),
    [
        bad(([1, "a"], {}, "not both")),
        bad(([1, 1], {}, "occurs twice")),
        bad((["a", "b"], {}, "are integers, got strings")),
        bad(([1.5, 2.0], {}, "strings or integers")),
        bad(([True, False], {}, "strings or integers")),
        bad(([1 << 63, 1], {}, "64 bits")),
        bad(([1], {}, "2 embeddings came with 1 ids")),
        bad(([1000, 1], {}, "1000 is in the index already; use upsert")),
        bad(([1, 2], {"documents": ["a"]}, "2 embeddings came with 1 documents")),
        bad(([1, 2], {"documents": ["a", 3]}, "for row 1")),
        bad(([1, 2], {"documents": ["a", "\ud800"]}, "no UTF-8 form")),
        bad(([1, 2], {"metadata": [{}, {"x": float("nan")}]}, "row 1 has no JSON form")),
        bad(([1, 2], {"metadata": [{}, [1]]}, "must be dicts")),
    ],
)
def test_bad_rows_are_refused_and_leave_the_index_as_it_was(index, rows, ids, more, message):
    before = index.generation
    with pytest.raises(InputError, match=message):
        index.add(ids, rows[:2], **more)
    assert (len(index), index.generation) == (2000, before)
    index.check()
    index.add([1, 2], rows[:2])
    assert len(index) == 2002


def test_bad_embeddings_are_refused_with_their_row(index, rows, tmp_path):
    x = np.array(rows[:3])
    x[2, 5] = np.nan
    with pytest.raises(InputError, match="row 2, dimension 5"):
        index.add([1, 2, 3], x)
    with pytest.raises(InputError, match="50 dimensions"):
        index.add([1], rows[:1, :50])
    with pytest.raises(InputError, match="50 dimensions"):
        index.search(rows[:1, :50])
    index.check()
    assert len(list((tmp_path / "x.nest/segments").iterdir())) == 1


def test_options_that_do_not_fit_are_refused(tmp_path, rows, index):
    with pytest.raises(SpecError):
        nb.create(tmp_path / "y.nest", "nestled(1)")
    with pytest.raises(InputError, match="exists already"):
        nb.create(tmp_path / "x.nest", SPEC)
    with pytest.raises(InputError, match="brings its own metric"):
        nb.create(tmp_path / "y.nest", nb.fit(rows, "binary"), metric="l2")
    with pytest.raises(InputError, match="no name of a metadata field"):
        nb.create(tmp_path / "y.nest", SPEC, fields=['a"b'])
    with pytest.raises(InputError, match="pin is"):
        nb.open(tmp_path / "x.nest", pin="all")
    with pytest.raises(InputError, match="k must be"):
        index.search(rows[:1], k=0)
    assert not (tmp_path / "y.nest").exists()


def test_one_handle_writes_and_others_are_told_by_whom(index, tmp_path, rows):
    with nb.open(tmp_path / "x.nest") as other:
        with pytest.raises(LockedError, match="another handle of this process"):
            other.delete([1000])
        assert len(other) == 2000
    child = os.fork()
    if not child:  # the handle came along, but the lock is the parent's
        try:
            index.add([1], rows[:1])
        except InputError as error:
            os._exit(0 if f"writes in process {os.getppid()}" in str(error) else 1)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    index.close()
    with nb.open(tmp_path / "x.nest") as other:
        assert other.delete([1000]) == 1


def test_a_forked_process_reads_and_closes_its_copy_of_a_handle(index, rows, queries):
    index.delete([1999])
    expected = index.search(queries, documents=True)
    child = os.fork()
    if not child:
        status = 1
        try:
            found = index.search(queries, documents=True)
            index.close()
            status = int((found.documents != expected.documents).any())
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    index.add([1999], rows[999:1000])
    assert len(index) == 2000
    index.check()


def test_a_handle_may_be_opened_to_read_only(index, tmp_path):
    index.close()
    other = nb.open(tmp_path / "x.nest", read_only=True)
    with pytest.raises(InputError, match="read only"):
        other.delete([1000])
    other.close()
    with pytest.raises(InputError, match="is closed"):
        other.search(np.ones((1, 96)))


@pytest.mark.parametrize("pin", ["none", "coarse"])
def test_a_row_too_long_for_its_square_hides_no_other(tmp_path, pin, rows):
    some = rows[:50].copy()
    some[7] *= np.float32(1e20)
    warned = pytest.warns(RuntimeWarning, match="overflow")
    with nb.create(tmp_path / "x.nest", "float32", metric="l2") as index, warned:
        index.add(range(50), some)
    with nb.open(tmp_path / "x.nest", pin=pin) as index:
        assert index.search(some[:1], 1).ids.tolist() == [[0]]
