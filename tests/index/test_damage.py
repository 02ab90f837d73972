"""Every kind of damage to an index is a named error."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import nestbit as nb
from nestbit.errors import FileFormatError, InputError


@pytest.fixture(scope="module")
def original(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("original") / "x.nest"
    with nb.create(path, "binary + int8", fit_rows=100) as index:
        n = 300
        documents = [f"some text number {i}" for i in range(n)]
        index.add(range(n), rows[:n], documents, [{"year": i} for i in range(n)])
        index.delete([5, 7])
    return path


@pytest.fixture
def path(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "x.nest"))


def contents(path):
    with nb.open(path) as index:
        index.check()
        return [
            (r.id, r.document, r.metadata, r.embedding.tobytes())
            for r in index.iterate(embeddings=True)
        ]


def segment(path):
    return next((path / "segments").iterdir())


def codec(path):
    return path / "codec-1.safetensors"


def catalog(path):
    return path / "catalog.sqlite"


def cut(file):
    os.truncate(file, file.stat().st_size * 2 // 3)


def empty(file):
    os.truncate(file, 0)


def flip_in_header(file):
    flip(file, 60)


def flip(file, at, bit=1):
    data = bytearray(file.read_bytes())
    data[at] ^= bit
    file.write_bytes(data)


def be_foreign(file):
    file.write_bytes(b"something else entirely" * 1000)


def be_missing(file):
    file.unlink()


@pytest.mark.parametrize("damage", [cut, empty, flip_in_header, be_foreign, be_missing])
@pytest.mark.parametrize("which", [segment, codec, catalog])
def test_a_damaged_file_is_named_when_the_index_is_opened(path, which, damage):
    file = which(path)
    damage(file)
    with pytest.raises(FileFormatError, match=file.name):
        contents(path)


def test_a_flipped_bit_of_the_codes_is_found_by_check(path):
    flip(segment(path), segment(path).stat().st_size - 5000)
    with nb.open(path) as index, pytest.raises(FileFormatError, match=r"level1\.data.*altered"):
        index.check()


@pytest.mark.parametrize("pin", ["none", "coarse"])
def test_an_altered_factor_of_a_scan_is_named(tmp_path, rows, pin):
    with nb.create(tmp_path / "x.nest", "rabitq(1)", fit_rows=100) as index:
        index.add(range(200), rows[:200])
        index.compact()
        (part,) = index._snapshot.segments
        written = part.level(0).factors["scale"][150:158].tobytes()
    file = segment(tmp_path / "x.nest")
    whole = file.read_bytes()
    assert whole.count(written) == 1
    file.write_bytes(whole.replace(written, b"\xff" * len(written)))
    told = pytest.raises(InputError, match="row_scale hold NaN")
    with nb.open(tmp_path / "x.nest", pin=pin) as index, told:
        index.search(rows[:1])


def test_every_fault_is_told_at_once(path):
    with nb.open(path) as index:
        flip(segment(path), segment(path).stat().st_size - 5000)
        be_missing(codec(path))
        with pytest.raises(FileFormatError, match=r"level1\.data.*codec-1"):
            index.check()


@pytest.mark.parametrize("which", [segment, codec])
def test_a_file_of_another_index_is_not_taken_for_its_own(path, rows, tmp_path, which):
    with nb.create(tmp_path / "y.nest", "binary + int8", fit_rows=100) as other:
        other.add(range(300), rows[300:600])
    shutil.copy(which(tmp_path / "y.nest"), which(path))
    with pytest.raises(FileFormatError, match="another index"):
        contents(path)


def test_a_newer_version_is_told_from_damage(path, monkeypatch):
    connection = sqlite3.connect(catalog(path))
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(FileFormatError, match=r"catalog.sqlite has format version 3.*update"):
        nb.open(path)


def test_a_segment_of_a_newer_version_is_told_from_damage(tmp_path, rows, monkeypatch):
    with monkeypatch.context() as patch:
        for module in ("segment", "segment_writer"):
            patch.setattr(f"nestbit.index.{module}.FLAT_VERSION", 3)
        with nb.create(tmp_path / "y.nest", "float32") as index:
            index.add(range(10), rows[:10])
    with pytest.raises(FileFormatError, match=r"safetensors has format version '3'.*update"):
        nb.open(tmp_path / "y.nest")


def test_what_is_no_index_is_told(tmp_path):
    with pytest.raises(FileFormatError, match="is not an index"):
        nb.open(tmp_path / "nothing")
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute("CREATE TABLE rows (x)")
    connection.close()
    with pytest.raises(FileFormatError, match="not the catalog of an index"):
        nb.open(tmp_path)


def test_a_flipped_bit_of_the_catalog_is_found_or_changes_nothing(path, original):
    expected, whole = contents(original), catalog(path).read_bytes()
    found = 0
    positions = np.random.default_rng(0).choice(len(whole), 150, replace=False).tolist()
    for at in positions:
        catalog(path).write_bytes(whole)
        for end in ("-wal", "-shm"):
            (path / f"catalog.sqlite{end}").unlink(missing_ok=True)
        flip(catalog(path), at, bit=4)
        try:
            assert contents(path) == expected, f"byte {at}"
        except FileFormatError:
            found += 1
    assert found > 50


READ = """
import os, sys
import numpy as np, nestbit as nb
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
index = nb.open(sys.argv[1])
index.check()
assert index.search(np.ones((1, 96)), k=3, documents=True).ids.shape == (1, 3)
assert len(index) == 298 and index.count({"year": {"lt": 10}}) == 8
try:
    index.delete([1])
except OSError as error:
    print("refused", error.errno)
index.close()
"""


@pytest.fixture
def sealed(original):
    """A copy of the index in which nobody but root may write, in a folder that all may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(shutil.copytree(original, Path(folder, "x.nest")))
        yield path
        for each in (path, path / "segments"):
            each.chmod(0o755)


def seal(path):
    for each in [path, *path.rglob("*")]:
        each.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH | (0o111 if each.is_dir() else 0))


def read_as_nobody(path):
    return subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False
    )


def test_a_read_only_directory_is_read_and_not_changed(sealed):
    seal(sealed)
    done = read_as_nobody(sealed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused")


def test_a_read_only_directory_can_be_read_while_its_owner_writes(sealed, rows):
    if os.getuid():
        pytest.skip("needs to write where others cannot: run as root")
    seal(sealed)
    with nb.open(sealed) as index:
        index.upsert([10], rows[:1], ["x"], [{"year": 10}])
        done = read_as_nobody(sealed)
        assert done.returncode == 0, done.stderr


LEAVE = """
import os, signal, sys
import numpy as np, nestbit as nb
index = nb.open(sys.argv[1])
index.upsert([10], np.ones((1, 96)), ["x"], [{"year": 10}])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("shared_memory", [True, False])
def test_a_killed_writer_leaves_a_read_only_directory_that_is_read_or_named(sealed, shared_memory):
    left = subprocess.run([sys.executable, "-c", LEAVE, str(sealed)], check=False)
    assert left.returncode == -9
    assert (sealed / "catalog.sqlite-wal").stat().st_size > 0
    if not shared_memory:  # a machine that lost its power has none either
        (sealed / "catalog.sqlite-shm").unlink()
    seal(sealed)
    done = read_as_nobody(sealed)
    if shared_memory:
        assert done.returncode == 0, done.stderr
    else:
        assert "InputError" in done.stderr
        assert "was not closed by its last writer and cannot be written" in done.stderr
