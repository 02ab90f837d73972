"""Write the golden indexes of the present format version: run once when the version changes."""

from pathlib import Path

from test_golden_index import golden_rows

import nestbit as nb
from nestbit.index.catalog import FORMAT_VERSION

HERE = Path(__file__).parent / "golden"


def flat(path):
    rows = golden_rows()
    with nb.create(
        path, "binary + int8", metric="l2", model="golden", fields=["year"], fit_rows=30
    ) as index:
        index.add(
            [f"dóc{i}" for i in range(40)],
            rows[:40],
            [f"text {i}" for i in range(40)],
            [{"year": 1990 + i} for i in range(40)],
        )
        index.delete(["dóc3"])
        index.compact()
        index.add(["löst", "zero"], rows[40:42], ["late", None])
        index.upsert(["dóc5"], rows[42:43], ["new"])


def partitioned(path):
    rows = golden_rows()
    with nb.create(path, "float32") as index:
        index.add(range(100, 142), rows[:42])
        index.delete([103])
        index.compact(partitions=4)
        index.add([7], rows[42:])


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for make, path in (
        (flat, HERE / f"index-v{FORMAT_VERSION}"),
        (partitioned, HERE / f"partitions-v{FORMAT_VERSION}"),
    ):
        if path.exists():  # those of an older nestbit are never written again
            continue
        make(path)
        (path / "writer.lock").unlink()
        for end in ("-wal", "-shm"):
            (path / f"catalog.sqlite{end}").unlink(missing_ok=True)
