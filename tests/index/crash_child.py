"""Runs changes of an index with a fault at every step in turn, each in a process of its own.

Started with faults.c preloaded. Prints one JSON object: the steps tried, and what was found wrong.
"""

import ctypes
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

import nestbit as nb

DIM = 16
KILL_BEFORE, KILL_WITHIN, DISK_FULL, IO_ERROR = range(4)


def embed(value):
    x = np.random.default_rng(value).standard_normal(DIM).astype(np.float32)
    return x / np.linalg.norm(x)


def rows(model):
    """The arguments of `add` for a dict of ids and values."""
    values = list(model.values())
    x = np.stack([embed(v) for v in values])
    return list(model), x, [f"text {v}" for v in values], [{"value": v} for v in values]


def add(model):
    return lambda index: index.add(*rows(model)), lambda state: state | model


def upsert(model):
    return lambda index: index.upsert(*rows(model)), lambda state: state | model


def delete(ids):
    return (
        lambda index: index.delete(ids),
        lambda state: {i: v for i, v in state.items() if i not in set(ids)},
    )


def compact(partitions=0, profile=None):
    return (
        lambda index: index.compact(partitions=partitions, profile=profile),
        lambda state: state,
    )


# With 40 rows the codec is fitted; compaction then encodes those that came before.
OPERATIONS = [
    add({f"a{i}": i for i in range(20)}),
    delete(["a3", "a4"]),
    add({f"b{i}": 100 + i for i in range(30)}),
    upsert({"a1": 201, "b2": 202, "c": 203}),
    compact(),
    upsert({"a1": 204}),
    delete(["c", "b9"]),
    compact(),
    compact(partitions=5),
    upsert({"a1": 205, "d": 207}),
    delete(["a7"]),
    compact(partitions=4, profile="balanced"),
    upsert({"a2": 208}),
    compact(profile="speed"),
    compact(profile="memory"),
]


def states():
    """What the index holds after each number of operations."""
    found = [{}]
    for _, effect in OPERATIONS:
        found.append(effect(found[-1]))
    return found


def create(path):
    return nb.create(path, "rabitq(1) + int8", fit_rows=40, fields=["value"])


def verify(path, allowed):
    """Return the contents; AssertionError unless the index is whole and they are allowed."""
    with nb.open(path) as index:
        index.check()
        found = {r.id: r for r in index.iterate(embeddings=True)}
        held = {i: r.metadata["value"] for i, r in found.items()}
        assert held in allowed, f"it holds {held}"
        assert all(r.document == f"text {held[i]}" for i, r in found.items())
        assert all(r.embedding @ embed(held[i]) > 0.99 for i, r in found.items())
        if held:
            queries = np.stack([embed(v) for v in held.values()])
            hits = index.search(queries, k=1)
            assert [held[i] for i in hits.ids.ravel()] == list(held.values())
            np.testing.assert_array_equal(index.search(queries, k=1, n_probe=2).ids, hits.ids)
        # The next writer removes what was left over, and goes on.
        index.upsert(["next"], embed(999)[None], ["text 999"], [{"value": 999}])
        index.compact()
        index.check()
        assert len(index) == len(held | {"next": 0})
        files = sorted(p.name for p in (path / "segments").iterdir())
        segments = index._snapshot.segments
        named = [s.entry.file for s in segments]
        named += [s.graph_entry.file for s in segments if s.graph_entry is not None]
        assert files == sorted(named), f"left over: {files}"
    return held


def run_child(shim, root, at, mode):
    """Run all operations with a fault; returns (status, operations acknowledged, steps counted)."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.close(read_end)
        shim.fault_arm(str(root).encode(), at, mode)
        status = 0
        try:
            index = create(root / "x.nest")
            os.write(write_end, b"c")
            for change, _ in OPERATIONS:
                change(index)
                os.write(write_end, b".")
            index.close()
        except OSError:
            status = 3
        os.write(write_end, b"#%d" % shim.fault_count())
        os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        told = pipe.read()
    acknowledged, _, steps = told.partition("#")
    return os.waitpid(child, 0)[1], acknowledged, int(steps or 0)


def main(library, folder, mode, stride):
    shim, path = ctypes.CDLL(library), Path(folder) / "x.nest"
    status, _, steps = run_child(shim, Path(folder), -1, mode)
    assert status == 0
    contents, faults, hit = states(), [], 0
    for at in range(0, steps, stride):
        shutil.rmtree(folder)
        os.mkdir(folder)
        status, acknowledged, _ = run_child(shim, Path(folder), at, mode)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        hit += killed or (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 3)
        try:
            if not path.exists():
                assert not acknowledged, "the created index is gone"
                continue
            done = acknowledged.count(".")
            # The change under way may have been committed before it was acknowledged.
            verify(path, contents[done : done + 2])
        except Exception as error:
            faults.append(f"step {at}, {done if path.exists() else 0} done: {error!r}"[:500])
    print(json.dumps({"steps": steps, "hit": hit, "faults": faults}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
