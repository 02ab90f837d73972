"""The ids of a segment's rows, in the order of their numbers: a search names what it finds by them.

Integers are one array, ``ids`` (n,) int64. Strings are UTF-8, one after the other: ``id_text``
(bytes,) uint8, and ``id_ends`` (n,) int64, the byte behind each. The id of a row number never
changes, so these are what the catalog has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import FileFormatError
from nestbit.index.mapped_file import MappedFile
from nestbit.index.numbering import Rows
from nestbit.index.records import Id, id_array


@dataclass(frozen=True)
class IdColumn:
    """Ids of n rows: either ``numbers`` (n,), or ``ends`` (n,) and ``text``."""

    path: Path
    numbers: NDArray[np.int64] | None = None
    ends: NDArray[np.int64] | None = None
    text: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, path: Path, ids: Sequence[Id], kind: str) -> IdColumn:
        """The column of ids of a kind, ``int`` or ``str``, for the segment at ``path``."""
        if kind == "int":
            return cls(path, np.array(ids, np.int64))
        texts = [str(i).encode() for i in ids]
        ends = np.fromiter(accumulate(map(len, texts)), np.int64, len(texts))
        return cls(path, None, ends, np.frombuffer(b"".join(texts), np.uint8))

    @classmethod
    def read(cls, file: MappedFile) -> IdColumn | None:
        """The column of a segment, mapped; None for one that was written without.

        Raises `KeyError` for a file that has only a part of it.
        """
        if "ids" in file.header.tensors:
            return cls(file.path, file.mapped("ids"))
        if "id_ends" not in file.header.tensors:
            return None
        return cls(file.path, None, file.mapped("id_ends"), file.mapped("id_text"))

    def __len__(self) -> int:
        rows = self.ends if self.numbers is None else self.numbers
        assert rows is not None
        return len(rows)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a segment keeps, by name."""
        if self.numbers is not None:
            return {"ids": self.numbers}
        assert self.ends is not None
        assert self.text is not None
        return {"id_ends": self.ends, "id_text": self.text}

    def at(self, positions: Rows) -> NDArray[Any]:
        """Ids of the rows at ``positions``: int64, or Python strings in an object array."""
        if self.numbers is not None:
            return self.numbers[positions]
        assert self.ends is not None
        assert self.text is not None
        ends = self.ends[positions].tolist()
        starts = np.where(positions > 0, self.ends[positions - 1], 0).tolist()
        try:
            texts = [self.text[a:b].tobytes().decode() for a, b in zip(starts, ends, strict=True)]
        except UnicodeDecodeError as error:
            raise FileFormatError(
                f"{self.path}: an id is altered ({error}); restore the index from a copy"
            ) from error
        return id_array(texts, "str")

    def kept(self, positions: Rows) -> IdColumn:
        """The column of the rows at ascending ``positions`` alone."""
        if len(positions) == len(self):
            return self
        if self.numbers is not None:
            return IdColumn(self.path, self.numbers[positions])
        assert self.ends is not None
        assert self.text is not None
        lengths = np.diff(self.ends, prepend=0)
        alive = np.zeros(len(self), np.bool_)
        alive[positions] = True
        text = self.text[np.repeat(alive, lengths)]
        return IdColumn(self.path, None, np.cumsum(lengths[positions]), text)


def joined(columns: Sequence[IdColumn]) -> IdColumn:
    """One column of the rows of several, one after the other."""
    first = columns[0]
    if len(columns) == 1:
        return first
    if first.numbers is not None:
        return IdColumn(first.path, np.concatenate([c.arrays()["ids"] for c in columns]))
    parts = [c.arrays() for c in columns]
    starts = np.cumsum([0, *(len(part["id_text"]) for part in parts)])
    ends = [part["id_ends"] + start for part, start in zip(parts, starts, strict=False)]
    text = np.concatenate([part["id_text"] for part in parts])
    return IdColumn(first.path, None, np.concatenate(ends), text)
