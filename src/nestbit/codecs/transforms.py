"""Transforms of the spec grammar: recipes that, fitted on rows, yield one op each.

A recipe is a frozen dataclass whose fields are its spec arguments; `Context` carries what a fit
may use besides the rows. Every linear recipe gives z = (x - μ)A with x ≈ μ + zAᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs.coder import FittedCoder
from nestbit.codecs.ops import Affine, Op, Truncation, UnitLength
from nestbit.errors import InputError, SpecError


@dataclass(frozen=True)
class Context:
    """What a fit may use beside the rows: a seeded generator, and sample queries if given.

    ``queries`` (m, d) pass through the same stages as the rows. ``like`` is a coder of the same
    recipe, fitted on other rows of the collection, whose choices need not be made again.
    """

    rng: np.random.Generator
    queries: Floats | None = None
    like: FittedCoder | None = None


class Transform:
    """Base of the recipes; ``learns`` tells whether fitting reads the rows' values."""

    learns: ClassVar[bool] = True

    def fit(self, x: Floats, context: Context) -> Op:
        """Fit on rows (n, dim) and return the op; a data-free recipe reads only the shape."""
        raise TypeError(f"{type(self).__name__} does not define fit")


def _check_width(stage: str, d: int, dim: int) -> None:
    if not 1 <= d <= dim:
        raise SpecError(f"{stage}({d}) needs between 1 and {dim} dimensions, the width before it")


@dataclass(frozen=True)
class Normalize(Transform):
    """Scale rows to unit length; what is scored from here on is their cosine."""

    learns = False

    def fit(self, x: Floats, context: Context) -> Op:
        """Nothing to learn."""
        return UnitLength()


@dataclass(frozen=True)
class Truncate(Transform):
    """Keep the first ``d`` dimensions, length restored (Matryoshka, arXiv:2205.13147)."""

    d: int
    learns = False

    def fit(self, x: Floats, context: Context) -> Op:
        """Raises `SpecError` for ``d`` beyond the rows' width."""
        _check_width("truncate", self.d, x.shape[1])
        return Truncation(self.d, x.shape[1])


@dataclass(frozen=True)
class Center(Transform):
    """Subtract the mean of the sample."""

    def fit(self, x: Floats, context: Context) -> Op:
        """Learn the mean, accumulated in float64."""
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        return Affine(None, mean, mean)


def principal_axes(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean (dim,), axes (dim, dim) in columns by falling variance, and variances (dim,).

    Each axis points so that its largest entry is positive, which makes the fit repeatable.
    """
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = x - mean
    covariance = (centred.T @ centred).astype(np.float64) / max(1, len(x) - 1)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = variances[::-1], axes[:, ::-1]
    peaks = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    axes = axes * np.where(peaks < 0, -1.0, 1.0)
    return mean, axes.astype(np.float32), np.maximum(variances, 0).astype(np.float32)


@dataclass(frozen=True)
class Pca(Transform):
    """Project the centred rows onto the ``d`` axes of most variance (Pearson 1901)."""

    d: int

    def fit(self, x: Floats, context: Context) -> Op:
        """Raises `SpecError` for ``d`` beyond the width, `InputError` for too few rows."""
        _check_width("pca", self.d, x.shape[1])
        if len(x) <= self.d:
            raise InputError(
                f"pca({self.d}) needs more than {self.d} rows to fit on, got {len(x)}; "
                "give more rows or fewer dimensions"
            )
        mean, axes, _ = principal_axes(x)
        basis = np.ascontiguousarray(axes[:, : self.d])
        return Affine(basis, mean @ basis, mean)


def random_rotation(d: int, rng: np.random.Generator) -> Floats:
    """A uniformly random orthogonal (d, d): QR of a Gaussian, signs fixed (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return np.asarray(q * np.where(np.diag(r) < 0, -1.0, 1.0), np.float32)


@dataclass(frozen=True)
class Rotate(Transform):
    """Rotate by a random orthogonal matrix, which spreads every row's energy evenly."""

    learns = False

    def fit(self, x: Floats, context: Context) -> Op:
        """Draw the rotation from the context's generator."""
        return Affine(random_rotation(x.shape[1], context.rng), None, None)


@dataclass(frozen=True)
class Project(Transform):
    """Random projection to ``d`` dimensions; followed by ``binary`` it is LSH by hyperplanes.

    Directions are drawn in orthogonal batches, which have less variance than independent
    ones (super-bit LSH, Ji et al. 2012), scaled so that inner products are kept on average.
    """

    d: int
    learns = False

    def fit(self, x: Floats, context: Context) -> Op:
        """Draw the directions; ``d`` may exceed the width."""
        dim = x.shape[1]
        if self.d < 1:
            raise SpecError(f"project({self.d}) needs at least 1 dimension")
        batches = [random_rotation(dim, context.rng) for _ in range(-(-self.d // dim))]
        directions = np.concatenate(batches, axis=1)[:, : self.d]
        return Affine(directions * np.float32(np.sqrt(dim / self.d)), None, None)


@dataclass(frozen=True)
class Hash(Transform):
    """Signed feature hashing to ``d`` buckets (Weinberger et al., arXiv:0902.2206).

    With ``n_hashes`` h every dimension goes to h distinct buckets, each with its own sign and
    weight 1/√h, so inner products are kept on average and collisions even out.
    """

    d: int
    n_hashes: int = 1
    learns = False

    def fit(self, x: Floats, context: Context) -> Op:
        """Draw buckets and signs; raises `SpecError` when n_hashes exceeds the buckets."""
        if not 1 <= self.n_hashes <= self.d:
            raise SpecError(
                f"hash({self.d}, n_hashes={self.n_hashes}) needs n_hashes between 1 and d"
            )
        dim = x.shape[1]
        matrix = np.zeros((dim, self.d), np.float32)
        buckets = np.argsort(context.rng.random((dim, self.d)), axis=1)[:, : self.n_hashes]
        signs = context.rng.choice(np.array([-1.0, 1.0]), size=buckets.shape)
        matrix[np.arange(dim)[:, None], buckets] = signs / np.sqrt(self.n_hashes)
        return Affine(matrix, None, None)


@dataclass(frozen=True)
class Itq(Transform):
    """Rotate the centred rows so that their signs lose least (ITQ, Gong and Lazebnik 2011)."""

    iterations: int = 50
    # Each iteration costs rows × dim², and the rotation has dim² unknowns only.
    max_rows: ClassVar[int] = 10_000

    def fit(self, x: Floats, context: Context) -> Op:
        """Alternate between the nearest sign vectors and the best rotation to them."""
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        z = x - mean
        if len(z) > self.max_rows:
            z = z[np.sort(context.rng.choice(len(z), self.max_rows, replace=False))]
        rotation = random_rotation(x.shape[1], context.rng)
        for _ in range(self.iterations):
            signs = np.where(z @ rotation > 0, np.float32(1), np.float32(-1))
            left, _, right = np.linalg.svd(z.T @ signs)
            rotation = (left @ right).astype(np.float32)
        return Affine(rotation, mean @ rotation, mean)


@dataclass(frozen=True)
class Prune(Transform):
    """Keep the ``d`` single dimensions that matter most; the others count by their mean.

    ``variance``: the spread of the rows. ``magnitude``: the mean absolute value.
    ``supervised``: how much a dimension lifts the nearest rows of the sample queries above
    the average row, the mean of q_d (x⁺_d - mean_d); it needs sample queries.
    """

    d: int
    by: Literal["variance", "magnitude", "supervised"] = "variance"
    neighbours: ClassVar[int] = 10

    def fit(self, x: Floats, context: Context) -> Op:
        """Raises `SpecError` for ``d`` beyond the width, `InputError` without queries."""
        dim = x.shape[1]
        _check_width("prune", self.d, dim)
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        if self.by == "variance":
            worth = x.var(axis=0, dtype=np.float64)
        elif self.by == "magnitude":
            worth = np.abs(x).mean(axis=0, dtype=np.float64)
        else:
            worth = self._lift(x, mean, context.queries)
        kept = np.sort(np.argsort(-worth, kind="stable")[: self.d])
        matrix = np.zeros((dim, self.d), np.float32)
        matrix[kept, np.arange(self.d)] = 1
        origin = mean.copy()
        origin[kept] = 0
        return Affine(matrix, None, origin)

    def _lift(self, x: Floats, mean: Floats, queries: Floats | None) -> Floats:
        if queries is None:
            raise InputError(
                "prune(by=supervised) needs sample queries: pass queries=... when fitting"
            )
        lift = np.zeros(x.shape[1], np.float64)
        k = min(self.neighbours, len(x))
        for start in range(0, len(queries), 64):
            block = queries[start : start + 64]
            nearest = np.argpartition(-(block @ x.T), k - 1, axis=1)[:, :k]
            lift += (block * (x[nearest].mean(axis=1) - mean)).sum(axis=0, dtype=np.float64)
        return lift.astype(np.float32)
