"""The lock that makes a handle the only writer of an index."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

from nestbit.errors import LockedError

NAME = "writer.lock"


class WriterLock:
    """An exclusive lock on a file, held until `release` or the end of the process.

    Raises `LockedError`, naming the process that holds it, and `OSError` where the directory
    cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        # flock, not a POSIX record lock: it also keeps two handles of one process apart.
        self._descriptor = os.open(
            directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode=0o644
        )
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            holder = "another handle of this process" if pid == str(os.getpid()) else f"pid {pid}"
            raise LockedError(
                f"{directory} is being changed by {holder}; close that handle first"
            ) from error
        self.pid = os.getpid()
        # A handle that is dropped without being closed must not keep others out.
        self._close = weakref.finalize(self, os.close, self._descriptor)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{self.pid}\n".encode(), 0)

    def release(self) -> None:
        """Let the next writer in."""
        self._close()
