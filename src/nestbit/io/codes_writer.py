"""Writing a compressed file chunk by chunk."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nestbit._atomic import atomic_file
from nestbit._columns import ColumnFile
from nestbit._safetensors import byte_view, dtype_name
from nestbit.codecs import Codec, Codes, check_codes
from nestbit.errors import InputError
from nestbit.io.ids import Ids, StringIds, as_int_ids, as_utf8
from nestbit.io.source import IdsKind

FORMAT = "nestbit.codes"
FORMAT_VERSION = 1


class CodesWriter:
    """Writes a compressed file chunk by chunk; it appears whole when the ``with`` block ends.

    ``n`` rows are announced beforehand and must then be appended. ``ids`` tells of which type
    the rows' ids are, if they have any. Raises `InputError` for chunks that do not fit.
    """

    def __init__(
        self, path: str | os.PathLike[str], codec: Codec, n: int, *, ids: IdsKind | None = None
    ) -> None:
        if n < 1:
            raise InputError("there are no rows to write: the codes are empty")
        self._path, self._codec, self._n, self._ids = Path(path), codec, n, ids
        state, self._codec_header = codec.state()
        self._state = {f"codec.{name}": array for name, array in state.items()}
        self._done = 0
        self._factors: list[list[str]] = []
        self._zero_rows: list[NDArray[np.int64]] = []
        self._clipped = np.zeros(len(codec.levels))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._columns = ColumnFile(self._stack.enter_context(atomic_file(self._path)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:  # an exception, in the block or here, makes the file disappear
            if error is not None:
                raise error
            self._finish()

    @property
    def clipped(self) -> tuple[float, ...]:
        """Share of clipped values in each level over the rows appended so far."""
        return tuple((self._clipped / max(1, self._done)).tolist())

    def append(self, codes: Codes, ids: Sequence[Any] | NDArray[Any] | None = None) -> None:
        """Write the codes of the next rows, and their ids if the file has any."""
        check_codes(self._codec, codes)
        if self._done + len(codes) > self._n:
            raise InputError(f"{self._n} rows were announced, {self._done + len(codes)} came")
        if (ids is None) != (self._ids is None) or (ids is not None and len(ids) != len(codes)):
            came = "none" if ids is None else str(len(ids))
            raise InputError(
                f"{len(codes)} rows came with {came} of their ids, announced were "
                f"{'none' if self._ids is None else self._ids + ' ids'}"
            )
        factors = [sorted(level.factors) for level in codes.levels]
        if not self._columns:
            self._factors = factors
            self._lay_out(codes)
        elif factors != self._factors:
            raise InputError(f"the first rows had the factors {self._factors}, these {factors}")
        for i, level in enumerate(codes.levels):
            self._columns.write(f"level{i}.data", byte_view(level.data))
            for name in factors[i]:
                self._columns.write(f"level{i}.{name}", byte_view(level.factors[name]))
        if ids is not None and self._ids == "int":
            self._columns.write("ids.int", byte_view(as_int_ids(ids)))
        elif ids is not None:
            self._append_strings(as_utf8(ids))
        self._zero_rows.append(codes.zero_rows + self._done)
        if codes.clipped:
            self._clipped += len(codes) * np.array(codes.clipped)
        self._done += len(codes)

    def _append_strings(self, texts: list[bytes]) -> None:
        before = self._columns.nbytes("ids.text")
        ends = before + np.cumsum([len(text) for text in texts], dtype=np.int64)
        self._columns.write("ids.ends", byte_view(ends))
        self._columns.write("ids.text", memoryview(b"".join(texts)))

    def _lay_out(self, codes: Codes) -> None:
        """Give every array its place, once the first chunk has shown the levels' factors."""
        for i, (level, fitted) in enumerate(zip(codes.levels, self._codec.levels, strict=True)):
            dtype = "BF16" if fitted.coder.kind == "bfloat16" else dtype_name(level.data)
            self._columns.declare(f"level{i}.data", dtype, (self._n, level.data.shape[1]))
            for name in self._factors[i]:
                self._columns.declare(
                    f"level{i}.{name}", dtype_name(level.factors[name]), (self._n,)
                )
        for name, array in self._state.items():
            self._columns.declare(name, dtype_name(array), array.shape)
        if self._ids == "int":
            self._columns.declare("ids.int", "I64", (self._n,))
        elif self._ids == "str":
            self._columns.declare("ids.ends", "I64", (self._n,))
            self._columns.declare("ids.text", "U8", None)
        self._columns.declare("zero_rows", "I64", None)
        # Still to grow: two lengths and the offsets after them, a padding, the clipped shares.
        growth = 512 + 32 * len(self._codec.levels)
        self._columns.lay_out(self._metadata(), growth)

    def _finish(self) -> None:
        if self._done != self._n:
            raise InputError(f"{self._n} rows were announced, {self._done} came")
        for name, array in self._state.items():
            self._columns.write(name, byte_view(array))
        self._columns.place()  # the text of the ids has its length now, and zero_rows follow it
        self._columns.write("zero_rows", byte_view(np.concatenate(self._zero_rows)))
        self._columns.finish(self._metadata())

    def _metadata(self) -> dict[str, str]:
        header = {
            "n": self._n,
            "ids": self._ids,
            "factors": self._factors,
            "clipped": self.clipped,
            "codec": self._codec_header,
        }
        return {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "header": json.dumps(header),
        }


def write_codes(
    path: str | os.PathLike[str], codec: Codec, codes: Codes, ids: Ids | None = None
) -> None:
    """Write codes held in memory as a compressed file, atomically."""
    kind: IdsKind | None = None
    if ids is not None:
        text = isinstance(ids, StringIds) or np.asarray(ids).dtype.kind not in "iu"
        kind = "str" if text else "int"
    with CodesWriter(path, codec, len(codes), ids=kind) as writer:
        writer.append(codes, ids)
