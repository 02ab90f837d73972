"""Which rows of a snapshot's segments a search may find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nestbit.index.numbering import Rows
from nestbit.index.segment import Segment
from nestbit.kernels.allowed import Mask, bitmap, row_numbers


@dataclass(frozen=True)
class Part:
    """A segment in a search; its first row is at place ``offset`` among the rows of all segments.

    The stages may find the ``live`` rows in ``mask`` (all rows if it is None). All-zero rows are
    not among them; those that may be found are ``zeros``.
    """

    segment: Segment
    offset: int
    live: int
    mask: Mask | None
    zeros: Rows

    @property
    def found(self) -> int:
        """Rows that may be found."""
        return self.live + len(self.zeros)

    @cached_property
    def partition_sizes(self) -> Rows:
        """Rows (p,) in each partition that the stages may find."""
        offsets, n = self.segment.partitions.offsets, len(self.segment)
        sizes: Rows = np.diff(offsets)
        if self.mask is None:
            return sizes
        allowed = np.unpackbits(self.mask, count=n, bitorder="little")
        filled = sizes > 0  # the sum over an empty range would be that of the row it begins with
        sizes[filled] = np.add.reduceat(allowed, offsets[:-1][filled], dtype=np.int64)
        return sizes

    def live_places(self) -> Rows:
        """Places, in the segment, of the rows that the stages may find."""
        return row_numbers(len(self.segment), self.mask, None)


def all_but(segments: Sequence[Segment], dead: Rows) -> tuple[Part, ...]:
    """The rows that are not ``dead`` (sorted row numbers)."""
    parts, offset = [], 0
    for segment in segments:
        hidden = segment.places(dead)
        if not len(hidden) and not len(segment.zero_rows):
            parts.append(Part(segment, offset, len(segment), None, segment.zero_rows))
        else:
            allowed = np.ones(len(segment), np.bool_)
            allowed[hidden] = False
            parts.append(_masked(segment, offset, allowed))
        offset += len(segment)
    return tuple(parts)


def only(segments: Sequence[Segment], passing: Rows) -> tuple[Part, ...]:
    """The rows that a filter lets through (sorted row numbers)."""
    parts, offset = [], 0
    for segment in segments:
        allowed = np.zeros(len(segment), np.bool_)
        allowed[segment.places(passing)] = True
        parts.append(_masked(segment, offset, allowed))
        offset += len(segment)
    return tuple(parts)


def _masked(segment: Segment, offset: int, allowed: NDArray[np.bool_]) -> Part:
    zeros = segment.zero_rows[allowed[segment.zero_rows]]
    allowed[segment.zero_rows] = False
    return Part(segment, offset, int(np.count_nonzero(allowed)), bitmap(allowed), zeros)
