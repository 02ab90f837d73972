"""The chart of `graphs.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from _graph_report import NESTBIT, alone, sweeps, title

RECALLS = (0.8, 0.9, 0.95, 0.97, 0.99, 0.995)
MOST = 0.998  # points beyond are drawn there
FEWEST_LINES = 5  # a collection with fewer engines gets no panel


def chart(collections: list[dict], path: Path) -> None:
    """One panel for each collection with many engines: recall against time of one query."""
    shown = [c for c in collections if len(lines_of(c)) >= FEWEST_LINES]
    if not shown:
        return
    mpl.rcParams.update({"svg.hashsalt": "graphs", "svg.fonttype": "none", "font.size": 9})
    figure, panels = plt.subplots(1, len(shown), figsize=(6.6 * len(shown), 7), squeeze=False)
    names = sorted({name for c in shown for name in lines_of(c) if not name.startswith("nestbit")})
    shades = plt.get_cmap("tab20")(np.linspace(0, 1, 20))
    colors = {name: shades[(2 * i + i // 10) % 20] for i, name in enumerate(names)}
    colors |= dict(zip(NESTBIT, ("#000000", "#c00000", "#0050c0"), strict=True))
    for axes, collection in zip(panels[0], shown, strict=True):
        panel(axes, collection, colors)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def lines_of(collection: dict) -> dict[str, tuple[list[dict], set[int]]]:
    """Settings and bytes a row of each line: a profile of nestbit is one, of all its specs."""
    lines: dict[str, tuple[list[dict], set[int]]] = {}
    for name, engine, settings in sweeps(collection):
        profile = next((p for p in NESTBIT if name.startswith(p)), None)
        kernel = name.endswith(", kernel")
        key = f"{profile}, kernel" if kernel else profile or name
        held = lines.setdefault(key, ([], set()))
        held[0].extend(settings)
        held[1].add(round(engine["bytes"]["held"]))
    return lines


def panel(axes: Axes, collection: dict, colors: dict) -> None:
    for name, (settings, held) in sorted(lines_of(collection).items()):
        points = [(min(r, MOST), ms) for r, ms in alone(settings) if r >= RECALLS[0]]
        if not points:
            continue
        kernel = name.endswith(", kernel")
        nestbit = name.startswith("nestbit")
        recalls, costs = np.array(points).T
        low, high = min(held), max(held)
        told = f"{low:,} B" if low == high else f"{low:,} to {high:,} B"
        axes.plot(
            recalls,
            1e3 * costs,
            ":" if kernel else "-",
            marker="." if kernel else "o" if nestbit else "s",
            markersize=4,
            color=colors[name.removesuffix(", kernel")],
            linewidth=2 if nestbit else 1.1,
            label=f"{name} ({told})",
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_xscale("logit")
    axes.set_xlim(RECALLS[0], MOST)
    axes.xaxis.set_major_locator(FixedLocator(RECALLS))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", alpha=0.4)
    axes.grid(axis="y", which="both", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title(collection))
    axes.set_xlabel("recall@10 of the float top 10")
    axes.set_ylabel("µs of one query (median, one core)")
    axes.legend(
        fontsize=7.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2
    )
