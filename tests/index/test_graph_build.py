"""A built graph leads to the best rows, whatever the metric, and a seed makes one graph."""

import heapq
from dataclasses import replace

import numpy as np
import pytest

from nestbit.errors import InputError
from nestbit.index import graph_build, graph_leaves
from nestbit.index.graph_build import GraphOptions, Late, Scale, build_graph
from nestbit.kernels import graph, graph_reference

SMALL = GraphOptions(
    degree=12, leaf=80, scales=(Scale(1, 3, 2, 20), Scale(1 / 4, 1, 1, 8), Scale(1 / 16, 1, 1, 4))
)


def clustered(n=1200, dim=20, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, dim))
    x = centres[rng.integers(0, 30, n)] + 0.5 * rng.normal(size=(n, dim))
    return (x * rng.uniform(0.5, 2, (n, 1))).astype(np.float32)


def built(x, **options):
    return build_graph(lambda a, b: x[a:b], *x.shape, **{"options": SMALL, **options})


def scores(x, query, metric):
    if metric == "l2":
        return -((x - query) ** 2).sum(axis=1)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ query


def walked(made, score, beam):
    """The best rows by a best-first walk from the three best entries, and how many it scored."""
    start = made.entries[np.argsort(-score[made.entries])[:3]].tolist()
    best = [(score[r], r) for r in start]
    open_rows = [(-score[r], r) for r in start]
    heapq.heapify(best)
    heapq.heapify(open_rows)
    seen = set(start)
    while open_rows:
        nearest, row = heapq.heappop(open_rows)
        if len(best) >= beam and -nearest < best[0][0]:
            break
        for r in made.neighbours[row].tolist():
            if r not in seen:
                seen.add(r)
                heapq.heappush(open_rows, (-score[r], r))
                heapq.heappush(best, (score[r], r))
                if len(best) > beam:
                    heapq.heappop(best)
    return [r for _, r in sorted(best, reverse=True)], len(seen) + len(made.entries)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_a_walk_finds_the_best_rows_among_few(metric):
    every = clustered(1250)
    x, queries = every[:1200], every[1200:]
    made = built(x, metric=metric)
    assert graph_reference.reachable(made.neighbours, made.entries).all()
    found, read = 0, 0
    for query in queries:
        score = scores(x, query, metric)
        rows, count = walked(made, score, beam=30)
        found += len(set(rows[:10]) & set(np.argsort(-score)[:10].tolist()))
        read += count
    assert found / (10 * len(queries)) > 0.95
    assert read / len(queries) < 0.4 * len(x)


def test_a_seed_makes_one_graph_for_any_number_of_threads():
    x = clustered(700)
    one, two, other = built(x, threads=1), built(x, threads=3), built(x, threads=1, seed=1)
    np.testing.assert_array_equal(one.neighbours, two.neighbours)
    np.testing.assert_array_equal(one.entries, two.entries)
    assert not np.array_equal(one.neighbours, other.neighbours)


def test_a_seed_makes_one_graph_however_many_candidates_are_held_at_once():
    x = clustered(700)
    one, two = built(x), built(x, options=replace(SMALL, held=8 * 32 * 99))
    np.testing.assert_array_equal(one.neighbours, two.neighbours)
    np.testing.assert_array_equal(one.entries, two.entries)


def test_leaders_sought_about_pivots_make_as_good_a_graph(monkeypatch):
    monkeypatch.setattr(graph_leaves, "_LEADERS", 30)
    every = clustered(6200, 24)
    x, queries = every[:6000], every[6000:]
    shares = []
    for flat in (1000, 20):  # leaders: 150, of a sample of a quarter 19
        made = built(x, metric="l2", options=replace(SMALL, flat=flat))
        assert graph_reference.reachable(made.neighbours, made.entries).all()
        found = 0
        for query in queries:
            score = scores(x, query, "l2")
            rows, _ = walked(made, score, beam=20)
            found += len(set(rows[:10]) & set(np.argsort(-score)[:10].tolist()))
        shares.append(found / (10 * len(queries)))
    assert 0.9 < shares[0] < 0.998
    assert shares[1] > shares[0] - 0.01


def test_leaders_sought_about_pivots_are_nearly_all_the_nearest(monkeypatch):
    monkeypatch.setattr(graph_leaves, "_LEADERS", 100)
    x, rng = clustered(4000, 24), np.random.default_rng(1)
    codes = np.rint(x / np.abs(x).max() * 127).astype(np.int8)
    rows = graph_leaves.Rows(codes, graph.row_squares(codes))
    leaders = np.sort(rng.choice(len(x), 300, replace=False)).astype(np.uint32)
    divider = graph_leaves.Divider(rows, 80, 20, 300, np.zeros(4000, bool), rng, 1)
    nearest = divider._nearest(leaders, slice(None), 3)
    found = divider._near(divider._pivots, leaders, 3)
    np.testing.assert_array_equal(found[leaders, 0], np.arange(300))
    pairs = zip(found, nearest, strict=True)
    assert np.mean([np.isin(some, best).mean() for some, best in pairs]) > 0.9


def test_a_row_without_leaders_is_in_no_leaf():
    labels = np.array([[0, 1], [2, 2], [1, 2], [0, 2]], np.int32)  # of two leaders
    made = graph_leaves._division(labels, 2, np.ones(4, bool), np.zeros(4, bool), 10)
    np.testing.assert_array_equal(made.members.numbers, [0, 3, 0, 2])
    np.testing.assert_array_equal(made.members.offsets, [0, 2, 4])


def test_late_rows_are_unknown_to_the_others_until_they_join():
    x = clustered(700)
    late = np.array([0, 3, 350, 351, 699])
    before = []

    def keep(others):
        before.append((others.neighbours.copy(), others.entries))

    made = built(x, late=Late(late, keep))
    ((neighbours, entries),) = before
    assert not np.isin(neighbours[np.setdiff1d(np.arange(700), late)], late).any()
    assert not np.isin(entries, late).any()
    # They are left out as if they were none of the rows, and then found like all others.
    assert graph_reference.reachable(made.neighbours, made.entries).all()
    first = [(made.neighbours == r).sum() for r in late]
    assert min(first) >= 1
    assert np.mean(first) > 0.5 * SMALL.degree
    changed = (np.sort(made.neighbours) != np.sort(neighbours)).any(axis=1)
    assert changed.sum() < 2 * SMALL.degree * len(late)


def test_what_late_rows_are_does_not_change_what_the_others_choose(monkeypatch):
    monkeypatch.setattr(graph_build, "_int8_rows", lambda rows, n, *_: rows(0, n).astype(np.int8))
    x = np.rint(10 * clustered(500))
    late = np.array([5, 400])
    swapped = x.copy()
    swapped[late] = x[late[::-1]]
    kept = []
    for rows in (x, swapped):
        built(
            rows,
            metric="l2",
            late=Late(late, lambda others: kept.append(others.neighbours.copy())),
            options=replace(SMALL, leaf=1000),
        )
    one, two = (np.delete(lists, late, axis=0) for lists in kept)
    np.testing.assert_array_equal(one, two)


def test_a_graph_of_late_rows_alone_is_refused():
    with pytest.raises(InputError, match="not late"):
        built(clustered(3), late=Late(np.arange(3), lambda others: None))


@pytest.mark.parametrize("n", [1, 2, 3, 13, 100])
def test_unused_slots_hold_the_own_number_and_no_neighbour_is_repeated(n):
    made = built(clustered(n))
    assert made.neighbours.shape == (n, SMALL.degree)
    assert made.neighbours.flags.c_contiguous
    assert made.neighbours.dtype == np.uint32
    for row, others in enumerate(made.neighbours.tolist()):
        used = [r for r in others if r != row]
        assert len(used) == len(set(used))
        assert others[: len(used)] == used
        assert len(used) == min(SMALL.degree, n - 1) or n > SMALL.degree
    assert graph_reference.reachable(made.neighbours, made.entries).all()


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_equal_and_empty_rows_stay_reachable(metric):
    x = np.concatenate([np.zeros((150, 9)), np.ones((200, 9)), clustered(300, 9)])
    made = built(x.astype(np.float32), metric=metric)
    assert graph_reference.reachable(made.neighbours, made.entries).all()


def test_progress_counts_up_to_all_steps():
    told = []
    built(clustered(100), progress=lambda *step: told.append(step))
    assert [done for _, done, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, _, total in told} == {len(told)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 1}, "2 to 256 neighbours"),
        ({"degree": 300}, "2 to 256 neighbours"),
        ({"pool": 257}, "pool"),
        ({"scales": ()}, "slots"),
        ({"scales": (Scale(1, 1, 1, 300),)}, "slots"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        built(clustered(20), options=GraphOptions(**options))


def test_a_graph_of_no_rows_is_refused():
    with pytest.raises(InputError, match="got 0"):
        build_graph(lambda a, b: np.zeros((b - a, 3), np.float32), 0, 3)
