"""Coders of the spec grammar: from a level's float rows to its packed codes and back.

Every coder here is affine: a row decodes to ``offset + step * code``, dimension by dimension,
so a float query scores it as ``bias + weights · code`` with the steps folded into the weights.
Dotting the codes without their steps would weigh dimensions by their range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nestbit import kernels
from nestbit._arrays import Floats
from nestbit.codecs.coder import Coder, Encoded
from nestbit.codecs.codes import Factor, Layout
from nestbit.codecs.scorers import FloatScorer, Metric, Scorer
from nestbit.errors import InputError, SpecError
from nestbit.kernels.floats import widen


@dataclass(frozen=True)
class AffineCoder:
    """A coder with its calibration: ``offset`` and ``step`` are (dim,), or None for floats."""

    recipe: _Affine
    dim: int
    offset: Floats | None = None
    step: Floats | None = None

    @property
    def kind(self) -> str:
        """The name of the recipe."""
        return self.recipe.kind

    @property
    def layout(self) -> Layout:
        """The physical layout of the codes."""
        return self.recipe.layout

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the packed rows."""
        return np.dtype(self.recipe.dtype)

    @property
    def width(self) -> int:
        """Elements of a packed row."""
        return -(-self.dim // 8) if self.layout == "bits" else self.dim

    @property
    def n_bytes(self) -> int:
        """Bytes of a packed row."""
        return self.width * self.dtype.itemsize

    @property
    def factors(self) -> tuple[str, ...]:
        """An affine code has none."""
        return ()

    @property
    def prefixes(self) -> int:
        """A prefix is counted in dimensions."""
        return self.dim

    @property
    def prefix_unit(self) -> int:
        """A prefix of bits is whole bytes."""
        return 8 if self.layout == "bits" else 1

    def encode(self, z: Floats) -> Encoded:
        """Code rows (n, dim)."""
        out = np.empty((len(z), self.width), self.dtype)
        clipped = 0
        step = max(1, self.recipe.block_bytes // (4 * self.dim))
        for start in range(0, len(z), step):
            block, n_clipped = self.recipe.pack(self, z[start : start + step])
            out[start : start + step] = block
            clipped += n_clipped
        return Encoded(out, clipped=clipped)

    def decode(self, data: NDArray[Any], factors: Mapping[str, Factor]) -> Floats:
        """Float rows (n, dim) of packed rows."""
        raw = self.recipe.unpack(self, data)
        if self.step is None or self.offset is None:
            return raw
        return raw * self.step + self.offset

    def weights(self, queries: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Weights (m, d) and bias (m,) with q·decode(row) = bias + weights·code.

        Queries of fewer dimensions are multiplied with the first of the code.
        """
        if self.step is not None and self.offset is not None:
            bias = bias + queries @ self.offset[: queries.shape[1]]
            queries = queries * self.step[: queries.shape[1]]
        return queries, bias

    def scorer(self, queries: Floats, bias: Floats, metric: Metric, dims: int | None) -> Scorer:
        """q·decode(row) = bias + weights·code, over the first ``dims`` dimensions if given."""
        some = queries if dims is None else np.ascontiguousarray(queries[:, :dims])
        return FloatScorer(*self.weights(some, bias), metric, dims)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The calibration arrays; they say all."""
        if self.step is None or self.offset is None:
            return {}, {}
        return {"offset": self.offset, "step": self.step}, {}


class _Affine(Coder):
    dtype: ClassVar[str]
    # Rows are coded in blocks that stay in the cache through the passes over them.
    block_bytes: ClassVar[int] = 1 << 18

    def restore(
        self, dim: int, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]
    ) -> AffineCoder:
        """The coder of the stored calibration."""
        wanted = {"offset", "step"} if self.layout != "floats" else set()
        if set(arrays) != wanted or any(a.shape != (dim,) for a in arrays.values()):
            found = {name: array.shape for name, array in arrays.items()}
            raise InputError(f"{self.kind} of {dim} dimensions cannot use the arrays {found}")
        return AffineCoder(self, dim, arrays.get("offset"), arrays.get("step"))

    @staticmethod
    def pack(coder: AffineCoder, z: Floats) -> tuple[NDArray[Any], int]:
        """Packed rows of one block, and the number of clipped values."""
        raise TypeError("a coder defines pack")

    @staticmethod
    def unpack(coder: AffineCoder, data: NDArray[Any]) -> Floats:
        """The raw codes of packed rows as floats (n, dim)."""
        raise TypeError("a coder defines unpack")


@dataclass(frozen=True)
class Binary(_Affine):
    """One bit per dimension, x > 0, packed as `numpy.packbits` does.

    A bit stands for plus or minus one magnitude, the same in every dimension: fitting learns
    the least-squares one, the mean of |x|; unfitted it is 1/√dim, that of a unit row of even
    energy. Levels fitted per dimension rank worse where dimensions are correlated, because
    the errors of their signs are too.
    """

    kind = "binary"
    layout = "bits"
    dtype = "u1"
    learns = False

    def default(self, dim: int) -> AffineCoder:
        """Bits of ±1/√dim."""
        return self._of_magnitude(dim, 1 / np.sqrt(dim))

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> AffineCoder:
        """Learn the magnitude."""
        return self._of_magnitude(z.shape[1], float(np.abs(z).mean(dtype=np.float64)))

    def _of_magnitude(self, dim: int, magnitude: float) -> AffineCoder:
        one = np.float32(magnitude)
        return AffineCoder(self, dim, np.full(dim, -one), np.full(dim, 2 * one))

    @staticmethod
    def pack(coder: AffineCoder, z: Floats) -> tuple[NDArray[Any], int]:
        """Sign bits; nothing is clipped."""
        return np.packbits(z > 0, axis=1), 0

    @staticmethod
    def unpack(coder: AffineCoder, data: NDArray[Any]) -> Floats:
        """0 or 1 per dimension."""
        return np.unpackbits(data, axis=1, count=coder.dim).astype(np.float32)


@dataclass(frozen=True)
class _Linear(_Affine):
    """256 equal steps per dimension between the calibrated minimum and maximum.

    ``quantile`` below 1 spans only that central share of the sample's values; values beyond
    the range are clipped to its ends.
    """

    quantile: float = 1.0
    layout = "bytes"
    block_bytes = 1 << 23  # one pass, which threads share
    low_code: ClassVar[int]

    def __post_init__(self) -> None:
        if not 0.5 < self.quantile <= 1:
            raise SpecError(f"{self.kind}(quantile={self.quantile}) needs 0.5 < quantile <= 1")

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> AffineCoder:
        """Learn the range of each dimension; a constant dimension gets a step of 0."""
        if self.quantile == 1:
            low, high = z.min(axis=0), z.max(axis=0)
        else:
            tail = (1 - self.quantile) / 2
            low, high = np.quantile(z, [tail, 1 - tail], axis=0).astype(np.float32)
        # Halved before subtracting: the full span of float32 does not fit in float32.
        step = ((high / 2 - low / 2) / np.float32(127.5)).astype(np.float32)
        offset = (low - self.low_code * step).astype(np.float32)
        return AffineCoder(self, z.shape[1], offset, step)

    @staticmethod
    def pack(coder: AffineCoder, z: Floats) -> tuple[NDArray[Any], int]:
        """The nearest of the 256 levels; values more than half a step outside are clipped."""
        assert coder.step is not None
        assert coder.offset is not None
        inverse = np.where(coder.step > 0, 1 / np.where(coder.step > 0, coder.step, 1), 0)
        return kernels.bytes_encode(z, coder.offset, inverse.astype(np.float32), coder.dtype.type)

    @staticmethod
    def unpack(coder: AffineCoder, data: NDArray[Any]) -> Floats:
        """The bucket numbers as floats."""
        return data.astype(np.float32)


@dataclass(frozen=True)
class Int8(_Linear):
    """256 equal steps per dimension, stored as int8 (-128 to 127)."""

    kind = "int8"
    dtype = "i1"
    low_code = -128


@dataclass(frozen=True)
class Uint8(_Linear):
    """256 equal steps per dimension, stored as uint8 (0 to 255)."""

    kind = "uint8"
    dtype = "u1"
    low_code = 0


class _Float(_Affine):
    layout = "floats"
    learns = False

    def default(self, dim: int) -> AffineCoder:
        """Nothing to calibrate."""
        return AffineCoder(self, dim)


@dataclass(frozen=True)
class Float32(_Float):
    """The rows as they are."""

    kind = "float32"
    dtype = "f4"

    @staticmethod
    def pack(coder: AffineCoder, z: Floats) -> tuple[NDArray[Any], int]:
        """A plain copy."""
        return z, 0

    @staticmethod
    def unpack(coder: AffineCoder, data: NDArray[Any]) -> Floats:
        """A plain copy."""
        return np.array(data, np.float32)


@dataclass(frozen=True)
class Float16(_Float):
    """IEEE half precision: 11 significant bits, up to 65504; larger values are clipped."""

    kind = "float16"
    dtype = "f2"
    largest: ClassVar[float] = 65504.0

    @staticmethod
    def pack(coder: AffineCoder, z: Floats) -> tuple[NDArray[Any], int]:
        """Round to the nearest half."""
        clipped = int(np.count_nonzero(np.abs(z) > Float16.largest))
        if clipped:
            z = np.clip(z, -Float16.largest, Float16.largest)
        return z.astype(np.float16), clipped

    @staticmethod
    def unpack(coder: AffineCoder, data: NDArray[Any]) -> Floats:
        """Exact in float32."""
        return data.astype(np.float32)


@dataclass(frozen=True)
class BFloat16(_Float):
    """The upper half of a float32: its range, 8 significant bits; stored as uint16."""

    kind = "bfloat16"
    dtype = "u2"

    @staticmethod
    def pack(coder: AffineCoder, z: Floats) -> tuple[NDArray[Any], int]:
        """Round to nearest, ties to even; what would round up to infinity is clipped."""
        bits = np.ascontiguousarray(z).view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
        overflow = (rounded & 0x7FFF) == 0x7F80
        return np.where(overflow, rounded - 1, rounded).astype(np.uint16), int(overflow.sum())

    @staticmethod
    def unpack(coder: AffineCoder, data: NDArray[Any]) -> Floats:
        """Exact in float32."""
        return widen(data)
