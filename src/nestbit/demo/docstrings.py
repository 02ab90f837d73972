"""The corpus every machine has: docstrings of the standard library and installed packages."""

from __future__ import annotations

import ast
import inspect
import os
import random
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from nestbit.demo.corpus import (
    Corpus,
    Deduplicator,
    Entry,
    contains,
    first_sentence,
    shorten,
    usable_document,
    usable_query,
)
from nestbit.errors import InputError

_SKIPPED_FOLDERS = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test"}
_SITE_FOLDERS = ("site-packages", "dist-packages")
_MAX_FILE_BYTES = 1 << 20  # larger ones are generated tables
_SIGNATURE = re.compile(r"[\w.]+\s*\(.*\)\s*(->.*)?:?$")
_SIGNATURE_START = re.compile(r"[\w.]+\s*\(.*(->|\)$)")
_RULE = re.compile(r"^\s*([-=~^*_#])\1{2,}\s*$", re.MULTILINE)

EXAMPLES = (
    "parse command line arguments",
    "open a web page in the browser",
    "copy a file with its permissions",
    "turn a string into a date",
)

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstring_corpus(limit: int, *, seed: int = 0) -> Corpus:
    """Collect at most ``limit`` entries from the Python files of this interpreter.

    The files are read with `ast`, never imported: the standard library first, then the packages'
    files in an order drawn from ``seed``. An entry's query is the docstring's summary sentence,
    its document the qualified name and the rest of the docstring. Tests, docstrings with too
    short a summary or rest, and repeated ones are left out. Raises `InputError` if none is found
    (an interpreter without its sources).
    """
    standard, packages = _source_files(seed)
    keep = Deduplicator()
    entries: list[Entry] = []
    read = 0
    for root, path in (*standard, *packages):
        if len(entries) >= limit:
            break
        read += 1
        for entry, body in _entries(root, path):
            admitted = keep.admit(entry, body)
            # Without its query a docstring is an orphan: its summary is in no document.
            if admitted is not None and admitted.query and len(entries) < limit:
                entries.append(admitted)
    if not entries:
        raise InputError(
            f"no docstrings found under {sysconfig.get_path('stdlib')}; pass a corpus of your own"
        )
    files = len(standard) + len(packages)
    return Corpus(
        entries=tuple(entries),
        source=(
            f"{len(entries):,} docstrings of the Python {sys.version_info.major}."
            f"{sys.version_info.minor} standard library and the installed packages "
            f"({read:,} of {files:,} files, seed {seed})"
        ),
        queries_from="a docstring's summary sentence must find its name and the rest",
        examples=EXAMPLES,
    )


def _source_files(seed: int) -> tuple[list[tuple[Path, Path]], list[tuple[Path, Path]]]:
    """Return (root, file) pairs of the standard library, and of the packages in random order."""
    standard = Path(sysconfig.get_path("stdlib"))
    sites = {Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))}
    sites |= {Path(entry) for entry in sys.path if Path(entry).name in _SITE_FOLDERS}
    packages = [(root, path) for root in sorted(sites) for path in _python_files(root)]
    packages.sort(key=lambda pair: pair[1].relative_to(pair[0]).as_posix())
    random.Random(seed).shuffle(packages)
    return [(standard, path) for path in _python_files(standard)], packages


def _python_files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
        found.extend(Path(folder, name) for name in names if name.endswith(".py"))
    return sorted(found)


def _entries(root: Path, path: Path) -> Iterator[tuple[Entry, str]]:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return
        source = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return  # templates and files for other Python versions are not our corpus
    module = path.relative_to(root).with_suffix("")
    parts = module.parts[:-1] if module.name == "__init__" else module.parts
    for name, doc in _docstrings(tree, ".".join(parts)):
        entry = _entry(name, doc)
        if entry is not None:
            yield entry


def _docstrings(node: Documented, name: str) -> Iterator[tuple[str, str]]:
    doc = ast.get_docstring(node, clean=False)
    if doc:
        yield name, inspect.cleandoc(doc)
    if not isinstance(node, (ast.Module, ast.ClassDef)):
        return
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _docstrings(child, f"{name}.{child.name}")


def _entry(name: str, doc: str) -> tuple[Entry, str] | None:
    first_line, _, others = doc.partition("\n")
    if _SIGNATURE.match(first_line.strip()):
        doc = others
    query, rest = first_sentence(_RULE.sub("", doc))
    query = " ".join(query.split())
    rest = shorten(rest)
    if _SIGNATURE_START.match(query):
        return None
    if not usable_query(query) or not usable_document(rest) or contains(rest, query):
        return None
    return Entry(name=name, query=query, document=f"{name}\n{rest}"), rest
