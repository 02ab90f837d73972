"""The steps that make a graph equal their NumPy form, on every instruction set."""

import numpy as np
import pytest

from nestbit import _native
from nestbit.errors import InputError
from nestbit.kernels import graph, graph_reference

ISAS = _native.available_isas()
DIMS = [1, 3, 16, 63, 64, 65, 200]


def some_rows(n, dim, seed=0, spread=127):
    """Rows in a few groups, some of them equal to one another, with values at both limits."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-spread, spread + 1, (n, dim))
    rows[: n // 2] = np.clip(rows[: n // 2] // 8 + rows[n // 2], -127, 127)
    rows[n // 3 : n // 3 + 3] = rows[n // 3]
    rows[-1] = -127
    return rows.astype(np.int8)


def some_leaves(n, count, seed=1):
    """Overlapping leaves in which every row may be, one of them empty, and some of their rows."""
    rng = np.random.default_rng(seed)
    sets = [np.sort(rng.choice(n, rng.integers(1, n + 1), replace=False)) for _ in range(count)]
    sets.insert(1, np.empty(0, np.int64))
    return leaves(sets), leaves([s[rng.random(len(s)) < 0.6] for s in sets])


def leaves(sets):
    offsets = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    return graph.Leaves(np.concatenate(sets).astype(np.uint32), offsets)


def no_candidates(n, slots):
    return np.full((n, slots), graph.NO_CANDIDATE)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("start", "stop"), [(0, 150), (40, 97), (149, 150)])
def test_candidates_from_leaves_equal_the_reference(isa, dim, start, stop):
    n = 150
    rows = some_rows(n, dim)
    squares = graph.row_squares(rows)
    members, targets = some_leaves(n, 5)
    found, expected = no_candidates(stop - start, 20), no_candidates(stop - start, 20)
    for slots, others, keep in [(slice(0, 13), members, 9), (slice(13, 20), targets, 7)]:
        graph_reference.add_leaves(rows, members, others, expected, slots, keep, start)
        _native.graph_leaves(
            rows, squares, members.numbers, members.offsets, others.numbers, others.offsets,
            keep, found, start, slots.start, slots.stop, 2, isa,
        )  # fmt: skip
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("alpha", [1.0, 1.3])
def test_neighbours_equal_the_reference(isa, dim, alpha):
    n, degree = 90, 11
    rows = some_rows(n, dim)
    squares = graph.row_squares(rows)
    members, _ = some_leaves(n, 3)
    candidates = no_candidates(n, 30)
    graph_reference.add_leaves(rows, members, members, candidates, slice(0, 30), 30)
    rng = np.random.default_rng(2)
    candidates = rng.permuted(np.concatenate([candidates, candidates[:, :5]], axis=1), axis=1)
    whole = graph_reference.choose_neighbours(rows, candidates, degree=degree, alpha=alpha)
    found = np.empty((n, degree), np.uint32)
    for some in (slice(0, 33), slice(33, n)):
        _native.graph_neighbours(
            rows, squares, candidates[some], some.start, alpha, found[some], 2, isa
        )
    np.testing.assert_array_equal(found, whole)
    expected = graph_reference.add_reverse(rows, whole, alpha=alpha, most=25)
    _native.graph_reverse(rows, squares, found, alpha, 25, np.empty(0, np.uint32), 2, isa)
    np.testing.assert_array_equal(found, expected)
    some = np.array([3, 50, 51], np.uint32)
    found[some] = whole[some]
    expected = graph_reference.add_reverse(rows, found, alpha=alpha, most=25, some=some)
    _native.graph_reverse(rows, squares, found, alpha, 25, some, 2, isa)
    np.testing.assert_array_equal(found, expected)


def test_of_many_rows_that_chose_one_the_nearest_count():
    n, degree = 400, 3
    rows = some_rows(n, 5)
    neighbours = np.repeat(np.arange(n, dtype=np.uint32)[:, None], degree, axis=1)
    neighbours[1:, 0] = 0
    expected = graph_reference.add_reverse(rows, neighbours, alpha=1.0, most=40)
    graph.add_reverse(rows, graph.row_squares(rows), neighbours, alpha=1.0, most=40)
    np.testing.assert_array_equal(neighbours, expected)


def test_candidates_do_not_depend_on_the_number_of_threads():
    n = 3000
    rows = some_rows(n, 24, spread=5)  # many equal distances
    members, _ = some_leaves(n, 40)
    made = []
    for threads in (1, 2, 5):
        found = no_candidates(n, 16)
        graph.add_leaves(
            rows, graph.row_squares(rows), members, members, found, slice(0, 16), keep=12,
            threads=threads,
        )  # fmt: skip
        made.append(found)
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


@pytest.mark.parametrize("degree", [2, 3, 8])
def test_every_row_can_be_reached_once_connected(degree):
    n = 400
    rows = some_rows(n, 12)
    squares = graph.row_squares(rows)
    own = np.arange(n, dtype=np.uint32)
    # Groups of four that know only one another, and rows that know none.
    neighbours = np.repeat(own[:, None], degree, axis=1)
    neighbours[:200, 0] = own[:200] // 4 * 4 + (own[:200] + 1) % 4
    entries = np.array([5, 300], np.uint32)
    before = graph_reference.reachable(neighbours, entries)
    assert before.sum() == 5
    added = graph.connect(rows, squares, neighbours, entries)
    assert graph_reference.reachable(neighbours, entries).all()
    # One edge for each group and each row alone.
    assert added == 49 + 199


def test_a_graph_that_is_whole_is_left_as_it_is():
    rows = some_rows(50, 7)
    ring = (np.arange(50)[:, None] + [1, 2]) % 50
    neighbours = np.ascontiguousarray(ring, np.uint32)
    before = neighbours.copy()
    entries = np.array([9], np.uint32)
    assert graph.connect(rows, graph.row_squares(rows), neighbours, entries) == 0
    np.testing.assert_array_equal(neighbours, before)


def test_arrays_that_do_not_fit_together_are_refused():
    rows = some_rows(20, 6)
    squares = graph.row_squares(rows)
    members, targets = some_leaves(20, 2)
    lists = no_candidates(20, 4)
    short = graph.Leaves(targets.numbers, targets.offsets[:-1])
    beyond = graph.Leaves(members.numbers + np.uint32(20), members.offsets)
    with pytest.raises(InputError, match="as many leaves"):
        graph.add_leaves(rows, squares, members, short, lists, slice(0, 4), keep=3)
    with pytest.raises(InputError, match="numbers of rows"):
        graph.add_leaves(rows, squares, beyond, targets, lists, slice(0, 4), keep=3)
    with pytest.raises(InputError, match="one square per row"):
        graph.add_leaves(rows, squares[1:], members, targets, lists, slice(0, 4), keep=3)
    with pytest.raises(InputError, match="range of slots"):
        graph.add_leaves(rows, squares, members, targets, lists, slice(2, 2), keep=3)
    with pytest.raises(InputError, match="lines of rows from the first on"):
        graph.add_leaves(rows, squares, members, targets, lists, slice(0, 4), keep=3, start=1)
    found = np.zeros((20, 4), np.uint32)
    with pytest.raises(InputError, match="alpha"):
        graph.choose_neighbours(rows, squares, lists, found, alpha=0.9)
    with pytest.raises(InputError, match="as many lines"):
        graph.choose_neighbours(rows, squares, lists[1:], found, alpha=1)
    with pytest.raises(InputError, match="lines of rows from the first on"):
        graph.choose_neighbours(rows, squares, lists, found, start=1, alpha=1)
    with pytest.raises(InputError, match="candidates must be numbers of rows"):
        graph.choose_neighbours(rows, squares, lists - np.uint64(1), found, alpha=1)
    with pytest.raises(InputError, match="most must be degree"):
        graph.add_reverse(rows, squares, found, alpha=1, most=3)
    with pytest.raises(InputError, match="sources must be numbers of rows"):
        graph.add_reverse(rows, squares, found, alpha=1, most=9, sources=np.array([20], np.uint32))
    with pytest.raises(InputError, match="one line per row"):
        graph.add_reverse(rows, squares, found[1:], alpha=1, most=9)
    with pytest.raises(InputError, match="neighbours must be numbers of rows"):
        graph.add_reverse(rows, squares, found + np.uint32(20), alpha=1, most=9)
    with pytest.raises(InputError, match="neighbours must be numbers of rows"):
        graph.connect(rows, squares, np.full((20, 2), 20, np.uint32), np.zeros(1, np.uint32))
    with pytest.raises(InputError, match="at least one entry"):
        graph.connect(rows, squares, np.zeros((20, 2), np.uint32), np.zeros(0, np.uint32))
