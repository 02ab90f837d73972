"""Vector indexes on disk behind one face: build a folder, open it, search it at many settings.

Packages are imported where an engine needs them, so that a process holds those of one engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

K = 10
BLOCK = 100_000
HALF_BIT = "nested(0.5) + int8"
FLOAT16 = "nested(1) + float16"
FIT_ROWS = 50_000  # nestbit's codec learns from these, drawn at random
FAISS_POINTS = 64  # rows a list that faiss learns its lists from
GRAPH = {"m": 16, "ef_construction": 200}
PROBES = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)

NOTES = (
    f"nestbit: {HALF_BIT} and, where told, {FLOAT16}, in partitions too; fitted on {FIT_ROWS:,} "
    f"rows, files memory-mapped. faiss: random rotation, lists learned from {FAISS_POINTS} rows "
    "each, one file read into memory. LanceDB: num_bits=1. zvec: 7 bits (its default), graph with "
    f"m={GRAPH['m']} and ef_construction={GRAPH['ef_construction']}; it has no search in batches, "
    "so they are loops. LanceDB and zvec keep the float32 rows on disk and refine by them, faiss "
    "keeps and refines by 8 bits, nestbit by what its spec ends in."
)

Setting = dict[str, Any]
Search = Callable[[np.ndarray, Setting], np.ndarray]  # (m, dim) -> ids (m, K), -1 for none


@dataclass(frozen=True)
class Task:
    """Where an engine keeps its index, how many partitions to make, and how many threads."""

    folder: Path
    partitions: int
    threads: int


@dataclass(frozen=True)
class Engine:
    """An index; each ladder of settings climbs to wider, slower searches."""

    name: str
    package: str
    build: Callable[[np.ndarray, Task], None]
    open: Callable[[Task], Search]
    ladders: Callable[[int], list[list[Setting]]]


def wider(probe: str, refine: str, factors: Iterable[float | None]) -> Callable[[int], list]:
    """For each factor of refining a ladder of probes, up to all partitions."""

    def ladders(partitions: int) -> list[list[Setting]]:
        probes = [*(n for n in PROBES if n < partitions), partitions]
        return [[{probe: n, refine: factor} for n in probes] for factor in factors]

    return ladders


def ladder(name: str, values: Iterable[float], **fixed: Any) -> list[Setting]:
    return [{name: value, **fixed} for value in values]


def padded(found: list[np.ndarray]) -> np.ndarray:
    """Ids (m, K) of searches that may have found fewer rows."""
    ids = np.full((len(found), K), -1, np.int64)
    for into, each in zip(ids, found, strict=True):
        into[: len(each)] = each
    return ids


def nestbit_build(spec: str, *, partitioned: bool = True) -> Callable[[np.ndarray, Task], None]:
    def build(rows: np.ndarray, task: Task) -> None:
        import nestbit as nb

        order = np.random.default_rng(0).permutation(len(rows))[:FIT_ROWS]
        codec = nb.fit(rows[np.sort(order)], spec)
        # Partitions are made once, of all rows.
        with nb.create(task.folder / "index.nest", codec, partition_rows=None) as index:
            for start in range(0, len(rows), BLOCK):
                block = rows[start : start + BLOCK]
                index.add(range(start, start + len(block)), block)
            index.compact(partitions=task.partitions if partitioned else 0)

    return build


def nestbit_open(task: Task) -> Search:
    import nestbit as nb

    index = nb.open(task.folder / "index.nest")

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        options = dict(setting)
        if oversample := options.pop("oversample", None):
            options["plan"] = nb.Plan.default(index.codec, oversample=oversample)
        return index.search(queries, K, threads=task.threads, **options).ids

    return search


TARGETED = ladder("target_recall", (0.9, 0.95, 0.98, 0.99, 0.995, 0.999))
OVERSAMPLES = (2, 3, 5, 10, 20, 50, 100)


def nestbit_all(_: int) -> list[list[Setting]]:
    return [ladder("oversample", OVERSAMPLES), TARGETED]


def nestbit_probed(*oversamples: float) -> Callable[[int], list[list[Setting]]]:
    return lambda partitions: [*wider("n_probe", "oversample", oversamples)(partitions), TARGETED]


def faiss_build(rows: np.ndarray, task: Task) -> None:
    import faiss

    faiss.omp_set_num_threads(task.threads)
    recipe = f"RR,IVF{task.partitions},RaBitQfs,Refine(SQ8)"
    index = faiss.index_factory(rows.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
    order = np.random.default_rng(0).permutation(len(rows))[: FAISS_POINTS * task.partitions]
    index.train(rows[np.sort(order)])
    for start in range(0, len(rows), BLOCK):
        index.add(np.ascontiguousarray(rows[start : start + BLOCK]))
    faiss.write_index(index, str(task.folder / "index.faiss"))


def faiss_open(task: Task) -> Search:
    import faiss

    faiss.omp_set_num_threads(task.threads)
    index = faiss.read_index(str(task.folder / "index.faiss"))
    lists = faiss.extract_index_ivf(index.base_index)

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        lists.nprobe, index.k_factor = setting["nprobe"], setting["k_factor"]
        return index.search(queries, K)[1]

    return search


def lance_build(rows: np.ndarray, task: Task) -> None:
    import lancedb
    import pyarrow as pa
    from lancedb.index import IvfRq

    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), rows.shape[1]))])
    table = lancedb.connect(task.folder).create_table("rows", schema=schema)
    for start in range(0, len(rows), BLOCK):
        block = np.ascontiguousarray(rows[start : start + BLOCK])
        ids = pa.array(np.arange(start, start + len(block)))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), block.shape[1])
        table.add(pa.table([ids, vectors], schema=schema))
    config = IvfRq(distance_type="cosine", num_partitions=task.partitions, num_bits=1)
    table.create_index("vector", config=config)


def lance_open(task: Task) -> Search:
    import lancedb

    table = lancedb.connect(task.folder).open_table("rows")

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        asked = table.search(list(queries) if len(queries) > 1 else queries[0])
        asked = asked.distance_type("cosine").nprobes(setting["nprobes"]).limit(K)
        if setting["refine_factor"]:
            asked = asked.refine_factor(setting["refine_factor"])
        if len(queries) == 1:
            return padded([asked.select(["id", "_distance"]).to_arrow()["id"].to_numpy()])
        found = asked.select(["id", "_distance"]).to_arrow()
        ids, of = found["id"].to_numpy(), found["query_index"].to_numpy()
        return padded([ids[of == i] for i in range(len(queries))])

    return search


def zvec_build(index: Callable[[int], Any]) -> Callable[[np.ndarray, Task], None]:
    def build(rows: np.ndarray, task: Task) -> None:
        import zvec

        zvec_init(task)
        vector = zvec.VectorSchema(
            "vector",
            zvec.DataType.VECTOR_FP32,
            rows.shape[1],
            index_param=index(task.partitions),
        )
        schema = zvec.CollectionSchema(name="rows", fields=[], vectors=[vector])
        collection = zvec.create_and_open(str(task.folder / "zvec"), schema)
        for start in range(0, len(rows), 1000):
            block = np.asarray(rows[start : start + 1000])
            done = collection.insert(
                [zvec.Doc(id=str(start + i), vectors={"vector": x}) for i, x in enumerate(block)]
            )
            if bad := [status for status in done if not status.ok()]:
                raise RuntimeError(f"zvec refused a row: {bad[0]}")
        collection.optimize()
        collection.flush()
        collection.close()

    return build


def zvec_init(task: Task) -> None:
    import zvec

    zvec.init(
        query_threads=task.threads,
        optimize_threads=task.threads,
        log_level=zvec.LogLevel.ERROR,
    )


def zvec_ivf(partitions: int) -> Any:
    import zvec

    return zvec.IvfRabitqIndexParam(metric_type=zvec.MetricType.COSINE, nlist=partitions)


def zvec_graph(_: int) -> Any:
    import zvec

    return zvec.HnswRabitqIndexParam(metric_type=zvec.MetricType.COSINE, **GRAPH)


def zvec_open(kind: str) -> Callable[[Task], Search]:
    def opened(task: Task) -> Search:
        import zvec

        zvec_init(task)
        collection = zvec.open(str(task.folder / "zvec"))

        def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
            options = dict(setting)
            if factor := options.pop("refine"):
                options |= {"is_using_refiner": True, "scale_factor": factor}
            param = getattr(zvec, kind)(**options)
            found = []
            for query in queries:
                asked = zvec.Query(field_name="vector", vector=query, param=param)
                docs = collection.query(asked, topk=K, output_fields=[])
                found.append(np.array([int(doc.id) for doc in docs], np.int64))
            return padded(found)

        return search

    return opened


def zvec_widths(_: int) -> list[list[Setting]]:
    # A graph is never searched narrower than the candidates that are refined.
    widths = (10, 20, 30, 50, 100, 200, 400, 800)
    return [
        ladder("ef", [ef for ef in widths if ef >= K * (factor or 1)], refine=factor)
        for factor in (None, 2)
    ]


ENGINES = (
    Engine(
        "nestbit, all rows", "nestbit", nestbit_build(HALF_BIT, partitioned=False),
        nestbit_open, nestbit_all,
    ),
    Engine(
        "nestbit, partitions", "nestbit", nestbit_build(HALF_BIT), nestbit_open,
        nestbit_probed(10, 30, 100, 200),
    ),
    Engine(
        f"nestbit {FLOAT16}", "nestbit", nestbit_build(FLOAT16), nestbit_open,
        nestbit_probed(10, 20, 50),
    ),
    Engine(
        "faiss IVF RaBitQfs + SQ8", "faiss-cpu", faiss_build, faiss_open,
        wider("nprobe", "k_factor", (3, 10, 20, 30)),
    ),
    Engine(
        "LanceDB IVF_RQ", "lancedb", lance_build, lance_open,
        wider("nprobes", "refine_factor", (3, 10, 30)),
    ),
    Engine(
        "zvec IVF-RaBitQ", "zvec", zvec_build(zvec_ivf), zvec_open("IvfRabitqQueryParam"),
        wider("nprobe", "refine", (None, 2)),
    ),
    Engine(
        "zvec HNSW-RaBitQ", "zvec", zvec_build(zvec_graph), zvec_open("HnswRabitqQueryParam"),
        zvec_widths,
    ),
)  # fmt: skip
