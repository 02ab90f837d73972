"""A drop-in for `sentence_transformers.quantize_embeddings`, on NumPy alone."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import InputError

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
Array = NDArray[Any]

_PRECISIONS = get_args(Precision)
_FEW_ROWS = 100
# Rows are quantized in blocks of about this many values, so that the temporaries stay small.
_BLOCK_VALUES = 1 << 20

_logger = logging.getLogger(__name__)


def quantize_embeddings(
    embeddings: Any,
    precision: Precision = "binary",
    ranges: Any = None,
    calibration_embeddings: Any = None,
) -> Array | list[Array]:
    """Quantize embeddings byte for byte as `sentence_transformers.quantize_embeddings` does.

    ``embeddings`` is an array or torch tensor of shape (n, dim) or (dim,), or a list of vectors;
    a list of (tokens, dim) matrices gives a list, all with the same ranges. The result is
    float32 (n, dim) for "float32"; the packed bits of ``x > 0``, ceil(dim / 8) bytes a row, for
    "ubinary" (uint8) and, less 128, "binary" (int8); and for "uint8", and less 128 "int8", the
    bucket floor((x - low) / ((high - low) / 255)). ``low`` and ``high`` are the two rows of
    ``ranges``, (2, dim), or else the minimum and maximum of ``calibration_embeddings``, or else
    those of the embeddings themselves.

    Equal to sentence-transformers 6.2 on all it accepts. Releases from 3.0 on are equal too,
    except where they go wrong:

    - before 5.7 a value outside its range wraps around; here it is clipped to 0 or 255;
    - before 5.4 a dimension with low = high divides by zero; here its step is 1, so that a
      value equal to ``low`` gets bucket 0;
    - before 5.7 "int8" truncates toward zero, so that half its codes are one above
      uint8 - 128; here the two precisions always agree;
    - before 5.7 "binary" and "ubinary" pack across rows when ``dim`` is no multiple of 8; here
      each row is padded with zero bits;
    - before 6.2 float64 or float16 ``ranges`` are used as they are; here they are rounded to
      float32 first, so that saved ranges give the same codes whatever their dtype.

    Raises `InputError` for an unknown precision, embeddings that are quantized already, NaN or
    infinity (with the row number), ``ranges`` of another shape, further apart than float32 can
    hold or with high below low, and where "int8" or "uint8" would have to infer its ranges from
    a single row or from an array of more than two axes.
    """
    if precision not in _PRECISIONS:
        raise InputError(
            f"unknown precision {precision!r}; the known ones are {', '.join(_PRECISIONS)}"
        )
    if isinstance(embeddings, list):
        if not embeddings:
            return []
        parts = [_to_array(part, "embeddings") for part in embeddings]
        if parts[0].ndim == 2:
            return _quantize_matrices(parts, precision, ranges, calibration_embeddings)
        embeddings = _stack(parts)
    array = _checked(embeddings, "embeddings")
    bounds = None
    if precision in ("int8", "uint8") and array.size:
        bounds = _bounds(array, ranges, calibration_embeddings)
    return _quantize(array, precision, bounds)


def _quantize_matrices(
    matrices: list[Array], precision: Precision, ranges: Any, calibration: Any
) -> list[Array]:
    """Quantize each (tokens, dim) matrix, with one pair of bounds for all of them."""
    checked = [_checked(m, f"embeddings[{i}]") for i, m in enumerate(matrices)]
    for i, matrix in enumerate(checked):
        if matrix.ndim != 2 or matrix.shape[1] != checked[0].shape[1]:
            raise InputError(
                f"embeddings[{i}] has shape {matrix.shape} in a list of matrices with "
                f"{checked[0].shape[1]} dimensions"
            )
    bounds = None
    if precision in ("int8", "uint8"):
        together = np.concatenate(checked, axis=0)
        if len(together):
            bounds = _bounds(together, ranges, calibration)
    return [_quantize(matrix, precision, bounds) for matrix in checked]


def _quantize(array: Array, precision: Precision, bounds: Array | None) -> Array:
    if precision == "float32":
        return _to_float32(array, "embeddings as float32")
    if precision in ("int8", "uint8"):
        codes = _buckets(array, bounds)
        signed = precision == "int8"
    else:
        codes = np.packbits(array > 0, axis=-1)
        signed = precision == "binary"
    # Flipping the top bit of a byte and reading it as signed is the same as subtracting 128.
    return (codes ^ np.uint8(0x80)).view(np.int8) if signed else codes


def _to_float32(array: Array, name: str) -> Array:
    with np.errstate(over="ignore"):  # reported below
        floats = array.astype(np.float32)
    _require_finite(floats, name)
    return floats


def _buckets(array: Array, bounds: Array | None) -> Array:
    codes = np.empty(array.shape, dtype=np.uint8)
    if bounds is None:  # no rows, so there was nothing to take the bounds from
        return codes
    low, high = bounds
    with np.errstate(over="ignore"):
        steps = (high - low) / 255
    if not np.isfinite(steps).all():
        dimension = int(np.argmin(np.isfinite(steps)))
        raise InputError(
            f"ranges at dimension {dimension} are further apart than float32 can hold: "
            f"{low[dimension]} to {high[dimension]}"
        )
    steps[steps == 0] = 1
    rows, out = array.reshape(-1, array.shape[-1]), codes.reshape(-1, array.shape[-1])
    for block in _blocks(rows):
        with np.errstate(over="ignore"):  # an overflow lies outside its range: it is clipped
            levels = (rows[block] - low) / steps
        np.floor(levels, out=levels)
        out[block] = np.clip(levels, 0, 255, out=levels)
    return codes


def _bounds(array: Array, ranges: Any, calibration: Any) -> Array:
    """Return the lows and highs, float32 of shape (2, dim)."""
    dim = array.shape[-1]
    if ranges is not None:
        given = _checked(ranges, "ranges")
        if given.shape != (2, dim):
            raise InputError(
                f"ranges must have shape (2, {dim}), the lows above the highs, "
                f"got shape {given.shape}"
            )
        below = given[1] < given[0]
        if below.any():
            dimension = int(np.argmax(below))
            raise InputError(
                f"ranges at dimension {dimension} run from {given[0, dimension]} down to "
                f"{given[1, dimension]}; the first row holds the lows"
            )
        return _to_float32(given, "ranges as float32")
    if calibration is not None:
        sample = _checked(calibration, "calibration_embeddings")
        if sample.ndim != 2 or sample.shape[1] != dim or len(sample) == 0:
            raise InputError(
                f"calibration_embeddings must have shape (n, {dim}) with at least one row, "
                f"got shape {sample.shape}"
            )
    else:
        sample = array
        if sample.ndim != 2 or len(sample) == 1:
            raise InputError(
                f"ranges cannot be inferred from embeddings of shape {array.shape}; pass ranges "
                "or the calibration_embeddings of a representative sample"
            )
        if len(sample) < _FEW_ROWS:
            _logger.warning(
                "ranges are inferred from only %d embeddings; pass ranges or "
                "calibration_embeddings from a larger sample",
                len(sample),
            )
    return _to_float32(np.stack((sample.min(axis=0), sample.max(axis=0))), "ranges as float32")


def _checked(x: Any, name: str) -> Array:
    """Return ``x`` as a finite float or integer array with at least one dimension."""
    array = _to_array(x, name)
    if array.dtype in (np.dtype(np.int8), np.dtype(np.uint8)):
        raise InputError(f"{name} are quantized already: dtype {array.dtype}; pass the floats")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim == 0 or array.shape[-1] == 0:
        raise InputError(f"{name} must have shape (n, dim), got shape {array.shape}")
    _require_finite(array, name)
    return array


def _to_array(x: Any, name: str) -> Array:
    # A tensor can only exist once its package is loaded, so torch is never imported from here.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        if x.layout != torch.strided:
            raise InputError(f"{name} are a tensor of layout {x.layout}; pass x.to_dense()")
        tensor = x.detach().cpu()
        if tensor.dtype == torch.bfloat16:  # NumPy has no such dtype; float32 holds its values
            tensor = tensor.float()
        return np.asarray(tensor.numpy())
    try:
        return np.asarray(x)
    except ValueError as error:  # rows of several lengths
        raise InputError(f"{name} do not form an array: {error}") from error


def _stack(parts: list[Array]) -> Array:
    for i, part in enumerate(parts):
        if part.shape != parts[0].shape:
            raise InputError(
                f"embeddings[{i}] has shape {part.shape}, embeddings[0] has {parts[0].shape}"
            )
    return np.stack(parts)


def _require_finite(array: Array, name: str) -> None:
    if array.dtype.kind != "f" or array.size == 0:
        return
    rows = array.reshape(-1, array.shape[-1])
    for block in _blocks(rows):
        finite = np.isfinite(rows[block])
        if not finite.all():
            row, dimension = np.argwhere(~finite)[0]
            row += block.start
            raise InputError(
                f"{name} hold {rows[row, dimension]} at row {row}, dimension {dimension}; "
                "drop or repair that row"
            )


def _blocks(rows: Array) -> Iterator[slice]:
    step = max(1, _BLOCK_VALUES // rows.shape[1])
    for start in range(0, len(rows), step):
        yield slice(start, start + step)
