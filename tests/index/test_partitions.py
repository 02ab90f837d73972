"""A partitioned index finds what a flat one finds, and reads less where it is asked to."""

import shutil

import numpy as np
import pytest
from index_cases import SPEC, metadata, recall

import nestbit as nb
from nestbit.errors import FileFormatError, InputError
from nestbit.index.clustering import Rounded, k_means, nearest
from nestbit.index.partitions import Partitions
from synthetic import text_like

N = 2000
PARTITIONS = 40


def make(path, rows, codec, **options):
    index = nb.create(path, codec, **options)
    half = len(rows) // 2
    for start in (0, half):
        numbers = range(start, start + half)
        documents = [f"text {i}" for i in numbers]
        index.add(numbers, rows[start : start + half], documents, [metadata(i) for i in numbers])
    return index


@pytest.fixture(scope="module")
def original(tmp_path_factory, rows):
    """2,000 rows with ids from 0 on, in 40 partitions."""
    path = tmp_path_factory.mktemp("partitions") / "x.nest"
    with make(path, rows, SPEC) as index:
        index.compact(partitions=PARTITIONS)
    return path


@pytest.fixture
def index(original, tmp_path):
    with nb.open(shutil.copytree(original, tmp_path / "x.nest")) as index:
        yield index


@pytest.fixture(scope="module")
def flat(tmp_path_factory, original):
    """The same rows in one flat segment."""
    path = shutil.copytree(original, tmp_path_factory.mktemp("flat") / "x.nest")
    with nb.open(path) as index:
        index.compact(partitions=0)
        assert index.stats().partitions == 0
        yield index


def same(hits, expected):
    np.testing.assert_array_equal(hits.ids, expected.ids)
    np.testing.assert_array_equal(hits.scores, expected.scores)


def test_rows_keep_their_ids_documents_and_embeddings(index, flat):
    assert index.stats().partitions == PARTITIONS
    index.check()
    pairs = zip(index.iterate(embeddings=True), flat.iterate(embeddings=True), strict=True)
    for found, expected in pairs:
        assert found.id == expected.id
        assert found.document == f"text {found.id}"
        np.testing.assert_array_equal(found.embedding, expected.embedding)
    (record,) = index.get([1234], embeddings=True)
    np.testing.assert_array_equal(record.embedding, flat.get([1234], embeddings=True)[0].embedding)


def test_all_partitions_together_give_what_a_flat_index_gives(index, flat, queries):
    for options in ({}, {"n_probe": PARTITIONS}, {"n_probe": 10**9}):
        same(index.search(queries, k=10, **options), flat.search(queries, k=10))
    same(index.search(queries, k=N, n_probe=1), flat.search(queries, k=N))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("spec", ["binary", "nested(0.5) + int8", "float32", "int8",
                                  "nested(1) + residual | int8"])  # fmt: skip
def test_recall_grows_with_the_partitions_read(tmp_path, rows, queries, spec, metric):
    x = rows * np.linspace(0.8, 1.25, N, dtype=np.float32)[:, None]
    with make(tmp_path / "x.nest", x, nb.fit(x, spec, metric=metric)) as index:
        exact = index.search(queries, k=10)
        index.compact(partitions=PARTITIONS)
        same(index.search(queries, k=10), exact)
        found, read = [], []
        for n_probe in (1, 4, 12, 39, 40):
            hits = index.search(queries, k=10, n_probe=n_probe, explain=True)
            found.append(recall(hits.ids, exact.ids))
            read.append(hits.stages[0].rows_read)
        assert read == sorted(read)
        assert read[0] < 0.3 * read[-1] == 0.3 * N * len(queries)
        assert found[0] < found[2] < found[-1] == 1
        # Partitions are better than chance: twelve of forty hold far more than their share.
        assert found[2] > 0.55


def test_explain_tells_the_partitions_and_rows_of_each_query(index, queries):
    scan, rescore = index.search(queries, k=2, n_probe=6, explain=True).stages
    assert (scan.partitions.mean, scan.partitions.most) == (6, 6)
    assert 0 < scan.rows_read < N * len(queries) / 2
    assert scan.bytes_read == scan.rows_read * index.codec.levels[0].n_bytes
    assert rescore.partitions is None
    assert index.search(queries, explain=True).stages[0].partitions is None


def test_one_query_and_a_batch_over_threads_find_the_same(index, queries):
    together = index.search(queries, n_probe=5, threads=3)
    for i in range(len(queries)):
        one = index.search(queries[i : i + 1], n_probe=5, threads=2)
        same(one, index.search(queries[i : i + 1], n_probe=5, threads=1))
        np.testing.assert_array_equal(one.ids[0], together.ids[i])


def test_probing_never_shortens_a_result(index, queries):
    hits = index.search(queries, k=300, n_probe=1, explain=True)
    assert hits.ids.shape == (20, 300)
    assert (hits.ids >= 0).all()
    assert hits.stages[0].partitions.most > 1


@pytest.mark.parametrize("where", [None, {"lang": {"ne": "en"}}, {"year": {"gte": 2001}}])
def test_filters_and_deletions_hold_in_partitions(tmp_path, where):
    x = text_like(12_000, 32)
    q = text_like(20, 32, seed=1)
    x[[5, 7000, 11_999]] = 0
    with make(tmp_path / "x.nest", x, "binary + int8") as index:
        index.compact(partitions=60)
        index.delete(range(0, 12_000, 9))
        passing = [r.id for r in index.iterate() if where is None or matches(r.metadata, where)]
        hits = index.search(q, k=10, where=where, n_probe=8, explain=True)
        assert 4096 < len(passing) < 12_000  # fewer would be read without a scan
        assert np.isin(hits.ids, passing).all()
        assert hits.stages[0].rows_read < len(passing) * len(q) / 2
        exact = index.search(q, k=10, where=where)
        assert recall(hits.ids, exact.ids) > 0.5
        same(index.search(q, k=10, where=where, n_probe=60), exact)
        few = index.search(q, k=10, where={"year": 2003})
        same(index.search(q, k=10, where={"year": 2003}, n_probe=1), few)


def matches(fields, where):
    return fields["lang"] != "en" if "lang" in where else fields["year"] >= 2001


def test_deleted_rows_are_found_no_more_before_and_after_compaction(index, queries):
    best = np.unique(index.search(queries, k=3).ids)
    index.delete(best.tolist())
    expected = index.search(queries, k=10)
    assert not np.isin(expected.ids, best).any()
    same(index.search(queries, k=10, n_probe=PARTITIONS), expected)
    assert not np.isin(index.search(queries, k=10, n_probe=4).ids, best).any()
    index.compact()  # which keeps partitions where there were some
    assert index.stats().partitions > 0
    assert index.stats().deleted == 0
    index.check()
    assert index.get([int(best[0])]) == [None]
    same(index.search(queries, k=10), expected)
    assert [r.id for r in index.iterate()] == sorted(set(range(N)) - set(best.tolist()))


def test_rows_added_later_are_found_at_once_and_folded_in(index, queries, rows):
    near = queries + 0.05 * rows[:20]
    for i in range(20):
        index.add([5000 + i], near[i : i + 1], [f"text {5000 + i}"])
    index.upsert([77], rows[78:79], ["text 77"])
    assert 1 < index.stats().segments < 12  # small ones are merged, the large one is left alone
    assert index.stats().partitions == PARTITIONS
    hits = index.search(queries, k=5, n_probe=2, documents=True)
    np.testing.assert_array_equal(hits.ids[:, 0], np.arange(5000, 5020))
    assert hits.documents[0, 0] == "text 5000"
    exact = index.search(queries, k=10)
    index.compact(partitions=30)
    assert (index.stats().segments, index.stats().partitions) == (1, 30)
    same(index.search(queries, k=10), exact)
    np.testing.assert_array_equal(
        index.search(queries, k=1, n_probe=4).ids.ravel(), np.arange(5000, 5020)
    )
    assert set(index.search(rows[78:79], k=2, n_probe=1).ids[0]) == {77, 78}
    index.check()


def test_compaction_partitions_of_its_own_accord_from_a_number_of_rows_on(tmp_path, rows):
    codec = nb.fit(rows, SPEC)
    with make(tmp_path / "x.nest", rows, codec, partition_rows=2001) as index:
        index.compact()
        assert index.stats().partitions == 0
        index.add([9000], rows[:1])
        index.compact()
        assert index.stats().partitions == 179  # 4 √2001
    with make(tmp_path / "y.nest", rows, codec, partition_rows=None) as index:
        index.compact()
        assert index.stats().partitions == 0
    # So do merges that come with additions.
    with nb.create(tmp_path / "z.nest", codec, partition_rows=800) as index:
        for start in range(0, 800, 100):
            index.add(range(start, start + 100), rows[start : start + 100])
        assert (index.stats().segments, index.stats().partitions) == (1, 113)


def test_a_compaction_that_has_nothing_to_do_writes_nothing(index):
    before = index.generation
    index.compact(partitions=PARTITIONS)
    assert index.generation == before
    index.compact(partitions=PARTITIONS + 1)
    assert index.generation > before


def test_a_codec_that_is_fitted_later_encodes_into_partitions(tmp_path, rows, queries):
    with nb.create(tmp_path / "x.nest", SPEC, fit_rows=1500) as index:
        index.add(range(1000), rows[:1000])
        with pytest.raises(InputError, match="wait for their codec"):
            index.compact(partitions=10)
        index.add(range(1000, 2000), rows[1000:])
        index.compact(partitions=10)
        assert index.stats().partitions == 10
        np.testing.assert_array_equal(index.search(rows[[3, 1700]], k=1).ids.ravel(), [3, 1700])


def test_codes_are_put_in_order_in_as_many_passes_as_memory_asks_for(
    original, tmp_path, flat, queries, monkeypatch
):
    monkeypatch.setattr("nestbit.index.compaction._PASS_BYTES", 40_000)
    monkeypatch.setattr("nestbit.index.compaction._BLOCK_VALUES", 96 * 150)
    with nb.open(shutil.copytree(original, tmp_path / "x.nest")) as index:
        for count in (7, 90, 0):
            index.compact(partitions=count)
            index.check()
            same(index.search(queries, k=N), flat.search(queries, k=N))


def test_more_partitions_than_distinct_rows_leave_some_empty(tmp_path):
    x = np.repeat(np.eye(4, 8, dtype=np.float32), 10, axis=0)
    with nb.create(tmp_path / "x.nest", "float32") as index:
        index.add(range(40), x)
        index.compact(partitions=40)
        hits = index.search(x[::10], k=10, n_probe=1)
        np.testing.assert_array_equal(np.sort(hits.ids), np.arange(40).reshape(4, 10))
        index.delete(range(10))
        assert (index.search(x[:1], k=30, n_probe=1).ids >= 10).all()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("measured") / "x.nest"
    with make(path, text_like(12_000, 48), "nested(1) + int8") as index:
        index.compact(partitions=100)
        yield index


@pytest.mark.parametrize("target", [0.8, 0.9, 0.97])
@pytest.mark.parametrize("k", [1, 10])
def test_a_target_recall_decides_on_partitions_and_candidates(measured, target, k):
    q = text_like(300, 48, seed=1)
    exact = measured.search(q, k=k, plan=nb.Plan((nb.Stage(1),)))
    hits = measured.search(q, k=k, target_recall=target, explain=True)
    found = recall(hits.ids, exact.ids)
    assert found > target - 0.03
    scan, rescore = hits.stages
    assert scan.rows_read < 0.9 * 12_000 * len(q)
    assert scan.partitions.most > scan.partitions.median  # not all queries need equally many
    assert rescore.reads.mean < 12_000
    more = measured.search(q, k=k, target_recall=target + 0.02, explain=True)
    assert more.stages[0].rows_read > scan.rows_read


def test_no_query_reads_much_more_than_others_for_a_target_recall(measured):
    q = text_like(300, 48, seed=1)
    (segment,) = measured._snapshot.segments
    _, opened = segment.partitions.bounds(10, 0.05)
    most = segment.partitions.most_reads(10, 0.2 * 0.05)
    scan, rescore = measured.search(q, k=10, target_recall=0.9, explain=True).stages
    # One more where so many hold fewer than the thousand rows that a first scan keeps.
    assert opened <= scan.partitions.most <= opened + 1 < 60
    assert rescore.reads.most <= max(1000, 4 * most) < 6000


def test_segments_of_earlier_versions_have_margins_alone(measured):
    (segment,) = measured._snapshot.segments
    arrays = {name: array for name, array in segment.partitions.arrays().items()
              if name in Partitions.needed()}  # fmt: skip
    early = Partitions.of(arrays, len(segment), 48)
    assert early.bounds(10, 0.05) == (segment.partitions.bounds(10, 0.05)[0], np.inf)
    assert early.most_reads(10, 0.05) == np.inf


def test_beyond_what_was_measured_all_partitions_are_read(measured):
    q = text_like(5, 48, seed=1)
    for k, target in ((10, 0.9999), (2000, 0.9)):
        hits = measured.search(q, k=k, target_recall=target, explain=True)
        assert hits.stages[0].partitions.mean == 100


def test_partitions_are_measured_with_the_queries_that_are_given(tmp_path, rows, queries):
    with make(tmp_path / "x.nest", rows, "nested(1) + int8") as index:
        index.compact(partitions=PARTITIONS)
        usual = index.search(queries, k=1, target_recall=0.9, explain=True).stages[0].partitions
        # Rows as queries for themselves: their best row is the one they are.
        index.compact(partitions=PARTITIONS, queries=rows[:400])
        own = index.search(rows[:50], k=1, target_recall=0.9, explain=True)
        assert recall(own.ids, np.arange(50)[:, None]) == 1
        assert own.stages[0].partitions.mean < 3 < usual.mean


def test_options_that_do_not_fit_are_refused(index, queries):
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(InputError, match="n_probe must be a whole number"):
            index.search(queries, n_probe=wrong)
    with pytest.raises(InputError, match="give one"):
        index.search(queries, n_probe=3, target_recall=0.9)
    with pytest.raises(InputError, match="give one"):
        index.search(queries, target_recall=0.9, plan=nb.Plan.default(index.codec))
    with pytest.raises(InputError, match="between 0 and 1"):
        index.search(queries, target_recall=1.0)
    with pytest.raises(InputError, match="threads must be"):
        index.search(queries, n_probe=3, threads=0)
    for wrong in (-1, 2.5, "many", True):
        with pytest.raises(InputError, match="0 for none, or 'auto'"):
            index.compact(partitions=wrong)
    with pytest.raises(InputError, match="2000 rows cannot fill 2001"):
        index.compact(partitions=2001)
    with pytest.raises(InputError, match="50 dimensions"):
        index.compact(queries=queries[:, :50])


ARRAYS = [
    *("mean", "basis", "centroids", "offsets", "depths", "losses", "margins", "counts", "reads")
]


@pytest.mark.parametrize("name", [*(f"partition.{name}" for name in ARRAYS), "order", "ranks"])
def test_damage_to_the_arrays_of_partitions_is_named(original, tmp_path, queries, name):
    path = shutil.copytree(original, tmp_path / "x.nest")
    with nb.open(path) as index:
        (segment,) = index._snapshot.segments
        tensor = segment._header.tensors[name]
        at = tensor.start + 3 + tensor.nbytes // 8 * 4  # the high byte of a number
        data = bytearray(segment.path.read_bytes())
        data[at] ^= 0x40
        segment.path.write_bytes(data)
        with pytest.raises(FileFormatError, match=rf"{name}' is altered"):
            index.check()
    with nb.open(path) as index, pytest.raises(FileFormatError, match=rf"{name}' is altered"):
        touch_all(index, queries)


def touch_all(index, queries):
    index.search(queries, k=N, n_probe=3)
    index.get(range(N), embeddings=True)


def test_k_means_ends_at_means_of_the_rows_nearest_to_each():
    z = text_like(3000, 12)
    rounded = Rounded.of(iter([z[:1700], z[1700:]]))
    centroids = k_means(rounded, 25, 60, np.random.default_rng(0))
    labels = nearest(rounded, centroids)
    distances = ((z[:, None] - centroids[None]) ** 2).sum(axis=2)
    # Only rounding to int8 may make a row join another centroid, and that is about as near.
    assert (labels == distances.argmin(axis=1)).mean() > 0.97
    assert distances[np.arange(3000), labels].sum() < 1.0005 * distances.min(axis=1).sum()
    means = np.stack([z[labels == c].mean(axis=0) for c in range(25)])
    np.testing.assert_allclose(centroids, means, atol=0.02)
    spread = ((z - centroids[labels]) ** 2).sum() / ((z - z.mean(axis=0)) ** 2).sum()
    assert spread < 0.75
