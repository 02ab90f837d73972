"""The contract between a level and its coder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.codes import Factor, Layout
from nestbit.codecs.scorers import Metric, Scorer


@dataclass(frozen=True)
class Encoded:
    """Packed rows (n, width), per-row factors (n,), and how many values were clipped."""

    data: NDArray[Any]
    factors: Mapping[str, Factor] = field(default_factory=dict)
    clipped: int = 0


class FittedCoder(Protocol):
    """A calibrated coder of rows (n, dim).

    ``width`` is in elements of ``dtype``, ``n_bytes`` in bytes per row, factors included;
    ``factors`` names these.
    ``prefixes`` is how many steps a prefix of the code may be counted in (`Stage.dims`), a
    multiple of ``prefix_unit``: dimensions, or cells.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def layout(self) -> Layout: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def n_bytes(self) -> int: ...  # noqa: D102
    @property
    def factors(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def prefixes(self) -> int: ...  # noqa: D102
    @property
    def prefix_unit(self) -> int: ...  # noqa: D102

    def encode(self, z: Floats) -> Encoded:
        """Code rows (n, dim)."""

    def decode(self, data: NDArray[Any], factors: Mapping[str, Factor]) -> Floats:
        """Float rows (n, dim) of packed rows and their factors."""

    def weights(self, queries: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """What codes, or their cells' centroids, are multiplied with, and what is added, (m,)."""

    def scorer(self, queries: Floats, bias: Floats, metric: Metric, dims: int | None) -> Scorer:
        """Prepare queries (m, dim) whose scores get ``bias`` (m,), for a prefix if given."""

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and a JSON description for saving."""


class Coder:
    """Base of the coder recipes; ``learns`` tells whether fitting is required."""

    kind: ClassVar[str]
    layout: ClassVar[Layout]
    learns: ClassVar[bool] = True

    def default(self, dim: int) -> FittedCoder:
        """The coder before any fit; only for recipes that do not need one."""
        raise TypeError(f"{self.kind} has no default calibration")

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> FittedCoder:
        """Calibrate on rows (n, dim); sample queries (m, dim) help the coders that use them."""
        return self.default(z.shape[1])

    def fit_like(
        self, like: FittedCoder | None, z: Floats, queries: Floats | None, rng: np.random.Generator
    ) -> FittedCoder:
        """Calibrate with the choices of a coder fitted on other rows, where there are choices."""
        return self.fit(z, queries, rng)

    def restore(
        self, dim: int, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]
    ) -> FittedCoder:
        """The coder that `FittedCoder.state` described; raises `InputError`."""
        raise TypeError(f"{self.kind} cannot be restored")
