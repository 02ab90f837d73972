"""The typed stub of the native module says what the module has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nestbit
from nestbit import _native

STUB = Path(nestbit.__file__).with_name("_native.pyi")


def test_stub_is_what_stubgen_writes_for_the_module():
    stubgen = pytest.importorskip("nanobind.stubgen", reason="nanobind writes the stub")
    pytest.importorskip("ruff", reason="ruff formats the stub")
    generator = stubgen.StubGen(_native)
    generator.put(_native)
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUB), "-"],
        input=generator.get(),
        capture_output=True,
        text=True,
        check=True,
        cwd=STUB.parent,
    )
    remedy = "regenerate: python -m nanobind.stubgen -m nestbit._native -o FILE; ruff format FILE"
    assert formatted.stdout == STUB.read_text(encoding="utf-8"), remedy
