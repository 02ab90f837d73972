"""The peers of `_graph_engines`: graphs, inverted lists and plain scans behind the same face.

Packages are imported where an engine needs them, so that a process holds those of one engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from _engines import (
    BLOCK,
    FAISS_POINTS,
    FIT_ROWS,
    Engine,
    K,
    Search,
    Setting,
    Task,
    ladder,
    wider,
    zvec_build,
    zvec_graph,
    zvec_ivf,
    zvec_open,
    zvec_widths,
)

DEGREE = 32
CONSTRUCTION = 200  # candidates that the graphs are built with
IVF_BITS = 7  # of rabitqlib, as zvec's
WIDTHS = (10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 480, 640, 960, 1280)
FACTORS = (2, 3, 5, 8, 12, 20, 30, 50, 100, 200)

NOTES = (
    f"Graphs have {DEGREE} neighbours a row, faiss' {2 * DEGREE} on the lowest level; the peers' "
    f"are built with {CONSTRUCTION} candidates. Lists: 4 √n of all engines, faiss' learned from "
    f"{FAISS_POINTS} rows each. zvec has no search in batches: loops; its float32 rows lie on "
    "disk, and a refined search reads them. turbovec rescores nothing."
)


def faiss_build(recipe: str) -> Callable[[np.ndarray, Task], None]:
    def build(rows: np.ndarray, task: Task) -> None:
        import faiss

        faiss.omp_set_num_threads(task.threads)
        n, dim = rows.shape
        text = recipe.format(lists=task.partitions, half=dim // 2, degree=DEGREE)
        index = faiss.index_factory(dim, text, faiss.METRIC_INNER_PRODUCT)
        if "HNSW" in recipe:
            faiss.downcast_index(index).hnsw.efConstruction = CONSTRUCTION
        points = FAISS_POINTS * task.partitions if "IVF" in recipe else FIT_ROWS
        order = np.random.default_rng(0).permutation(n)[:points]
        index.train(rows[np.sort(order)])
        for start in range(0, n, BLOCK):
            index.add(np.ascontiguousarray(rows[start : start + BLOCK]))
        faiss.write_index(index, str(task.folder / "index.faiss"))

    return build


def faiss_open(task: Task) -> Search:
    import faiss

    faiss.omp_set_num_threads(task.threads)
    index = faiss.read_index(str(task.folder / "index.faiss"))
    graph = getattr(faiss.downcast_index(index), "hnsw", None)

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        if "nprobe" in setting:
            faiss.extract_index_ivf(index.base_index).nprobe = setting["nprobe"]
        if "k_factor" in setting:
            index.k_factor = setting["k_factor"]
        if graph is not None:
            graph.efSearch = setting["ef"]
        return index.search(queries, K)[1]

    return search


def symqg_build(rows: np.ndarray, task: Task) -> None:
    import rabitqlib

    index = rabitqlib.SymqgIndex(rows.shape[1], DEGREE, "l2")
    index.build(np.ascontiguousarray(rows), CONSTRUCTION, task.threads)
    index.save(str(task.folder / "index.symqg"))


def symqg_open(task: Task) -> Search:
    import rabitqlib

    index = rabitqlib.SymqgIndex.load(str(task.folder / "index.symqg"))

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        return rows_of(index.search(queries, K, setting["ef"], task.threads)[0], len(queries))

    return search


def rows_of(ids: Any, m: int) -> np.ndarray:
    """Ids (m, K) from what a peer returns for m queries."""
    return np.asarray(ids).reshape(m, K).astype(np.int64)


def rabitqlib_ivf_build(rows: np.ndarray, task: Task) -> None:
    import faiss
    import rabitqlib

    faiss.omp_set_num_threads(task.threads)
    n, dim = rows.shape
    means = faiss.Kmeans(dim, task.partitions, max_points_per_centroid=FAISS_POINTS, seed=0)
    means.train(np.ascontiguousarray(rows))
    blocks = (np.ascontiguousarray(rows[start : start + BLOCK]) for start in range(0, n, BLOCK))
    lists = np.concatenate([means.index.search(block, 1)[1][:, 0] for block in blocks])
    index = rabitqlib.IvfIndex(dim, n, task.partitions, IVF_BITS, "l2")
    index.build(np.ascontiguousarray(rows), means.centroids, lists.astype(np.uint32), task.threads)
    index.save(str(task.folder / "index.ivf"))


def rabitqlib_ivf_open(task: Task) -> Search:
    import rabitqlib

    index = rabitqlib.IvfIndex.load(str(task.folder / "index.ivf"))

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        found = index.search(queries, K, setting["nprobe"], num_threads=task.threads)
        return rows_of(found[0], len(queries))

    return search


def probes(partitions: int) -> list[list[Setting]]:
    counts = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
    return [ladder("nprobe", [*(n for n in counts if n < partitions), partitions])]


def usearch_build(rows: np.ndarray, task: Task) -> None:
    from usearch.index import Index

    index = Index(
        ndim=rows.shape[1],
        metric="cos",
        dtype="i8",
        connectivity=DEGREE // 2,  # twice that on the lowest level
        expansion_add=CONSTRUCTION,
    )
    index.add(np.arange(len(rows)), np.ascontiguousarray(rows), threads=task.threads)
    index.save(str(task.folder / "index.usearch"))


def usearch_open(task: Task) -> Search:
    from usearch.index import Index

    index = Index.restore(str(task.folder / "index.usearch"))

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        index.expansion_search = setting["ef"]
        found = index.search(queries, K, threads=task.threads)
        return rows_of(found.keys, len(queries))

    return search


def widths(_: int) -> list[list[Setting]]:
    return [ladder("ef", WIDTHS)]


def svs_build(primary: int, residual: int) -> Callable[[np.ndarray, Task], None]:
    def build(rows: np.ndarray, task: Task) -> None:
        import svs

        path = task.folder / "rows.fvecs"
        svs.write_vecs(np.ascontiguousarray(rows), str(path))
        source = svs.VectorDataLoader(str(path), svs.DataType.float32, dims=rows.shape[1])
        loader = svs.LVQLoader(source, primary=primary, residual=residual)
        index = svs.Vamana.build(
            svs.VamanaBuildParameters(graph_max_degree=DEGREE, window_size=CONSTRUCTION),
            loader,
            svs.DistanceType.L2,
            num_threads=task.threads,
        )
        path.unlink()
        index.save(*(str(task.folder / part) for part in ("config", "graph", "data")))

    return build


def svs_open(task: Task) -> Search:
    import svs

    index = svs.Vamana(
        str(task.folder / "config"),
        svs.GraphLoader(str(task.folder / "graph")),
        svs.LVQLoader(str(task.folder / "data")),
        svs.DistanceType.L2,
        num_threads=task.threads,
    )

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        index.search_window_size = setting["ef"]
        return rows_of(index.search(queries, K)[0], len(queries))

    return search


def turbovec_build(rows: np.ndarray, task: Task) -> None:
    import turbovec

    index = turbovec.TurboQuantIndex(dim=rows.shape[1], bit_width=4)
    index.add(np.ascontiguousarray(rows))
    index.write(str(task.folder / "index.tv"))


def turbovec_open(task: Task) -> Search:
    import turbovec

    index = turbovec.TurboQuantIndex.load(str(task.folder / "index.tv"))

    def search(queries: np.ndarray, setting: Setting) -> np.ndarray:
        return rows_of(index.search(queries, K)[1], len(queries))

    return search


def plain(_: int) -> list[list[Setting]]:
    return [[{}]]


def factors(_: int) -> list[list[Setting]]:
    return [ladder("k_factor", FACTORS)]


PEERS = (
    Engine("SymQG", "rabitqlib", symqg_build, symqg_open, widths),
    Engine("rabitqlib IVF, 7 bits", "rabitqlib", rabitqlib_ivf_build, rabitqlib_ivf_open, probes),
    Engine("SVS Vamana LVQ4x8", "scalable-vs", svs_build(4, 8), svs_open, widths),
    Engine("SVS Vamana LVQ8", "scalable-vs", svs_build(8, 0), svs_open, widths),
    Engine("faiss HNSW SQ8", "faiss-cpu", faiss_build("HNSW{degree}_SQ8"), faiss_open, widths),
    Engine("usearch HNSW i8", "usearch", usearch_build, usearch_open, widths),
    Engine(
        "zvec HNSW-RaBitQ", "zvec", zvec_build(zvec_graph), zvec_open("HnswRabitqQueryParam"),
        zvec_widths,
    ),
    Engine(
        "zvec IVF-RaBitQ", "zvec", zvec_build(zvec_ivf), zvec_open("IvfRabitqQueryParam"),
        wider("nprobe", "refine", (None, 2)),
    ),
    Engine(
        "faiss IVF RaBitQfs + SQ8", "faiss-cpu",
        faiss_build("RR,IVF{lists},RaBitQfs,Refine(SQ8)"), faiss_open,
        wider("nprobe", "k_factor", (5, 20)),
    ),
    Engine(
        "faiss IVF PQfs + SQ8", "faiss-cpu",
        faiss_build("IVF{lists},PQ{half}x4fs,Refine(SQ8)"), faiss_open,
        wider("nprobe", "k_factor", (3, 10)),
    ),
    Engine(
        "faiss RaBitQfs + SQ8", "faiss-cpu", faiss_build("RR,RaBitQfs,Refine(SQ8)"), faiss_open,
        factors,
    ),
    Engine("turbovec 4 bits", "turbovec", turbovec_build, turbovec_open, plain),
)  # fmt: skip
