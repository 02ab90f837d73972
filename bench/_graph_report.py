"""Tables of `graphs.py`: memory, build and times at a recall, and what was lost."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from _report import markdown

TARGETS = (0.95, 0.97, 0.99)

Points = list[tuple[float, float]]  # recall and cost, both rising


def frontier(settings: list[dict], recall: str, cost: str) -> Points:
    """The settings that no other beats: recall and cost, both rising."""
    best: Points = []
    lowest = math.inf
    for point in sorted(((s[recall], s[cost]) for s in settings), key=lambda p: (-p[0], p[1])):
        if point[1] < lowest:
            best.append(point)
            lowest = point[1]
    return best[::-1]


def alone(settings: list[dict]) -> Points:
    """Recall and milliseconds of one query."""
    return frontier(settings, "recall", "p50_ms")


def batched(settings: list[dict]) -> Points:
    """Recall in batches and milliseconds a query."""
    costs = [s | {"ms": 1e3 / s["queries_per_second"]} for s in settings]
    return frontier(costs, "batch_recall", "ms")


WAYS: dict[str, Callable[[list[dict]], Points]] = {"one query": alone, "batches": batched}


def at(points: Points, target: float) -> float | None:
    """The cost of a recall, between settings as straight lines on a log scale; None if beyond."""
    if not points or points[-1][0] < target:
        return None
    recalls, costs = np.array(points).T
    return float(np.exp(np.interp(target, recalls, np.log(costs))))


def searched(collection: dict) -> list[dict]:
    return [engine for engine in collection["engines"] if "settings" in engine]


def touched(engine: dict) -> float:
    """Bytes a row that a search reads in memory, those of refinement included."""
    held = engine["bytes"]
    return held.get("with_refinement", held["held"])


def title(collection: dict) -> str:
    return f"{collection['name']}: {collection['rows']:,} × {collection['dim']}"


def report(collections: list[dict], notes: str) -> str:
    parts = [
        "# Searches of one machine's index\n\n![recall against time](../../docs/figures/graphs.svg)"
        f"\n\nOne thread on one core; recall@10 of the float top 10. {notes}\n\n"
        "Bytes a row: what an index holds in memory (nestbit: coarse codes and graph; others: "
        "their stored index), and with what refinement reads from mapped files. Resident is what "
        "opening and searching add to the process, buffers and mapped pages included. Build: "
        "seconds, and those of its core, shared with others. Microseconds are one query's median, "
        "queries/s those of batches of 64, both at that recall: between settings, as straight "
        "lines on a log scale. Every setting is in graphs.json.\n"
    ]
    for collection in collections:
        parts += [f"\n## {title(collection)}\n", measured(collection), markdown(speeds(collection))]
        parts += [
            "".join(
                f"- Build of {engine['engine']}: {engine['build_note']}\n"
                for engine in collection["engines"]
                if "build_note" in engine and "filters" not in engine["engine"]
            )
        ]
        parts += ["\nNo other is both smaller (with refinement) and faster\n"]
        parts += [markdown(fronts(collection))]
        if len(kernel := kernels(collection)) > 1:
            parts += ["\nThe walk alone, without what Index.search adds\n", markdown(kernel)]
        if filters := filtered(collection):
            parts += ["\nRecall under filters\n", markdown(filters)]
    return "\n".join(parts)


def measured(collection: dict) -> str:
    made = collection["environment"]
    rounds = sorted({str(engine["rounds"]) for engine in searched(collection)})
    commit = (made["commit"] or "unknown")[:7]
    return (
        f"{made['cpu']}, {made['time'][:10]}, commit {commit}; median of {', '.join(rounds)} "
        "rounds.\n"
    )


def speeds(collection: dict) -> list[list[str]]:
    heading = ["engine", "bytes a row", "with refinement", "resident", "build s", "of a core"]
    for target in TARGETS:
        heading += [f"µs at {target:g}", "queries/s"]
    lines = [[*heading, "best recall"]]
    for engine in collection["engines"]:
        if "filters" in engine["engine"]:
            continue
        held = engine.get("bytes", {})
        values = (
            held.get("held"), held.get("with_refinement"), engine.get("resident_bytes"),
            engine.get("build_seconds"), engine.get("build_cpu_seconds"),
        )  # fmt: skip
        cells = ["" if value is None else f"{value:,.0f}" for value in values]
        settings = engine.get("settings", [])
        for target in TARGETS:
            one, many = (at(points(settings), target) for points in WAYS.values())
            cells.append(f"{1e3 * one:,.0f}" if one else "")
            cells.append(f"{1e3 / many:,.0f}" if many else "")
        best = max((s["recall"] for s in settings), default=None)
        cells.append(engine.get("error", "") if best is None else f"{best:.3f}")
        lines.append([engine["engine"], *cells])
    return lines


def fronts(collection: dict) -> list[list[str]]:
    """Engines that none beats in memory and time at once, and by whom nestbit's are beaten."""
    lines = [["recall", "", "smallest first: bytes a row, µs a query", "nestbit beaten in both"]]
    for target in TARGETS:
        for way, points in WAYS.items():
            found = [
                (touched(e), cost, e["engine"])
                for e in searched(collection)
                if (cost := at(points(e["settings"]), target)) is not None
            ]
            best: list[str] = []
            lost: list[str] = []
            for size, cost, name in sorted(found):
                better = [n for s, c, n in found if s <= size and c <= cost and n != name]
                peers = [n for n in better if not n.startswith("nestbit")]
                if not better:
                    best.append(f"{name} ({size:,.0f}, {1e3 * cost:,.0f})")
                elif name.startswith("nestbit") and peers:
                    lost += [f"{name.removeprefix('nestbit ')} by {', '.join(peers)}"]
            lines.append([f"{target:g}", way, "; ".join(best), "; ".join(lost)])
    return lines


def kernels(collection: dict) -> list[list[str]]:
    lines = [["engine", *(f"µs at {target:g}" for target in TARGETS)]]
    for engine in collection["engines"]:
        if "kernel" in engine:
            costs = [at(alone(engine["kernel"]), target) for target in TARGETS]
            cells = [f"{1e3 * cost:.0f}" if cost else "" for cost in costs]
            lines.append([engine["engine"], *cells])
    return lines


def filtered(collection: dict) -> list[list[str]]:
    found = [e for e in collection["engines"] if "filters" in e]
    if not found:
        return []
    shares = [f"{100 * f['passing']:g}%: recall, µs" for f in found[0]["filters"]]
    lines = [["engine", *shares]]
    for engine in found:
        cells = [f"{f['recall']:.3f}, {1e3 * f['p50_ms']:.0f}" for f in engine["filters"]]
        lines.append([engine["engine"].removeprefix("filters of "), *cells])
    return lines
