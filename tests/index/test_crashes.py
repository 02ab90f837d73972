"""Killed at any step, or on a full or failing disk, an index loses nothing it acknowledged."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from crash_child import DISK_FULL, IO_ERROR, KILL_BEFORE, KILL_WITHIN, verify

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """The library that makes steps fail."""
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("faults are injected by a preloaded library: Linux and cc are needed")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = str(HERE / "faults.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), source]
    subprocess.run([*command, "-ldl"], check=True)
    return library


@pytest.fixture
def memory_folder():
    """A folder where a sync costs nothing: what is tested is the order of the steps."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("mode", "stride"),
    [(KILL_BEFORE, 1), (KILL_WITHIN, 1), (DISK_FULL, 3), (IO_ERROR, 3)],
    ids=["killed-before-each-step", "killed-within-each-write", "disk-full", "io-error"],
)
def test_a_fault_at_any_step_loses_nothing_acknowledged(shim, memory_folder, mode, stride):
    command = [sys.executable, str(HERE / "crash_child.py"), str(shim), str(memory_folder / "d")]
    (memory_folder / "d").mkdir()
    environment = os.environ | {"LD_PRELOAD": str(shim), "NESTBIT_THREADS": "1"}
    done = subprocess.run(
        [*command, str(mode), str(stride)], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["faults"] == []
    tried = len(range(0, told["steps"], stride))
    assert told["steps"] > 100
    if mode in (KILL_BEFORE, KILL_WITHIN):
        assert told["hit"] == tried
    else:
        assert (
            told["hit"] > tried / 2
        )  # some failures are passed over, as that of a last checkpoint


def test_killed_at_random_moments_an_index_loses_nothing_acknowledged(memory_folder):
    path = memory_folder / "x.nest"
    random.seed(0)
    held = {}
    for seed in range(1, 11):
        command = [sys.executable, str(HERE / "crash_loop.py"), str(path), str(seed)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = [child.stdout.readline() for _ in range(2)]  # its first change is done
        time.sleep(random.uniform(0, 0.3))
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
        under_way = None
        for line in lines:
            what, *change = json.loads(line)
            under_way = change if what == "begin" else apply(held, *under_way)
        allowed = [dict(held)]
        if under_way is not None:
            apply(allowed[-1], *under_way)
            allowed.append(dict(held))
        held = verify(path, allowed) | {"next": 999}


def apply(held, act, ids, value):
    for i in ids:
        held.pop(i, None)
        if act == "put":
            held[i] = value
