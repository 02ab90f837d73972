"""The best candidates, and the misses expected beyond them, are those of the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestbit.errors import InputError
from nestbit.kernels import reference, reference_misses
from nestbit.kernels.floats import top_k, top_k_named
from nestbit.kernels.misses import Prior, expected_misses
from nestbit.kernels.reference_misses import ranks_beyond

TAIL_AT = (2.0, 2.5, 3.0, 4.0)
FEW = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.integers(0, 5),
    width=st.integers(0, 70),
    k=st.integers(1, 80),
    few=st.booleans(),
)
def test_the_best_are_those_of_a_whole_sort(
    seed: int, m: int, width: int, k: int, few: bool
) -> None:
    """With few values, ties, zeros of both signs, infinities, NaN and equal ids among them."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(-1, 40 if few else 1 << 40, (m, width))
    scores = rng.standard_normal((m, width)).astype(np.float32)
    if few:
        scores = rng.choice(np.array(FEW, np.float32), (m, width))
    found, expected = top_k(ids, scores, k), reference.top_k(ids, scores, k)
    np.testing.assert_array_equal(found[0], expected[0])
    # Equal as bits: a zero keeps its sign.
    np.testing.assert_array_equal(found[1].view(np.uint32), expected[1].view(np.uint32))


def test_the_best_of_views_are_those_of_copies() -> None:
    rng = np.random.default_rng(0)
    ids = np.broadcast_to(np.arange(50), (3, 50))
    scores = rng.standard_normal((50, 3)).astype(np.float32).T
    found, expected = top_k(ids, scores, 7), reference.top_k(ids.copy(), scores.copy(), 7)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("m", "width", "n", "k"), [(0, 5, 9, 3), (1, 1, 1, 1), (3, 20, 50, 7)])
@pytest.mark.parametrize("ranked", [False, True])
def test_the_best_are_named_by_their_ranks(m, width, n, k, ranked):
    rng = np.random.default_rng(n)
    places = np.array([rng.permutation(n)[:width] for _ in range(m)], np.int64).reshape(m, width)
    scores = rng.integers(0, 4, (m, width)).astype(np.float32)  # many are equal
    names, ranks = rng.permutation(10 * n)[:n], rng.permutation(n).astype(np.uint32)
    found = top_k_named(places, scores, k, ranks if ranked else None, names)
    own = ranks[places].astype(np.int64) if ranked else places
    best, best_scores = reference.top_k(own, scores, k)
    np.testing.assert_array_equal(found[0], names[best])
    np.testing.assert_array_equal(found[1], best_scores)


def test_places_and_ranks_without_a_name_are_refused():
    scores, names = np.zeros((1, 1), np.float32), np.arange(2)
    for place in (-1, 2):
        with pytest.raises(ValueError, match="must have a name"):
            top_k_named(np.array([[place]]), scores, 1, None, names)
    with pytest.raises(IndexError, match="none of a name"):
        top_k_named(np.array([[0]]), scores, 1, np.array([9, 0], np.uint32), names)


def scored(seed: int, m: int, width: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Coarse scores, best first, and fine ones around them."""
    rng = np.random.default_rng(seed)
    coarse = -np.sort(-rng.standard_normal((m, width)).astype(np.float32), axis=1)
    fine = coarse + np.float32(noise) * rng.standard_normal((m, width)).astype(np.float32)
    return coarse, fine


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.integers(1, 5),
    width=st.integers(6, 300),
    read=st.floats(0, 1),
    beyond=st.integers(0, 10_000),
    rank=st.floats(0, 1),
    noise=st.sampled_from([0.05, 1.0]),
    known=st.sampled_from(["nothing", "line", "tail"]),
)
def test_expected_misses_are_those_of_the_reference(
    seed: int,
    m: int,
    width: int,
    read: float,
    beyond: int,
    rank: float,
    noise: float,
    known: str,
) -> None:
    """Of at least five scores with errors: around fewer the deviation is but rounding."""
    coarse, fine = scored(seed, m, width, noise)
    rng = np.random.default_rng(seed)
    count = 5 + round(read * (width - 5))
    prior = Prior(0.9, rng.random(m).astype(np.float32), (), (), 30.0)
    if known == "tail":
        prior = replace(prior, tail_at=TAIL_AT, tail=(0.05, 0.01, 0.004, 0.0))
    queries = np.flatnonzero(rng.random(m) < 0.7)
    options = (queries, count, width + beyond, rank * (count - 1), 0.002)
    options = (*options, None if known == "nothing" else prior)
    found = expected_misses(coarse, fine, *options)
    expected = reference_misses.expected_misses(coarse, fine, *options)
    assert found.shape == queries.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_reading_on_leaves_fewer_misses() -> None:
    coarse, fine = scored(0, 1, 1000, 0.5)
    missed = [
        float(expected_misses(coarse, fine, np.array([0]), count, 5000, 9.0, 0.002, None)[0])
        for count in (20, 50, 200, 1000)
    ]
    assert missed == sorted(missed, reverse=True)
    assert missed[-1] < 0.01 < missed[0]


def test_scores_that_are_not_numbers_are_no_reason_to_stop() -> None:
    coarse, fine = scored(0, 3, 50, 0.1)
    coarse[0, 4], fine[1, :30] = np.nan, np.nan
    prior = Prior(0.9, np.full(3, 0.1, np.float32), TAIL_AT, (0.05, 0.01, 0.004, 0.0), 30.0)
    for known in (None, prior):
        found = expected_misses(coarse, fine, np.arange(3), 20, 100, 9.5, 0.002, known)
        assert np.isnan(found[:2]).all()
        assert np.isfinite(found[2])


@pytest.mark.parametrize("count", [1, 2, 20, 999])
def test_the_ranks_stand_for_all_rows_not_read(count: int) -> None:
    middle, weights = ranks_beyond(count, 1000)
    assert weights.sum() == 1000 - count
    assert (np.diff(middle) > 0).all()
    assert count <= middle[0]
    assert middle[-1] < 1000


@pytest.mark.parametrize(
    ("fault", "value"),
    [("coarse", np.float64), ("fine", np.float64), ("queries", np.int32)],
)
def test_other_dtypes_are_refused(fault: str, value: type) -> None:
    coarse, fine = scored(0, 2, 30, 0.1)
    arrays = {"coarse": coarse, "fine": fine, "queries": np.arange(2)}
    arrays[fault] = arrays[fault].astype(value)
    with pytest.raises(InputError, match="scores must be float32"):
        expected_misses(**arrays, count=20, n=100, rank=9.0, outliers=0.002, prior=None)


@pytest.mark.parametrize(("count", "queries"), [(0, [0]), (31, [0]), (20, [2]), (20, [-1])])
def test_counts_and_queries_out_of_range_are_refused(count: int, queries: list[int]) -> None:
    coarse, fine = scored(0, 2, 30, 0.1)
    with pytest.raises(InputError, match="scores must be float32"):
        expected_misses(
            coarse, fine, np.array(queries), count=count, n=100, rank=0.0, outliers=0.0, prior=None
        )
