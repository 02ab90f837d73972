"""What a search finds is named by the segments as the catalog names it, whatever was changed."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

import nestbit as nb
from nestbit.errors import FileFormatError
from nestbit.index.catalog import Catalog
from nestbit.index.id_column import IdColumn
from synthetic import text_like

N, DIM = 400, 16
# Strings of every length, some beyond ASCII, one of them empty; integers of both ends.
KINDS = {
    "int": lambda i: (-1 if i % 2 else 1) * ((1 << 63) - 1 - i),
    "str": lambda i: "" if i == 3 else f"№{i}" if i % 5 == 0 else "x" * (i % 7) + str(i),
}


@pytest.fixture(params=KINDS)
def name(request):
    return KINDS[request.param]


@pytest.fixture
def rows():
    return text_like(N, DIM, seed=1)


@pytest.fixture
def path(tmp_path, name, rows):
    with nb.create(tmp_path / "x.nest", "int8", dim=DIM) as index:
        index.add([name(i) for i in range(N)], rows)
        index.fit()
    return tmp_path / "x.nest"


def assert_named(index, rows, names):
    """Every row is nearest to itself, alone and among others, and so the catalog calls it."""
    found = index.search(rows, 1)
    assert found.ids[:, 0].tolist() == names
    assert [index.search(x[None], 1).ids[0, 0] for x in rows] == names
    told = index.search(rows, 1, documents=True).ids
    np.testing.assert_array_equal(found.ids, told)
    assert found.ids.dtype == told.dtype


def test_ids_follow_every_change(path, name, rows):
    with nb.open(path) as index:
        assert_named(index, rows, [name(i) for i in range(N)])
        index.delete([name(i) for i in range(0, 20)])
        index.upsert([name(i) for i in range(20, 40)], -rows[20:40])
        index.add([name(i) for i in range(0, 10)], -rows[:10])
        after = np.concatenate([rows[40:], -rows[20:40], -rows[:10]])
        names = [name(i) for i in [*range(40, N), *range(20, 40), *range(10)]]
        assert_named(index, after, names)
        index.check()
        for options in ({}, {"partitions": 7}):
            index.compact(**options)
            assert index.stats().segments == 1
            assert_named(index, after, names)
            index.check()


def test_a_search_asks_the_catalog_for_nothing(path, rows, monkeypatch):
    with nb.open(path) as index:
        expected = index.search(rows, 5).ids

        def read(self):
            raise AssertionError("the catalog was read")

        monkeypatch.setattr(Catalog, "read", read)
        np.testing.assert_array_equal(index.search(rows, 5).ids, expected)


def test_segments_without_ids_are_named_by_the_catalog(tmp_path, name, rows, monkeypatch):
    with nb.create(tmp_path / "x.nest", nb.fit(rows, "int8")) as index:
        with monkeypatch.context() as older:
            older.setattr(IdColumn, "of", lambda *_: None)
            index.add([name(i) for i in range(100)], rows[:100])
        index.add([name(i) for i in range(100, N)], rows[100:])
        names = [name(i) for i in range(N)]
        assert [segment.ids is None for segment in index._snapshot.segments] == [True, False]
        for _ in range(2):
            assert_named(index, rows, names)
            index.check()
            index.compact()
        assert index._snapshot.segments[0].ids is None


def test_a_segment_that_calls_a_row_otherwise_is_named(path, name):
    with sqlite3.connect(path / "catalog.sqlite") as connection:
        other = 5 if isinstance(name(7), int) else "other"
        connection.execute("UPDATE rows SET id = ? WHERE row = 7", (other,))
    connection.close()
    with nb.open(path) as index, pytest.raises(FileFormatError, match="for row 7, the catalog"):
        index.check()


def test_altered_ids_are_named(path, name):
    (file,) = (path / "segments").iterdir()
    whole = file.read_bytes()
    written = np.int64(name(395)).tobytes() if isinstance(name(395), int) else name(395).encode()
    assert whole.count(written) == 1
    file.write_bytes(whole.replace(written, b"\xff" * len(written)))
    with nb.open(path) as index:
        with pytest.raises(FileFormatError, match="segments"):
            index.check()
        if not isinstance(name(395), int):
            with pytest.raises(FileFormatError, match="an id is altered"):
                index.search(text_like(1, DIM, seed=1), N)
