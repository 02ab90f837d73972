"""What a map makes of embeddings is what plain NumPy makes, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS
from test_graph_walk import Case
from test_walk_queries import some_queries

from nestbit.errors import InputError
from nestbit.kernels.query_map import Bytes, Coordinates, QueryMap, walk_rows
from nestbit.kernels.rotation import hadamard
from nestbit.kernels.walk_queries import walk_floats

every_isa = pytest.mark.parametrize("isa", ISAS)


def some_map(rng, dim, *, rotated=False, centred=False, fine=True, r=None, **options):
    """A map with random arrays, and the arrays."""
    r = dim + 3 if r is None else r
    cells, _ = some_queries(rng, 1, 4, dim=None, r=r)
    mean = rng.normal(size=dim).astype(np.float32)
    if rotated:
        rows = rng.choice([-1, 1], (6 if r & (r - 1) else 3, r)).astype(np.float32)
    else:
        rows = rng.normal(size=(r, dim)).astype(np.float32)
    coordinates = Coordinates(mean, rows, rotated, centred)
    bytes_ = Bytes(*rng.normal(size=(2, dim)).astype(np.float32)) if fine else None
    return QueryMap(cells, coordinates, bytes_, **options), coordinates, bytes_


def expected(queries, coordinates, bytes_, *, unit, squared):
    x = queries.astype(np.float64)
    if unit:
        length = np.linalg.norm(x, axis=1, keepdims=True)
        x = x / np.where(length > 0, length, 1)

    def score(bias):
        return 2 * bias - (x * x).sum(axis=1) if squared else bias

    mean, rows, rotated, centred = coordinates
    z = x - mean if centred else x
    moved = hadamard(z.astype(np.float32), rows) if rotated else z @ rows.T
    coarse = [moved, score(x @ mean)]
    if bytes_ is None:
        return [*coarse, None, None]
    return [*coarse, x * bytes_.step, score(x @ bytes_.offset)]


def natively(mapping, queries, isa="", threads=1):
    return mapping.native.floats(queries, threads, isa)


@every_isa
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_mapped_queries_are_those_of_numpy(isa, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    dim = data.draw(st.sampled_from([1, 7, 16, 33, 64, 100, 384]))
    options = {name: data.draw(st.booleans()) for name in ("unit", "squared")}
    mapping, coordinates, bytes_ = some_map(
        rng,
        dim,
        rotated=data.draw(st.booleans()),
        centred=data.draw(st.booleans()),
        fine=data.draw(st.booleans()),
        r=dim + data.draw(st.integers(0, 9)),
        **options,
    )
    queries = rng.normal(size=(data.draw(st.sampled_from([0, 1, 3, 8, 9, 21])), dim))
    queries = queries.astype(np.float32)
    wanted = expected(queries, coordinates, bytes_, **options)
    for got, want in zip(natively(mapping, queries, isa), wanted, strict=True):
        if want is None:
            assert got is None
        else:
            assert got.dtype == np.float32
            size = np.abs(want).max(initial=1)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5 * size)


@every_isa
@pytest.mark.parametrize("rotated", [False, True])
def test_a_query_is_mapped_alike_alone_and_among_others(isa, rotated):
    rng = np.random.default_rng(1)
    mapping, _, _ = some_map(rng, 96, rotated=rotated, unit=True, centred=True)
    queries = rng.normal(size=(37, 96)).astype(np.float32)
    together = natively(mapping, queries, isa)
    alone = zip(*(natively(mapping, query[None], isa) for query in queries), strict=True)
    for other in (natively(mapping, queries, isa, threads=3), map(np.concatenate, alone)):
        for a, b in zip(together, other, strict=True):
            np.testing.assert_array_equal(a, b)


@every_isa
def test_lengths_beyond_floats_are_scaled_to_one_and_zero_stays(isa):
    rng = np.random.default_rng(2)
    mapping, _, _ = some_map(rng, 40, unit=True)
    row = rng.normal(size=40)
    queries = np.stack([row, 1e-30 * row, 1e30 * row, 0 * row]).astype(np.float32)
    found = natively(mapping, queries, isa)
    for got in found:
        np.testing.assert_allclose(got[1], got[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(got[2], got[0], rtol=1e-4, atol=1e-4)
        assert not got[3].any()


def test_walks_of_mapped_queries_are_those_of_the_floats_they_become():
    rng = np.random.default_rng(3)
    case = Case.make(8, 80, 8, 2, m=5, dim=9)
    graph = case.graph()
    mapping, _, _ = some_map(rng, 9, squared=True)
    cells = some_queries(np.random.default_rng(3), 1, 4, dim=None, r=12)[0]
    queries = rng.normal(size=(5, 9)).astype(np.float32)
    for mask in (None, np.full(10, 0x5A, np.uint8)):
        options = {"beam": 20, "mask": mask, "offset": 7}
        found = walk_rows(graph, mapping, queries, 6, **options)
        wanted = walk_floats(graph, cells, mapping.floats(queries), 6, **options)
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got, want)


def test_many_queries_walk_in_several_calls(monkeypatch):
    rng = np.random.default_rng(4)
    graph = Case.make(8, 80, 8, 2, m=5, dim=9).graph()
    mapping, _, _ = some_map(rng, 9)
    queries = rng.normal(size=(7, 9)).astype(np.float32)
    expected_ones = walk_rows(graph, mapping, queries, 5, beam=20)
    monkeypatch.setattr("nestbit.kernels.graph_walk._QUERIES_AT_ONCE", 3)
    found = walk_rows(graph, mapping, queries, 5, beam=20, threads=2)
    for got, want in zip(found, expected_ones, strict=True):
        np.testing.assert_array_equal(got, want)


def test_what_does_not_fit_is_refused():
    rng = np.random.default_rng(5)
    cells = some_queries(rng, 1, 4, dim=None, r=12)[0]
    mean, rows = np.zeros(9, np.float32), np.zeros((12, 9), np.float32)
    for coordinates, fine in (
        (Coordinates(mean[:8], rows, False, False), None),
        (Coordinates(mean, rows.astype(np.float64), False, False), None),
        (Coordinates(mean, rows[:5], False, False), None),
        (Coordinates(mean, np.ones((3, 8), np.float32), True, False), None),
        (Coordinates(mean, rows, False, False), Bytes(mean, mean[:3])),
    ):
        with pytest.raises(InputError, match="make no map of queries"):
            QueryMap(cells, coordinates, fine)
    mapping = QueryMap(cells, Coordinates(mean, rows, False, False), Bytes(mean, mean))
    with pytest.raises(InputError, match="dimensions"):
        mapping.floats(np.zeros((2, 8), np.float32))
    graph = Case.make(8, 80, 8, 2, m=5, dim=9).graph()
    queries = np.zeros((1, 9), np.float32)
    queries[0, 3] = np.nan
    with pytest.raises(InputError, match="finite"):
        walk_rows(graph, mapping, queries, 5, beam=20)
    with pytest.raises(InputError, match="dimensions"):
        walk_rows(graph, mapping, queries[:, :8].copy(), 5, beam=20)
    queries[:] = 1
    with pytest.raises(InputError, match="widen the beam"):
        walk_rows(graph, mapping, queries, 30, beam=20)
    with pytest.raises(InputError, match="a finest level"):
        walk_rows(graph, mapping, queries, 5, beam=20, finish=10)
    for rows, bias in (
        (np.zeros((79, 9), np.float16), None),
        (np.zeros((80, 9), np.int8), None),
        (np.zeros((80, 9), np.float16), np.zeros(79, np.float32)),
    ):
        with pytest.raises(InputError, match="finest"):
            graph.finish_by(rows, bias)
    graph.finish_by(np.zeros((80, 9), np.float16))
    for finish in (4, 21):
        with pytest.raises(InputError, match="k <= finish <= beam"):
            walk_rows(graph, mapping, queries, 5, beam=20, finish=finish)


def test_queries_that_overflow_are_named_and_those_that_are_not_contiguous_walk():
    rng = np.random.default_rng(6)
    graph = Case.make(8, 80, 8, 2, m=5, dim=9).graph()
    mapping, _, _ = some_map(rng, 9)
    queries = rng.normal(size=(3, 9)).astype(np.float32)
    spread = np.repeat(queries, 2, axis=1)[:, ::2]
    found, expected_ones = (walk_rows(graph, mapping, x, 5, beam=20) for x in (spread, queries))
    np.testing.assert_array_equal(found.ids, expected_ones.ids)
    queries[1] = 3e38
    graph.finish_by(np.zeros((80, 9), np.float16), np.zeros(80, np.float32))
    graph.finish_by(np.zeros((80, 9), np.float32))
    for finish in (0, 10):
        with pytest.raises(InputError, match="query 1"):
            walk_rows(graph, mapping, queries, 5, beam=20, finish=finish)
