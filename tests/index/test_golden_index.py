"""An index of an older version of nestbit opens, is searched and is written to as it was."""

import shutil
from pathlib import Path

import numpy as np

import nestbit as nb

# Written by: python tests/index/make_golden_index.py (once for each format version, never again)
GOLDEN = Path(__file__).parent / "golden"


def golden_rows():
    """43 rows of 12 dimensions, the 42nd all zero, from integers alone."""
    state, values = 1, []
    for _ in range(43 * 12):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        values.append(((state >> 16) % 2001 - 1000) / 500)
    x = np.array(values, np.float32).reshape(43, 12)
    x[41] = 0
    return x


def test_an_index_of_version_1_is_read_and_changed(tmp_path):
    path = Path(shutil.copytree(GOLDEN / "index-v1", tmp_path / "x.nest"))
    rows = golden_rows()
    with nb.open(path) as index:
        index.check()
        assert (index.spec, index.metric, index.model) == ("binary + int8", "l2", "golden")
        assert (index.dim, len(index), index.stats().segments) == (12, 41, 3)
        order = [*(set(range(40)) - {3, 5})]
        expected = [*(f"dóc{i}" for i in order), "löst", "zero", "dóc5"]
        found = list(index.iterate(embeddings=True))
        assert [r.id for r in found] == expected
        assert [r.document for r in found[-3:]] == ["late", None, "new"]
        assert found[0].metadata == {"year": 1990}
        vectors = np.stack([r.embedding for r in found])
        np.testing.assert_allclose(vectors[:-2], rows[[*order, 40]], atol=0.2)  # one is clipped
        hits = index.search(rows[[0, 41, 42]], k=1)
        assert hits.ids.ravel().tolist() == ["dóc0", "zero", "dóc5"]
        np.testing.assert_allclose(hits.scores, 0, atol=0.05)
        assert index.count({"year": {"lt": 1995}}) == 4
        index.delete(["dóc0"])
        index.compact()
        index.check()
        assert index.search(rows[:1], k=1).ids.item() != "dóc0"


def test_a_partitioned_index_of_version_1_is_read_and_changed(tmp_path):
    path = Path(shutil.copytree(GOLDEN / "partitions-v1", tmp_path / "x.nest"))
    rows = golden_rows()
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1), 1e-9)[:, None]
    with nb.open(path) as index:
        index.check()
        stats = index.stats()
        assert (stats.rows, stats.segments, stats.partitions) == (42, 2, 4)
        kept = [*(set(range(42)) - {3}), 42]
        ids = [*(100 + i for i in kept[:-1]), 7]
        found = list(index.iterate(embeddings=True))
        assert [r.id for r in found] == ids
        np.testing.assert_allclose([r.embedding for r in found], unit[kept], atol=1e-6)
        for n_probe in (None, 1):
            hits = index.search(rows[[0, 20, 42]], k=1, n_probe=n_probe)
            assert hits.ids.ravel().tolist() == [100, 120, 7]
        index.compact(partitions=3)
        index.check()
        assert index.search(rows[[0, 42]], k=1, n_probe=1).ids.ravel().tolist() == [100, 7]
