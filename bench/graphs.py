"""Searches of one machine's index: recall against time, memory and build, beside the peers.

    python bench/graphs.py ROWS.npy --name NAME [--rows N] [--work DIR] [--build-only] [--filters]

Random rows are the queries, the others the rows. Every engine builds its index in a process of its
own and is searched in others, all held to one core: at each setting, until recall@10 reaches .99
or rises no more, queries one at a time, then in batches. Engines take turns for ``--rounds``, and
the median of the rounds counts; one in which others had a twentieth of the core does not. What was
measured is kept in --work and not measured again, so a run that was cut (``--seconds``) goes on.
Nestbit's walk is measured twice: as Index.search, and alone. ``--filters`` adds nestbit's recall
under filters.
Adds the collection to graphs.json and writes graphs.md and graphs.svg anew from all of them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from _engines import Engine, K, Search, Setting, Task
from _graph_aims import section
from _graph_engines import (
    ENGINES,
    FILTERS,
    NOTES,
    SHARE,
    SHARES,
    beams,
    nestbit_bytes,
    nestbit_kernel,
)
from _graph_report import report
from _report import environment, write
from index_peers import PLATEAU, WARM_UP, measure, memory, recall, unit

ENOUGH = 0.99
BUILD_LIMIT = 3000  # seconds of a core that a build may take
UNDISTURBED = 0.95  # of the core's time a search must have had
SETTING_SECONDS = 0.6
FEWEST_QUERIES = 200
PASSING = (1000, 500, 100, 10, 1)
FILTER_TARGET = 0.95


def collection(path: Path, n: int | None, m: int, seed: int, folder: Path) -> None:
    """Write n rows (n, dim), m queries held out, and the true best rows of each to ``folder``."""
    from nestbit.evaluate import exact_search

    rng = np.random.default_rng(seed)
    x = np.load(path).astype(np.float32)
    order = rng.permutation(len(x))
    rows = unit(x[np.sort(order[m : None if n is None else m + n])])
    queries = unit(x[order[:m]])
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", exact_search(rows, queries, K).ids)
    np.save(folder / "unfinished.npy", rows)
    (folder / "unfinished.npy").rename(folder / "rows.npy")


def slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def build(engine: Engine, task: Task) -> dict[str, object]:
    rows = np.load(task.folder.parent / "rows.npy", mmap_mode="r")
    began, worked = time.perf_counter(), time.process_time()
    engine.build(rows, task)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    return {"build_seconds": seconds, "build_cpu_seconds": worked}


def sweep(engine: Engine, task: Task) -> dict[str, object]:
    """Open and search, up each ladder until recall is enough or rises no more."""
    data = task.folder.parent
    queries, truth = np.load(data / "queries.npy"), np.load(data / "truth.npy")
    for file in task.folder.rglob("*"):
        if file.is_file():
            file.read_bytes()  # into the page cache: no search is to wait for the disk
    before = memory()
    search = engine.open(task)
    began, worked = time.perf_counter(), time.process_time()
    settings = climb(search, engine.ladders(task.partitions), queries, truth)
    after = memory()
    n = len(np.load(data / "rows.npy", mmap_mode="r"))
    share = (time.process_time() - worked) / (time.perf_counter() - began)
    told: dict[str, object] = {
        "settings": settings,
        "core_share": share,
        "resident_bytes": 1024 * (after["resident"] - before["resident"]) / n,
    }
    if engine.package != "nestbit":
        return {**told, "bytes": peer_bytes(task, n)}
    if "memory" not in engine.name:
        kernel = nestbit_kernel(task)
        told["kernel"] = climb(kernel, beams(task.partitions), queries, truth)
    return {**told, "bytes": nestbit_bytes(task, queries[0])}


def peer_bytes(task: Task, n: int) -> dict[str, float]:
    """Bytes a row of a stored index; zvec's float rows lie beside its codes and graph."""
    files = [file for file in task.folder.rglob("*") if file.is_file()]
    every = sum(file.stat().st_size for file in files) / n
    codes = sum(file.stat().st_size for file in files if ".qindex." in file.name) / n
    return {"held": codes, "with_refinement": every} if codes else {"held": every}


def climb(
    search: Search, ladders: list[list[Setting]], queries: np.ndarray, truth: np.ndarray
) -> list[dict]:
    settings = []
    search(queries, ladders[0][0])  # pages that a first touch brings in are no search's time
    for rungs in ladders:
        reached = 0.0
        for setting in rungs:
            began = time.perf_counter()
            for query in queries[:WARM_UP]:
                search(query[None], setting)
            each = (time.perf_counter() - began) / WARM_UP
            m = min(len(queries), max(FEWEST_QUERIES, int(SETTING_SECONDS / each)))
            settings.append({**measure(search, setting, queries[:m], truth[:m]), "queries": m})
            found = settings[-1]["recall"]
            if found >= ENOUGH or found < reached + PLATEAU:
                break
            reached = found
    return settings


def filters(task: Task) -> dict[str, object]:
    """Recall at a target under filters that let fewer and fewer rows through."""
    from nestbit import open as open_index
    from nestbit.evaluate import exact_search

    data = task.folder.parent
    rows, queries = np.load(data / "rows.npy", mmap_mode="r"), np.load(data / "queries.npy")
    told = []
    with open_index(task.folder / "index.nest", pin="coarse") as index:
        for passing in PASSING:
            where = {SHARE: {"lte": passing}}
            ids = np.flatnonzero(1 + np.arange(len(rows)) % SHARES <= passing)
            if len(ids) < K:
                continue
            truth = ids[exact_search(rows[ids], queries, K).ids]
            times, found = [], []
            for query in queries:
                began = time.perf_counter()
                hits = index.search(
                    query[None], K, where=where, target_recall=FILTER_TARGET, threads=task.threads
                )
                times.append(time.perf_counter() - began)
                found.append(hits.ids)
            told.append(
                {
                    "passing": passing / SHARES,
                    "recall": recall(np.concatenate(found), truth),
                    "p50_ms": 1e3 * float(np.percentile(times, 50)),
                }
            )
    return {"filters": told}


ALL = {engine.name: engine for engine in (*ENGINES, *FILTERS)}


def in_child(phase: str, engine: Engine, task: Task, limit: float) -> dict:
    """What a phase of an engine tells from a process of its own, or its error."""
    told, log = task.folder.with_suffix(".told"), task.folder.with_suffix(".log")
    told.unlink(missing_ok=True)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    options = (phase, engine.name, task.folder, task.partitions)
    command = [sys.executable, __file__, "--child", *map(str, options)]
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **dict.fromkeys(names, "1")},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"{phase}: not done after {limit:g} s"}
    if done.returncode == -signal.SIGXCPU:
        return {"error": f"{phase}: cut after {BUILD_LIMIT:,} s of a core"}
    if done.returncode:
        last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
        return {"error": f"{phase}: exit status {done.returncode}: {last}"}
    return json.loads(told.read_text())


def child(phase: str, engine: Engine, task: Task) -> None:
    # Before any engine starts a pool: not all of them can be told how many threads to use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    if phase == "build":
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (BUILD_LIMIT, hard))
        told = build(engine, task)
    else:
        told = filters(task) if engine in FILTERS else sweep(engine, task)
    write(task.folder.with_suffix(".told"), json.dumps(told))


def measured(engine: Engine, task: Task, options: argparse.Namespace, turn: int) -> str:
    """Build if nothing did, search if fewer than ``turn`` searches are kept; what came of it."""
    kept = task.folder.with_suffix(".json")
    found = json.loads(kept.read_text()) if kept.exists() else {}
    if "build_seconds" not in found and not options.search_only:
        shutil.rmtree(task.folder, ignore_errors=True)
        task.folder.mkdir()
        found = in_child("build", engine, task, options.limit)
        write(kept, json.dumps(found))
    done = found.setdefault("searches", [])
    if len(done) < turn and not options.build_only and "build_seconds" in found:
        told = in_child("search", engine, task, options.limit)
        share = told.get("core_share", 1.0)
        if share < UNDISTURBED:
            return f"disturbed: had {share:.0%} of its core"
        if "error" in told:
            found |= told
        else:
            done.append(told)
            found.pop("error", None)
        write(kept, json.dumps(found))
    return found.get("error", "done")


def combined(found: dict) -> dict:
    """Build and searches of an engine as one: the median of each figure of each setting."""
    searches = found.get("searches", ())
    told = {name: value for name, value in found.items() if name != "searches"}
    for name in searches[0] if searches else ():
        turns = [search[name] for search in searches]
        told[name] = median(turns) if name in ("settings", "kernel") else turns[-1]
    return {**told, "rounds": len(searches)}


def median(turns: list[list[dict]]) -> list[dict]:
    found: dict[str, list[dict]] = {}
    for turn in turns:
        for setting in turn:
            found.setdefault(json.dumps(setting["setting"]), []).append(setting)
    return [
        {"setting": json.loads(key)}
        | {name: float(np.median([s[name] for s in same])) for name in same[0] if name != "setting"}
        for key, same in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows_path", type=Path, metavar="ROWS.npy", nargs="?")
    parser.add_argument("--name", default="rows", help="of the collection")
    parser.add_argument("--rows", type=int, metavar="N", help="by default those of the file")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1, help="of the choice of queries and rows")
    parser.add_argument("--work", type=Path, default=Path("graphs-work"), help="what is kept")
    parser.add_argument("--build-only", action="store_true", help="to search in a later run")
    parser.add_argument("--search-only", action="store_true", help="only what was built")
    parser.add_argument("--filters", action="store_true", help="also recall under filters")
    parser.add_argument("--only", action="append", metavar="TEXT", help="engines with it in a name")
    parser.add_argument("--rounds", type=int, default=3, help="searches of each engine, in turns")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing later")
    parser.add_argument("--limit", type=float, default=7200, help="seconds to build, or to search")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument(
        "--figures", type=Path, default=Path(__file__).parent.parent / "docs/figures"
    )
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        phase, name, folder, partitions = options.child
        child(phase, ALL[name], Task(Path(folder), int(partitions), 1))
        return
    if options.rows_path is None:
        parser.error("ROWS.npy is missing")
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.work / "rows.npy").exists():
        collection(options.rows_path, options.rows, options.queries, options.seed, options.work)
    compare(options)


def compare(options: argparse.Namespace) -> None:
    """Measure the engines on the rows in the work folder, and tell."""
    began = time.monotonic()
    n, dim = np.load(options.work / "rows.npy", mmap_mode="r").shape
    tasks = {name: Task(options.work / slug(name), round(4 * n**0.5), 1) for name in ALL}
    for turn in range(1, 2 if options.build_only else 1 + options.rounds):
        for name, engine in ALL.items():
            asked = not options.only or any(text in name for text in options.only)
            wanted = options.filters if engine in FILTERS else True
            if asked and wanted and time.monotonic() - began <= options.seconds:
                print(name, measured(engine, tasks[name], options, turn), file=sys.stderr)
    engines = []
    for name, engine in ALL.items():
        kept = tasks[name].folder.with_suffix(".json")
        if kept.exists():
            found = combined(json.loads(kept.read_text()))
            version = importlib.metadata.version(engine.package)
            engines.append({"engine": name, "version": version, **found})
    if not options.build_only:
        tell(options, {"name": options.name, "rows": n, "dim": dim, "engines": engines})


def tell(options: argparse.Namespace, told: dict) -> None:
    """Put a collection in place of its last measurement, and write tables and chart of all."""
    from _graph_chart import chart  # not in the engines' processes

    path = options.out / "graphs.json"
    collections = json.loads(path.read_text())["collections"] if path.exists() else []
    key = (told["name"], told["rows"])
    collections = [c for c in collections if (c["name"], c["rows"]) != key]
    collections.append({**told, "environment": environment()})
    collections.sort(key=lambda c: (c["name"], c["rows"]))
    options.out.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps({"notes": NOTES, "collections": collections}, indent=1) + "\n")
    write(options.out / "graphs.md", report(collections, NOTES) + section(collections))
    chart(collections, options.figures / "graphs.svg")


if __name__ == "__main__":
    main()
