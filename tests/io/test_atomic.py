"""Outputs appear whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time

import pytest

from nestbit._atomic import atomic_directory, atomic_file
from nestbit.errors import InputError


def names(path):
    return sorted(p.name for p in path.iterdir())


def write_and_raise(path, error):
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        raise error


def fill_and_raise(path, error):
    with atomic_directory(path) as temp:
        (temp / "a").write_bytes(b"1")
        raise error


def test_a_file_appears_only_at_the_end(tmp_path):
    with atomic_file(tmp_path / "out") as file:
        file.write(b"new")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path, error):
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(error):
        write_and_raise(tmp_path / "out", error)
    assert (tmp_path / "out").read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


def test_an_older_file_is_replaced_and_its_mode_kept(tmp_path):
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "out").chmod(0o600)
    with atomic_file(tmp_path / "out") as file:
        file.write(b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "out"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "out")
    with atomic_file(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "out").read_bytes() == b"new"


def test_a_pipe_or_a_directory_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(InputError, match="not a regular file"), atomic_file(tmp_path / name):
            pass
    assert names(tmp_path) == ["folder", "pipe"]


def test_a_missing_directory_is_told(tmp_path):
    with (
        pytest.raises(InputError, match="does not exist; create it"),
        atomic_file(tmp_path / "a/b"),
    ):
        pass


def test_a_long_name_is_written(tmp_path):
    with atomic_file(tmp_path / ("n" * 250)) as file:
        file.write(b"new")
    assert names(tmp_path) == ["n" * 250]


def test_a_directory_appears_whole(tmp_path):
    with atomic_directory(tmp_path / "out") as temp:
        (temp / "sub").mkdir()
        (temp / "sub" / "a").write_bytes(b"1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "sub" / "a").read_bytes() == b"1"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_directory_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        fill_and_raise(tmp_path / "out", error)
    assert names(tmp_path) == []


def test_an_existing_directory_is_never_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"), atomic_directory(tmp_path / "out"):
        pass
    with pytest.raises(InputError, match="exists already"), atomic_directory(tmp_path / "new"):
        (tmp_path / "new").mkdir()
    assert names(tmp_path) == ["new", "out"]


def test_an_interrupted_process_leaves_nothing(tmp_path):
    code = """
        import sys, time
        from nestbit._atomic import atomic_file
        with atomic_file(sys.argv[1]) as file:
            file.write(b"half")
            file.flush()
            print("writing", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "out")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout.readline() == "writing\n"
    assert len(names(tmp_path)) == 1
    deadline = time.monotonic() + 30
    while child.poll() is None and time.monotonic() < deadline:
        child.send_signal(signal.SIGINT)
        time.sleep(0.2)
    child.communicate()
    assert child.returncode != 0
    assert names(tmp_path) == []
