"""Queries in float become what walks take as the oracle says, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS
from test_graph_walk import Case

from nestbit import _native
from nestbit.errors import InputError
from nestbit.kernels import reference_walk
from nestbit.kernels.allowed import bitmap
from nestbit.kernels.walk_queries import CellBooks, FloatQueries, round_queries, walk_floats

every_isa = pytest.mark.parametrize("isa", ISAS)
FIELDS = ("tables", "scales", "bases", "weights", "fine_scales", "bias")


def some_queries(rng, m, cells, *, size=16, dim=9, gain=1.0, r=None):
    """Queries over cells that may overlap, and their books."""
    r = cells + 2 if r is None else r
    first = rng.integers(0, r, cells).astype(np.int32)
    width = np.minimum(rng.integers(1, 4, cells), r - first).astype(np.int32)
    books = rng.normal(size=(int(width.sum()), size)).astype(np.float32)
    floats = [rng.normal(size=shape).astype(np.float32) for shape in ((m, r), m, m)]
    weights = None if dim is None else rng.normal(size=(m, dim)).astype(np.float32)
    z, bias, fine_bias = floats
    return CellBooks(first, width, books), FloatQueries(
        z, bias, gain, weights, None if dim is None else fine_bias
    )


def natively(cells, queries, isa, threads=1):
    z, bias, gain, weights, fine_bias = queries
    return _native.round_queries(z, *cells, bias, gain, weights, fine_bias, threads, isa)


def assert_equals_the_oracle(cells, queries, isa, threads=1):
    found = natively(cells, queries, isa, threads)
    expected = reference_walk.round_queries(cells, queries)
    for name, got in zip(FIELDS, found, strict=True):
        wanted = getattr(expected, name)
        if wanted is None:
            assert got is None
        else:
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted, err_msg=name)


@every_isa
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_rounded_queries_equal_the_oracle(isa, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    cells, queries = some_queries(
        rng,
        data.draw(st.sampled_from([0, 1, 2, 7])),
        data.draw(st.integers(1, 9)),
        size=data.draw(st.sampled_from([16, 256])),
        dim=data.draw(st.sampled_from([None, 1, 9, 64, 255, 384, 1025])),
        gain=data.draw(st.sampled_from([1.0, 2.0])),
    )
    assert_equals_the_oracle(cells, queries, isa)


@every_isa
def test_queries_of_any_size_are_rounded_without_a_fault(isa):
    rng = np.random.default_rng(3)
    cells, queries = some_queries(rng, 6, 5, dim=40)
    queries.weights[0] = 0
    queries.weights[1] *= np.float32(1e-44)
    queries.weights[2] *= np.float32(1e37)
    queries.weights[3] = np.float32(-1)
    queries.coordinates[4] = 0
    assert_equals_the_oracle(cells, queries, isa)
    assert_equals_the_oracle(cells, queries, isa, threads=3)
    # Halves of a step go to the even number.
    queries.weights[5] = np.arange(40, dtype=np.float32) + 0.5
    queries.weights[5, 0] = 32767
    assert_equals_the_oracle(cells, queries, isa)
    rounded = natively(cells, queries, isa)[3][5]
    assert rounded[1:5].tolist() == [2, 2, 4, 4]


@every_isa
@pytest.mark.parametrize("fine", ["i1", None])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_search_is_a_walk_of_rounded_queries(isa, fine, bits):
    rng = np.random.default_rng(5)
    case = Case.make(1, 90, 7, 5, bits=bits, biased=True, fine=fine, m=4)
    cells, queries = some_queries(
        rng, 4, 10 if bits == 4 else 5, size=1 << bits, dim=9 if fine else None, gain=2.0
    )
    graph, mask = case.graph(), bitmap(rng.random(90) < 0.5)
    tables, scales, bases, weights, fine_scales, bias = natively(cells, queries, isa)
    for allowed in (None, mask):
        ids, scores, counts = graph.native.walk(
            tables, scales, bases, 5, 20, 60, 4, 1, weights, fine_scales, allowed, isa
        )
        z, own, gain, w, fine_bias = queries
        found = graph.native.search(
            z, *cells, own, gain, w, fine_bias, 5, 20, 60, 4, 1, allowed, 1000, isa
        )
        np.testing.assert_array_equal(found[0], np.where(ids < 0, ids, ids + 1000))
        np.testing.assert_array_equal(found[1], scores + bias[:, None])
        np.testing.assert_array_equal(found[2], counts)


def test_what_the_kernel_cannot_take_as_it_is_walks_all_the_same():
    rng = np.random.default_rng(6)
    case = Case.make(2, 60, 6, 5, m=3)
    cells, queries = some_queries(rng, 3, 10)
    graph = case.graph()
    expected = walk_floats(graph, cells, queries, 5, beam=20, offset=7)
    other = queries._replace(
        weights=np.asfortranarray(queries.weights), bias=np.repeat(queries.bias, 2)[::2]
    )
    found = walk_floats(graph, cells, other, 5, beam=20, offset=7)
    for name in ("ids", "scores", "scored", "expanded"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_many_queries_walk_in_several_calls(monkeypatch):
    rng = np.random.default_rng(7)
    case = Case.make(3, 60, 6, 5, m=3)
    cells, queries = some_queries(rng, 7, 10)
    graph = case.graph()
    expected = walk_floats(graph, cells, queries, 5, beam=20)
    monkeypatch.setattr("nestbit.kernels.graph_walk._QUERIES_AT_ONCE", 3)
    found = walk_floats(graph, cells, queries, 5, beam=20, threads=2)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_queries_that_do_not_fit_are_refused():
    rng = np.random.default_rng(8)
    graph = Case.make(4, 60, 6, 5, m=3).graph()
    cells, queries = some_queries(rng, 3, 10)

    def refuse(match, k=5, cells=cells, **changes):
        with pytest.raises(InputError, match=match):
            walk_floats(graph, cells, queries._replace(**changes), k, beam=20)

    bad = queries.weights.copy()
    bad[1, 2] = np.nan
    refuse("row 1", weights=bad)
    refuse("bias hold NaN", bias=np.array([1, np.nan, 2], np.float32))
    refuse("bias must be", bias=queries.bias[:2])
    refuse("finer level", weights=None, fine_bias=None)
    refuse("a bias, and one for the finer", fine_bias=None)
    refuse("weights must have 3 rows", weights=queries.weights[:2])
    refuse("weights must have 9 columns", weights=queries.weights[:, :8])
    refuse("float32", coordinates=queries.coordinates.astype(np.float64))
    refuse("not finite or beyond", coordinates=queries.coordinates * np.float32(np.inf))
    refuse("finite", coordinates=queries.coordinates * np.float32(1e37), gain=1e3)
    refuse("widen the beam", k=21)
    refuse("not inside", cells=cells._replace(width=cells.width + 20))
    with pytest.raises(InputError, match="tables must be a uint8 array"):
        walk_floats(graph, *some_queries(rng, 3, 4), 5, beam=20)


def test_rounding_tells_what_it_refuses():
    cells, queries = some_queries(np.random.default_rng(9), 2, 3)
    rounded = round_queries(cells, queries)
    assert rounded.tables.shape == (2, 4, 16)
    with pytest.raises(InputError, match="bias hold NaN"):
        round_queries(cells, queries._replace(fine_bias=np.array([np.inf, 0], np.float32)))
