"""What a model's embeddings are like, where it matters for compressing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings
from nestbit.codecs.ops import unit_rows
from nestbit.errors import InputError
from nestbit.evaluate import recall_at_k

Values = NDArray[np.float64]

_SAMPLE = 5000
_ASKED = 200
_FEWEST_ROWS = 200
_K = 10
_QUANTILES = 65
# A dimension stands out if its mean square is this many times the median one.
_OUTLIER = 10.0
# Prefixes are ordered if the first half or quarter recalls this much more than random dimensions.
_ORDERED = 0.03
_LOW_ENTROPY = 0.5


@dataclass(frozen=True)
class Diagnosis:
    """Properties of unit rows; recalls are of the float top 10 among a sample of them.

    ``spectrum`` (dim,) are the variances along the principal axes, falling, as shares of all.
    ``mean_length`` is the length of the mean row: 0 for rows in all directions, 1 for equal rows.
    ``outliers`` are dimensions whose mean square is over ten times the median one.
    ``sign_entropy`` (dim,) are bits of a dimension's sign. ``sorted_values`` are quantiles of the
    values times the root of dim, of unit mean square. ``prefix_recall[d]`` is that of the first d
    dimensions, ``random_recall[d]`` that of d random ones. ``sign_recall`` is that of a float
    query on sign bits: plain, centred, and rotated after centring.
    """

    n: int
    dim: int
    spectrum: Values
    mean_length: float
    outliers: tuple[int, ...]
    sign_entropy: Values
    sorted_values: Values
    kurtosis: float
    prefix_recall: dict[int, float]
    random_recall: dict[int, float]
    sign_recall: dict[str, float]

    @property
    def effective_dim(self) -> float:
        """The participation ratio (Σλ)² / Σλ²: how many axes carry the variance."""
        return float(1 / np.square(self.spectrum).sum())

    def axes_for(self, share: float) -> int:
        """How many principal axes carry ``share`` of the variance."""
        reached = int(np.searchsorted(np.cumsum(self.spectrum), share * (1 - 1e-9)))
        return min(reached + 1, self.dim)

    @property
    def matryoshka(self) -> bool:
        """Whether the first dimensions say more than others, as after Matryoshka training."""
        return any(
            self.prefix_recall[d] - self.random_recall[d] > _ORDERED for d in self.prefix_recall
        )

    @property
    def signs_suit(self) -> bool:
        """Whether neither centring nor rotating would make sign bits much better."""
        plain = self.sign_recall["plain"]
        return plain >= 0.3 and plain >= max(self.sign_recall.values()) - 0.05


def diagnose(embeddings: ArrayLike, *, seed: int = 0) -> Diagnosis:
    """Diagnose ``embeddings`` (n, dim) on at most 5,000 random rows, of which 200 are asked.

    All-zero rows are left out. Raises `InputError` for fewer than 200 other rows.
    """
    x = as_embeddings(embeddings)
    rng = np.random.default_rng(seed)
    able = np.flatnonzero(x.any(axis=1))
    if len(able) < _FEWEST_ROWS:
        raise InputError(
            f"a diagnosis needs {_FEWEST_ROWS} rows that are not zero, got {len(able)}"
        )
    chosen = rng.permutation(able)[:_SAMPLE]
    unit = unit_rows(x[chosen])
    asked_count = min(_ASKED, len(unit) // 5)
    asked, rows = unit[:asked_count], unit[asked_count:]
    dim = unit.shape[1]
    wide = unit.astype(np.float64)
    mean = wide.mean(axis=0)
    variances = np.linalg.eigvalsh(np.cov(wide - mean, rowvar=False).reshape(dim, dim))[::-1]
    variances = np.maximum(variances, 0)
    squares = np.square(wide).mean(axis=0)
    scaled = wide * np.sqrt(dim)
    positive = (unit > 0).mean(axis=0)
    truth = _best(asked @ rows.T)
    widths = [d for d in (dim // 2, dim // 4, dim // 8) if d >= 4]
    centred = (rows - mean).astype(np.float32)
    rotation: Floats = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    return Diagnosis(
        n=len(unit),
        dim=dim,
        spectrum=variances / max(float(variances.sum()), 1e-30),
        mean_length=float(np.linalg.norm(mean)),
        outliers=tuple(int(i) for i in np.flatnonzero(squares > _OUTLIER * np.median(squares))),
        sign_entropy=_entropy(positive),
        sorted_values=np.quantile(scaled, np.linspace(0, 1, _QUANTILES)),
        kurtosis=float(np.mean((scaled - scaled.mean()) ** 4) / scaled.var() ** 2 - 3),
        prefix_recall={d: _recall(asked[:, :d], rows[:, :d], truth) for d in widths},
        random_recall={d: _random_recall(asked, rows, truth, d, rng) for d in widths},
        sign_recall={
            "plain": recall_at_k(_best(asked @ _signs(rows).T), truth),
            "centred": recall_at_k(_best(asked @ _signs(centred).T), truth),
            "rotated": recall_at_k(
                _best(np.matmul(asked, rotation) @ _signs(centred @ rotation).T), truth
            ),
        },
    )


def _best(scores: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    return np.argpartition(-scores, _K, axis=1)[:, :_K].astype(np.int64)


def _recall(asked: Floats, rows: Floats, truth: NDArray[np.int64]) -> float:
    return recall_at_k(_best(unit_rows(asked) @ unit_rows(rows).T), truth)


def _random_recall(
    asked: Floats, rows: Floats, truth: NDArray[np.int64], d: int, rng: np.random.Generator
) -> float:
    """The mean over three random choices of ``d`` dimensions."""
    choices = [rng.permutation(rows.shape[1])[:d] for _ in range(3)]
    return float(np.mean([_recall(asked[:, c], rows[:, c], truth) for c in choices]))


def _signs(x: Floats) -> Floats:
    return np.where(x > 0, np.float32(1), np.float32(-1))


def _entropy(p: Values) -> Values:
    """Bits of a coin that shows heads with probability ``p``."""
    q = np.clip(p, 1e-12, 1 - 1e-12)
    return np.asarray(-(q * np.log2(q) + (1 - q) * np.log2(1 - q)), dtype=np.float64)


def low_entropy(diagnosis: Diagnosis) -> int:
    """How many dimensions' signs carry less than half a bit."""
    return int((diagnosis.sign_entropy < _LOW_ENTROPY).sum())
