"""SQLite's errors as those that nestbit and the system raise."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nestbit.errors import FileFormatError

# SQLite's result codes as the system's numbers.
_SYSTEM_ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
}


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into those that nestbit and the system raise, with the file's name."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise FileFormatError(f"{path} is altered or no catalog: {error}") from error
        if code in _SYSTEM_ERRORS:
            number = _SYSTEM_ERRORS[code]
            raise OSError(number, f"{os.strerror(number)} ({error})", str(path)) from error
        if code == sqlite3.SQLITE_ERROR and "no such" in str(error):
            raise FileFormatError(f"{path} is altered or no catalog: {error}") from error
        raise
