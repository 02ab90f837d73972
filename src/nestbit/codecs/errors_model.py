"""Standard errors of a level's scores, and how true scores follow the estimates near the top.

The error of a score is the query times what the code lost of the row. Its variance over rows is
q'Rq with R the second moment of the lost part: a few directions that lose much, and the rest,
taken to be even. One factor calibrates it on candidates, the rows that a search would return.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.ops import row_lengths
from nestbit.errors import FileFormatError

_DIRECTIONS = 32
_TINY = float(np.finfo(np.float32).tiny)
# Candidates are this share of the rows, and the regression looks at that one.
_CANDIDATES = 1 / 40
_REGION = 1 / 10
# Deviations, in units of the usual one, at which the upper tail is measured.
TAIL_AT = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)


@dataclass(frozen=True)
class ErrorModel:
    """se(q)² = Σ_j ⟨u_j, q⟩² + rest ‖q‖², calibrated so that 1.96 se cover 95% of candidates.

    ``directions`` u is (r, dim). ``slope`` is that of the true score over the estimate among
    the best tenth of the rows, ``spread`` the deviation around it for a query of length 1, and
    ``tail`` the share of those rows, the very best left out, that lie above it by more than
    `TAIL_AT` deviations. ``random`` is the share of pairs drawn blindly that 1.96 se cover.
    """

    directions: Floats
    rest: float
    slope: float
    spread: float
    tail: tuple[float, ...]
    random: float

    def standard_errors(self, queries: Floats) -> Floats:
        """Standard errors (m,) of the inner products of prepared queries (m, dim)."""
        variance = self.rest * np.einsum("ij,ij->i", queries, queries)
        variance += np.square(queries @ self.directions.T).sum(axis=1)
        errors: Floats = np.sqrt(variance).astype(np.float32)
        return errors

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and a JSON description for saving."""
        header = asdict(self)
        header["tail"] = list(self.tail)
        return {"directions": header.pop("directions")}, header

    @classmethod
    def restore(
        cls, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any], dim: int
    ) -> ErrorModel:
        """The model that `state` described; raises `FileFormatError`."""
        numbers = {name: float(header[name]) for name in ("rest", "slope", "spread", "random")}
        tail = tuple(float(share) for share in header["tail"])
        directions = arrays["directions"]
        if directions.ndim != 2 or directions.shape[1] != dim or len(tail) != len(TAIL_AT):
            raise FileFormatError(
                f"standard errors of {dim} dimensions cannot use directions of shape "
                f"{directions.shape} and {len(tail)} shares"
            )
        return cls(directions, tail=tail, **numbers)


def measure(
    lost: Floats,
    queries: Floats,
    estimates: Floats,
    exact: Floats,
    gain: float,
    rng: np.random.Generator,
) -> ErrorModel:
    """The error model of a level from held-out rows and queries.

    ``lost`` (n, dim) is rows minus their reconstructions; ``estimates`` and ``exact`` (m, n)
    are scores of ``queries`` (m, dim) by the code and in float, in which an inner product
    counts ``gain`` times.
    """
    directions, rest = _moments(lost, rng)
    # Float codes lose nothing but the rounding of the product itself.
    rest = max(rest, 2.0**-48 * float(np.square(exact).mean()), _TINY)
    plain = gain * ErrorModel(directions, rest, 1, 1, (), 1).standard_errors(queries)
    plain = np.maximum(plain, _TINY)[:, None]
    order = np.argsort(-estimates, axis=1)
    n = estimates.shape[1]
    best = order[:, : max(10, round(n * _CANDIDATES))]
    wide = order[:, : max(20, round(n * _REGION))]
    misses = np.abs(estimates - exact) / plain
    factor = float(np.quantile(np.take_along_axis(misses, best, 1), 0.95)) / 1.96
    factor = max(factor, _TINY)
    _, residuals = _line(estimates, exact, best)
    deviation = np.sqrt(np.square(residuals).mean(axis=1, keepdims=True))
    slope, around = _line(estimates, exact, wide)
    usual = np.sqrt(np.square(around).mean(axis=1, keepdims=True))
    beyond = (around / np.maximum(usual, _TINY))[:, best.shape[1] :]
    return ErrorModel(
        np.ascontiguousarray(directions * factor, np.float32),
        rest * factor**2,
        float(np.median(slope)),
        float(np.median(deviation[:, 0] / np.maximum(row_lengths(queries), _TINY))),
        tuple(float((beyond > at).mean()) for at in TAIL_AT),
        float((misses <= 1.96 * factor).mean()),
    )


def _moments(lost: Floats, rng: np.random.Generator) -> tuple[Floats, float]:
    """Directions (r, dim) scaled by their excess over the rest's mean square, and that one.

    A randomised range finder (Halko, Martinsson and Tropp, SIAM Review 2011) with two powers.
    """
    n, dim = lost.shape
    wanted = min(_DIRECTIONS, dim - 1, n)
    total = float(np.einsum("ij,ij->", lost, lost, dtype=np.float64)) / n
    if wanted < 1:
        return np.zeros((0, dim), np.float32), total / dim
    found = rng.standard_normal((dim, min(wanted + 8, dim))).astype(np.float32)
    for _ in range(3):
        found = np.linalg.qr(lost.T @ (lost @ found))[0]
    projected = (lost @ found).astype(np.float64)
    values, turns = np.linalg.eigh(projected.T @ projected / n)
    values, axes = values[::-1][:wanted], (found @ turns[:, ::-1][:, :wanted]).T
    rest = max(total - float(values.sum()), 0.0) / (dim - wanted)
    scaled: Floats = (axes * np.sqrt(np.maximum(values - rest, 0))[:, None]).astype(np.float32)
    return scaled, rest


def _line(estimates: Floats, exact: Floats, chosen: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Slopes (m,) and residuals (m, c) of exact over estimated scores among chosen rows."""
    x = np.take_along_axis(estimates, chosen, 1).astype(np.float64)
    y = np.take_along_axis(exact, chosen, 1).astype(np.float64)
    x -= x.mean(axis=1, keepdims=True)
    y -= y.mean(axis=1, keepdims=True)
    square = np.maximum((x * x).sum(axis=1), np.finfo(np.float64).tiny)
    slope = (x * y).sum(axis=1) / square
    return slope.astype(np.float32), (y - slope[:, None] * x).astype(np.float32)
