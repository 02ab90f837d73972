"""A search with a mask is the search of the allowed rows alone, for every plan and metric."""

import numpy as np
import pytest
from numpy.typing import NDArray

import nestbit as nb
from nestbit.codecs import Codes, LevelCodes
from nestbit.errors import InputError
from synthetic import text_like

Rows = NDArray[np.float32]
Allowed = NDArray[np.bool_]

SPECS = ["float32", "float16", "int8", "binary", "nested(1)", "binary + int8", "rabitq(2) + int8"]
ZEROS = [0, 5, 64, 700, 1999]


@pytest.fixture(scope="module")
def holed(rows: Rows) -> Rows:
    """Rows of different lengths, some of them all zero."""
    lengths = np.random.default_rng(3).uniform(0.5, 2, (len(rows), 1)).astype(np.float32)
    holed = rows * lengths
    holed[ZEROS] = 0
    return holed


def masks(n: int) -> dict[str, Allowed]:
    rng = np.random.default_rng(0)
    run, zeros = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    run[60:90], zeros[ZEROS] = True, True
    shares = {f"{share:%}": rng.random(n) < share for share in (0.001, 0.01, 0.1, 0.5)}
    return {
        "none": np.zeros(n, np.bool_),
        "all": np.ones(n, np.bool_),
        "a run": run,
        "only zero rows": zeros,
        "no zero rows": ~zeros,
        **shares,
    }


def plans(codec: nb.Codec) -> list[nb.Plan]:
    coarse = codec.levels[0].coder
    found = [nb.Plan.default(codec), nb.Plan.default(codec, oversample=1), nb.Plan.funnel(codec)]
    if coarse.layout == "bits":
        found += [nb.Plan.hamming(codec), nb.Plan.hamming(codec, oversample=1)]
    return found


def taken(codes: Codes, numbers: NDArray[np.int64]) -> Codes:
    levels = tuple(
        LevelCodes(
            level.layout,
            level.data[numbers],
            {name: factor[numbers] for name, factor in level.factors.items()},
        )
        for level in codes.levels
    )
    return Codes(levels, np.flatnonzero(np.isin(numbers, codes.zero_rows)), codes.clipped)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("spec", SPECS)
def test_a_masked_search_is_that_of_the_allowed_rows(
    spec: str, metric: str, holed: Rows, queries: Rows
) -> None:
    codec = nb.fit(holed, spec, metric=metric)
    codes = codec.encode(holed)
    for name, mask in masks(len(holed)).items():
        numbers = np.flatnonzero(mask)
        k = min(10, len(numbers))
        for plan in plans(codec):
            hits = nb.search(codec, codes, queries, k=10, plan=plan, mask=mask)
            assert hits.ids.dtype == np.int64
            assert hits.scores.dtype == np.float32
            assert (hits.ids[:, k:] == -1).all(), name
            assert np.isneginf(hits.scores[:, k:]).all(), name
            if k == 0:
                continue
            alone = nb.search(codec, taken(codes, numbers), queries, k=k, plan=plan)
            # Products of floats by BLAS depend in the last digit on how many rows it is given.
            np.testing.assert_allclose(hits.scores[:, :k], alone.scores, rtol=1e-5, atol=1e-5)
            if codec.levels[0].coder.layout != "floats":
                np.testing.assert_array_equal(hits.ids[:, :k], numbers[alone.ids], name)


def test_a_masked_search_leaves_out_of_all_hits_those_not_allowed(
    holed: Rows, queries: Rows
) -> None:
    n = len(holed)
    for spec in ("binary + int8", "nested(1)"):
        codec = nb.fit(holed, spec, metric="l2")
        codes = codec.encode(holed)
        every = nb.search(codec, codes, queries, k=n)
        for mask in masks(n).values():
            hits = nb.search(codec, codes, queries, k=n, mask=mask)
            for q in range(len(queries)):
                kept = np.flatnonzero(mask[every.ids[q]])
                found = hits.ids[q] >= 0
                np.testing.assert_array_equal(hits.ids[q, found], every.ids[q, kept])
                np.testing.assert_array_equal(hits.scores[q, found], every.scores[q, kept])


def test_threads_change_nothing_in_a_masked_search() -> None:
    rows, queries = text_like(30_000, 96), text_like(5, 96, seed=1)
    codec = nb.fit(rows, "binary + int8")
    codes = codec.encode(rows)
    mask = np.random.default_rng(0).random(len(rows)) < 0.4
    for plan in (None, nb.Plan.hamming(codec)):
        one = nb.search(codec, codes, queries, plan=plan, mask=mask, threads=1)
        many = nb.search(codec, codes, queries, plan=plan, mask=mask, threads=7)
        np.testing.assert_array_equal(one.ids, many.ids)
        np.testing.assert_array_equal(one.scores, many.scores)


def test_a_masked_search_reports_the_rows_it_may_find(holed: Rows, queries: Rows) -> None:
    codec = nb.fit(holed, "binary + int8")
    mask = np.arange(len(holed)) < 60  # two of them are zero
    hits = nb.search(codec, codec.encode(holed), queries, mask=mask, explain=True)
    assert [(s.rows_read, s.rows_kept) for s in hits.stages] == [
        (20 * 58, 20 * 58),
        (20 * 58, 20 * 10),
    ]


def test_the_mask_is_not_changed(holed: Rows, queries: Rows) -> None:
    codec = nb.fit(holed, "int8")
    mask = np.ones(len(holed), np.bool_)
    mask.flags.writeable = False
    nb.search(codec, codec.encode(holed), queries, mask=mask)
    assert mask.all()


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (np.ones(1999, np.bool_), r"each of 2000 rows, got bool of shape \(1999,\)"),
        (np.ones(2000, np.uint8), r"got uint8 of shape \(2000,\)"),
        (np.ones((20, 2000), np.bool_), r"\(20, 2000\)"),
        (np.arange(10), "got int64"),
    ],
)
def test_a_mask_that_is_not_a_boolean_per_row_is_refused(
    mask: NDArray[np.generic], found: str, rows: Rows, queries: Rows
) -> None:
    codec = nb.fit(rows, "binary")
    with pytest.raises(InputError, match=f"mask must hold .*{found}"):
        nb.search(codec, codec.encode(rows), queries, mask=mask)  # type: ignore[arg-type]
