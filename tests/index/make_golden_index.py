"""Write the golden index of the present format version: run once when the version changes."""

from pathlib import Path

from test_golden_index import golden_rows

import nestbit as nb
from nestbit.index.catalog import FORMAT_VERSION

if __name__ == "__main__":
    path = Path(__file__).parent / "golden" / f"index-v{FORMAT_VERSION}"
    path.parent.mkdir(exist_ok=True)
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
    (path / "writer.lock").unlink()
    for end in ("-wal", "-shm"):
        (path / f"catalog.sqlite{end}").unlink(missing_ok=True)
