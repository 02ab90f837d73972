"""The graph of a segment, in a file beside it: where walks start, go on, and how wide they must be.

``entries`` (e,) uint32 are places of the segment, and so are ``neighbours`` (n, degree) uint32.
``depths``, ``beams`` and ``recalls`` (depths, beams) tell which share of the best rows walks found,
and ``errors`` (depths, beams) their standard errors. Metadata: ``format`` ("nestbit.graph"),
``format_version``, ``header`` (JSON: profile, degree, why), and the checksums that `nestbit._seal`
describes.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._atomic import atomic_file
from nestbit._columns import ColumnFile
from nestbit._safetensors import byte_view, dtype_name
from nestbit.errors import FileFormatError
from nestbit.index.catalog import GraphEntry
from nestbit.index.mapped_file import MappedFile

FORMAT = "nestbit.graph"
FORMAT_VERSION = 1
_SMALL = ("entries", "depths", "beams", "recalls", "errors")
# A beam is trusted where its measured recall, less so many standard errors, reaches the target.
_CAUTION = 1.0
_BEAMS_KEPT = 64
_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Measured:
    """Recall of walks (depths, beams), with standard errors: of the best ``depths[i]`` rows, the
    share that a walk with ``beams[j]`` found; NaN where the beam is narrower than the depth.
    """

    depths: NDArray[np.int64]
    beams: NDArray[np.int64]
    recalls: NDArray[np.float32]
    errors: NDArray[np.float32]

    def beam(self, k: float, target_recall: float) -> int | None:
        """The narrowest beam known to find a share of the best k rows; None if none is known."""
        i = int(np.searchsorted(self.depths, k))
        if i == len(self.depths):
            return None
        sure = self.recalls[i] - _CAUTION * self.errors[i]
        enough = np.flatnonzero(sure >= target_recall)
        if not len(enough):
            return None
        j = int(enough[0])
        beam = float(self.beams[j])
        if j and np.isfinite(sure[j - 1]):
            # Between two measured beams recall rises about evenly with their logarithm.
            share = (target_recall - sure[j - 1]) / (sure[j] - sure[j - 1])
            beam = float(self.beams[j - 1] * (self.beams[j] / self.beams[j - 1]) ** share)
        return max(int(np.ceil(beam)), int(np.ceil(k)))


class SegmentGraph:
    """An open graph of a segment of n rows, held in memory if it is ``pinned`` or for speed.

    Raises `FileFormatError` for a file that is truncated, altered, foreign or of a newer version,
    and `FileNotFoundError`.
    """

    def __init__(self, path: Path, entry: GraphEntry, n: int, pinned: bool) -> None:
        self.entry, self.path = entry, path
        self._pinned = pinned
        self._file = MappedFile(path, "graph", FORMAT, (FORMAT_VERSION,), entry.header_crc32)
        # What a walk over the segment needs, made at the first one.
        self.walker: Any = None
        self._beams: dict[tuple[int, float], int | None] = {}
        try:
            header = json.loads(self._file.header.metadata["header"])
            self.profile: str = header["profile"]
            self.degree: int = header["degree"]
            self.why: str = header["why"]
            arrays = {name: self._file.read(name, check=True) for name in _SMALL}
            self.entries: NDArray[np.uint32] = arrays.pop("entries")
            self.measured = Measured(**arrays)
            shape = self._file.header.tensors["neighbours"].shape
            shapes = {a.shape for a in (self.measured.recalls, self.measured.errors)}
            if shapes != {(len(self.measured.depths), len(self.measured.beams))}:
                raise ValueError(f"what was measured has shapes {shapes}")
            if shape[0] != n or not len(self.entries) or self.entries.max() >= n:
                raise ValueError(f"it has not the {n} rows of its segment")
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} does not fit its segment: {error!r}") from error

    def beam(self, k: int, target_recall: float) -> int | None:
        """`Measured.beam`, which is remembered for the options that come again and again."""
        asked = k, target_recall
        try:
            return self._beams[asked]
        except KeyError:
            if len(self._beams) >= _BEAMS_KEPT:
                self._beams.clear()
            self._beams[asked] = found = self.measured.beam(k, target_recall)
            return found

    @property
    def held(self) -> bool:
        """Whether the graph is read into memory, not mapped."""
        return self._pinned or self.profile == "speed"

    @cached_property
    def neighbours(self) -> NDArray[np.uint32]:
        """Places (n, degree) of every row's neighbours."""
        if self.held:
            return self._file.read("neighbours")
        array = self._file.mapped("neighbours")
        self._file.at_random("neighbours")
        return array

    @property
    def pinned_bytes(self) -> int:
        """Bytes of the graph that are held in memory."""
        return self.neighbours.nbytes if self.held and "neighbours" in self.__dict__ else 0

    def verify(self, progress: Callable[[int], object]) -> None:
        """Read the file against its checksums; raises `FileFormatError`."""
        self._file.verify(progress)


def write_graph(
    segment: Path,
    profile: str,
    why: str,
    entries: NDArray[np.uint32],
    measured: Measured,
    neighbours: NDArray[np.uint32],
) -> GraphEntry:
    """Write the graph of the segment in a file; it appears whole and synced.

    Returns what the catalog must know.
    """
    degree = neighbours.shape[1]
    name = f"{segment.stem}-{secrets.token_hex(2)}.graph.safetensors"
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "header": json.dumps({"profile": profile, "degree": degree, "why": why}),
    }
    small = {"entries": entries, **vars(measured)}
    with atomic_file(segment.with_name(name)) as file:
        columns = ColumnFile(file)
        for key, array in small.items():
            columns.declare(key, dtype_name(array), array.shape)
        columns.declare("neighbours", dtype_name(neighbours), neighbours.shape)
        columns.lay_out(metadata, 128)
        for key, array in small.items():
            columns.write(key, byte_view(array))
        for start in range(0, len(neighbours), _BLOCK_ROWS):
            columns.write("neighbours", byte_view(neighbours[start : start + _BLOCK_ROWS]))
        header = columns.finish(metadata)
        nbytes = os.fstat(file.fileno()).st_size
    return GraphEntry(segment.name, name, nbytes, zlib.crc32(header[8:]))
