"""A walk over a graph finds what the plain one finds, bit for bit, on every instruction set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import ISAS

from nestbit.errors import InputError
from nestbit.kernels import bytes_rescore, reference_walk
from nestbit.kernels.allowed import bitmap
from nestbit.kernels.graph_walk import CodeGraph, Factors, FineRows, integer_weights

DTYPES = {"none": None, "half": np.float16, "single": np.float32}


@dataclass
class Case:
    """A random graph, its codes and a few queries."""

    neighbours: Any
    entries: Any
    codes: Any
    cell_bits: int
    factors: Factors
    fine: FineRows | None
    tables: Any
    scales: Any
    bases: Any
    weights: Any
    fine_scales: Any

    @classmethod
    def make(
        cls, seed, n, degree, width, *, bits=4, scale="half", biased=False, fine="i1", m=3, dim=9
    ):
        rng = np.random.default_rng(seed)
        neighbours = np.tile(np.arange(n, dtype=np.uint32)[:, None], degree)
        for row in range(n):
            count = int(rng.integers(0, min(degree, n - 1) + 1))
            others = rng.permutation(n - 1)[:count]
            neighbours[row, :count] = others + (others >= row)
        entries = rng.permutation(n)[: int(rng.integers(1, min(n, 40) + 1))].astype(np.uint32)
        cells, size = (2 * width, 16) if bits == 4 else (width, 256)
        dtype = DTYPES[scale]
        factor = None if dtype is None else rng.uniform(0.5, 2, n).astype(dtype)
        bias = rng.normal(size=n).astype(np.float32) if biased else None
        rows = weights = fine_scales = None
        if fine is not None:
            info = np.iinfo(fine)
            codes = rng.integers(info.min, info.max, (n, dim), np.dtype(fine), endpoint=True)
            rows = FineRows(codes, bias)
            weights, fine_scales = integer_weights(rng.normal(size=(m, dim)).astype(np.float32))
        # Few distinct values of a table make ties.
        values = rng.integers(0, 256, rng.choice([2, 5, 256]))
        return cls(
            neighbours,
            entries,
            rng.integers(0, 256, (n, width), np.uint8),
            bits,
            Factors(factor, bias),
            rows,
            rng.choice(values, (m, cells, size)).astype(np.uint8),
            rng.uniform(-0.01, 0.01, m).astype(np.float32),
            rng.normal(size=m).astype(np.float32),
            weights,
            fine_scales,
        )

    def graph(self):
        return CodeGraph(
            self.neighbours,
            self.entries,
            self.codes,
            self.cell_bits,
            factors=self.factors,
            fine=self.fine,
        )

    def check(self, isa, k, beam, room, starts, allowed=None, threads=1):
        graph = self.graph()
        mask = None if allowed is None else bitmap(allowed)
        ids, scores, counts = graph.native.walk(
            self.tables, self.scales, self.bases, k, beam, room, starts, threads,
            self.weights, self.fine_scales, mask, isa,
        )  # fmt: skip
        for q in range(len(self.tables)):
            expected, values, scored, expanded = reference_walk.walk(
                self.neighbours,
                self.entries,
                self.codes,
                self.tables[q],
                self.scales[q],
                self.bases[q],
                k,
                beam=beam,
                room=room,
                starts=starts,
                factors=self.factors,
                fine=self.fine,
                weights=None if self.weights is None else self.weights[q],
                fine_scale=1.0 if self.fine_scales is None else self.fine_scales[q],
                allowed=allowed,
            )
            missing = k - len(expected)
            np.testing.assert_array_equal(ids[q], expected + [-1] * missing)
            np.testing.assert_array_equal(
                scores[q], np.array(list(values) + [-np.inf] * missing, np.float32)
            )
            assert counts[q].tolist() == [scored, expanded]


@pytest.mark.parametrize("isa", ISAS)
class TestEqualsThePlainWalk:
    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_of_random_graphs(self, isa, data):
        n = data.draw(st.integers(1, 120))
        bits = data.draw(st.sampled_from([4, 8]))
        case = Case.make(
            data.draw(st.integers(0, 2**32)),
            n,
            data.draw(st.integers(1, 70)),
            data.draw(st.integers(1, 9)),
            bits=bits,
            scale=data.draw(st.sampled_from(list(DTYPES))),
            biased=data.draw(st.booleans()),
            fine=data.draw(st.sampled_from([None, "i1", "u1"])),
        )
        k = data.draw(st.integers(1, 15))
        beam = data.draw(st.integers(k, 40))
        room = data.draw(st.integers(beam, 100))
        share = data.draw(st.sampled_from([None, 0.0, 0.2, 0.8, 1.0]))
        allowed = None if share is None else np.random.default_rng(n).random(n) < share
        case.check(isa, k, beam, room, data.draw(st.integers(1, 6)), allowed)

    @pytest.mark.parametrize("bits", [4, 8])
    @pytest.mark.parametrize("width", [1, 3, 4, 5, 16, 31, 33, 64, 100, 128, 129, 257, 300])
    def test_of_codes_of_every_width(self, isa, width, bits):
        Case.make(width, 50, 20, width, bits=bits).check(isa, 10, 20, 20, 2)

    @pytest.mark.parametrize("fine", ["i1", "u1"])
    @pytest.mark.parametrize("dim", [1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300, 1024])
    def test_of_fine_rows_of_every_width(self, isa, dim, fine):
        Case.make(dim, 40, 7, 3, fine=fine, dim=dim).check(isa, 10, 20, 20, 2)

    @pytest.mark.parametrize("degree", [1, 15, 16, 17, 32, 48, 63, 64, 65, 80, 96, 112, 130])
    @pytest.mark.parametrize("bits", [4, 8])
    def test_of_every_degree(self, isa, degree, bits):
        Case.make(degree, 200, degree, 6, bits=bits).check(isa, 10, 30, 30, 3)

    @pytest.mark.parametrize("beam", [1, 8, 31, 32, 33, 64, 65, 95, 96, 97, 127, 128, 129, 200])
    @pytest.mark.parametrize("share", [None, 0.5])
    def test_of_beams_of_every_width(self, isa, beam, share):
        case = Case.make(beam, 400, 16, 6)
        allowed = None if share is None else np.random.default_rng(beam).random(400) < share
        for k in {1, beam}:
            case.check(isa, k, beam, beam, 3, allowed)

    def test_from_entries_that_come_twice(self, isa):
        case = Case.make(2, 60, 8, 4)
        case.entries = np.repeat(case.entries, 3)
        case.check(isa, 5, 20, 20, 6)

    def test_of_one_row(self, isa):
        Case.make(0, 1, 1, 2).check(isa, 3, 5, 5, 1)

    def test_where_sums_are_largest(self, isa):
        case = Case.make(1, 40, 16, 600, dim=2000, fine="u1")
        case.tables[:] = 255
        case.fine.rows[:] = 255
        case.weights[:] = (2**31 - 1) // 256 // 2000
        case.check(isa, 10, 20, 20, 1)

    @pytest.mark.parametrize("threads", [2, 5])
    def test_by_several_threads(self, isa, threads):
        Case.make(3, 300, 12, 4, m=37).check(isa, 10, 20, 20, 2, threads=threads)


def search(case, k=5, **options):
    graph = case.graph()
    options = {"beam": 20} | options
    if case.weights is not None:
        options |= {"weights": case.weights, "fine_scales": case.fine_scales}
    return graph.walk(case.tables, case.scales, case.bases, k, **options)


def test_a_beam_of_all_rows_finds_the_best_of_what_can_be_reached():
    case = Case.make(5, 90, 60, 4, m=6)
    everything = np.tile(np.arange(90), (6, 1))
    found = search(case, k=90, beam=90)
    for q in range(6):
        reached = set(case.entries.tolist())
        while grown := {int(r) for row in reached for r in case.neighbours[row]} - reached:
            reached |= grown
        exact = bytes_rescore(case.fine.rows, everything, case.weights.astype(np.float32))[q]
        exact = case.fine_scales[q] * exact
        assert set(found.ids[q][found.ids[q] >= 0]) == reached
        order = sorted(reached, key=lambda r: -exact[r])
        np.testing.assert_allclose(
            found.scores[q][: len(order)], exact[order], rtol=1e-5, atol=1e-5
        )


def test_fewer_rows_than_asked_for_are_padded():
    found = search(Case.make(6, 4, 3, 2), k=9)
    assert (found.ids[:, 4:] == -1).all()
    assert (found.scores[:, 4:] == -np.inf).all()


def test_an_empty_mask_finds_nothing_and_a_full_one_all():
    case = Case.make(7, 80, 10, 3)
    nothing = search(case, mask=bitmap(np.zeros(80, np.bool_)))
    assert (nothing.ids == -1).all()
    full = search(case, mask=bitmap(np.ones(80, np.bool_)))
    np.testing.assert_array_equal(full.ids, search(case).ids)


def test_a_walk_passes_through_rows_it_may_not_find():
    # A chain 0 - 1 - 2 - ... of which only the last may be found.
    n = 30
    case = Case.make(8, n, 2, 3, fine=None)
    rows = np.arange(n, dtype=np.uint32)
    case.neighbours[:] = np.stack([np.maximum(rows, 1) - 1, np.minimum(rows + 1, n - 1)], axis=1)
    case.neighbours[0] = [1, 0]
    case.entries = np.zeros(1, np.uint32)
    found = search(case, k=1, beam=1, room=n, mask=bitmap(rows == n - 1))
    assert (found.ids == n - 1).all()
    assert (found.expanded == n).all()


def test_no_queries_find_nothing():
    found = search(Case.make(9, 20, 4, 3, m=0))
    assert found.ids.shape == (0, 5)


def test_more_queries_than_one_call_takes_are_each_answered():
    case = Case.make(10, 60, 8, 2, m=2500)
    found = search(case)
    for part in (slice(0, 3), slice(1022, 1027), slice(2497, 2500)):
        graph = case.graph()
        alone = graph.walk(
            case.tables[part], case.scales[part], case.bases[part], 5, beam=20,
            weights=case.weights[part], fine_scales=case.fine_scales[part],
        )  # fmt: skip
        np.testing.assert_array_equal(found.ids[part], alone.ids)
        np.testing.assert_array_equal(found.scores[part], alone.scores)


def test_a_neighbour_that_is_no_row_is_refused():
    case = Case.make(11, 40, 8, 2)
    case.neighbours[case.entries] = 40
    with pytest.raises(InputError, match="neighbour 40"):
        search(case, beam=40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 4}, "widen the beam"),
        ({"starts": 0}, "starts=0"),
        ({"mask": np.zeros(3, np.uint8)}, "mask"),
        ({"mask": np.zeros(10, np.uint8), "room": 7}, "room"),
        ({"threads": 0}, "threads"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        search(Case.make(12, 80, 8, 2), **options)


def test_queries_that_do_not_fit_are_refused():
    case = Case.make(13, 30, 8, 2, dim=300)
    graph = case.graph()
    terms = case.scales, case.bases
    with pytest.raises(InputError, match="tables must be"):
        graph.walk(case.tables[:, :1], *terms, 5, beam=9)
    with pytest.raises(InputError, match="finer level"):
        graph.walk(case.tables, *terms, 5, beam=9)
    with pytest.raises(InputError, match="within"):
        graph.walk(
            case.tables, *terms, 5, beam=9, fine_scales=case.fine_scales,
            weights=np.full_like(case.weights, -(2**15)),
        )  # fmt: skip


def test_tables_that_are_not_contiguous_are_searched_all_the_same():
    case = Case.make(15, 40, 8, 3)
    expected = search(case)
    whole = np.repeat(case.tables, 2, axis=1)
    case.tables = whole[:, ::2]
    np.testing.assert_array_equal(search(case).ids, expected.ids)


def test_integer_weights_are_within_half_a_step_and_cannot_overflow():
    rng = np.random.default_rng(0)
    for dim in (1, 255, 256, 257, 1024, 65536):
        weights = rng.normal(size=(3, dim)).astype(np.float32)
        weights[2] = 0
        rounded, scale = integer_weights(weights)
        off = np.abs(rounded * scale[:, None] - weights)
        assert (off <= scale[:, None] * 0.5001).all()
        assert np.abs(rounded.astype(np.int64)).sum(axis=1).max() * 255 < 2**31
