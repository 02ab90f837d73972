"""The chart of `graphs.py`: recall against the time of a query, and against queries in batches."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from _graph_report import WAYS, searched, title, touched
from index_peers import PLATEAU

RECALLS = (0.8, 0.9, 0.95, 0.97, 0.99)
LEAST, MOST = 0.8, 0.996  # points beyond are drawn there, or not at all
NESTBIT, RIVAL, OTHER = "#0b5fc0", "#d1480c", "#7a7a7a"
WIDTH, HEIGHT = 15, 5  # of the figure, and for each collection, in inches
LABELS = 1.03  # where they begin, in widths of the panel
LINE_HEIGHT = 11.5  # of a label, in points
MARKERS = {"memory": "v", "balanced": "o", "speed": "s"}
TEXT = {
    "one query": ("µs of one query (median)", lambda ms: 1e3 * ms),
    "batches": ("queries/s in batches of 64", lambda ms: 1e3 / ms),
}
STYLES = (
    ("nestbit", NESTBIT, "-"), ("SymQG", RIVAL, "-"), ("other graphs", OTHER, "-"),
    ("lists and scans", OTHER, ":"),
)  # fmt: skip


def chart(collections: list[dict], path: Path) -> None:
    """A row of two panels for each collection."""
    mpl.rcParams.update({"svg.hashsalt": "graphs", "svg.fonttype": "none", "font.size": 9})
    height = HEIGHT * len(collections)
    figure, panels = plt.subplots(len(collections), 2, figsize=(WIDTH, height), squeeze=False)
    figure.subplots_adjust(
        left=0.045, right=0.78, wspace=1.05, hspace=0.28, top=1 - 0.95 / height, bottom=0.5 / height
    )
    for row, collection in zip(panels, collections, strict=True):
        for axes, way in zip(row, WAYS, strict=True):
            panel(axes, collection, way)
    figure.legend(
        [Line2D([], [], color=color, linestyle=line) for _, color, line in STYLES],
        [name for name, *_ in STYLES],
        loc="upper left", bbox_to_anchor=(0.04, 1), ncols=4, frameon=False,
        title="One thread on one core. Behind each name: bytes a row in memory + those mapped",
        alignment="left",
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def style(name: str) -> tuple[str, str]:
    """Color and line of an engine."""
    for prefix, color, line in STYLES[:2]:
        if name.startswith(prefix):
            return color, line
    graph = any(word in name for word in ("HNSW", "Vamana"))
    return STYLES[2 if graph else 3][1:]


def panel(axes: Axes, collection: dict, way: str) -> None:
    name_of_y, height = TEXT[way]
    ends = []
    for engine in searched(collection):
        name = engine["engine"]
        points = [(min(r, MOST), height(ms)) for r, ms in WAYS[way](engine["settings"])]
        points = rising([point for point in points if point[0] >= LEAST])
        if not points:
            continue
        color, line = style(name)
        marker = next((m for profile, m in MARKERS.items() if f"nestbit {profile}" in name), None)
        wide = color != OTHER
        axes.plot(
            *np.array(points).T, line, color=color, linewidth=1.8 if wide else 1, zorder=2 + wide,
            marker=marker or ".", markersize=4,
        )  # fmt: skip
        ends.append((*points[-1], f"{name.removeprefix('nestbit ')} · {size(engine)}", color))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_xscale("logit")
    axes.set_xlim(LEAST, MOST)
    axes.xaxis.set_major_locator(FixedLocator(RECALLS))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{title(collection)}: {name_of_y}", loc="left", fontsize=10)
    axes.set_xlabel("recall@10 of the float top 10")
    label(axes, ends)


def size(engine: dict) -> str:
    held, every = engine["bytes"]["held"], touched(engine)
    more = f" + {every - held:,.0f}" if every > held else ""
    return f"{held:,.0f}{more} B"


def rising(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points but those that gain no recall to speak of, at any cost."""
    kept: list[tuple[float, float]] = []
    for point in points:
        if not kept or point[0] >= kept[-1][0] + PLATEAU:
            kept.append(point)
    return kept


def label(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Names beside the panel, as near to the ends of their lines as they may without touching."""
    ends = sorted(ends, key=lambda end: end[1])
    box = axes.get_window_extent()
    step = LINE_HEIGHT / 72 * axes.figure.dpi / box.height
    wanted = axes.transAxes.inverted().transform(
        axes.transData.transform([(r, y) for r, y, *_ in ends])
    )
    for (recall, y, text, color), at in zip(ends, apart(wanted[:, 1], step), strict=True):
        axes.annotate(
            text, (recall, y), (LABELS, at), xycoords="data", textcoords="axes fraction",
            color=color if color != OTHER else "#444444", fontsize=8.5, va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.6,
                        "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)},
        )  # fmt: skip


def apart(wanted: np.ndarray, step: float) -> np.ndarray:
    """Rising places at least ``step`` apart, nearest to the wanted ones (in least squares)."""
    blocks: list[list[float]] = []  # mean of wanted places less their steps, and their number
    for i, place in enumerate(wanted):
        blocks.append([place - i * step, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, n = blocks.pop()
            before, m = blocks[-1]
            blocks[-1] = [(before * m + mean * n) / (m + n), m + n]
    means = np.concatenate([np.full(int(n), mean) for mean, n in blocks])
    return means + step * np.arange(len(wanted))
