"""The index on disk beside those of faiss, LanceDB and zvec, on the same rows and queries.

    python bench/index_peers.py ROWS.npy [--rows N] [--work DIR] [--memory-mb MB] [--threads 1]

Random rows are the queries, the others the rows; where N are more, each comes again and again,
moved as far as some other row lies from its nearest neighbour. Every engine builds its index in
a process of its own, and another one, held to as many cores as threads, opens and searches it: at
each setting all queries one at a time, then in batches. With --memory-mb it searches once more
in a memory control group of that size, page cache included (Linux, root).
Prints, at two recalls of the float top 10, the fastest setting of each engine that reaches it;
writes index_peers.json, with every setting, and index_peers.md. What was measured is kept
in --work and not measured again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from _engines import ENGINES, NOTES, K, Search, Setting, Task
from _index_report import TARGETS, speeds, tables
from _report import environment, markdown, show, write

BATCH = 64
WARM_UP = 8
PLATEAU = 0.001  # a wider search that gains less recall: the refinement is what limits it


def collection(path: Path, n: int | None, m: int, folder: Path) -> None:
    """Write the rows (n, dim), m queries, and the true best rows of each query to ``folder``."""
    from nestbit.evaluate import exact_search

    rng = np.random.default_rng(0)
    x = np.load(path).astype(np.float32)
    asked = np.sort(rng.choice(len(x), m, replace=False))
    queries, base = unit(x[asked]), unit(np.delete(x, asked, axis=0))
    shape = (n or len(base), x.shape[1])
    rows = np.lib.format.open_memmap(folder / "unfinished.npy", "w+", np.float32, shape)
    rows[: len(base)] = base[: len(rows)]
    # Random noise would have no spectrum, and copies of a row would lie closer than rows do.
    steps = base - base[exact_search(base, base, 2).ids[:, 1]] if len(rows) > len(base) else base
    for start in range(len(base), len(rows), len(base)):
        copy = base[: len(rows) - start]
        rows[start : start + len(copy)] = unit(
            copy + steps[rng.permutation(len(base))[: len(copy)]]
        )
    rows.flush()
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", exact_search(rows, queries, K).ids)
    (folder / "unfinished.npy").rename(folder / "rows.npy")


def unit(x: np.ndarray) -> np.ndarray:
    return np.divide(x, np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def build(number: int, task: Task) -> dict[str, object]:
    rows = np.load(task.folder.parent / "rows.npy", mmap_mode="r")
    began, worked = time.perf_counter(), time.process_time()
    ENGINES[number].build(rows, task)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    files = (file for file in task.folder.rglob("*") if file.is_file())
    return {
        "build_seconds": seconds,
        "build_cpu_seconds": worked,
        "disk_bytes": sum(file.stat().st_size for file in files),
    }


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


def measure(
    search: Search,
    setting: Setting,
    queries: np.ndarray,
    truth: np.ndarray,
    clock: Callable[[], float] = time.perf_counter,
) -> dict:
    """Recall and time of all queries one at a time, and of as many as fill batches."""
    for query in queries[:WARM_UP]:
        search(query[None], setting)
    times, found = [], []
    for query in queries:
        began = clock()
        found.append(search(query[None], setting))
        times.append(clock() - began)
    whole = len(queries) // BATCH * BATCH
    began = clock()
    together = [search(queries[i : i + BATCH], setting) for i in range(0, whole, BATCH)]
    seconds = clock() - began
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


def in_child(phase: str, number: int, task: Task, limit: float, memory_mb: int = 0) -> dict:
    """What a phase of an engine tells from a process of its own, or its error."""
    told = task.folder.parent / "told.json"
    told.unlink(missing_ok=True)
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(task.threads))
    options = (phase, number, task.folder, task.partitions, task.threads, memory_mb)
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
    if done.returncode == -signal.SIGKILL and memory_mb:
        return {"error": f"{phase}: needs more than {memory_mb} MB"}
    if done.returncode:
        last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
        return {"error": f"{phase}: exit status {done.returncode}: {last}"}
    return json.loads(told.read_text())


def enter_group(memory_mb: int, folder: Path) -> None:
    """Put this process into a control group that holds so much memory, page cache included."""
    for file in folder.rglob("*"):
        if file.is_file():  # pages that are in memory already would count for nobody
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    group = Path("/sys/fs/cgroup/memory/nestbit-bench")
    limit, unified = group / "memory.limit_in_bytes", Path("/sys/fs/cgroup/nestbit-bench")
    if not group.parent.exists():
        group, limit = unified, unified / "memory.max"
    group.mkdir(exist_ok=True)
    limit.write_text(str(memory_mb << 20))
    (group / "cgroup.procs").write_text(str(os.getpid()))


def measured(number: int, task: Task, options: argparse.Namespace) -> dict:
    """Build and search, or what an earlier run found."""
    kept = task.folder.with_suffix(".json")
    found = json.loads(kept.read_text()) if kept.exists() else {}
    if not found:
        shutil.rmtree(task.folder, ignore_errors=True)
        task.folder.mkdir()
        building = replace(task, threads=options.build_threads or task.threads)
        found = in_child("build", number, building, options.limit)
        write(kept, json.dumps(found))
    if "error" in found or options.build_only:
        return found
    if "settings" not in found:
        found |= in_child("search", number, task, options.limit)
        found["measured"] = time.strftime("%Y-%m-%d %H:%M")
        write(kept, json.dumps(found))
    name = f"within_{options.memory_mb}_mb"
    if options.memory_mb and "error" not in found and name not in found:
        found[name] = in_child("search", number, task, options.limit, options.memory_mb)
        write(kept, json.dumps(found))
    if not options.keep:
        shutil.rmtree(task.folder, ignore_errors=True)
    return found


def child(phase: str, number: int, task: Task, memory_mb: int) -> None:
    if memory_mb:
        enter_group(memory_mb, task.folder)
    # Before any engine starts a pool: not all of them can be told how many threads to use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    told = (build if phase == "build" else sweep)(number, task)
    write(task.folder.parent / "told.json", json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows_path", type=Path, metavar="ROWS.npy", nargs="?")
    parser.add_argument("--rows", type=float, metavar="N", help="by default those of the file")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--work", type=Path, help="where rows, indexes and results are kept")
    parser.add_argument("--keep", action="store_true", help="the indexes too")
    parser.add_argument("--build-only", action="store_true", help="to search in a later run")
    parser.add_argument("--partitions", type=int, help="of every engine; by default 4 √N")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--build-threads", type=int, help="by default as many")
    parser.add_argument("--memory-mb", type=int, default=0, help="search in so much memory as well")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="engines that have it in their name"
    )
    parser.add_argument("--limit", type=float, default=3600, help="seconds to build, or to search")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--name", default="index_peers", help="of the two files in --out")
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        phase, number, folder, partitions, threads, memory_mb = options.child
        task = Task(Path(folder), int(partitions), int(threads))
        child(phase, int(number), task, int(memory_mb))
        return
    if options.rows_path is None:
        parser.error("ROWS.npy is missing")
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "rows.npy").exists():
            n = options.rows and int(options.rows)
            collection(options.rows_path, n, options.queries, work)
        compare(work, options)


def compare(work: Path, options: argparse.Namespace) -> None:
    """Measure all engines on the rows in a folder, and tell."""
    n, dim = np.load(work / "rows.npy", mmap_mode="r").shape
    partitions = options.partitions or round(4 * n**0.5)
    engines = []
    for number, engine in enumerate(ENGINES):
        if options.only in engine.name:
            task = Task(work / str(number), partitions, options.threads)
            version = importlib.metadata.version(engine.package)
            engines.append(
                {"engine": engine.name, "version": version, **measured(number, task, options)}
            )
            print(engine.name, engines[-1].get("error", "done"), file=sys.stderr)
    if options.build_only:
        return
    title = (
        f"{n:,} × {dim}, {partitions:,} partitions, {options.threads} thread(s) on as many cores; "
        f"the fastest settings with a recall@{K} of at least {TARGETS[0]:g} and {TARGETS[1]:g}"
    )
    sizes, fast = tables(engines, n)
    told = [
        ("Indexes; memory is what opening and all searches add to a process", sizes),
        (f"{title}, batches of {BATCH}", fast),
    ]
    if options.memory_mb:
        name = f"within_{options.memory_mb}_mb"
        small = [{"engine": e["engine"], **e.get(name, {"error": "not built"})} for e in engines]
        told.append((f"The same within {options.memory_mb} MB, page cache included", speeds(small)))
    console = Console(highlight=False, width=150)
    for caption, table in told:
        show(console, caption, table)
    console.print(NOTES)
    options.out.mkdir(parents=True, exist_ok=True)
    full = {"environment": environment(), "title": title, "notes": NOTES, "engines": engines}
    write(options.out / f"{options.name}.json", json.dumps(full, indent=1) + "\n")
    text = "\n".join(f"{caption}\n\n{markdown(table)}" for caption, table in told)
    write(options.out / f"{options.name}.md", f"{text}\n{NOTES}\n")


if __name__ == "__main__":
    main()
