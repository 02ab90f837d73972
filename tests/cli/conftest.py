"""The command line as a user runs it: a process of its own."""

import subprocess
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def nestbit(tmp_path) -> Run:
    """Run ``nestbit`` with arguments in the test's folder."""
    pytest.importorskip("typer")
    pytest.importorskip("rich")

    def run(*arguments, **more):
        command = [sys.executable, "-m", "nestbit.cli", *map(str, arguments)]
        options = {"capture_output": True, "text": True, "cwd": tmp_path, "timeout": 300}
        return subprocess.run(command, check=False, **options | more)

    return run


@pytest.fixture
def ok(nestbit):
    """Run a command that must succeed; returns what it printed."""

    def run(*arguments, **more):
        done = nestbit(*arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
