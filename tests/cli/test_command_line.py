"""What the user can mend is told in one line on stderr, with exit status 2."""

import subprocess
import sys

import numpy as np
import pytest

from nestbit.io import write_codes


@pytest.fixture
def files(tmp_path, rows):
    import nestbit as nb

    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "wide.npy", np.ones((3, 7), np.float32))
    bad = rows.copy()
    bad[1500, 3] = np.inf
    np.save(tmp_path / "inf.npy", bad)
    codec = nb.fit(rows, "int8")
    write_codes(tmp_path / "x.nest", codec, codec.encode(rows))
    codec.save(tmp_path / "codec")
    content = (tmp_path / "x.nest").read_bytes()
    (tmp_path / "cut.nest").write_bytes(content[:-1])
    (tmp_path / "altered.nest").write_bytes(content[:9999] + b"!?!" + content[10002:])
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "rows.jsonl").write_text('{"v": [1.0,\n')
    return tmp_path


MISTAKES = {
    "missing input": ("compress none.npy y", "none.npy: No such file or directory"),
    "folder as input": ("info folder", "folder: Is a directory"),
    "unknown suffix": ("compress notes.txt y", "unknown suffix '.txt'; known: .npy, .npz"),
    "unknown stage": ("compress rows.npy y --codec bin", "coders: binary, int8"),
    "unknown metric": ("compress rows.npy y --metric cos", "known: cosine, dot, l2"),
    "bad stage for the rows": ("compress rows.npy y --codec pca(999)|int8", "pca"),
    "row not finite": ("compress inf.npy y", "inf.npy holds inf at row 1500"),
    "line not JSON": ("compress rows.jsonl y", "rows.jsonl: line 1 is not JSON"),
    "column of an unnamed array": ("compress rows.npy y --column v", "drop the column 'v'"),
    "no threads": ("compress rows.npy y --threads 0", "threads must be at least 1"),
    "no sample": ("compress rows.npy y --sample 0", "at least 1 row"),
    "no chunk": ("compress rows.npy y --chunk-mb 0", "--chunk-mb must be at least 1"),
    "negative seed": ("compress rows.npy y --seed -1", "--seed must be at least 0"),
    "output over input": ("compress rows.npy rows.npy", "both input and output"),
    "output in no folder": ("compress rows.npy no/y", "does not exist; create it first"),
    "output is a folder": ("compress rows.npy folder", "not a regular file"),
    "output is a device": ("compress rows.npy /dev/null", "not a regular file"),
    "compressing codes": ("compress codec y", "unknown suffix"),
    "searching vectors": ("search rows.npy rows.npy", "not a compressed file; make one with"),
    "searching a codec": ("search codec rows.npy", "a codec without codes, not a compressed"),
    "truncated codes": ("search cut.nest rows.npy", "cut.nest is truncated"),
    "truncated file": ("info cut.nest", "cut.nest is truncated"),
    "altered codes": ("info altered.nest --verify", "array 'level0.data' is altered"),
    "verifying vectors": ("info rows.npy --verify", "no compressed file"),
    "column of codes": ("info x.nest --column v", "--column is for vectors"),
    "other dimensions": ("search x.nest wide.npy", "has 7 dimensions, x.nest has 96"),
    "k beyond n": ("search x.nest rows.npy -k 2001", "between 1 and the number of rows (2000)"),
    "unknown plan": ("search x.nest rows.npy --plan x", "known: default, hamming, funnel"),
    "plan for bits": ("search x.nest rows.npy --plan hamming", "compares bits"),
    "unknown hits file": ("search x.nest rows.npy --out h.csv", "known: .jsonl, .npz"),
    "hits in no folder": ("search x.nest rows.npy --out no/h.npz", "does not exist"),
    "show nothing": ("search x.nest rows.npy --show 0", "--show must be at least 1"),
}


@pytest.mark.parametrize(("command", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(files, nestbit, command, message):
    before = sorted(p.name for p in files.iterdir())
    done = nestbit(*command.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("nestbit: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert sorted(p.name for p in files.iterdir()) == before


def test_an_unknown_command_suggests_the_nearest(nestbit):
    done = nestbit("comprss")
    assert done.returncode == 2
    assert "compress" in done.stderr


@pytest.mark.parametrize("command", ["demo", "compress", "search", "info", "doctor"])
def test_every_command_has_a_help_page(ok, command):
    assert command in ok("--help")
    assert "Usage: nestbit " + command in ok(command, "--help")


def test_the_version_is_printed(ok):
    import nestbit as nb

    assert ok("--version") == f"nestbit {nb.__version__}\n"


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_extra_is_told_with_the_command_that_installs_it(package):
    code = f"import sys; sys.modules[{package!r}] = None\nfrom nestbit.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"nestbit: the command line needs the package '{package}'; "
        "install it with: pip install 'nestbit[cli]'\n"
    )
