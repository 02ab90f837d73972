"""``nestbit doctor``: what this installation can do, and whether it computes rightly."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import numpy as np
import typer

import nestbit
from nestbit import kernels
from nestbit.cli.wording import print_facts
from nestbit.kernels import reference

# Extras for working on nestbit itself, which nobody misses who uses it.
_FOR_DEVELOPERS = {"test", "dev", "bench"}
_REQUIREMENT = re.compile(r"([\w.-]+).*;\s*extra\s*==\s*['\"]([\w-]+)['\"]")

# Odd widths reach the kernels' tails.
_N, _DIM, _M, _K = 517, 203, 5, 17


def doctor() -> None:
    """Show versions, instruction sets, threads and extras, and check the kernels."""
    chosen = kernels.isa() + (" (forced by NESTBIT_ISA)" if os.environ.get("NESTBIT_ISA") else "")
    faults = self_check()
    print_facts(
        [
            ("nestbit", nestbit.__version__),
            ("Python", f"{platform.python_version()} on {platform.platform()}"),
            ("NumPy", np.__version__),
            ("kernels", chosen),
            ("available", ", ".join(kernels.available_isas())),
            ("threads", str(kernels.default_threads())),
            *((f"extra {extra}", state) for extra, state in extras().items()),
            ("self-check", "kernels agree with NumPy" if not faults else "; ".join(faults)),
        ]
    )
    if faults:
        raise typer.Exit(1)


def extras() -> dict[str, str]:
    """What is installed of each extra, or the command that installs it."""
    packages: dict[str, list[str]] = {}
    for line in requires("nestbit") or []:
        if (match := _REQUIREMENT.match(line)) and match[2] not in _FOR_DEVELOPERS:
            # An extra made of others, as in nestbit[cli,eval], has nothing of its own.
            packages.setdefault(match[2], []).extend([match[1]] * (match[1] != "nestbit"))
    return {extra: _state(extra, names) for extra, names in packages.items() if names}


def _state(extra: str, packages: list[str]) -> str:
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            return f"no {package}; install it with: pip install 'nestbit[{extra}]'"
    return ", ".join(found)


def self_check() -> list[str]:
    """Names of the kernels that differ from NumPy's results on random rows."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, (_N, -(-_DIM // 8)), dtype=np.uint8)
    queries = rng.integers(0, 256, (_M, bits.shape[1]), dtype=np.uint8)
    bytes_ = rng.integers(-128, 128, (_N, _DIM), dtype=np.int8)
    weights = rng.integers(-127, 128, (_M, _DIM), dtype=np.int8)
    floats = rng.standard_normal((_N, _DIM), dtype=np.float32)
    real = rng.standard_normal((_M, _DIM), dtype=np.float32)
    ids = np.sort(rng.integers(0, _N, (_M, _K)), axis=1)
    cases: list[tuple[str, tuple[Any, ...]]] = [
        ("hamming_scan", (bits, queries, _K)),
        ("bits_scan", (bits, weights, _K)),
        ("bytes_scan", (bytes_, weights, _K)),
        ("bits_rescore", (bits, ids, real)),
        ("bytes_rescore", (bytes_, ids, real)),
        ("floats_rescore", (floats, ids, real)),
        ("floats_rescore", (floats.astype(np.float16), ids, real)),
    ]
    return [
        f"{name} is wrong on {kernels.isa()}"
        for name, arguments in cases
        if not _agree(getattr(kernels, name), getattr(reference, name), arguments)
    ]


def _agree(
    native: Callable[..., Any], plain: Callable[..., Any], arguments: tuple[Any, ...]
) -> bool:
    """Scans are exact; rescoring sums floats in another order."""
    got, expected = native(*arguments), plain(*arguments)
    if isinstance(expected, tuple):
        return all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
    return np.allclose(got, expected, rtol=1e-4, atol=1e-2)
