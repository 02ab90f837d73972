"""The index on disk beside those of faiss, LanceDB and zvec, on the same rows and queries.

    python bench/index_peers.py ROWS.npy [--rows N] [--dir DIR] [--threads 1] [--out bench/results]

500 random rows are the queries, the others, over and over with a little noise, the N rows. Every
engine builds its index in a process of its own, and another one, held to as many cores as
threads, opens and searches it: at each setting all queries one at a time, then in batches.
Prints, at two recalls of the float top 10, the fastest setting of each engine that reaches it;
writes index_peers.json, with every setting, and index_peers.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from _engines import ENGINES, NOTES, K, Search, Setting, Task
from _report import environment, markdown, show, write

QUERIES = 500
BATCH = 64
NOISE = 0.05  # of the rows that are repeated, in all
TARGETS = (0.95, 0.99)
WARM_UP = 8
PLATEAU = 0.001  # a wider search that gains less recall: the refinement is what limits it


def collection(path: Path, n: int | None, folder: Path) -> None:
    """Write the rows (n, dim), queries, and the true best rows of each query to ``folder``."""
    from nestbit.evaluate import exact_search

    rng = np.random.default_rng(0)
    x = np.load(path).astype(np.float32)
    asked = np.sort(rng.choice(len(x), QUERIES, replace=False))
    queries, base = unit(x[asked]), unit(np.delete(x, asked, axis=0))
    noise = np.float32(NOISE / np.sqrt(x.shape[1]))
    shape = (n or len(base), x.shape[1])
    rows = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, shape)
    for start in range(0, len(rows), len(base)):
        copy = base[: len(rows) - start]
        if start:
            copy = unit(copy + noise * rng.standard_normal(copy.shape, dtype=np.float32))
        rows[start : start + len(copy)] = copy
    rows.flush()
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", exact_search(rows, queries, K).ids)


def unit(x: np.ndarray) -> np.ndarray:
    return np.divide(x, np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def build(number: int, task: Task) -> dict[str, object]:
    rows = np.load(task.folder.parent / "rows.npy", mmap_mode="r")
    began = time.perf_counter()
    ENGINES[number].build(rows, task)
    seconds = time.perf_counter() - began
    files = (file for file in task.folder.rglob("*") if file.is_file())
    return {"build_seconds": seconds, "disk_bytes": sum(file.stat().st_size for file in files)}


def sweep(number: int, task: Task) -> dict[str, object]:
    """Open and search, up each ladder until all targets are reached or recall rises no more."""
    engine = ENGINES[number]
    queries = np.load(task.folder.parent / "queries.npy")
    truth = np.load(task.folder.parent / "truth.npy")
    before = memory()
    search = engine.open(task)
    settings = []
    for ladder in engine.ladders(task.partitions):
        reached = 0.0
        for setting in ladder:
            settings.append(measure(search, setting, queries, truth))
            least = min(settings[-1]["recall"], settings[-1]["batch_recall"])
            if least >= max(TARGETS) or least < reached + PLATEAU:
                break
            reached = least
    after = memory()
    grown = {f"{name}_kb": after[name] - before[name] for name in after}
    return {**grown, "settings": settings}


def measure(search: Search, setting: Setting, queries: np.ndarray, truth: np.ndarray) -> dict:
    """Recall and time of all queries one at a time, and of as many as fill batches."""
    for query in queries[:WARM_UP]:
        search(query[None], setting)
    times, found = [], []
    for query in queries:
        began = time.perf_counter()
        found.append(search(query[None], setting))
        times.append(time.perf_counter() - began)
    whole = len(queries) // BATCH * BATCH
    began = time.perf_counter()
    together = [search(queries[i : i + BATCH], setting) for i in range(0, whole, BATCH)]
    seconds = time.perf_counter() - began
    return {
        "setting": setting,
        "recall": recall(np.concatenate(found), truth),
        "p50_ms": 1e3 * float(np.percentile(times, 50)),
        "p99_ms": 1e3 * float(np.percentile(times, 99)),
        "batch_recall": recall(np.concatenate(together), truth[:whole]),
        "queries_per_second": whole / seconds,
    }


def recall(ids: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.isin(b, a).mean() for a, b in zip(ids, truth, strict=True)]))


def memory() -> dict[str, int]:
    """Kilobytes of this process that are in memory, and those among them mapped from files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {
        "resident": int(values["VmRSS"].split()[0]),
        "mapped": int(values["RssFile"].split()[0]),
    }


def in_child(phase: str, number: int, task: Task, limit: float) -> dict:
    """What a phase of an engine tells from a process of its own, or its error."""
    told = task.folder.parent / "told.json"
    told.unlink(missing_ok=True)
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(task.threads))
    options = (phase, number, task.folder, task.partitions, task.threads)
    command = [sys.executable, __file__, "--child", *map(str, options)]
    log = task.folder.parent / "log.txt"
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **one, "RAYON_NUM_THREADS": str(task.threads)},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"{phase}: not done after {limit:g} s"}
    if done.returncode:
        last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
        return {"error": f"{phase}: exit status {done.returncode}: {last}"}
    return json.loads(told.read_text())


def child(phase: str, number: int, task: Task) -> None:
    # Before any engine starts a pool: not all of them can be told how many threads to use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    told = (build if phase == "build" else sweep)(number, task)
    write(task.folder.parent / "told.json", json.dumps(told))


def fastest(engine: dict, target: float) -> list[str]:
    """The line of an engine: its fastest settings that reach a recall."""
    lead = [f"{target:g}", engine["engine"]]
    if "error" in engine:
        return [*lead, engine["error"], *[""] * 6]
    alone = [s for s in engine["settings"] if s["recall"] >= target]
    batch = [s for s in engine["settings"] if s["batch_recall"] >= target]
    cells = []
    if alone:
        best = min(alone, key=lambda s: s["p50_ms"])
        cells += [
            told(best), f"{best['recall']:.3f}", f"{best['p50_ms']:.2f}", f"{best['p99_ms']:.2f}",
        ]  # fmt: skip
    else:
        cells += ["not reached", f"{max(s['recall'] for s in engine['settings']):.3f}", "", ""]
    if batch:
        best = max(batch, key=lambda s: s["queries_per_second"])
        cells += [told(best), f"{best['batch_recall']:.3f}", f"{best['queries_per_second']:,.0f}"]
    else:
        most = max(s["batch_recall"] for s in engine["settings"])
        cells += ["not reached", f"{most:.3f}", ""]
    return [*lead, *cells]


def told(measured: dict) -> str:
    """A setting as text."""
    return ", ".join(f"{k}={v}" for k, v in measured["setting"].items() if v is not None)


def tables(engines: list[dict], n: int) -> tuple[list[list[str]], list[list[str]]]:
    """What an index takes, and its fastest searches."""
    sizes = [["engine", "build s", "MB on disk", "bytes a row", "resident MB", "mapped of it"]]
    for engine in engines:
        line = [engine["engine"]]
        if "disk_bytes" in engine:
            n_bytes = engine["disk_bytes"]
            line += [f"{engine['build_seconds']:.1f}", f"{n_bytes / 1e6:.1f}", f"{n_bytes / n:.0f}"]
        else:
            line += [engine["error"], "", ""]
        if "resident_kb" in engine:
            line += [f"{engine[name] / 1024:.0f}" for name in ("resident_kb", "mapped_kb")]
        else:
            line += ["", ""]
        sizes.append(line)
    speeds = [
        [
            "recall", "engine", "one at a time", "its recall", "p50 ms", "p99 ms",
            f"batches of {BATCH}", "its recall", "queries/s",
        ]
    ]  # fmt: skip
    speeds += [fastest(engine, target) for target in TARGETS for engine in engines]
    return sizes, speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows_path", type=Path, metavar="ROWS.npy", nargs="?")
    parser.add_argument("--rows", type=float, metavar="N", help="by default those of the file")
    parser.add_argument("--dir", type=Path, help="where the indexes are made")
    parser.add_argument("--partitions", type=int, help="of every engine; by default 4 √N")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="engines that have it in their name"
    )
    parser.add_argument("--limit", type=float, default=3600, help="seconds to build, or to search")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        phase, number, folder, partitions, threads = options.child
        child(phase, int(number), Task(Path(folder), int(partitions), int(threads)))
        return
    if options.rows_path is None:
        parser.error("ROWS.npy is missing")
    engines = []
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        collection(options.rows_path, options.rows and int(options.rows), Path(folder))
        n, dim = np.load(Path(folder, "rows.npy"), mmap_mode="r").shape
        partitions = options.partitions or round(4 * n**0.5)
        for number, engine in enumerate(ENGINES):
            if options.only not in engine.name:
                continue
            task = Task(Path(folder, str(number)), partitions, options.threads)
            task.folder.mkdir()
            found = in_child("build", number, task, options.limit)
            if "error" not in found:
                found |= in_child("search", number, task, options.limit)
            version = importlib.metadata.version(engine.package)
            engines.append({"engine": engine.name, "version": version, **found})
            print(engine.name, found.get("error", "done"), file=sys.stderr)
    title = (
        f"{n:,} × {dim}, {partitions:,} partitions, {options.threads} thread(s) on as many cores; "
        f"the fastest settings with a recall@{K} of at least {TARGETS[0]:g} and {TARGETS[1]:g}"
    )
    sizes, speeds = tables(engines, n)
    console = Console(highlight=False, width=150)
    show(console, "Indexes; memory is what opening and all searches add to a process", sizes)
    show(console, title, speeds)
    console.print(NOTES)
    options.out.mkdir(parents=True, exist_ok=True)
    full = {"environment": environment(), "title": title, "notes": NOTES, "engines": engines}
    write(options.out / "index_peers.json", json.dumps(full, indent=1) + "\n")
    text = f"{title}\n\n{markdown(sizes)}\n{markdown(speeds)}\n{NOTES}\n"
    write(options.out / "index_peers.md", text)


if __name__ == "__main__":
    main()
