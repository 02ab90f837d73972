"""Names beside the points of a chart with a logarithmic x axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

# Width of a letter, as a share of a wide plot.
_LETTER = 0.0085
_PIXELS = 11


@dataclass(frozen=True)
class Label:
    """A name for the point at (x, y), in a role of colour."""

    name: str
    x: float
    y: float
    colour: str


def place(labels: Sequence[Label], low: float, high: float, veil: str) -> list[dict[str, Any]]:
    """Plotly's annotations for ``labels``, the foremost first, on an axis from ``low`` to ``high``.

    ``low`` and ``high`` are powers of ten. A name stands above or below its point, to the right of
    it where there is room; one that would run into those before it on both sides is left out,
    since touching the point tells it. ``veil`` is the colour laid beneath the letters.
    """
    taken: dict[str, list[tuple[float, float]]] = {"bottom": [], "top": []}
    found = []
    for label in labels:
        start = float(np.log10(label.x))
        width = _LETTER * (high - low) * (len(label.name) + 2)
        anchor = "left" if start + width <= high else "right"
        span = (start, start + width) if anchor == "left" else (start - width, start)
        # What is anchored at its bottom stands above its point.
        side = next((s for s, others in taken.items() if not _meets(span, others)), None)
        if side is None:
            continue
        taken[side].append(span)
        found.append(
            {
                "x": start,
                "y": label.y,
                "text": escape(label.name),
                "showarrow": False,
                "xanchor": anchor,
                "yanchor": side,
                "xshift": 6 if anchor == "left" else -6,
                "yshift": 6 if side == "bottom" else -6,
                "borderpad": 1,
                "bgcolor": veil,
                "font": {"size": _PIXELS, "color": label.colour},
            }
        )
    return found


def _meets(span: tuple[float, float], others: Sequence[tuple[float, float]]) -> bool:
    return any(span[0] < end and start < span[1] for start, end in others)
