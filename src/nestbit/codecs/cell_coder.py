"""The fitted coder of every code of cells, and its scorer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nestbit import kernels
from nestbit._arrays import Floats
from nestbit.codecs.cells import Cells, QueryTables, RowFactor, block_rows
from nestbit.codecs.coder import Encoded
from nestbit.codecs.codes import Factor, Layout, LevelCodes
from nestbit.codecs.rotations import HadamardBasis
from nestbit.codecs.scorers import Ids, Metric, Scorer
from nestbit.errors import InputError
from nestbit.kernels.allowed import Mask, Ranges


class CellRecipe(Protocol):
    """What a coder of cells needs of its recipe."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    def codes(self, cells: Cells, z: Floats) -> tuple[NDArray[np.uint8], Floats, Floats]:
        """Packed codes of coordinates (n, r), and ⟨ẑ, z⟩ and ‖ẑ‖² of what they decode to, (n,)."""


@dataclass(frozen=True)
class Basis:
    """Coordinates of the cells: z = (x - mean) forward, and back x ≈ mean + z back.

    ``forward`` is (dim, r), ``back`` (r, dim); ``name`` tells what they are.
    """

    name: str
    mean: Floats
    forward: Floats
    back: Floats

    @property
    def dim(self) -> int:
        """Dimensions of the rows."""
        return len(self.forward)

    @property
    def coordinates(self) -> int:
        """Coordinates of the cells."""
        return int(self.forward.shape[1])

    def centred(self, x: Floats, out: Floats) -> Floats:
        """Coordinates (n, r) of centred rows (n, dim), in ``out``."""
        return np.matmul(x, self.forward, out=out)

    def queries(self, q: Floats) -> Floats:
        """What the coordinates of rows are multiplied with for queries (m, dim)."""
        return q @ self.back.T

    def rows(self, z: Floats) -> Floats:
        """Rows (n, dim) of coordinates (n, r), without the mean."""
        return z @ self.back

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for saving."""
        return {"mean": self.mean, "forward": self.forward, "back": self.back}

    def fits(self, dim: int) -> bool:
        """Whether arrays that were read are a basis of rows (n, dim)."""
        return (
            self.mean.shape == (dim,)
            and self.forward.shape == (dim, self.coordinates)
            and self.back.shape == (self.coordinates, dim)
        )


@dataclass(frozen=True)
class CellScorer:
    """Tables of float queries; score = bias + offset_r + scale_r Σ_c table[cell_c(r)].

    The scan rounds the tables to 8 bits; `rescore` uses them in float.
    """

    tables: QueryTables
    bias: Floats
    metric: Metric

    def scan(
        self,
        codes: LevelCodes,
        k: int,
        *,
        mask: Mask | None = None,
        ranges: Ranges | None = None,
        visits: Mask | None = None,
        threads: int | None = None,
    ) -> tuple[Ids, Floats]:
        """Best k rows by the rounded tables."""
        gain, scale, base = np.float32(self.metric.gain), self.tables.scale, self.tables.base
        ids, scores = kernels.cells_scan(
            self._columns(codes),
            self.tables.rounded,
            k,
            scales=scale if gain == 1 else gain * scale,
            bases=base if gain == 1 else gain * base,
            row_scale=codes.factors.get("scale"),
            row_bias=self.metric.row_bias(codes, ranges),
            mask=mask,
            ranges=ranges,
            visits=visits,
            threads=threads,
            finite=codes.proved,
        )
        return ids, scores + self.metric.query_bias(self.bias)[:, None]

    def rescore(self, codes: LevelCodes, ids: Ids, *, threads: int | None = None) -> Floats:
        """Scores of the float tables."""
        sums = kernels.cells_rescore(self._columns(codes), ids, self.tables.values, threads=threads)
        if "scale" in codes.factors:
            sums = sums * codes.factors["scale"][ids].astype(np.float32)
        if "offset" in codes.factors:
            sums = sums + codes.factors["offset"][ids]
        return self.metric.score(sums, codes, ids, self.bias)

    def of(self, queries: Ids) -> CellScorer:
        """The scorer of some of its queries."""
        tables, bias = self.tables[queries], self.bias[queries]
        return CellScorer(tables, bias, self.metric.of(queries))

    def _columns(self, codes: LevelCodes) -> NDArray[np.uint8]:
        cells, size = self.tables.values.shape[1:]
        return codes.data[:, : cells if size == 256 else cells // 2]


@dataclass(frozen=True)
class CellCoder:
    """A basis, the cells over it and the rows' factor; ``notes`` say how they came to be."""

    recipe: CellRecipe
    basis: Basis | HadamardBasis
    cells: Cells
    factor: RowFactor
    notes: dict[str, Any]

    @property
    def kind(self) -> str:
        """The name of the recipe."""
        return self.recipe.kind

    @property
    def scaled(self) -> bool:
        """Whether the rows have factors."""
        return self.factor.kind != "none"

    @property
    def dim(self) -> int:
        """Dimensions of the rows."""
        return self.basis.dim

    @property
    def layout(self) -> Layout:
        """Cells."""
        return "cells"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Two cells of four bits, or one of eight, to a byte."""
        return np.dtype(np.uint8)

    @property
    def width(self) -> int:
        """Bytes of the cells of a row."""
        return self.cells.n_bytes

    @property
    def n_bytes(self) -> int:
        """Bytes per row, the factors included."""
        return self.width + 2 * self.scaled + 4 * self.factor.offset

    @property
    def factors(self) -> tuple[str, ...]:
        """The float16 ``scale`` of scaled codes, the float32 ``offset`` of those that keep one."""
        return ("scale",) * self.scaled + ("offset",) * self.factor.offset

    @property
    def prefixes(self) -> int:
        """A prefix is counted in cells."""
        return len(self.cells)

    @property
    def prefix_unit(self) -> int:
        """A prefix is whole bytes."""
        return 8 // self.cells.bits

    def encode(self, z: Floats) -> Encoded:
        """Code rows (n, dim)."""
        data = np.empty((len(z), self.width), np.uint8)
        factors: dict[str, Factor] = {}
        if self.scaled:
            factors["scale"] = np.ones(len(z), np.float16)
        if self.factor.offset:
            factors["offset"] = np.empty(len(z), np.float32)
        step = block_rows(self.dim)
        # Fresh pages for every block would cost as much as coding it.
        centred = np.empty((min(step, len(z)), self.dim), np.float32)
        coordinates = np.empty((len(centred), self.basis.coordinates), np.float32)
        for start in range(0, len(z), step):
            part = slice(start, min(start + step, len(z)))
            x = centred[: part.stop - start]
            np.subtract(z[part], self.basis.mean, out=x)
            y = self.basis.centred(x, coordinates[: part.stop - start])
            data[part], along, length2 = self.recipe.codes(self.cells, y)
            if self.scaled:
                # A basis that leaves dimensions out is orthonormal: the whole row's energy counts.
                whole = y if y.shape[1] >= x.shape[1] else x
                energy = np.einsum("ij,ij->i", whole, whole)
                factors["scale"][part] = self.factor.of(energy, along, length2)
            if self.factor.offset:
                factors["offset"][part] = x @ self.basis.mean
        return Encoded(data, factors)

    def decode(self, data: NDArray[Any], factors: Mapping[str, Factor]) -> Floats:
        """Float rows (n, dim) of packed rows and their factors."""
        y = self.cells.decode(data, self.basis.coordinates)
        if self.scaled:
            y *= factors["scale"].astype(np.float32)[:, None]
        rows: Floats = self.basis.rows(y) + self.basis.mean
        return rows

    def weights(self, queries: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Coordinates (m, r), whose products with the cells' centroids make scores, and biases."""
        bias = bias + queries @ self.basis.mean
        if self.factor.offset:
            queries = queries - self.basis.mean
        return self.basis.queries(queries), bias

    def scorer(self, queries: Floats, bias: Floats, metric: Metric, dims: int | None) -> Scorer:
        """Tables of the queries over all cells, or over the first ``dims``."""
        cells = self.cells if dims is None else self.cells.prefix(dims)
        coordinates, bias = self.weights(queries, bias)
        return CellScorer(cells.tables(coordinates), bias, metric)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Basis and codebooks; the notes go into the header."""
        cells, basis = self.cells, self.basis
        arrays = {
            **basis.state(),
            "first": cells.first,
            "width": cells.width,
            "centroids": cells.centroids,
            "gain": cells.gain,
        }
        header = {"basis": basis.name, "factor": asdict(self.factor), "notes": self.notes}
        return arrays, header


def restore(
    recipe: CellRecipe,
    dim: int,
    arrays: Mapping[str, NDArray[Any]],
    header: Mapping[str, Any],
) -> CellCoder:
    """The coder that `CellCoder.state` described; raises `InputError` for what does not fit."""
    try:
        a = dict(arrays)
        basis: Basis | HadamardBasis
        if "signs" in a:
            basis = HadamardBasis(a.pop("mean"), a.pop("signs"))
        else:
            basis = Basis(str(header["basis"]), a.pop("mean"), a.pop("forward"), a.pop("back"))
        cells = Cells(a.pop("first"), a.pop("width"), a.pop("centroids"), a.pop("gain"))
        stored = header["factor"]
        factor = RowFactor(stored["kind"], float(stored["gain"]), bool(stored.get("offset")))
        r, columns = basis.coordinates, int(cells.width.sum())
        fits = (
            not a
            and basis.fits(dim)
            and cells.first.shape == cells.width.shape == (len(cells),)
            and len(cells) > 0
            and cells.first.min() >= 0
            and cells.width.min() > 0
            and (cells.first + cells.width).max() <= r
            and cells.centroids.shape in ((16, columns), (256, columns))
            and cells.gain.shape == (columns,)
            and factor.kind in ("direction", "length", "none")
            and 0 < factor.gain < float("inf")
        )
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"the arrays of a {recipe.kind} coder are damaged: {error!r}") from error
    if not fits:
        found = {name: array.shape for name, array in arrays.items()}
        raise InputError(f"{recipe.kind} of {dim} dimensions cannot use the arrays {found}")
    return CellCoder(recipe, basis, cells, factor, dict(header["notes"]))
