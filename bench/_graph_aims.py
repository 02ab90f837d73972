"""What nestbit's profiles are to do beside the peers of `graphs.py`, and what the best do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from _graph_report import TARGETS, WAYS, at, title, touched
from _report import markdown

GRAPH_PEER, SCAN_PEER = "SymQG", "faiss RaBitQfs + SQ8"
SPEED_MEMORY = 0.40
BALANCED_LATENCY, BALANCED_BYTES, BALANCED_DIM = 2.5, 250, 256
MEMORY_GAIN, MEMORY_TARGET = 4.0, 0.97
BUILD = 1.5
FILTER_LOSS = 0.02
FILTER_SHARES = (0.5, 0.1, 0.01, 0.001)

Figures = list[float | None]  # None: a recall that the engine does not reach


@dataclass(frozen=True)
class Aim:
    """A bound on figures of each engine whose name begins with ``engines``."""

    text: str
    engines: str
    bound: float
    figures: Callable[[dict], Figures]
    least: bool = False

    def line(self, engines: list[dict]) -> list[str] | None:
        """The best engine at each figure, and how many of these reach the bound."""
        sign = 1 if self.least else -1
        told = [
            (e["engine"], self.figures(e)) for e in engines if e["engine"].startswith(self.engines)
        ]
        best: list[tuple[float, str] | None] = []
        for i in range(max((len(figures) for _, figures in told), default=0)):
            known = [(f[i], name) for name, f in told if len(f) > i and f[i] is not None]
            best.append(max(known, key=lambda k: sign * k[0], default=None))
        reached = [b for b in best if b is not None]
        if not reached:
            return None
        hits = sum(sign * figure >= sign * self.bound for figure, _ in reached)
        names = dict.fromkeys(
            name.removeprefix("filters of ").removeprefix("nestbit ") for _, name in reached
        )
        figures = ", ".join("–" if b is None else f"{b[0]:.3g}" for b in best)
        verdict = f"{hits} of {len(best)}" if 0 < hits < len(best) else "hit"
        bound = f"{'≥' if self.least else '≤'} {self.bound:g}"
        return [self.text, "; ".join(names), figures, bound, verdict if hits else "**missed**"]


def section(collections: list[dict]) -> str:
    """A table of one line for each aim and collection."""
    heading = ["collection", "aim", "best engine", "measured", "bound", ""]
    lines = [
        [title(c), *line]
        for c in collections
        for aim in aims(c)
        if (line := aim.line(c["engines"])) is not None
    ]
    targets = ", ".join(f"{target:g}" for target in TARGETS)
    shares = ", ".join(f"{share:.1%}" for share in FILTER_SHARES)
    return (
        f"\n## Aims\n\nThree figures are those at recalls of {targets}, – where that is out of "
        f"reach; of filters, where {shares} of the rows pass.\n\n{markdown([heading, *lines])}"
    )


def aims(collection: dict) -> Iterator[Aim]:
    by_name = {engine["engine"]: engine for engine in collection["engines"]}
    graph, scan = by_name.get(GRAPH_PEER, {}), by_name.get(SCAN_PEER, {})
    for way in WAYS:
        yield Aim(
            f"speed: queries/s over {GRAPH_PEER}'s, {way}", "nestbit speed", 1.0,
            lambda e, way=way: [t and 1 / t for t in times(e, graph, way, TARGETS)], least=True,
        )  # fmt: skip
    yield Aim(
        f"speed: bytes a row over {GRAPH_PEER}'s", "nestbit speed", SPEED_MEMORY,
        lambda e: [touched(e) / touched(graph)] if "bytes" in e and "bytes" in graph else [],
    )  # fmt: skip
    yield Aim(
        f"balanced: time of a query over {GRAPH_PEER}'s", "nestbit balanced", BALANCED_LATENCY,
        lambda e: times(e, graph, "one query", TARGETS),
    )  # fmt: skip
    if collection["dim"] == BALANCED_DIM:
        yield Aim(
            "balanced: bytes a row, without refinement", "nestbit balanced", BALANCED_BYTES,
            lambda e: [e["bytes"]["held"]] if "bytes" in e else [],
        )  # fmt: skip
    yield Aim(
        f"memory: times as fast as {SCAN_PEER} at {MEMORY_TARGET:g}", "nestbit memory", MEMORY_GAIN,
        lambda e: [t and 1 / t for t in times(e, scan, "one query", (MEMORY_TARGET,))], least=True,
    )  # fmt: skip
    for profile in ("speed", "balanced"):
        yield Aim(
            f"{profile}: build, seconds of a core over {GRAPH_PEER}'s", f"nestbit {profile}", BUILD,
            lambda e: builds(e, graph),
        )  # fmt: skip
        yield Aim(
            f"{profile}: recall that filters lose", f"filters of nestbit {profile}", FILTER_LOSS,
            losses,
        )  # fmt: skip


def times(engine: dict, peer: dict, way: str, targets: tuple[float, ...]) -> Figures:
    """An engine's time over a peer's at each recall."""
    points, theirs = (WAYS[way](e.get("settings", [])) for e in (engine, peer))
    costs = [(at(points, target), at(theirs, target)) for target in targets]
    return [ours / other if ours and other else None for ours, other in costs]


def builds(engine: dict, peer: dict) -> Figures:
    ours, theirs = (e.get("build_cpu_seconds") for e in (engine, peer))
    return [ours / theirs] if ours and theirs else []


def losses(engine: dict) -> Figures:
    """Recall that filters lose, from the one that lets all pass."""
    told = {f["passing"]: f["recall"] for f in engine.get("filters", ())}
    return [told[1.0] - told[share] for share in FILTER_SHARES if share in told]
