"""Ids that are remembered are those of the catalog, whatever is changed, and memory is bounded."""

from __future__ import annotations

import numpy as np
import pytest

import nestbit as nb
from nestbit.index import known_ids
from nestbit.index.known_ids import KnownIds
from synthetic import text_like

N, DIM = 400, 16
KINDS = {"int": lambda i: 7 * i - 3, "str": "row {}".format}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(known_ids, "_BITS", 4)
    monkeypatch.setattr(known_ids, "_SIZE", 16)
    monkeypatch.setattr(known_ids, "_ENOUGH", 3)


@pytest.fixture(params=KINDS)
def name(request):
    return KINDS[request.param]


@pytest.fixture
def path(tmp_path, name):
    with nb.create(tmp_path / "x.nest", "int8", dim=DIM) as index:
        index.add([name(i) for i in range(N)], text_like(N, DIM, seed=1))
        index.fit()
    return tmp_path / "x.nest"


def known(index):
    return index._snapshot.ids


def warm(index, queries, times=60):
    for _ in range(times):
        for q in queries:
            index.search(q[None], 10)


def test_remembered_ids_are_those_of_the_catalog(path, name):
    queries = text_like(30, DIM, seed=2)
    with nb.open(path) as fresh, nb.open(path) as index:
        warm(index, queries)
        assert len(known(index)._blocks) > 5
        found = index.search(queries, 10)
        assert known(index).of(range(2 * 16)) is not None
        np.testing.assert_array_equal(found.ids, fresh.search(queries, 10).ids)
        assert found.ids.dtype == fresh.search(queries[:1], 10).ids.dtype


def test_a_row_that_takes_the_place_of_another_is_found_by_its_own_id(path, name):
    rows, queries = text_like(N, DIM, seed=1), text_like(30, DIM, seed=2)
    with nb.open(path) as index:
        warm(index, queries)
        gone = index.search(rows[:40], 1).ids[:, 0]
        index.delete(gone[:20])
        index.upsert([name(i) for i in range(20, 40)], -rows[20:40])
        assert not np.isin(index.search(rows[:20], 10).ids, gone[:20]).any()
        moved = index.search(-rows[20:40], 1).ids[:, 0]
        assert moved.tolist() == [name(i) for i in range(20, 40)]
        index.add(gone[:20].tolist(), -rows[:20])
        warm(index, -rows[:40])
        again = index.search(-rows[:20], 1).ids[:, 0]
        assert again.tolist() == gone[:20].tolist()
        index.compact()
        warm(index, -rows[:40])
        assert index.search(-rows[:20], 1).ids[:, 0].tolist() == gone[:20].tolist()


def test_a_handle_that_knows_all_ids_still_moves_on(path, name):
    rows = text_like(N, DIM, seed=1)
    with nb.open(path) as reader, nb.open(path) as writer:
        warm(reader, rows[:4])
        before = reader.generation
        writer.delete([name(0)])
        assert reader.search(rows[:1], 1).ids[0, 0] == name(0)
        writer.compact()
        assert reader.search(rows[:1], 1).ids[0, 0] != name(0)
        assert reader.generation > before


def test_what_is_held_is_bounded(path, monkeypatch):
    monkeypatch.setattr(known_ids, "_MOST", {"int": 32, "str": 32})
    queries = text_like(30, DIM, seed=2)
    with nb.open(path) as index:
        expected = index.search(queries, 10).ids
        warm(index, queries)
        assert len(known(index)._blocks) == 2
        np.testing.assert_array_equal(index.search(queries, 10).ids, expected)


def test_blocks_of_rows_that_are_gone_are_forgotten(path, name):
    rows = text_like(N, DIM, seed=1)
    with nb.open(path) as index:
        warm(index, rows[:4])
        held = known(index)
        assert held._blocks
        index.upsert([name(i) for i in range(N)], rows)
        index.compact()
        assert known(index) is held
        assert not held._blocks
        assert index.search(rows[5:6], 1).ids[0, 0] == name(5)


def test_a_block_to_which_rows_may_still_be_added_is_not_read(path, name):
    rows = text_like(N, DIM, seed=1)
    with nb.open(path) as index:
        index.add([name(N)], -rows[:1])
        for _ in range(10):
            assert index.search(-rows[:1], 1).ids[0, 0] == name(N)
        assert N >> 4 not in known(index)._blocks


def test_an_id_that_stands_for_none_is_looked_up(tmp_path):
    rows = text_like(64, DIM, seed=1)
    ids = [-(1 << 63), *range(1, 64)]
    with nb.create(tmp_path / "x.nest", "int8", dim=DIM) as index:
        index.add(ids, rows)
        index.fit()
        for _ in range(5):
            assert index.search(rows, 1).ids[:, 0].tolist() == ids


def test_rows_that_are_not_there_are_not_known():
    assert KnownIds().of([3]) is None
    assert KnownIds().of([]) == []
