"""Tables of what indexes on disk take, and of their fastest searches at a recall."""

from __future__ import annotations

TARGETS = (0.95, 0.99)


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
    """What the indexes take, and their fastest searches."""
    sizes = [
        [
            "engine",
            "build s",
            "of a core",
            "MB on disk",
            "bytes a row",
            "resident MB",
            "mapped of it",
            "measured",
        ]
    ]
    for engine in engines:
        line = [engine["engine"]]
        if "disk_bytes" in engine:
            n_bytes = engine["disk_bytes"]
            line += [f"{engine[name]:.0f}" for name in ("build_seconds", "build_cpu_seconds")]
            line += [f"{n_bytes / 1e6:.1f}", f"{n_bytes / n:.0f}"]
        else:
            line += [engine["error"], "", "", ""]
        if "resident_kb" in engine:
            line += [f"{engine[name] / 1024:.0f}" for name in ("resident_kb", "mapped_kb")]
        else:
            line += ["", ""]
        sizes.append([*line, engine.get("measured", "")])
    return sizes, speeds(engines)


def speeds(engines: list[dict]) -> list[list[str]]:
    """The fastest searches of each engine at each target."""
    lines = [
        [
            "recall", "engine", "one at a time", "its recall", "p50 ms", "p99 ms",
            "in batches", "its recall", "queries/s",
        ]
    ]  # fmt: skip
    return lines + [fastest(engine, target) for target in TARGETS for engine in engines]
