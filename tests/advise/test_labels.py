"""Names on a chart never run into one another, and the foremost is always there."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nestbit.advise.labels import Label, place

LOW, HIGH = 1.0, 3.0
PLACES = st.lists(st.tuples(st.floats(1.0, 3.0), st.integers(1, 50)), min_size=1, max_size=12)


def spans(found):
    """(side, start, end) of every name, by the width that a letter is reckoned with."""
    for one in found:
        width = 0.0085 * (HIGH - LOW) * (len(one["text"]) + 2)
        start = one["x"] if one["xanchor"] == "left" else one["x"] - width
        yield one["yanchor"], start, start + width


@given(PLACES)
def test_names_on_one_side_of_their_points_do_not_meet(places):
    labels = [Label("n" * length, 10**x, 0.5, "@accent") for x, length in places]
    found = list(spans(place(labels, LOW, HIGH, "@veil")))
    for side in ("top", "bottom"):
        ends = sorted((start, end) for s, start, end in found if s == side)
        assert all(end <= start for (_, end), (start, _) in pairwise(ends))


@given(PLACES)
def test_the_foremost_is_named_and_no_name_leaves_the_axis_to_the_right(places):
    labels = [Label("n" * length, 10**x, 0.5, "@accent") for x, length in places]
    found = place(labels, LOW, HIGH, "@veil")
    assert found[0]["text"] == labels[0].name
    assert all(end <= HIGH + 1e-9 for _, _, end in spans(found))


def test_names_are_left_out_only_where_both_sides_are_taken():
    labels = [Label("one name", 100, 0.5, "@accent")] * 3
    found = place(labels, LOW, HIGH, "@veil")
    assert [one["yanchor"] for one in found] == ["bottom", "top"]


def test_names_are_no_markup():
    (found,) = place([Label("<b>", 100, 0.5, "@accent")], LOW, HIGH, "@veil")
    assert found["text"] == "&lt;b&gt;"
