"""Nestbit's indexes behind the face of `_engines`, one of each profile, and all that is compared.

Packages are imported where an engine needs them, so that a process holds those of one engine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from _engines import BLOCK, FIT_ROWS, Engine, K, Search, Setting, Task, ladder, wider
from _graph_peers import FACTORS, PEERS
from _graph_peers import NOTES as PEERS_NOTES

BEAMS = tuple(round(20 * 2 ** (i / 2)) for i in range(15))
TARGETED = ladder("target_recall", (0.9, 0.95, 0.97, 0.98, 0.99, 0.995))
SHARE = "share"  # a field of nestbit's rows, 1 … 1000 in turns, for filters
SHARES = 1000
SMALL, LARGE = "nested(1) + int8", "nested(2, cell=4) + int8"
EXACT = f"{LARGE} + float16"
FILTERED = (("balanced", SMALL), ("speed", LARGE))

NOTES = (
    f"nestbit: after each spec's first level comes int8; codec fitted on {FIT_ROWS:,} rows, coarse "
    "codes and graph pinned, all codes for the profile speed; search is nb.Index.search, kernel "
    f"the walk alone with the query's preparation. {PEERS_NOTES}"
)


def nestbit_build(
    profile: str, spec: str, *, lists: bool | None = None, filtered: bool = False
) -> Callable[[np.ndarray, Task], None]:
    """Build an index of a profile, ordered by partitions if ``lists``, by default if it is large.

    ``filtered`` gives its rows a field to filter by.
    """

    def build(rows: np.ndarray, task: Task) -> None:
        import nestbit as nb

        codec = nb.fit(rows[:FIT_ROWS], spec)
        path = task.folder / "index.nest"
        # Merges on the way would make graphs and lists that the last compaction makes again.
        options = {} if lists is None else {"partition_rows": None}
        asked = {} if lists is None else {"partitions": task.partitions if lists else 0}
        with nb.create(
            path, codec, profile="memory", fields=[SHARE] * filtered, **options
        ) as index:
            for start in range(0, len(rows), BLOCK):
                block = rows[start : start + BLOCK]
                ids = range(start, start + len(block))
                fields = [{SHARE: 1 + i % SHARES} for i in ids] if filtered else None
                index.add(ids, block, metadata=fields)
            index.compact(profile=profile, **asked)

    return build


def nestbit_open(task: Task) -> Search:
    import nestbit as nb

    index = nb.open(task.folder / "index.nest", pin="coarse")

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        options = dict(setting)
        if (factor := options.pop("oversample", None)) is not None:
            options["plan"] = nb.Plan.default(index.codec, oversample=factor)
        return index.search(queries, K, threads=task.threads, **options).ids

    return search


def nestbit_kernel(task: Task) -> Search:
    """The walk alone: what `nestbit.kernels.query_map.walk_rows` takes of a search."""
    import nestbit as nb
    from nestbit.index.walk import walker_of

    index = nb.open(task.folder / "index.nest", pin="coarse")
    (segment,) = index._snapshot.segments
    walker = walker_of(segment)
    numbers = segment.row_numbers(np.arange(len(segment)))

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        found = walker.walk(queries, K, setting["beam"], threads=task.threads)
        return numbers[found.ids]

    return search


def nestbit_bytes(task: Task, query: np.ndarray) -> dict[str, float]:
    """Bytes a row that a search holds in memory, and with the levels that it reads as mapped."""
    import nestbit as nb

    with nb.open(task.folder / "index.nest", pin="coarse") as index:
        index.search(query[None], K)  # what is held is read at the first search
        stats = index.stats()
    held = stats.pinned_bytes / stats.rows
    every = (sum(stats.level_bytes) + stats.graph_bytes) / stats.rows  # with headers
    told = {"held": held}
    return told if round(held) == round(every) else {**told, "with_refinement": every}


def walks(_: int) -> list[list[Setting]]:
    return [ladder("beam", BEAMS), TARGETED]


def beams(_: int) -> list[list[Setting]]:
    return [ladder("beam", BEAMS)]


def scans(_: int) -> list[list[Setting]]:
    return [ladder("oversample", FACTORS), TARGETED]


def probed(*factors: int) -> Callable[[int], list[list[Setting]]]:
    return lambda partitions: [*wider("n_probe", "oversample", factors)(partitions), TARGETED]


def nestbit(
    profile: str,
    spec: str,
    ladders: Callable[[int], list[list[Setting]]],
    lists: bool | None = None,
) -> Engine:
    name = f"nestbit {profile}, {spec.replace(' + int8', '')}" + ", partitions" * bool(lists)
    return Engine(name, "nestbit", nestbit_build(profile, spec, lists=lists), nestbit_open, ladders)


def filter_engine(profile: str, spec: str) -> Engine:
    made = nestbit_build(profile, spec, filtered=True)
    name = f"filters of nestbit {profile}, {spec.replace(' + int8', '')}"
    return Engine(name, "nestbit", made, nestbit_open, lambda _: [])


ENGINES = (
    nestbit("memory", "nested(0.5) + int8", scans, lists=False),
    nestbit("memory", "nested(0.5) + int8", probed(10, 30, 100), lists=True),
    nestbit("memory", "nested(1, cell=4) + int8", probed(3, 10, 20), lists=True),
    nestbit("balanced", SMALL, walks),
    nestbit("balanced", LARGE, walks),
    nestbit("speed", LARGE, walks),
    nestbit("speed", EXACT, walks),
    *PEERS,
)
FILTERS = tuple(filter_engine(profile, spec) for profile, spec in FILTERED)
