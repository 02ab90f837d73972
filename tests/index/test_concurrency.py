"""Readers see whole states, of whatever process and thread, while one writer goes on."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from index_cases import SPEC

import nestbit as nb
from nestbit.errors import LockedError

READER = """
import sys, numpy as np, nestbit as nb
with nb.open(sys.argv[1], read_only=True) as index:
    q = np.load(sys.argv[2])
    print("ready", flush=True)
    seen = set()
    for _ in range(int(sys.argv[3])):
        index.refresh()
        hits = index.search(q, k=5, documents=True)
        n = len(index)
        assert n % 50 == 0, n
        assert all(d == f"text {i}" for d, i in zip(hits.documents.ravel(), hits.ids.ravel()))
        assert (np.diff(hits.scores) <= 0).all()
        seen.add(index.generation)
    print(len(seen))
"""


def test_processes_read_whole_states_while_one_writes(tmp_path, rows, queries):
    np.save(tmp_path / "q.npy", queries)
    path = tmp_path / "x.nest"
    codec = nb.fit(rows, SPEC)
    with nb.create(path, codec) as index:
        put(index, rows, range(50))
        command = [sys.executable, "-c", READER, str(path), str(tmp_path / "q.npy"), "60"]
        readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for reader in readers:
            assert reader.stdout.readline() == "ready\n"
        for i in range(1, 30):
            put(index, rows, range(50 * i, 50 * i + 50))
            if i % 5 == 0:
                index.delete(range(50 * i - 50, 50 * i))
            if i % 7 == 0:
                index.compact(wait=i % 2 == 0)
        for reader in readers:
            # communicate() would lose what was read ahead with the first line.
            with reader.stdout as told:
                assert int(told.read()) >= 1
            assert reader.wait(timeout=120) == 0


def put(index, rows, ids):
    index.add(ids, rows[list(ids)], [f"text {i}" for i in ids])


def test_threads_share_a_handle_while_it_writes_and_compacts(tmp_path, rows, queries):
    failures, stop = [], threading.Event()

    def read(index):
        try:
            while not stop.is_set():
                hits = index.search(queries, k=5, documents=True)
                assert all(
                    d == f"text {i}"
                    for d, i in zip(hits.documents.ravel(), hits.ids.ravel(), strict=True)
                )
                assert sum(1 for _ in index.iterate(batch=64)) >= 200
                assert index.get([int(hits.ids[0, 0])])
        except Exception as error:
            failures.append(error)

    with nb.create(tmp_path / "x.nest", nb.fit(rows, SPEC)) as index:
        put(index, rows, range(200))
        threads = [threading.Thread(target=read, args=(index,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for i in range(4, 24):
            put(index, rows, range(50 * i, 50 * i + 50))
            index.delete(range(50 * i, 50 * i + 25))
            if i % 4 == 0:
                index.compact(wait=False)
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        index.check()


def test_writes_go_on_while_a_compaction_runs(tmp_path, rows, monkeypatch):
    from nestbit.index import compaction

    begun, go_on = threading.Event(), threading.Event()
    merge = compaction.merge

    def slow(*arguments):
        begun.set()
        assert go_on.wait(60)
        return merge(*arguments)

    with nb.create(tmp_path / "x.nest", nb.fit(rows, SPEC)) as index:
        put(index, rows, range(100))
        put(index, rows, range(100, 200))
        monkeypatch.setattr(compaction, "merge", slow)
        index.compact(wait=False)
        assert begun.wait(60)
        put(index, rows, range(200, 300))
        index.delete([0, 150, 250])
        index.upsert([1], rows[500:501], ["new"])
        assert len(index) == 297
        go_on.set()
        monkeypatch.setattr(compaction, "merge", merge)
        index.compact()
        assert index.stats().segments == 1
        assert index.stats().deleted == 0
        assert [r.id for r in index.iterate()] == [*(set(range(300)) - {0, 1, 150, 250}), 1]
        assert index.search(rows[500:501], k=1).ids.item() == 1
        index.check()


def test_threads_may_all_write_and_compact(tmp_path, rows):
    failures = []

    def work(index, number):
        try:
            for i in range(6):
                put(index, rows, range(400 * number + 20 * i, 400 * number + 20 * i + 20))
                index.delete([400 * number + 20 * i])
                index.compact(wait=i % 2 == 0)
        except Exception as error:
            failures.append(error)

    with nb.create(tmp_path / "x.nest", nb.fit(rows, SPEC)) as index:
        threads = [threading.Thread(target=work, args=(index, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        index.compact()
        index.check()
        expected = {400 * n + i for n in range(4) for i in range(120) if i % 20}
        assert {record.id for record in index.iterate()} == expected
        assert index.stats().segments == 1


def test_an_error_of_a_compaction_in_the_background_is_told(tmp_path, rows, monkeypatch):
    from nestbit.index import compaction

    def fails(*arguments):
        raise OSError(28, "No space left on device")

    index = nb.create(tmp_path / "x.nest", nb.fit(rows, SPEC))
    put(index, rows, range(100))
    put(index, rows, range(100, 200))
    with monkeypatch.context() as patch:
        patch.setattr(compaction, "merge", fails)
        index.compact(wait=False)
        with pytest.raises(OSError, match="No space"):
            index.close()
    with nb.open(tmp_path / "x.nest") as index:  # the lock was let go
        assert index.delete([1]) == 1


def test_a_reader_keeps_its_snapshot_until_it_asks_for_another(tmp_path, rows, queries):
    path = tmp_path / "x.nest"
    with nb.create(path, nb.fit(rows, SPEC)) as index, nb.open(path) as reader:
        assert reader.search(queries).ids.shape == (20, 0)
        put(index, rows, range(100))
        assert len(reader) == 0
        assert reader.refresh()
        assert not reader.refresh()
        before = reader.search(queries, k=100, where={}).ids
        index.delete(range(50))
        index.upsert([70], rows[500:501], ["changed"])
        assert len(reader) == 100
        np.testing.assert_array_equal(reader.search(queries, k=100, where={}).ids, before)
        assert reader.get([10, 70])[0].id == 10
        assert reader.get([70])[0].document == "text 70"
        assert [r.id for r in reader.iterate()] == list(range(100))
        assert reader.refresh()
        assert len(reader) == 50
        assert reader.get([70])[0].document == "changed"


def test_a_snapshot_moves_on_when_it_is_asked_for_what_was_dropped(tmp_path, rows, queries):
    path = tmp_path / "x.nest"
    with nb.create(path, nb.fit(rows, SPEC)) as index:
        put(index, rows, range(100))
        with nb.open(path) as reader:
            index.delete(range(50))
            index.compact()
            before = reader.generation
            assert len(np.unique(reader.search(queries, k=100).ids)) == 100
            assert reader.generation == before
            assert (reader.search(queries, k=100, documents=True).ids >= 50).all()
            assert reader.generation == index.generation
            assert (reader.search(queries, k=100).ids >= 50).all()


def test_a_compaction_without_deletions_leaves_snapshots_alone(tmp_path, rows, queries):
    path = tmp_path / "x.nest"
    with nb.create(path, nb.fit(rows, SPEC)) as index:
        put(index, rows, range(100))
        put(index, rows, range(100, 200))
        with nb.open(path) as reader:
            generation = reader.generation
            index.compact()
            assert reader.search(queries, k=3).ids.shape == (20, 3)
            assert reader.generation == generation


def test_another_process_that_writes_is_named(tmp_path, rows):
    path = tmp_path / "x.nest"
    nb.create(path, "float32").close()
    code = (
        "import sys, nestbit as nb, numpy as np; index = nb.open(sys.argv[1]);"
        "index.add([1], np.ones((1, 4))); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "locked\n"
    with nb.open(path) as index:
        with pytest.raises(LockedError, match=rf"changed by pid {child.pid}\b"):
            index.delete([1])
        child.kill()
        child.communicate()
        assert index.delete([1]) == 1
    assert Path(path, "writer.lock").exists()
