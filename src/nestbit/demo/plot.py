"""A quality-per-byte plot as inline SVG: log2 bytes across, quality kept upwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise, product

_CHARACTER = 0.6  # width of a monospace character, in font sizes
_LINE = 1.25  # height of a line, in font sizes
_RADIUS = 4.5


@dataclass(frozen=True)
class Point:
    """A labelled point: bytes a row, quality kept (1 is float's), and a CSS class."""

    label: str
    n_bytes: float
    quality: float
    css: str = "point"


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y downwards."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """Area shared with ``other``."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0.0, across) * max(0.0, down)

    def outside(self, frame: Box) -> float:
        """Area that lies outside ``frame``."""
        return self.width * self.height - self.overlap(frame)


def quality_plot(points: Sequence[Point], *, width: int, height: int, font: float = 12) -> str:
    """Return an ``<svg>`` of ``points`` whose colours come from the page's CSS variables."""
    frame = Box(font * 4.4, font, width - font * 5.4, height - font * 5)
    lows = [math.log2(p.n_bytes) for p in points]
    left, right = math.floor(min(lows)) - 0.3, math.ceil(max(lows)) + 0.3
    bottom, top, step = _quality_axis([p.quality for p in points])

    def at(p: Point) -> tuple[float, float]:
        x = frame.x + (math.log2(p.n_bytes) - left) / (right - left) * frame.width
        y = frame.y + (top - p.quality) / (top - bottom) * frame.height
        return x, y

    places = [at(p) for p in points]
    best = [at(p) for p in frontier(points)]
    par = frame.y + (top - 1) / (top - bottom) * frame.height
    lines = [*_along(best), Box(frame.x, par - 1, frame.width, 2)]
    boxes = place_labels(places, [p.label for p in points], frame, font, lines)
    out = [
        f'<svg viewBox="0 0 {width} {height}" role="img" font-size="{font:g}" '
        'aria-label="Quality kept against bytes per vector">'
    ]
    for tick in range(math.ceil(left), math.floor(right) + 1):
        x = frame.x + (tick - left) / (right - left) * frame.width
        out.append(_line(x, frame.y, x, frame.y + frame.height, "grid"))
        out.append(_text(x, frame.y + frame.height + font * 1.5, f"{2.0**tick:g}", "middle"))
    for i in range(math.ceil(bottom / step), math.floor(top / step) + 1):
        value = i * step
        y = frame.y + (top - value) / (top - bottom) * frame.height
        out.append(_line(frame.x, y, frame.x + frame.width, y, "grid"))
        out.append(_text(frame.x - font * 0.6, y + font * 0.35, f"{100 * value:g}%", "end"))
    middle = frame.x + frame.width / 2
    out.append(_text(middle, height - font * 0.9, "bytes per vector (log scale)", "middle"))
    out.append(_line(frame.x, par, frame.x + frame.width, par, "par"))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in best)
    out.append(f'<polyline class="frontier" points="{path}"/>')
    for (x, y), box in zip(places, boxes, strict=True):
        end_x = min(max(x, box.x), box.x + box.width)
        end_y = min(max(y, box.y), box.y + box.height)
        if math.dist((x, y), (end_x, end_y)) > 2.2 * _RADIUS:
            out.append(_line(x, y, end_x, end_y, "leader"))
    for p, (x, y), box in zip(points, places, boxes, strict=True):
        out.append(f'<circle class="{p.css}" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>')
        out.append(_text(box.x, box.y + font, p.label, "start", "label"))
    return "\n".join([*out, "</svg>"])


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both bytes and quality, by ascending bytes."""
    best: list[Point] = []
    for p in sorted(points, key=lambda p: (p.n_bytes, -p.quality)):
        if not best or p.quality > best[-1].quality:
            best.append(p)
    return best


def place_labels(
    places: Sequence[tuple[float, float]],
    labels: Sequence[str],
    frame: Box,
    font: float,
    lines: Sequence[Box] = (),
) -> list[Box]:
    """Boxes for the labels near their points, without overlap where there is room for that.

    Each label in turn takes the candidate with the least overlap with points, labels already
    placed, the frame's outside and, at a tenth of the cost, ``lines``; the nearest wins ties.
    """
    dots = [
        Box(x - 1.4 * _RADIUS, y - 1.4 * _RADIUS, 2.8 * _RADIUS, 2.8 * _RADIUS) for x, y in places
    ]
    # Crowded points choose first: those in the open can go anywhere.
    order = sorted(range(len(places)), key=lambda i: _room(places, i))
    chosen: dict[int, Box] = {}
    for i in order:
        width, height = len(labels[i]) * font * _CHARACTER, font * _LINE
        candidates = _candidates(*places[i], width, height)

        def cost(box: Box) -> float:
            shared = sum(box.overlap(other) for other in (*dots, *chosen.values()))
            crossed = sum(box.overlap(line) for line in lines)
            return round(shared + 4 * box.outside(frame) + 0.1 * crossed, 6)

        chosen[i] = min(candidates, key=cost)
    return [chosen[i] for i in range(len(places))]


def _along(path: Sequence[tuple[float, float]]) -> list[Box]:
    """Small boxes along a path, so that labels keep off it."""
    boxes = []
    for (x1, y1), (x2, y2) in pairwise(path):
        steps = max(1, round(math.dist((x1, y1), (x2, y2)) / 4))
        for i in range(steps):
            x, y = x1 + (x2 - x1) * i / steps, y1 + (y2 - y1) * i / steps
            boxes.append(Box(x - 2, y - 2, 4, 4))
    return boxes


def _candidates(x: float, y: float, width: float, height: float) -> list[Box]:
    found = []
    for distance in (9, 20, 34, 50, 70, 95, 125, 160):
        reach = distance * 0.75
        spots = [
            (x + distance, y - height / 2),
            (x - distance - width, y - height / 2),
            (x - width / 2, y - distance - height),
            (x - width / 2, y + distance),
        ]
        spots += [
            (x + reach if right else x - reach - width, y + reach if down else y - reach - height)
            for right, down in product((True, False), repeat=2)
        ]
        found += [Box(left, top, width, height) for left, top in spots]
    return found


def _room(places: Sequence[tuple[float, float]], i: int) -> float:
    return min((math.dist(places[i], other) for j, other in enumerate(places) if j != i), default=0)


def _quality_axis(values: Sequence[float]) -> tuple[float, float, float]:
    """Return bottom, top and the step of the ticks, with 1 inside."""
    low, high = min(*values, 1.0), max(*values, 1.0)
    span = max(high - low, 0.01)
    steps = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    step = next((s for s in steps if span / s <= 7), span / 5)
    return low - 0.05 * span, high + 0.06 * span, step


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, css: str = "tick") -> str:
    return (
        f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
