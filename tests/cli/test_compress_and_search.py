"""compress, search and info do on files what the library does on arrays."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nestbit as nb
from nestbit.io import read_codes


@pytest.fixture
def files(tmp_path, rows, queries):
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "queries.npy", queries)
    return tmp_path


def fact(printed, name):
    """The value that a command printed beside a name."""
    return next(line[len(name) :].strip() for line in printed.splitlines() if line.startswith(name))


def test_compress_writes_the_codes_that_the_library_makes(files, ok, rows):
    # A codec that sees all rows, in the order of the file, learns the same as the library's.
    printed = ok("compress", "rows.npy", "x.nest", "--codec", "binary + int8", "--chunk-mb", 1)
    codec, codes, ids = read_codes(files / "x.nest")
    expected = nb.fit(rows, "binary + int8")
    assert codec.spec == "binary + int8"
    assert ids is None
    np.testing.assert_allclose(
        codec.decode(codes), expected.decode(expected.encode(rows)), atol=0.02
    )
    assert codes.clipped == pytest.approx(expected.encode(rows).clipped, abs=1e-4)
    assert fact(printed, "rows") == "2,000 of 96 dimensions"
    assert fact(printed, "bytes per vector") == "108 instead of 384 as float32"
    assert fact(printed, "times smaller") == "3.6"
    assert fact(printed, "clipped values").endswith("by level")


@pytest.mark.parametrize("threads", [1, 3])
def test_every_row_is_in_its_place_whatever_the_threads(tmp_path, ok, threads):
    rows = np.random.default_rng(0).standard_normal((30_001, 64)).astype(np.float32)
    rows[17] = 0
    np.save(tmp_path / "rows.npy", rows)
    ok("compress", "rows.npy", "x", "--codec", "float32", "--metric", "dot", "--chunk-mb", 1,
       "--threads", threads)  # fmt: skip
    codec, codes, _ = read_codes(tmp_path / "x")
    np.testing.assert_array_equal(codec.decode(codes), rows)
    assert codes.zero_rows.tolist() == [17]


def test_the_sample_is_not_the_first_rows(tmp_path, ok):
    rows = np.random.default_rng(0).uniform(-1, 1, (4000, 8)).astype(np.float32)
    rows[:1000] *= 0.01
    np.save(tmp_path / "rows.npy", rows)
    printed = ok("compress", "rows.npy", "x", "--codec", "int8", "--metric", "dot",
                 "--sample", 1000)  # fmt: skip
    # A codec fitted on the first thousand rows would clip most of the others.
    assert float(fact(printed, "clipped values").split("%")[0]) < 1


@pytest.mark.parametrize("out", ["hits.jsonl", "hits.npz"])
@pytest.mark.parametrize("plan", ["default", "hamming", "funnel"])
def test_search_finds_what_the_library_finds(files, ok, queries, plan, out):
    ok("compress", "rows.npy", "x.nest", "--codec", "binary")
    ok("search", "x.nest", "queries.npy", "-k", 7, "--plan", plan, "--out", out)
    codec, codes, _ = read_codes(files / "x.nest")
    plans = {
        "default": nb.Plan.default(codec),
        "hamming": nb.Plan.hamming(codec),
        "funnel": nb.Plan.funnel(codec, oversample=10),
    }
    expected = nb.search(codec, codes, queries, 7, plans[plan])
    if out.endswith("npz"):
        hits = np.load(files / out)
        assert hits["queries"].tolist() == list(range(len(queries)))
        rows, scores = hits["rows"], hits["scores"]
    else:
        lines = [json.loads(line) for line in (files / out).read_text().splitlines()]
        assert [line["query"] for line in lines] == list(range(len(queries)))
        rows, scores = ([line[key] for line in lines] for key in ("ids", "scores"))
    np.testing.assert_array_equal(rows, expected.ids)
    np.testing.assert_array_equal(np.float32(scores), expected.scores)


def save_jsonl(path, vectors, names):
    records = [{"_id": i, "v": v.tolist()} for i, v in zip(names, vectors, strict=True)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_ids_go_from_the_input_to_the_hits(tmp_path, ok, rows):
    names = [f"dóc [b]{i}[/b]" for i in range(300)]
    save_jsonl(tmp_path / "rows.jsonl", rows[:300], names)
    save_jsonl(tmp_path / "queries.jsonl", rows[[5, 200]], ["first", "second"])
    ok("compress", "rows.jsonl", "x", "--codec", "int8")
    ok("search", "x", "queries.jsonl", "-k", 2, "--out", "hits.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "hits.jsonl").read_text().splitlines()]
    assert [(line["query"], line["ids"][0]) for line in lines] == [
        ("first", names[5]),
        ("second", names[200]),
    ]
    ok("search", "x", "queries.jsonl", "-k", 2, "--out", "hits.npz")
    hits = np.load(tmp_path / "hits.npz")
    assert hits["queries"].tolist() == ["first", "second"]
    assert hits["ids"][:, 0].tolist() == [names[5], names[200]]
    assert hits["rows"][:, 0].tolist() == [5, 200]
    assert names[5] in ok("search", "x", "queries.jsonl", "-k", 1)  # not read as markup
    assert fact(ok("info", "x"), "ids") == "strings"


def test_search_shows_the_first_queries_on_the_screen(files, ok):
    ok("compress", "rows.npy", "x.nest")
    printed = ok("search", "x.nest", "queries.npy", "-k", 3, "--show", 2)
    ranks = [line.split("│")[2].strip() for line in printed.splitlines() if line.startswith("│")]
    assert ranks == ["1", "2", "3"] * 2
    assert "the first 2 of 20 queries" in printed


def test_info_tells_what_each_kind_of_file_is(files, ok, rows):
    printed = ok("info", "rows.npy")
    assert fact(printed, "what") == "vectors (npy)"
    assert (fact(printed, "rows"), fact(printed, "dimensions")) == ("2,000", "96")
    ok("compress", "rows.npy", "x.safetensors", "--codec", "pca(32) | int8", "--metric", "l2",
       "--model", "m[/]")  # fmt: skip
    printed = ok("info", "x.safetensors", "--verify")
    assert fact(printed, "what") == "compressed vectors"
    assert fact(printed, "rows") == "2,000"
    assert fact(printed, "spec") == "pca(32) | int8"
    assert fact(printed, "bytes per row") == "36 (10.7 times smaller)"
    assert fact(printed, "metric") == "l2"
    assert fact(printed, "model") == "m[/]"
    assert fact(printed, "checksums") == "all right"
    nb.fit(rows, "binary").save(files / "codec")
    assert fact(ok("info", "codec"), "what") == "a fitted codec"


def test_a_compress_that_is_told_to_stop_leaves_nothing(tmp_path):
    pytest.importorskip("typer")
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((60_000, 256)))
    before = sorted(p.name for p in tmp_path.iterdir())
    for sign in (signal.SIGTERM, signal.SIGINT):
        command = [sys.executable, "-m", "nestbit.cli", "compress", "rows.npy", "x"]
        child = subprocess.Popen(
            [*command, "--chunk-mb", "1", "--sample", "100"], cwd=tmp_path, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 300
        while len(list(tmp_path.iterdir())) == len(before) and time.monotonic() < deadline:
            time.sleep(0.002)
        assert any(p.name.endswith(".tmp") for p in tmp_path.iterdir())
        child.send_signal(sign)
        child.communicate(timeout=300)
        assert child.returncode != 0
        assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Eight times the rows, 287 MB more, add less than a fifth of that to the peak."""
    pytest.importorskip("typer")
    # VmHWM, not ru_maxrss, which counts what the parent held before the child was started.
    code = (
        "import sys\nfrom nestbit.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "status = open('/proc/self/status').read()\n"
        "print(status.split('VmHWM:')[1].split()[0])"
    )
    peaks = []
    for n in (20_000, 160_000):
        rows = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (n, 512))
        for start in range(0, n, 4000):
            rows[start : start + 4000] = np.random.default_rng(start).random((4000, 512))
        del rows
        options = ["--codec", "binary + int8", "--chunk-mb", "8", "--sample", "2000"]
        done = subprocess.run(
            [sys.executable, "-c", code, "compress", "x.npy", "out", "--threads", "2", *options],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(1024 * int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 140_000 * 512 * 4 / 5
