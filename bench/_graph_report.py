"""Tables of `graphs.py`: memory, times at a recall, growth, aims hit and missed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from _report import markdown

TARGETS = (0.95, 0.97, 0.99)
NESTBIT = ("nestbit speed", "nestbit balanced", "nestbit memory")
# What the profiles are to do beside the peers.
SPEED_MEMORY = 0.40
BALANCED_LATENCY, BALANCED_BYTES, BALANCED_DIM = 2.5, 250, 256
MEMORY_GAIN, MEMORY_TARGET = 4.0, 0.97
BUILD = 1.5
FILTER_LOSS = 0.02
DISTURBED = 1.2
FILTER_SHARES = (0.5, 0.1, 0.01, 0.001)

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
    costs = [s | {"ms": 1e3 / s["queries_per_second"]} for s in settings if undisturbed(s)]
    return frontier(costs, "batch_recall", "ms")


def undisturbed(measured: dict) -> bool:
    """Whether queries in batches cost no more than alone; others had to share the core."""
    return 1e3 / measured["queries_per_second"] <= DISTURBED * measured["p50_ms"]


def at(points: Points, target: float) -> float | None:
    """The cost of a recall, between settings as straight lines on a log scale; None if beyond."""
    if not points or points[-1][0] < target:
        return None
    recalls, costs = np.array(points).T
    return float(np.exp(np.interp(target, recalls, np.log(costs))))


def fastest(settings: list[dict], target: float) -> list[str]:
    """The setting with the lowest median, and the one with the most queries a second in batches."""
    reach = [s for s in settings if s["recall"] >= target]
    together = [s for s in settings if s["batch_recall"] >= target and undisturbed(s)]
    cells = [f"at most {max(s['recall'] for s in settings):.3f}", "", "", ""]
    if reach:
        best = min(reach, key=lambda s: s["p50_ms"])
        cells = [setting(best), f"{best['recall']:.3f}"]
        cells += [f"{1e3 * best[name]:.0f}" for name in ("p50_ms", "p99_ms")]
    if not together:
        return [*cells, "", ""]
    best = max(together, key=lambda s: s["queries_per_second"])
    return [*cells, setting(best), f"{best['queries_per_second']:,.0f}"]


def setting(measured: dict) -> str:
    told = ", ".join(f"{k}={v}" for k, v in measured["setting"].items() if v is not None)
    return told or "its only one"


def sweeps(collection: dict) -> Iterator[tuple[str, dict, list[dict]]]:
    """Name, engine and settings of everything that was searched."""
    for engine in collection["engines"]:
        if "settings" in engine:
            yield engine["engine"], engine, engine["settings"]
        if "kernel" in engine:
            yield engine["engine"] + ", kernel", engine, engine["kernel"]


def report(collections: list[dict], notes: str) -> str:
    parts = [
        "# Searches of one machine's index\n\nOne thread on one core; recall@10 of the float top "
        f"10. {notes}\n\nBytes a row: for nestbit coarse codes and graph, and with the finest "
        "level, whose pages are read from the mapped file; for others their stored index, which "
        "they hold in memory. Resident is what opening and searching add to the process, buffers "
        "and mapped pages included. Batches that cost more a query than "
        f"{DISTURBED:g} times a query alone were disturbed by other processes and are left out.\n"
    ]
    for collection in collections:
        parts += [f"\n## {title(collection)}\n", markdown(sizes(collection))]
        told = [
            f"- {e['engine']}: {e['build_note']}"
            for e in collection["engines"]
            if "build_note" in e
        ]
        parts += [
            "\n".join(["Builds of which no time is told, or not this run's:\n", *told])
        ] * bool(told)
        for target in TARGETS:
            lines = [
                "engine", "setting", "recall", "p50 µs", "p99 µs", "in batches of 64", "queries/s"
            ]  # fmt: skip
            body = [[name, *fastest(found, target)] for name, _, found in sweeps(collection)]
            parts += [f"\nFastest with a recall of {target:g}\n", markdown([lines, *body])]
        if filters := filtered(collection):
            parts += ["\nRecall under filters\n", markdown(filters)]
    if growth := grown(collections):
        parts += [f"\n## Growth: µs of one query at a recall of {TARGETS[0]:g}\n", markdown(growth)]
    heading = ["collection", "aim", "measured", "bound", ""]
    lines = [line for collection in collections for line in aims(collection)]
    if lines:
        parts += ["\n## Aims\n", markdown([heading, *lines])]
    return "\n".join(parts)


def title(collection: dict) -> str:
    clocks = {e["clock"] for e in collection["engines"] if "clock" in e}
    clock = "" if clocks <= {"wall"} else ", seconds of the core"
    return f"{collection['name']}: {collection['rows']:,} × {collection['dim']}{clock}"


def sizes(collection: dict) -> list[list[str]]:
    lines = [
        [
            "engine", "bytes a row", "with refinement", "resident bytes a row", "build s",
            "of a core",
        ]
    ]  # fmt: skip
    for engine in collection["engines"]:
        if engine["engine"].startswith("filters"):
            continue
        held = engine.get("bytes", {})
        values = (
            held.get("held"),
            held.get("with_refinement"),
            engine.get("resident_bytes"),
            engine.get("build_seconds"),
            engine.get("build_cpu_seconds"),
        )
        cells = ["" if value is None else f"{value:,.0f}" for value in values]
        lines.append([engine["engine"], *cells])
        if "error" in engine:
            lines[-1][1] = engine["error"]
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


def grown(collections: list[dict]) -> list[list[str]]:
    """Engines over collections of one name and several sizes."""
    lines = []
    for name in sorted({c["name"] for c in collections}):
        of = [c for c in collections if c["name"] == name]
        found = [{n: at(alone(s), TARGETS[0]) for n, _, s in sweeps(c)} for c in of]
        if len(of) > 1:
            lines.append([name, *(f"{c['rows']:,} rows" for c in of)])
            for engine in found[0]:
                costs = [costs_of.get(engine) for costs_of in found]
                if sum(cost is not None for cost in costs) > 1:
                    cells = ["" if cost is None else f"{1e3 * cost:.0f}" for cost in costs]
                    lines.append([engine, *cells])
    return lines


def aims(collection: dict) -> Iterator[list[str]]:
    """What the profiles are to do, what they do, and whether that is enough."""
    where = title(collection)
    by_name = {e["engine"]: e for e in collection["engines"]}
    graph = by_name.get("SymQG", {})
    scan = by_name.get("faiss RaBitQfs + SQ8", {})

    def line(aim: str, value: float, bound: float, *, least: bool = False) -> list[str]:
        hit = value >= bound if least else value <= bound
        text = f"{'≥' if least else '≤'} {bound:.4g}"
        return [where, aim, f"{value:.3g}", text, "hit" if hit else "**missed**"]

    for name, engine, settings in sweeps(collection):
        if name.startswith("nestbit speed") and "settings" in graph:
            for target in TARGETS:
                for how, points in (("one query", alone), ("batches", batched)):
                    ours, theirs = (at(points(s), target) for s in (settings, graph["settings"]))
                    if ours and theirs:
                        aim = f"{name}: queries/s over SymQG's at {target:g}, {how}"
                        yield line(aim, theirs / ours, 1.0, least=True)
        if name.startswith("nestbit balanced") and "settings" in graph:
            for target in TARGETS:
                ours, theirs = (at(alone(s), target) for s in (settings, graph["settings"]))
                if ours and theirs:
                    aim = f"{name}: latency over SymQG's at {target:g}"
                    yield line(aim, ours / theirs, BALANCED_LATENCY)
        if name.startswith("nestbit memory") and "settings" in scan:
            ours, theirs = (at(alone(s), MEMORY_TARGET) for s in (settings, scan["settings"]))
            if ours and theirs:
                aim = f"{name}: times as fast as faiss RaBitQfs + SQ8 at {MEMORY_TARGET:g}"
                yield line(aim, theirs / ours, MEMORY_GAIN, least=True)
        held, peer = engine.get("bytes", {}).get("held"), graph.get("bytes", {}).get("held")
        if name in by_name and name.startswith("nestbit speed") and held and peer:
            yield line(f"{name}: bytes a row over SymQG's", held / peer, SPEED_MEMORY)
        small = collection["dim"] == BALANCED_DIM and name.startswith("nestbit balanced")
        if small and name in by_name and held:
            yield line(f"{name}: bytes a row", held, BALANCED_BYTES)
        ours, theirs = engine.get("build_cpu_seconds"), graph.get("build_cpu_seconds")
        if name.startswith(NESTBIT[:2]) and name in by_name and ours and theirs:
            yield line(f"{name}: build, seconds of a core over SymQG's", ours / theirs, BUILD)
    for engine in collection["engines"]:
        told = {f["passing"]: f["recall"] for f in engine.get("filters", ())}
        for share in FILTER_SHARES:
            if share in told:
                name = engine["engine"].removeprefix("filters of ")
                aim = f"{name}: recall lost where {share:.1%} pass"
                yield line(aim, told[1.0] - told[share], FILTER_LOSS)
