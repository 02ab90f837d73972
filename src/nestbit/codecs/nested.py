"""Fitting the nested coder: a basis, bits by reverse water-filling, cells trained jointly.

Several bases, exponents and row factors are compared on held-out rows; what recalls best is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.allocation import Ranges, even_cells, water_filling
from nestbit.codecs.cell_coder import Basis
from nestbit.codecs.cells import Cells, RowFactor
from nestbit.codecs.spectra import Spectrum, spectra
from nestbit.codecs.training import improve, rotate, train_cells, unbiased

FACTOR_BYTES = 2

_TRIAL_ROWS = 4000
_TRIAL_QUERIES = 250
_TRIAL_ITERATIONS = 4
_TRIAL_ROUNDS = 2
_FINALISTS = 2
_TRAIN_ROWS = 50_000
_ROTATED_ROWS = 16_000
_ROUNDS = 6
_TRAIN_ITERATIONS = 8
_K = 10
_EXPONENTS = (1.0, 0.7)
# Full gains rank relevant rows better, half gains find more of the float top 10.
_GAIN = 0.75

FactorKind = Literal["length", "none"]
FACTORS: tuple[FactorKind, ...] = ("length", "none")


@dataclass(frozen=True)
class Trial:
    """A candidate and how it did: ``recall`` of the float top 10 at 10 and at 100.

    ``rounds`` of rotation were trained; the short first trials have none.
    """

    basis: str
    exponent: float | None
    factor: FactorKind
    rounds: int
    recall: float
    recall_100: float
    handicap: float = 0.0

    @property
    def worth(self) -> float:
        """What is maximised: recall at 10, some of the recall at 100, less the handicap."""
        return self.recall + 0.25 * self.recall_100 - self.handicap


@dataclass(frozen=True)
class Candidate:
    """What a trial tries: a spectrum, the exponent of its variances, a row factor."""

    spectrum: Spectrum
    exponent: float | None
    factor: FactorKind

    def ranges(self, n_bytes: int, bits: int) -> Ranges:
        """Its cells, in as many bytes as the row has; a factor not stored makes room for more."""
        if self.factor == "none":
            n_bytes += FACTOR_BYTES
        n_cells = n_bytes * 8 // bits
        if self.exponent is None:
            return even_cells(len(self.spectrum.variances), n_cells)
        return water_filling(self.spectrum.variances, n_cells, bits, self.exponent)


@dataclass(frozen=True)
class Fitted:
    """Axes (dim, r) in the space of a spectrum, and what codes the coordinates along them."""

    spectrum: Spectrum
    axes: Floats
    cells: Cells
    factor: RowFactor

    def estimates(self, asked: Floats, y: Floats) -> Floats:
        """Estimated products (m, n) of queries with centred rows ``y`` of the space."""
        codes, along, length2 = self.cells.encode(y @ self.axes)
        decoded = self.cells.decode(codes, self.axes.shape[1])
        if self.factor.kind != "none":
            energy = np.einsum("ij,ij->i", y, y)
            decoded *= self.factor.of(energy, along, length2)[:, None]
        moved: Floats = np.matmul(self.spectrum.queries(asked), self.axes)
        products: Floats = np.matmul(moved, decoded.T)
        return products

    def basis(self) -> Basis:
        """The map from rows to the cells' coordinates.

        The factor needs a row's whole energy: where the space is not that of the rows
        themselves, the axes are completed to all its dimensions.
        """
        axes = self.axes
        if self.factor.kind != "none" and self.spectrum.root is not None:
            whole, _ = np.linalg.qr(axes.astype(np.float64), mode="complete")
            axes = np.concatenate([axes, whole[:, axes.shape[1] :].astype(np.float32)], axis=1)
        return self.spectrum.basis(axes)


def fit_nested(
    x: Floats,
    n_bytes: int,
    bits: int,
    queries: Floats | None,
    rng: np.random.Generator,
    trials: tuple[Trial, ...] | None = None,
) -> tuple[Basis, Cells, RowFactor, tuple[Trial, ...]]:
    """Compare the candidates on held-out rows, train the best one on all rows given.

    ``n_bytes`` are for cells of ``bits`` in a row that has a factor besides. Given ``trials``
    are those of an earlier fit, whose best is trained without comparing again.
    """
    shuffled = rng.permutation(len(x))
    if trials is None:
        best, trials = _compare(x, shuffled, n_bytes, bits, queries, rng)
    else:
        won = max((trial for trial in trials if trial.rounds), key=lambda trial: trial.worth)
        (spectrum,) = spectra(x, queries, rng, won.basis)
        best = Candidate(spectrum, won.exponent, won.factor)
    fitted = _train(best, n_bytes, bits, x[np.sort(shuffled[:_TRAIN_ROWS])], _ROUNDS)
    return fitted.basis(), fitted.cells, fitted.factor, trials


def _compare(
    x: Floats,
    shuffled: NDArray[np.int64],
    n_bytes: int,
    bits: int,
    queries: Floats | None,
    rng: np.random.Generator,
) -> tuple[Candidate, tuple[Trial, ...]]:
    """The best candidate: short trials of all, then full ones of the best of two bases."""
    held = shuffled[: min(_TRIAL_QUERIES, len(x) // 5)]
    rest = shuffled[len(held) :]
    asked = x[held] if queries is None else queries[:_TRIAL_QUERIES]
    known = x[rest[:_TRIAL_ROWS]]
    # Of a large collection most rows are not trained on: then others than these are ranked.
    ranked = x[rest[_TRIAL_ROWS : 2 * _TRIAL_ROWS]] if len(rest) >= 2 * _TRIAL_ROWS else known
    tried = [
        (_try(candidate, n_bytes, bits, known, ranked, asked, 0), candidate)
        for spectrum in spectra(x[np.sort(rest)], queries, rng)
        for exponent in ((None,) if spectrum.even else _EXPONENTS)
        for candidate in (Candidate(spectrum, exponent, "length"),)
    ]
    tried.sort(key=lambda one: -one[0].worth)
    # Of every basis its best exponent: two exponents of one basis differ little.
    by_basis = {candidate.spectrum.name: candidate for _, candidate in reversed(tried)}
    order = dict.fromkeys(candidate.spectrum.name for _, candidate in tried)
    finals = [
        Candidate(by_basis[name].spectrum, by_basis[name].exponent, factor)
        for name in [*order][:_FINALISTS]
        for factor in FACTORS
    ]
    finished = [
        (_try(candidate, n_bytes, bits, known, ranked, asked, _TRIAL_ROUNDS), candidate)
        for candidate in finals
    ]
    _, best = max(finished, key=lambda one: one[0].worth)
    return best, tuple(trial for trial, _ in (*tried, *finished))


def _train(candidate: Candidate, n_bytes: int, bits: int, rows: Floats, rounds: int) -> Fitted:
    spectrum = candidate.spectrum
    y = spectrum.rows(rows)
    ranges = candidate.ranges(n_bytes, bits)
    axes = np.ascontiguousarray(spectrum.axes[:, : int((ranges[0] + ranges[1]).max())])
    few = y[:: -(-len(y) // _ROTATED_ROWS)]
    cells = train_cells(few @ axes, ranges, bits, iterations=_TRIAL_ITERATIONS)
    axes, cells = rotate(cells, few, axes, rounds)
    z = y @ axes
    if rounds:
        cells = improve(cells, z, _TRAIN_ITERATIONS if len(y) > len(few) else _TRIAL_ITERATIONS)
    cells = unbiased(cells, z, _GAIN)
    _, along, length2 = cells.encode(z)
    energy = np.einsum("ij,ij->i", y, y)
    if candidate.factor == "none":
        slope = float(along.sum() / max(float(energy.sum()), 1e-30))
        if slope > 0:
            cells = Cells(cells.first, cells.width, cells.centroids, cells.gain * np.float32(slope))
    factor = RowFactor(candidate.factor).trained(energy, along, length2)
    return Fitted(spectrum, axes, cells, factor)


def _try(
    candidate: Candidate,
    n_bytes: int,
    bits: int,
    known: Floats,
    ranked: Floats,
    asked: Floats,
    rounds: int,
) -> Trial:
    """Train on the known rows; recall the ranked ones."""
    spectrum = candidate.spectrum
    fitted = _train(candidate, n_bytes, bits, known, rounds)
    estimates = fitted.estimates(asked, spectrum.rows(ranked))
    exact = asked @ (ranked - spectrum.mean).T
    k = min(_K, len(ranked) - 1)
    wide = min(10 * k, len(ranked) - 1)
    truth = np.argpartition(-exact, k, axis=1)[:, :k]
    found = np.take_along_axis(estimates, truth, 1)
    recall, recall_100 = (
        float((found >= -np.partition(-estimates, w, axis=1)[:, w - 1 : w]).mean())
        for w in (k, wide)
    )
    return Trial(
        spectrum.name,
        candidate.exponent,
        candidate.factor,
        rounds,
        recall,
        recall_100,
        spectrum.handicap,
    )
