"""Ids beside the codes of a compressed file: integers, or strings in one run of UTF-8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import FileFormatError, InputError

Ids = NDArray[np.int64] | Sequence[str]


class StringIds(Sequence[str]):
    """String i is bytes ``ends[i - 1]:ends[i]`` of ``text``; decoded when it is asked for."""

    def __init__(self, ends: NDArray[np.int64], text: NDArray[np.uint8], where: str) -> None:
        self._ends, self._text, self._where = ends, text, where

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        return (self._at(i) for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """One id, or a list of them; raises `FileFormatError` where the file is altered."""
        if isinstance(index, slice):
            return [self._at(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"id {index} of {len(self)}")
        return self._at(index % len(self))

    def _at(self, i: int) -> str:
        start, end = int(self._ends[i - 1]) if i else 0, int(self._ends[i])
        try:
            if not 0 <= start <= end <= len(self._text):
                raise ValueError("it lies outside the text")
            return self._text[start:end].tobytes().decode()
        except ValueError as error:
            raise FileFormatError(
                f"{self._where}: the id of row {i} is altered: {error}"
            ) from error


def as_int_ids(ids: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
    """Ids as int64; raises `InputError` for anything else than integers in its range."""
    array = np.asarray(ids)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputError(f"integer ids must be whole numbers of 64 bits, got {array.dtype} values")
    if array.dtype == np.uint64 and len(array) and int(array.max()) >= 1 << 63:
        raise InputError(f"the id {array.max()} does not fit 64 bits with a sign; use strings")
    return array.astype(np.int64)


def as_utf8(ids: Sequence[Any] | NDArray[Any]) -> list[bytes]:
    """Ids as UTF-8; raises `InputError` for anything else than strings that have a UTF-8 form."""
    for value in ids:
        if not isinstance(value, str):
            raise InputError(f"string ids must all be strings, got {value!r}")
    try:
        return [value.encode() for value in ids]
    except UnicodeEncodeError as error:
        raise InputError(f"the id {error.object!r} has no UTF-8 form") from error
