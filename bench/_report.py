"""Tables and environment notes that the benchmarks share."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import nestbit as nb
from nestbit._atomic import atomic_file


def markdown(table: list[list[str]]) -> str:
    header, *body = [[cell.replace("|", "\\|") for cell in line] for line in table]
    lines = [header, ["---"] * len(header), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def show(console: Console, title: str, table: list[list[str]]) -> None:
    header, *body = table
    shown = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(header):
        shown.add_column(column, justify="left" if i == 0 else "right")
    for line in body:
        shown.add_row(*line)
    console.print(shown)


def environment() -> dict[str, str | int | None]:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (match := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        cpu = match[1]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "nestbit": nb.__version__,
        "commit": commit.stdout.strip() if commit.returncode == 0 else None,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())
