"""What a fitted codec does with a row, in words and small tables."""

from __future__ import annotations

import numpy as np

from nestbit.codecs.cell_coder import CellCoder
from nestbit.codecs.errors_model import ErrorModel
from nestbit.codecs.level import Level
from nestbit.codecs.ops import Affine, Truncation

_BARS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 64
_FACTORS = {
    "direction": "a factor per row for its direction",
    "length": "a factor per row for its length",
    "none": "no factor per row but more cells",
}


def explain_level(level: Level) -> list[str]:
    """Lines on one level: its row maps, its coder, and how a cell coder was chosen."""
    lines = ["code what the level before left of the row"] if level.residual else []
    for op in level.ops:
        if isinstance(op, Truncation):
            lines.append(f"keep the first {op.d} of {op.d_in} dimensions, length restored")
        elif isinstance(op, Affine):
            lines.append("subtract a mean" if op.matrix is None else _shape(op))
        else:
            lines.append("scale to unit length")
    coder = level.coder
    lines.append(
        f"{coder.kind}: {coder.layout} layout, {level.n_bytes} bytes a row "
        f"({4 * level.dim / level.n_bytes:.3g} times smaller than float32)"
    )
    if isinstance(coder, CellCoder):
        lines += _cells(coder)
    lines.append(_errors(level.errors))
    return lines


def _errors(model: ErrorModel | None) -> str:
    if model is None:
        return "no standard errors: fitted without rows, or on too few"
    return (
        "1.96 standard errors cover 95% of the best rows' scores and "
        f"{model.random:.0%} of all rows' (calibrated on held-out rows)"
    )


def _shape(op: Affine) -> str:
    assert op.matrix is not None
    d_in, d_out = op.matrix.shape
    return f"one linear map from {d_in} to {d_out} dimensions"


def _cells(coder: CellCoder) -> list[str]:
    bits = coordinate_bits(coder)
    coded = int(np.count_nonzero(bits))
    lines = [
        f"{len(coder.cells)} cells of {coder.cells.bits} bits over {coded} of {coder.dim} "
        f"coordinates ({coder.basis.name}), {_FACTORS[coder.factor.kind]}"
        f"{' and its product with the mean' if coder.factor.offset else ''}"
    ]
    if coder.kind == "nested":
        lines.append(f"bits by coordinate, 0 to {bits.max():g}: {_sparkline(bits)}")
    for trial in coder.notes.get("trials", []):
        exponent = "even bits" if trial["exponent"] is None else f"exponent {trial['exponent']:g}"
        rounds = f", {trial['rounds']} rounds of rotation" if trial["rounds"] else ""
        lines.append(
            f"compared on held-out rows: {trial['basis']}, {exponent}, factor {trial['factor']}"
            f"{rounds}: recall of the float top 10 {trial['recall']:.3f}, in the best 100 "
            f"{trial['recall_100']:.3f}"
        )
    return lines


def coordinate_bits(coder: CellCoder) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Average bits that each coordinate gets, shape (dim,): a cell's, shared evenly."""
    bits = np.zeros(max(coder.dim, coder.basis.coordinates))
    for first, width in zip(coder.cells.first, coder.cells.width, strict=True):
        bits[first : first + width] += coder.cells.bits / width
    return bits


def _sparkline(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    groups = np.array_split(values, min(_COLUMNS, len(values)))
    heights = [float(group.mean()) / max(float(values.max()), 1e-9) for group in groups]
    return "".join(_BARS[round(height * (len(_BARS) - 1))] for height in heights)
