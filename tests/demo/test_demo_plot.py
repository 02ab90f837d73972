import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestbit.demo.plot import Box, Point, frontier, place_labels, quality_plot

POINTS = [
    Point("binary + int8", 288, 1.002),
    Point("int8", 256, 1.001),
    Point("truncate(128) | float16", 256, 0.899),
    Point("pca(128) | int8", 128, 0.832),
    Point("truncate(128) | int8", 128, 0.9),
    Point("pca(64) | int8", 64, 0.526),
    Point("truncate(64) | int8", 64, 0.679),
    Point("binary", 32, 0.849),
    Point("binary, Hamming", 32, 0.72),
    Point("truncate(128) | binary", 16, 0.656),
    Point("float32", 1024, 1.0, "point float"),
]


def labels_and_dots(svg):
    root = ET.fromstring(svg)
    size = float(root.get("font-size"))
    texts = [t for t in root.iter("text") if t.get("class") == "label"]
    boxes = [
        Box(float(t.get("x")), float(t.get("y")) - size, len(t.text) * size * 0.6, size * 1.25)
        for t in texts
    ]
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]
    return boxes, dots


@pytest.mark.parametrize(("width", "height", "font"), [(860, 460, 13), (360, 480, 10.5)])
@pytest.mark.parametrize("squeeze", [1, 0.3, 0.02])
def test_labels_overlap_neither_each_other_nor_a_point(width, height, font, squeeze):
    points = [Point(p.label, p.n_bytes, 1 - (1 - p.quality) * squeeze, p.css) for p in POINTS]
    boxes, dots = labels_and_dots(quality_plot(points, width=width, height=height, font=font))
    assert len(boxes) == len(dots) == len(points)
    for i, box in enumerate(boxes):
        assert box.x >= 0
        assert box.x + box.width <= width
        assert all(box.overlap(other) == 0 for other in boxes[i + 1 :])
        assert not any(
            box.x < x < box.x + box.width and box.y < y < box.y + box.height for x, y in dots
        )


@given(
    st.lists(
        st.tuples(st.integers(1, 10**5), st.floats(0, 3, allow_nan=False)), min_size=1, max_size=9
    )
)
@settings(deadline=None, max_examples=60)
def test_any_points_are_drawn_inside_the_picture_at_their_place(values):
    points = [Point(f"c{i}", b, q) for i, (b, q) in enumerate(values)]
    _, dots = labels_and_dots(quality_plot(points, width=800, height=400))
    assert all(0 < x < 800 and 0 < y < 400 for x, y in dots)
    for (x1, y1), (b1, q1) in zip(dots, values, strict=True):
        for (x2, y2), (b2, q2) in zip(dots, values, strict=True):
            if math.log2(b1) > math.log2(b2) + 0.1:
                assert x1 > x2
            if q1 > q2 + 0.1:
                assert y1 < y2


def test_equal_steps_in_the_logarithm_are_equal_steps_across():
    points = [Point(str(b), b, 0.5) for b in (16, 32, 64, 128)]
    _, dots = labels_and_dots(quality_plot(points, width=800, height=400))
    steps = [b[0] - a[0] for a, b in pairwise(dots)]
    assert max(steps) - min(steps) < 0.3


def test_the_frontier_holds_what_no_other_beats_in_both():
    assert [p.label for p in frontier(POINTS)] == [
        "truncate(128) | binary",
        "binary",
        "truncate(128) | int8",
        "int8",
        "binary + int8",
    ]


def test_labels_are_escaped():
    svg = quality_plot([Point("<a> & b", 8, 0.5)], width=800, height=400)
    assert "&lt;a&gt; &amp; b" in svg


def test_many_labels_at_one_place_are_spread():
    frame = Box(0, 0, 800, 400)
    boxes = place_labels([(400.0, 200.0)] * 6, ["label"] * 6, frame, 12)
    assert all(a.overlap(b) == 0 for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert all(box.outside(frame) == 0 for box in boxes)
