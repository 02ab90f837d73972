"""One level of a codec: folded row maps, then a coder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.coder import FittedCoder
from nestbit.codecs.coders import AffineCoder
from nestbit.codecs.codes import LevelCodes
from nestbit.codecs.errors_model import ErrorModel
from nestbit.codecs.ops import Affine, Op, Truncation, UnitLength, fold_ops, row_lengths
from nestbit.codecs.scorers import HammingScorer, Metric, Scorer
from nestbit.codecs.spec import LevelSpec
from nestbit.codecs.transforms import Context
from nestbit.errors import FileFormatError, InputError


@dataclass(frozen=True)
class Level:
    """A fitted level of a codec of ``dim`` dimensions and the given metric.

    Rows and queries come to it as the codec prepared them: unit rows for metric cosine. The
    rows of a ``residual`` level are what the level before it left; its metric is ``dot``, since
    its scores are added to those of that level. ``errors`` is None until calibrated.
    """

    ops: tuple[Op, ...]
    coder: FittedCoder
    metric: str
    dim: int
    residual: bool = False
    errors: ErrorModel | None = None

    @classmethod
    def fit(cls, spec: LevelSpec, x: Floats, metric: str, context: Context) -> Level:
        """Fit the stages one after another on rows (n, dim)."""
        dim, ops = x.shape[1], list[Op]()
        for stage in spec.transforms:
            op = stage.fit(x, context)
            x = op.rows(x)
            if context.queries is not None:
                queries = context.queries
                moved = op.fold(queries)[0] if isinstance(op, Affine) else op.rows(queries)
                context = replace(context, queries=moved)
            ops.append(op)
        # A data-free level is given no rows: its coder keeps its defaults.
        if len(x):
            coder = spec.coder.fit_like(context.like, x, context.queries, context.rng)
        else:
            coder = spec.coder.default(x.shape[1])
        return cls(fold_ops(ops), coder, _metric_of(spec, metric), dim, spec.residual)

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the per-row factors."""
        return self.coder.factors + (("norm2",) if self.metric == "l2" else ())

    @property
    def n_bytes(self) -> int:
        """Bytes per row: the packed code and its factors."""
        return self.coder.n_bytes + 4 * (self.metric == "l2")

    def encode(self, x: Floats) -> tuple[LevelCodes, int]:
        """Codes of rows (n, dim), and the number of clipped values."""
        z = x
        for op in self.ops:
            z = op.rows(z)
        coded = self.coder.encode(z)
        factors = dict(coded.factors)
        if self.metric == "l2":
            factors["norm2"] = row_lengths(x) ** 2
        return LevelCodes(self.coder.layout, coded.data, factors), coded.clipped

    def decode(self, codes: LevelCodes) -> Floats:
        """Float reconstruction (n, dim) of the rows."""
        z = self.coder.decode(codes.data, codes.factors)
        for op in reversed(self.ops):
            z = op.back(z)
        return z

    def scorer(self, queries: Floats, *, dims: int | None = None) -> Scorer:
        """Prepare float queries (m, dim), limited to the first ``dims`` of the code if given."""
        moved, bias = self._move(queries)
        return self.coder.scorer(moved, bias, self.query_metric(queries), dims)

    def weights(self, queries: Floats) -> tuple[Floats, Floats]:
        """What queries (m, dim) are over the whole code, and what products lack, (m,)."""
        return self.coder.weights(*self._move(queries))

    def binary_scorer(self, queries: Floats) -> Scorer:
        """Encode the queries (m, dim) like rows and compare codes; for the bits layout only."""
        coder = self.coder
        if not isinstance(coder, AffineCoder) or coder.step is None or coder.layout != "bits":
            raise InputError(
                f"binary queries need a binary level, this one is {coder.kind}; use query='float'"
            )
        codes, _ = self.encode(queries)
        magnitude = float(coder.step.mean()) / 2
        bias = self._move(queries)[1]
        return HammingScorer(codes.data, coder.dim, magnitude**2, bias, self.query_metric(queries))

    def _move(self, queries: Floats) -> tuple[Floats, Floats]:
        """Weights (m, d) over the coder's dimensions and bias (m,), by the adjoint of `decode`.

        A row-wise op acts on queries as on rows, together with all before it; what an affine
        op after the last of them adds is the same for every row and goes into the bias.
        """
        bias = np.zeros(len(queries), np.float32)
        if not self.ops:
            return queries, bias
        last = max((i for i, op in enumerate(self.ops) if not isinstance(op, Affine)), default=-1)
        for i, op in enumerate(self.ops):
            if isinstance(op, Affine) and i > last:
                queries, added = op.fold(queries)
                bias = bias + added
            else:
                queries = op.rows(queries)
        return queries, bias

    def query_metric(self, queries: Floats) -> Metric:
        """How inner products of queries (m, dim) become scores."""
        return Metric(row_lengths(queries) ** 2 if self.metric == "l2" else None)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays by name and a JSON description, from which `restore` makes the level again."""
        coder_arrays, coder_header = self.coder.state()
        arrays = {f"coder.{name}": array for name, array in coder_arrays.items()}
        ops: list[dict[str, Any]] = []
        for i, op in enumerate(self.ops):
            if isinstance(op, Affine):
                parts = {"matrix": op.matrix, "shift": op.shift, "origin": op.origin}
                arrays |= {f"op{i}.{k}": v for k, v in parts.items() if v is not None}
                ops.append({"op": "affine"})
            elif isinstance(op, Truncation):
                ops.append({"op": "truncate", "d": op.d, "d_in": op.d_in})
            else:
                ops.append({"op": "unit"})
        coder = {"kind": self.coder.kind, "dim": self.coder.dim, **coder_header}
        header = {"ops": ops, "coder": coder}
        if self.errors is not None:
            error_arrays, header["errors"] = self.errors.state()
            arrays |= {f"errors.{name}": array for name, array in error_arrays.items()}
        return arrays, header

    @classmethod
    def restore(
        cls,
        spec: LevelSpec,
        arrays: Mapping[str, NDArray[Any]],
        header: Mapping[str, Any],
        metric: str,
        dim: int,
    ) -> Level:
        """The level that `state` described; raises `FileFormatError` for what does not fit."""
        ops: list[Op] = []
        width = dim
        for i, entry in enumerate(header["ops"]):
            op: Op
            if entry["op"] == "unit":
                op = UnitLength()
            elif entry["op"] == "truncate":
                op = Truncation(int(entry["d"]), int(entry["d_in"]))
                if op.d_in != width or not 1 <= op.d <= width:
                    raise FileFormatError(f"truncation {entry} does not fit rows of {width}")
                width = op.d
            elif entry["op"] == "affine":
                op, width = _restore_affine(arrays, f"op{i}", width)
            else:
                raise FileFormatError(f"unknown row map {entry['op']!r}")
            ops.append(op)
        coder = header["coder"]
        if coder["kind"] != spec.coder.kind:
            raise FileFormatError(f"the spec's {spec.coder.kind} is stored as {coder['kind']!r}")
        if width != coder["dim"]:
            raise FileFormatError(f"the row maps give {width} dimensions, the coder has another")
        calibration = {k[6:]: v for k, v in arrays.items() if k.startswith("coder.")}
        errors = None
        if "errors" in header:
            measured = {k[7:]: v for k, v in arrays.items() if k.startswith("errors.")}
            errors = ErrorModel.restore(measured, header["errors"], dim)
        fitted = spec.coder.restore(width, calibration, coder)
        return cls(tuple(ops), fitted, _metric_of(spec, metric), dim, spec.residual, errors)


def _metric_of(spec: LevelSpec, metric: str) -> str:
    return "dot" if spec.residual else metric


def _restore_affine(arrays: Mapping[str, Floats], name: str, width: int) -> tuple[Affine, int]:
    op = Affine(*(arrays.get(f"{name}.{part}") for part in ("matrix", "shift", "origin")))
    out = width
    if op.matrix is not None:
        if op.matrix.ndim != 2 or op.matrix.shape[0] != width:
            raise FileFormatError(f"{name}.matrix of shape {op.matrix.shape} needs {width} rows")
        out = op.matrix.shape[1]
    for part, array, size in (("shift", op.shift, out), ("origin", op.origin, width)):
        if array is not None and array.shape != (size,):
            raise FileFormatError(f"{name}.{part} has shape {array.shape}, expected ({size},)")
    return op, out
