"""Rows of a file at sorted places, read in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit.errors import FileFormatError, InputError


def gather_rows(
    path: Path,
    descriptor: int,
    columns: Sequence[tuple[int, int]],
    places: NDArray[np.int64],
    n: int,
) -> list[NDArray[np.uint8]]:
    """The rows at ascending, distinct ``places`` (c,) of arrays of n rows, bytes (c, width) each.

    ``columns`` tell the byte at which each array starts in the open file ``descriptor``, and the
    width of its rows in bytes. What the page cache holds is copied; the disk is told of all other
    rows of all columns before the first is waited for. ``path`` names the file in errors. Raises
    `FileFormatError` for a file that ends too early, `OSError` for a read that fails, and
    `InputError` for places that do not fit.
    """
    try:
        return _native.gather_rows(descriptor, list(columns), places, n)
    except EOFError:
        raise FileFormatError(f"{path} was truncated while it was read") from None
    except OSError as error:
        code = error.errno or 0
        raise OSError(code, os.strerror(code), str(path)) from None
    except (TypeError, ValueError) as error:
        # The native module has checked all; what it refused is told here.
        raise InputError(
            f"places must be int64 (c,), ascending, each once, between 0 and {n - 1}, got "
            f"{places.dtype} of shape {places.shape}: {str(error).splitlines()[0]}"
        ) from None
