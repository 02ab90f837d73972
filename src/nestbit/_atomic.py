"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nestbit.errors import InputError


def check_output(path: str | os.PathLike[str]) -> Path:
    """The real path of an output file; raises `InputError` where none can be written.

    For long work: what is wrong with the output's name is better told before than after.
    """
    target = _target(path)
    if target.exists() and not target.is_file():
        # Renaming over a device or pipe would replace the device itself.
        raise InputError(f"{target} is not a regular file; choose another name for the output")
    return target


def check_new_directory(path: str | os.PathLike[str]) -> Path:
    """The real path of a directory to be made; raises `InputError` where none can be."""
    target = _target(path)
    _refuse_existing(target)
    return target


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file for reading and writing that takes its place at ``path`` on success.

    The bytes go to a hidden file in the same directory, are synced to disk, and are renamed over
    ``path`` when the block ends; on any exception, Ctrl-C included, the hidden file is removed and
    an older file at ``path`` stays as it was. A link is followed, an older file's mode kept.
    Raises `InputError` where ``path`` is something else than a file, or its directory is missing.
    """
    target = check_output(path)
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    temp = _temp_name(target)
    try:
        with temp.open("x+b") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, target)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty directory that is renamed to ``path`` when the block ends.

    Every file in it is synced first; on any exception it is removed with all it holds. Raises
    `InputError` where ``path`` exists already: a directory cannot be replaced in one step.
    """
    target = check_new_directory(path)
    temp = _temp_name(target)
    try:
        temp.mkdir()
        yield temp
        for folder, _, names in os.walk(temp):
            for name in names:
                _sync(Path(folder, name), os.O_RDONLY)
            sync_directory(Path(folder))
        # os.replace would silently take the place of an empty directory made meanwhile.
        _refuse_existing(target)
        os.replace(temp, target)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    """Make renames inside a directory durable, where the system lets a directory be synced."""
    with suppress(PermissionError):  # some network file systems refuse to open a directory
        _sync(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _target(path: str | os.PathLike[str]) -> Path:
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise InputError(f"the directory {target.parent} does not exist; create it first")
    return target


def _temp_name(target: Path) -> Path:
    # A long name is cut so that the hidden one stays below the usual limit of 255 bytes.
    return target.with_name(f".{target.name[:48]}.{secrets.token_hex(6)}.tmp")


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise InputError(f"{target} exists already; remove it or choose another name")
