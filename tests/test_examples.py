"""The examples run as they stand and print what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def files(tmp_path, rows, queries):
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "queries.npy", queries)
    return str(tmp_path / "rows.npy"), str(tmp_path / "queries.npy")


def test_quickstart_finds_the_function_asked_for():
    pytest.importorskip("wordllama")
    out = run("quickstart.py", "split a path into its parts")
    floats, codes = (
        int(number.replace(",", "")) for number in re.findall(r"([\d,]{4,}) (?:bytes )?as", out)
    )
    assert floats / codes == pytest.approx(32 / 9)
    assert "os.path.split" in out


def test_existing_codes_gain_from_the_float_query(files):
    out = run("existing_codes.py", *files)
    assert "2000 rows of 12 bytes" in out
    hamming, rescored, scanned = (float(r) for r in re.findall(r"^(\d\.\d+) of", out, re.M))
    assert 0 < hamming < rescored <= scanned + 0.05


def test_compare_plans_shows_every_codec_and_what_it_keeps(files):
    out = run("compare_plans.py", *files)
    recalls = {spec: float(r) for r, spec in re.findall(r"^ +\d+  (\d\.\d+)  ([^,\n]+)", out, re.M)}
    assert recalls["float32"] == 1
    assert recalls["int8"] > 0.9
    assert recalls["binary"] < recalls["binary + int8"]
    assert len(recalls) == 6


def test_the_index_of_the_example_is_changed_and_searched(tmp_path):
    pytest.importorskip("wordllama")
    out = run("index.py", str(tmp_path / "library.nest"))
    assert "submarine" in out
    assert out.endswith("5 rows, 1 of them before 1850\n")


def test_every_example_is_run_here():
    source = Path(__file__).read_text(encoding="utf-8")
    scripts = [path.name for path in EXAMPLES.glob("*.py")]
    assert scripts
    assert all(f'run("{name}"' in source for name in scripts)
