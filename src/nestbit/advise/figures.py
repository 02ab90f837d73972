"""The report's figures as plain Plotly descriptions; colours are roles that the page fills in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from nestbit.advise.advice import Advice, Loser
from nestbit.advise.intervals import Interval
from nestbit.advise.labels import Label, place
from nestbit.advise.options import Option

# Roles of colour, replaced by the page's own for light and dark.
ACCENT, SOFT, MARK, VEIL = "@accent", "@soft", "@float", "@veil"
_HOVER_TEXT = 160
# Below this share of variance an axis holds nothing but rounding.
_LEAST_SHARE = 1e-7


@dataclass(frozen=True)
class Figure:
    """A Plotly figure: traces and layout, with a title and a note for the page."""

    title: str
    note: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]


def pareto(advice: Advice, by: str) -> Figure:
    """What every recipe keeps against its bytes of memory, or its milliseconds."""
    best = advice.front(by)
    on_front = {id(option) for option in best}
    others = [option for option in advice.options if id(option) not in on_front]
    chosen = advice.choice.option
    traces = [
        _points(others, by, "other recipes", SOFT, advice),
        _points(best, by, "none keeps more for less", ACCENT, advice) | {"mode": "lines+markers"},
    ]
    named = [_label(option, by, ACCENT) for option in best if option is not chosen]
    if chosen is not None:
        trace = _points([chosen], by, "recommended", MARK, advice)
        trace["marker"] |= {"size": 15, "symbol": "circle-open", "line": {"width": 3}}
        traces.append(trace)
        named.insert(0, _label(chosen, by, MARK))
    title, axis, note = {
        "bytes": (
            "Quality per byte",
            "bytes of memory per vector",
            "Bars are confidence intervals that hold for all at once; the line joins the recipes "
            "that none beats in both.",
        ),
        "ms": (
            "Quality per millisecond",
            "milliseconds per query, one thread",
            f"An exhaustive scan in memory; float32 by BLAS takes at best "
            f"{advice.float_milliseconds:.3g} ms.",
        ),
    }[by]
    floor = advice.floor
    shapes = []
    if floor is not None and (floor.kind == "keep") == (advice.float_ndcg is not None):
        shapes.append(_level_line(floor.value))
    ticks = _ticks(traces)
    low, high = ticks["range"]
    return Figure(
        title,
        note,
        traces,
        {
            "xaxis": {"title": {"text": axis}, "type": "log", **ticks},
            "yaxis": {"title": {"text": advice.measure}, "tickformat": ".0%"},
            "shapes": shapes,
            "annotations": place(named, low, high, VEIL),
        },
    )


def growth(advice: Advice) -> Figure | None:
    """Measured recall on nested parts, and the prediction for the size to come."""
    found = advice.shown.grown
    if found is None:
        return None
    sizes = [*found.sizes, found.rows]
    traces = [
        {
            "x": list(found.sizes),
            "y": list(found.recalls),
            "mode": "lines+markers",
            "name": "measured",
            "line": {"color": ACCENT},
        },
        {
            "x": [found.rows],
            "y": [found.recall.value],
            "error_y": _bars([found.recall]),
            "mode": "markers",
            "name": "predicted",
            "marker": {"color": MARK, "size": 10},
        },
        {
            "x": [found.sizes[-1]],
            "y": [found.held_back.value],
            "error_y": _bars([found.held_back]),
            "mode": "markers",
            "name": "predicted from the smaller parts",
            "marker": {"color": SOFT, "size": 8, "symbol": "diamond"},
        },
    ]
    return Figure(
        f"Recall at {max(sizes):,} rows",
        "The largest part, foretold from the smaller ones, shows how far such a forecast carries.",
        traces,
        {
            "xaxis": {"title": {"text": "rows"}, "type": "log", "dtick": 1},
            "yaxis": {"title": {"text": f"recall@{advice.k}"}, "tickformat": ".1%"},
        },
    )


def losers(advice: Advice) -> Figure | None:
    """The queries that lose most: float against compressed."""
    if not advice.losers:
        return None
    floats = [loser.floats for loser in advice.losers]
    trace = {
        # Queries often share both values: a little spread keeps them apart.
        "x": [x + 0.004 * (i % 5 - 2) for i, x in enumerate(floats)],
        "y": [loser.compressed + 0.004 * (i // 5 - 2) for i, loser in enumerate(advice.losers)],
        "mode": "markers",
        "name": "queries",
        "marker": {"color": ACCENT, "size": 9, "opacity": 0.75},
        "hovertemplate": [_loser_text(loser) + "<extra></extra>" for loser in advice.losers],
    }
    ends = [0, 1]
    diagonal = {
        "x": ends,
        "y": ends,
        "mode": "lines",
        "name": "no loss",
        "line": {"color": SOFT, "dash": "dot", "width": 1},
        "hoverinfo": "skip",
    }
    of = "nDCG" if advice.float_ndcg is not None else "recall"
    return Figure(
        "The queries that lose most",
        f"By {advice.shown.recipe}. Point at a query to read it.",
        [diagonal, trace],
        {
            "xaxis": {"title": {"text": f"{of}@{advice.k} in float"}, "range": [-0.03, 1.05]},
            "yaxis": {"title": {"text": f"{of}@{advice.k} compressed"}, "range": [-0.05, 1.05]},
        },
    )


def diagnosis(advice: Advice) -> list[Figure]:
    """Spectrum, signs, values and prefixes of the model."""
    found = advice.diagnosis
    axes = list(range(1, found.dim + 1))
    spectrum = {
        "x": axes,
        "y": [share if share > _LEAST_SHARE else None for share in found.spectrum.tolist()],
        "mode": "lines",
        "name": "share of variance",
        "line": {"color": ACCENT},
    }
    entropy = {
        "x": np.minimum(found.sign_entropy, 0.9999).tolist(),  # the last bin is open at 1
        "type": "histogram",
        "xbins": {"start": 0, "end": 1, "size": 0.05},
        "name": "dimensions",
        "marker": {"color": ACCENT},
    }
    shares = np.linspace(0, 1, len(found.sorted_values)).tolist()
    values = {
        "x": shares,
        "y": found.sorted_values.tolist(),
        "mode": "lines",
        "name": "value",
        "line": {"color": ACCENT},
    }
    widths = sorted(found.prefix_recall)
    prefixes = [
        {
            "x": widths,
            "y": [recalls[d] for d in widths],
            "mode": "lines+markers",
            "name": name,
            "line": {"color": colour},
        }
        for recalls, name, colour in (
            (found.prefix_recall, "the first dimensions", ACCENT),
            (found.random_recall, "random dimensions", SOFT),
        )
    ]
    signs = {
        "x": list(found.sign_recall),
        "y": list(found.sign_recall.values()),
        "type": "bar",
        "name": "recall",
        "marker": {"color": ACCENT},
    }
    share = {"range": [0, 1], "tickformat": ".0%"}
    share_of_variance = {
        **_titled("share of variance"),
        "type": "log",
        "dtick": 1,
        "exponentformat": "power",
    }
    return [
        Figure(
            "Spectrum",
            "Variance along the principal axes.",
            [spectrum],
            {"xaxis": _titled("axis"), "yaxis": share_of_variance},
        ),
        Figure(
            "Sorted values",
            "Quantiles of all values, at a mean square of 1.",
            [values],
            {
                "xaxis": {**_titled("share of values"), "tickformat": ".0%"},
                "yaxis": _titled("value"),
            },
        ),
        Figure(
            "Bits in a sign",
            "Entropy of each dimension's sign; 1 is a fair coin.",
            [entropy],
            {"xaxis": _titled("bits"), "yaxis": _titled("dimensions"), "bargap": 0.05},
        ),
        Figure(
            "Sign bits",
            "Recall@10 of a float query on signs.",
            [signs],
            {"yaxis": share, "bargap": 0.5},
        ),
        Figure(
            "Prefixes",
            "Recall@10 of the first dimensions, and of as many random ones.",
            prefixes,
            {"xaxis": {**_titled("dimensions"), "tickvals": widths}, "yaxis": share},
        ),
    ]


def _points(
    options: Sequence[Option], by: str, name: str, colour: str, advice: Advice
) -> dict[str, Any]:
    return {
        "x": [_cost(option, by) for option in options],
        "y": [o.quality.value for o in options],
        "error_y": {**_bars([o.quality for o in options]), "thickness": 1, "color": colour},
        "mode": "markers",
        "name": name,
        "marker": {"color": colour, "size": 8},
        "line": {"color": colour, "width": 1},
        "hovertemplate": [_hover(o, advice) + "<extra></extra>" for o in options],
    }


def _label(option: Option, by: str, colour: str) -> Label:
    return Label(str(option.recipe), _cost(option, by), option.quality.value, colour)


def _cost(option: Option, by: str) -> float:
    return option.footprint.ram if by == "bytes" else option.milliseconds


def _ticks(traces: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ticks at 1, 2 and 5 times powers of ten, written out, and room for labels to the right."""
    values = [x for trace in traces for x in trace["x"]]
    low, high = np.log10(min(values)), np.log10(max(values))
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    room = 0.06 * (high - low) + 0.02
    return {
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
        "range": [low - room, high + 3 * room],
    }


def _hover(option: Option, advice: Advice) -> str:
    kept = option.quality
    return (
        f"<b>{escape(str(option.recipe))}</b><br>{advice.measure} {kept.value:.1%} "
        f"({kept.low:.1%} to {kept.high:.1%})<br>{option.footprint.ram:,} bytes in memory, "
        f"{option.footprint.disk:,} on disk<br>{option.milliseconds:.3g} ms"
    )


def _loser_text(loser: Loser) -> str:
    text = loser.query if loser.text is None else loser.text
    shown = escape(text[:_HOVER_TEXT])
    return f"{_broken(shown)}<br>float {loser.floats:.2f}, compressed {loser.compressed:.2f}"


def _broken(text: str, width: int = 48) -> str:
    """The text in lines that a hover label can hold."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f"{word} "
    return "<br>".join(line.strip() for line in lines)


def _bars(intervals: Sequence[Interval]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [i.high - i.value for i in intervals],
        "arrayminus": [i.value - i.low for i in intervals],
    }


def _level_line(y: float) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": MARK, "width": 1, "dash": "dot"},
    }


def _titled(text: str) -> dict[str, Any]:
    return {"title": {"text": text}}
