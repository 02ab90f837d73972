"""Records of a graph: beside a row's neighbours their codes, laid out for look-ups in a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import InputError

# Rows whose bytes lie side by side.
LANES = 16
# Records begin at multiples of a cache line.
_ALIGNMENT = 64
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class RecordLayout:
    """A record of ``degree`` neighbours with codes of ``width`` bytes.

    Their numbers, uint32; their scales, float16, and biases, float32, if they have them; then
    their codes in lanes: of every sixteen neighbours byte 0 each, then byte 1, and so on. The
    degree is rounded up to sixteens; slots that are left hold the row itself.
    """

    degree: int
    width: int
    scaled: bool
    biased: bool

    @property
    def lanes(self) -> int:
        """Neighbours there is room for."""
        return -(-self.degree // LANES) * LANES

    @property
    def n_bytes(self) -> int:
        """Bytes of the fields of a record."""
        return self.lanes * (4 + 2 * self.scaled + 4 * self.biased + self.width)

    @property
    def stride(self) -> int:
        """Bytes from one record to the next."""
        return -(-self.n_bytes // _ALIGNMENT) * _ALIGNMENT

    def pack(
        self,
        neighbours: NDArray[np.uint32],
        first: int,
        codes: NDArray[np.uint8],
        scale: NDArray[np.float16] | None = None,
        bias: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Records (c, stride) of the rows from ``first`` on, whose ``neighbours`` are given.

        ``neighbours`` (c, degree) are numbers of ``codes`` (n, width) and of their factors (n,).

        Raises `InputError` for shapes that do not fit the layout.
        """
        count = len(neighbours)
        given = (neighbours.shape[1], codes.shape[1], scale is not None, bias is not None)
        if given != (self.degree, self.width, self.scaled, self.biased):
            raise InputError(f"{self} does not fit {given}: degree, width, scales, biases")
        numbers = np.empty((count, self.lanes), np.uint32)
        numbers[:] = np.arange(first, first + count, dtype=np.uint32)[:, None]
        numbers[:, : self.degree] = neighbours
        records = np.zeros((count, self.stride), np.uint8)
        for start in range(0, count, _ROWS_AT_ONCE):
            at = slice(start, start + _ROWS_AT_ONCE)
            here, to = numbers[at], records[at]
            fields: list[NDArray[Any]] = [here]
            if scale is not None:
                fields.append(scale[here].astype(np.float16, copy=False))
            if bias is not None:
                fields.append(bias[here].astype(np.float32, copy=False))
            fields.append(in_lanes(codes[here.reshape(-1)]).reshape(len(here), -1))
            end = 0
            for field in fields:
                begin, end = end, end + field.shape[1] * field.itemsize
                to[:, begin:end] = np.ascontiguousarray(field).view(np.uint8)
        return records


def in_lanes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes (n, width) as (ceil(n / 16), 16 * width): of sixteen rows byte 0 each, then byte 1, ...

    Rows that are missing at the end are zero.
    """
    n, width = codes.shape
    groups = -(-n // LANES)
    padded = np.zeros((groups * LANES, width), np.uint8)
    padded[:n] = codes
    lanes = padded.reshape(groups, LANES, width).transpose(0, 2, 1)
    return np.ascontiguousarray(lanes).reshape(groups, LANES * width)
