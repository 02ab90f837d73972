"""The cell codes: allocation, training, the fit's choice, prefixes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nestbit as nb
from nestbit.codecs.allocation import balanced_order, even_cells, water_filling
from nestbit.codecs.cell_coder import CellCoder
from nestbit.codecs.cells import unpack
from nestbit.codecs.training import rotate, train_cells
from nestbit.errors import FileFormatError, InputError, SpecError
from synthetic import text_like

Rows = NDArray[np.float32]


def recall(spec: str, rows: Rows, queries: Rows, plan: nb.Plan | None = None) -> float:
    codec = nb.fit(rows, spec)
    hits = nb.search(codec, codec.encode(rows), queries, k=10, plan=plan)
    truth = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    return float(np.mean([len(set(a) & set(b)) for a, b in zip(hits.ids, truth, strict=True)])) / 10


def coder_of(codec: nb.Codec, level: int = 0) -> CellCoder:
    coder = codec.levels[level].coder
    assert isinstance(coder, CellCoder)
    return coder


@given(
    st.integers(1, 200),
    st.floats(0, 3),
    st.floats(0.05, 4),
    st.sampled_from([1.0, 0.7, 0.4]),
    st.sampled_from([4, 8]),
)
@settings(max_examples=60)
def test_allocation_uses_every_cell_and_stays_inside(
    dim: int, decay: float, rate: float, exponent: float, bits: int
) -> None:
    n_cells = max(1, round(dim * rate / bits))
    variances = (np.arange(1, dim + 1) ** -decay).astype(np.float32)
    for first, width in (
        water_filling(variances, n_cells, bits, exponent),
        even_cells(dim, n_cells),
    ):
        assert len(first) == len(width) == n_cells
        assert first.min() >= 0
        assert width.min() >= 1
        assert (first + width).max() <= dim


def test_coordinates_of_more_variance_get_more_bits() -> None:
    variances = (np.arange(1, 129) ** -1.5).astype(np.float32)
    for cell_bits in (4, 8):
        first, width = water_filling(variances, 128 // cell_bits, cell_bits, 1.0)
        bits = np.zeros(128)
        for f, w in zip(first, width, strict=True):
            bits[f : f + w] += cell_bits / w
        assert bits[0] > bits[20] > bits[-1]
        assert np.all(np.diff(bits[: first[-1]]) <= 0)


def test_joint_centroids_are_no_worse_than_coordinates_one_by_one() -> None:
    z = text_like(4000, 8) * np.float32(3)
    ranges = np.array([0, 4], np.int32), np.array([4, 4], np.int32)
    error = []
    for iterations in (0, 20):
        cells = train_cells(z, ranges, 4, iterations=iterations)
        error.append(float(((cells.decode(cells.encode(z)[0], 8) - z) ** 2).sum()))
    assert error[1] < 0.9 * error[0]


def test_overlapping_cells_refine_one_another() -> None:
    z = text_like(4000, 4)
    one = np.arange(4, dtype=np.int32), np.ones(4, np.int32)
    two = np.repeat(one[0], 2), np.repeat(one[1], 2)
    error = []
    for ranges in (one, two):
        cells = train_cells(z, ranges, 4, iterations=15)
        error.append(float(((cells.decode(cells.encode(z)[0], 4) - z) ** 2).sum()))
    assert error[1] < error[0] / 50


@pytest.mark.parametrize("bits", [4, 8])
def test_a_rotation_trained_with_the_cells_lowers_their_error(bits: int) -> None:
    y = text_like(3000, 24, decay=0.3)
    y -= y.mean(axis=0)
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((24, 16)))[0].astype(np.float32)
    ranges = even_cells(16, 4)
    cells = train_cells(y @ axes, ranges, bits, iterations=10)
    turned, better = rotate(cells, y, axes, rounds=8)
    np.testing.assert_allclose(turned.T @ turned, np.eye(16), atol=1e-5)
    error = [
        float(((c.decode(c.encode(y @ a)[0], 16) @ a.T - y) ** 2).sum())
        for c, a in ((cells, axes), (better, turned))
    ]
    assert error[1] < 0.95 * error[0]


def test_eigenvalue_allocation_gives_every_run_alike() -> None:
    variances = (np.arange(1, 33) ** -1.5).astype(np.float32)
    order = balanced_order(variances, even_cells(32, 4))
    assert sorted(order) == list(range(32))
    products = np.log2(variances[order]).reshape(4, 8).sum(axis=1)
    assert np.ptp(products) < 0.2 * np.ptp(np.log2(variances).reshape(4, 8).sum(axis=1))


@given(st.integers(1, 9), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_nibbles_come_out_of_bytes_the_low_half_first(cells: int, n: int, seed: int) -> None:
    nibbles = np.random.default_rng(seed).integers(0, 16, (n, cells)).astype(np.uint8)
    padded = np.pad(nibbles, ((0, 0), (0, cells % 2)))
    packed = padded[:, ::2] | (padded[:, 1::2] << 4)
    np.testing.assert_array_equal(unpack(packed, cells), nibbles)


@pytest.mark.parametrize(
    "spec", ["nested(1)", "nested(0.5)", "nested(1, cell=4)", "rabitq", "rabitq(4)"]
)
def test_estimates_are_unbiased(spec: str) -> None:
    rows, queries = text_like(3000, 64), text_like(50, 64, seed=9)
    codec = nb.fit(rows, spec)
    estimate = queries @ codec.decode(codec.encode(rows)).T
    centred = (rows - rows.mean(0)) @ (queries - queries.mean(0)).T
    error = estimate.T - rows @ queries.T
    slope = float((error * centred).sum() / (centred**2).sum())
    assert abs(slope) < 0.1


def test_nested_recalls_more_than_rabitq_and_pq_at_the_same_bytes() -> None:
    rows, queries = text_like(4000, 96, decay=0.7), text_like(200, 96, seed=1, decay=0.7)
    nested = recall("nested(1)", rows, queries)
    assert nested > recall("rabitq", rows, queries) + 0.02
    assert nested > recall("pq(28)", rows, queries) + 0.02
    assert nested > recall("pq(14, nbits=8)", rows, queries) + 0.01


def test_more_bits_recall_more() -> None:
    rows, queries = text_like(3000, 96), text_like(40, 96, seed=1)
    by_bits = [recall(f"nested({bits})", rows, queries) for bits in (0.25, 0.5, 1, 2, 4)]
    assert by_bits == sorted(by_bits)
    assert by_bits[-1] > 0.85


def test_a_fit_keeps_the_candidate_that_recalled_best() -> None:
    codec = nb.fit(text_like(2000, 96), "nested(1)")
    trials = coder_of(codec).notes["trials"]
    finals = [trial for trial in trials if trial["rounds"]]
    best = max(finals, key=lambda t: t["recall"] + 0.25 * t["recall_100"] - t["handicap"])
    names = {"pca", "row-weighted pca", "mean-weighted pca", "rotation"}
    assert {trial["basis"] for trial in trials} == names
    assert coder_of(codec).basis.name == best["basis"]
    assert coder_of(codec).factor.kind == best["factor"]
    assert f"recall of the float top 10 {best['recall']:.3f}" in codec.explain()


def test_a_common_direction_costs_nested_less_than_rabitq() -> None:
    common = np.full(96, 3 / np.sqrt(96), np.float32)  # nine tenths of a unit row's energy
    rows, queries = text_like(3000, 96) + common, text_like(40, 96, seed=1) + common
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    nested = recall("nested(1)", rows, queries)
    assert nested > 0.5
    assert nested > recall("rabitq", rows, queries) + 0.1


def test_rabitq_keeps_the_products_with_the_mean_exactly() -> None:
    common = np.full(96, 3 / np.sqrt(96), np.float32)
    rows, queries = text_like(3000, 96) + common, text_like(40, 96, seed=1) + common
    codec = nb.fit(rows, "rabitq", metric="dot")
    codes = codec.encode(rows)
    mean = coder_of(codec).basis.mean
    # The mean itself as a query has nothing to estimate.
    hits = nb.search(codec, codes, mean[None], k=3000)
    np.testing.assert_allclose(hits.scores[0], rows[hits.ids[0]] @ mean, rtol=1e-5)
    # Beside a code that estimates all of the product, the error is that of what is common.
    ids = np.broadcast_to(np.arange(3000), (40, 3000))
    scores = codec.scorer(queries, level=0).rescore(codes, ids)
    exact = queries @ rows.T
    error = np.square(scores - exact).mean()
    assert error < 0.3 * np.square(queries @ codec.decode(codes).T - exact).mean()


def test_sample_queries_add_the_query_weighted_basis() -> None:
    codec = nb.fit(text_like(2000, 96), "nested(1)", queries=text_like(100, 96, seed=1))
    names = {trial["basis"] for trial in coder_of(codec).notes["trials"]}
    assert "query-weighted pca" in names


def test_queries_that_ignore_dimensions_change_where_the_bits_go() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3000, 32)).astype(np.float32)
    rows[:, :16] *= 2
    queries = rng.standard_normal((200, 32)).astype(np.float32)
    queries[:, :16] *= 0.05
    truth = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    found = {}
    for given_queries in (None, queries[:100]):
        codec = nb.fit(rows, "nested(1)", metric="dot", queries=given_queries)
        ids = nb.search(codec, codec.encode(rows), queries[100:], k=10).ids
        overlap = [len(set(a) & set(b)) for a, b in zip(ids, truth[100:], strict=True)]
        found[given_queries is None] = np.mean(overlap) / 10
    assert found[False] > found[True] + 0.1


def test_a_prefix_of_a_nested_code_is_a_shorter_code() -> None:
    rows, queries = text_like(3000, 96), text_like(40, 96, seed=1)
    codec = nb.fit(rows, "nested(2)")
    codes = codec.encode(rows)
    truth = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    recalls = []
    for dims in (8, 24, None):
        plan = nb.Plan((nb.Stage(0, dims=dims, oversample=10), nb.Stage(0, dims=dims)))
        ids = nb.search(codec, codes, queries, k=10, plan=plan).ids
        recalls.append(np.mean([len(set(a) & set(b)) for a, b in zip(ids, truth, strict=True)]))
    assert recalls[0] > 1
    assert recalls == sorted(recalls)
    funnel = nb.search(codec, codes, queries, plan=nb.Plan.funnel(codec, oversample=8))
    kept = np.mean([len(set(a) & set(b)) for a, b in zip(funnel.ids, truth, strict=True)])
    assert kept > 0.9 * recalls[-1]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("nested(0.1)", "between 0.25 and 4"),
        ("nested(5)", "between 0.25 and 4"),
        ("nested(nan)", "between 0.25 and 4"),
        ("rabitq(0)", "between 1 and 8"),
        ("rabitq(9)", "between 1 and 8"),
        ("pq(8, nbits=6)", "4 or 8 bits"),
        ("nested(1, cell=6)", "unknown value '6'"),
        ("pq(0)", "between 1 and 96"),
        ("pq(97)", "between 1 and 96"),
    ],
)
def test_bits_out_of_range_are_refused(spec: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        nb.fit(text_like(200, 96), spec)


def test_too_few_rows_are_refused() -> None:
    for spec in ("nested(1)", "pq(4)"):
        with pytest.raises(InputError, match="at least 64 rows"):
            nb.fit(text_like(63, 16), spec)
    for spec in ("nested(1, cell=8)", "pq(4, nbits=8)"):
        with pytest.raises(InputError, match="at least 1024 rows"):
            nb.fit(text_like(1023, 16), spec)


def test_cells_are_of_eight_bits_where_there_are_rows_to_train_them() -> None:
    few, many = text_like(1000, 16), text_like(1100, 16)
    assert coder_of(nb.fit(few, "nested(1)")).cells.bits == 4
    assert coder_of(nb.fit(many, "nested(1)")).cells.bits == 8
    assert coder_of(nb.fit(many, "nested(1, cell=4)")).cells.bits == 4


@pytest.mark.parametrize("nbits", [4, 8])
def test_a_learned_rotation_recalls_more(nbits: int) -> None:
    rows, queries = text_like(3000, 48, decay=0.7), text_like(100, 48, seed=1, decay=0.7)
    spec = f"pq({96 // nbits}, nbits={nbits}"
    plain, learned = (
        recall(f"{spec})", rows, queries),
        recall(f"{spec}, rotation=learned)", rows, queries),
    )
    assert learned > plain + 0.02


def test_a_factor_that_is_not_stored_leaves_the_bytes_to_the_cells() -> None:
    rows = text_like(3000, 64)
    codec = nb.fit(rows, "nested(0.25)")
    assert codec.n_bytes == 8 * 64 // 256 + 2
    coder = coder_of(codec)
    assert len(coder.cells) == (2 if coder.scaled else 4)


def test_cell_codes_without_their_factors_are_refused() -> None:
    codec = nb.fit(text_like(200, 16), "rabitq")
    with pytest.raises(InputError, match="lacks the row factors offset, scale"):
        codec.codes_from(np.zeros((3, 2), np.uint8))


def test_damaged_codebooks_are_refused() -> None:
    arrays, header = nb.fit(text_like(200, 16), "nested(1)").state()
    for name in ("mean", "forward", "back", "first", "width", "centroids", "gain"):
        key = f"level0.coder.{name}"
        for broken in ({**arrays, key: arrays[key][:-1]}, {**arrays, key: arrays[key][..., None]}):
            with pytest.raises(FileFormatError):
                nb.Codec.from_state(broken, header)
        with pytest.raises(FileFormatError):
            nb.Codec.from_state({k: v for k, v in arrays.items() if k != key}, header)
    beyond = {**arrays, "level0.coder.first": arrays["level0.coder.first"] + 100}
    with pytest.raises(FileFormatError):
        nb.Codec.from_state(beyond, header)


@pytest.mark.parametrize("dim", [2, 3, 5, 7, 13])
@pytest.mark.parametrize("spec", ["nested(0.25)", "nested(1)", "nested(4)", "rabitq(2)"])
def test_odd_dimensions_work(spec: str, dim: int) -> None:
    rows = text_like(200, dim)
    codec = nb.fit(rows, spec)
    hits = nb.search(codec, codec.encode(rows), rows[:4], k=5)
    assert hits.ids.shape == (4, 5)


def test_identical_rows_do_not_break_a_fit() -> None:
    rows = np.ones((100, 12), np.float32)
    codec = nb.fit(rows, "nested(1)")
    np.testing.assert_allclose(codec.decode(codec.encode(rows)), rows / np.sqrt(12), atol=1e-3)


def test_damaged_signs_of_a_rotation_are_refused() -> None:
    arrays, header = nb.fit(text_like(200, 18), "rabitq").state()
    key = "level0.coder.signs"
    signs = arrays[key]
    assert signs.shape == (6, 20)
    for broken in (signs * 0, signs[:0], signs[0], signs[:, :17], signs.astype(np.float32)):
        with pytest.raises(FileFormatError):
            nb.Codec.from_state({**arrays, key: broken}, header)
