"""An index from the command line: build, add, search, delete, compact, stats, check."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import nestbit as nb


@pytest.fixture
def files(tmp_path, rows, queries):
    np.save(tmp_path / "rows.npy", rows[:1500])
    np.save(tmp_path / "more.npy", rows[1500:])
    np.save(tmp_path / "queries.npy", queries)
    return tmp_path


def test_an_index_of_vectors_is_built_changed_and_searched(files, ok, rows, queries):
    printed = ok("build", "x.nest", "rows.npy", "--codec", "binary + int8")
    assert re.search(r"^rows +1,500 of 96 dimensions$", printed, re.M)
    assert re.search(r"^bytes per row +108 \(3.6 times smaller\)$", printed, re.M)
    assert "1,500 of them new" in ok("add", "x.nest", "rows.npy", "--first-id", 5000)
    assert "500 of them new" in ok("add", "x.nest", "more.npy", "--first-id", 1500)
    assert re.search(
        r"rows +3,500, 0 of", ok("add", "x.nest", "more.npy", "--first-id", 1500, "--upsert")
    )
    assert re.search(r"^deleted +2 of 3$", ok("delete", "x.nest", "5000", "5001", "9999"), re.M)
    assert re.search(r"^dropped rows +502$", ok("compact", "x.nest"), re.M)
    assert "all right" in ok("check", "x.nest")
    assert re.search(r"^segments +1,", ok("stats", "x.nest"), re.M)
    ok("search", "x.nest", "queries.npy", "-k", 7, "--out", "hits.jsonl")
    ok("search", "x.nest", "queries.npy", "-k", 7, "--out", "hits.npz")
    with nb.open(files / "x.nest") as index:
        expected = index.search(queries, k=7)
    told = [json.loads(line) for line in (files / "hits.jsonl").read_text().splitlines()]
    assert [hit["ids"] for hit in told] == expected.ids.tolist()
    with np.load(files / "hits.npz") as arrays:
        np.testing.assert_array_equal(arrays["ids"], expected.ids)
    printed = ok("search", "x.nest", "queries.npy", "--show", 2)
    assert "the first 2 of 20 queries" in printed


def test_an_index_is_partitioned_and_searched_in_part(files, ok, nestbit, queries):
    ok("build", "x.nest", "rows.npy", "--codec", "nested(1) + int8")
    assert re.search(r"^partitions +30$", ok("compact", "x.nest", "--partitions", 30), re.M)
    assert re.search(r"^partitions +30$", ok("stats", "x.nest"), re.M)
    for options in (["--n-probe", 4], ["--target-recall", 0.9]):
        ok("search", "x.nest", "queries.npy", "--out", "hits.npz", *options)
        name = options[0][2:].replace("-", "_")
        with nb.open(files / "x.nest") as index, np.load(files / "hits.npz") as arrays:
            plan = nb.Plan.default(index.codec) if name == "n_probe" else None
            expected = index.search(queries, plan=plan, **{name: options[1]})
            np.testing.assert_array_equal(arrays["ids"], expected.ids)
    two = nestbit("search", "x.nest", "queries.npy", "--target-recall", 0.9, "--plan", "funnel")
    assert two.returncode
    assert "leave out --plan" in two.stderr
    assert "number, 0 for none, or auto" in nestbit("compact", "x.nest", "--partitions", "x").stderr
    assert re.search(r"^partitions +0$", ok("compact", "x.nest", "--partitions", 0), re.M)


def test_ids_of_the_vectors_file_are_the_ids_of_the_index(tmp_path, ok, rows):
    with (tmp_path / "rows.jsonl").open("w") as file:
        for i in range(30):
            print(json.dumps({"id": f"doc-{i}", "v": rows[i].tolist()}), file=file)
    ok("build", "x.nest", "rows.jsonl", "--codec", "float32")
    np.save(tmp_path / "q.npy", rows[:2])
    assert "doc-1" in ok("search", "x.nest", "q.npy", "-k", 1)
    assert "deleted  1 of 1" in ok("delete", "x.nest", "doc-1")


def test_texts_are_embedded_stored_filtered_and_searched(tmp_path, ok):
    pytest.importorskip("wordllama")
    texts = [
        "a recipe for apple pie",
        "how to repair a bicycle",
        "the history of Rome",
        "baking bread",
    ]
    with (tmp_path / "texts.jsonl").open("w") as file:
        for i, text in enumerate(texts):
            print(json.dumps({"_id": f"t{i}", "text": text, "year": 2000 + i}), file=file)
    ok(
        "build",
        "x.nest",
        "texts.jsonl",
        "--model",
        "wordllama",
        "--codec",
        "int8",
        "--field",
        "year",
    )
    (tmp_path / "more.jsonl").write_text('{"_id": "t9", "text": "mending a broken bike chain"}\n')
    ok("add", "x.nest", "more.jsonl")
    printed = ok("search", "x.nest", "fix my bike", "-k", 2)
    assert "bicycle" in printed
    assert "bike chain" in printed
    printed = ok("search", "x.nest", "food", "-k", 1, "--where", '{"year": {"gte": 2003}}')
    assert "baking bread" in printed
    assert "wordllama" in ok("stats", "x.nest")


MISTAKES = {
    "no index": ("stats none.nest", "none.nest is not an index"),
    "existing": ("build x.nest rows.npy", "exists already"),
    "rows without ids": ("add x.nest rows.npy", "number its rows with --first-id"),
    "ids that are there": ("add x.nest rows.npy --first-id 0", "in the index already; use upsert"),
    "other dimensions": ("add x.nest wide.npy --first-id 9", "7 dimensions"),
    "text without a model": ("search x.nest hello", "has no embedding model"),
    "bad filter": ("search x.nest rows.npy --where {", "--where is not JSON"),
    "filter on a file": ("search x.codes rows.npy --where {}", "is no index"),
    "unknown operator": ('search x.nest rows.npy --where {"a":{"is":1}}', "known: eq, ne"),
    "id of another type": ("delete x.nest abc", "are integers"),
    "unknown stage": ("build y.nest rows.npy --codec bin", "coders: binary"),
    "unknown model": ("build y.nest texts.jsonl --model bert", "unknown embedding model"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_the_user_can_mend_is_told_in_one_line(tmp_path, nestbit, rows, mistake):
    np.save(tmp_path / "rows.npy", rows[:50])
    np.save(tmp_path / "wide.npy", np.ones((3, 7), np.float32))
    (tmp_path / "texts.jsonl").write_text('{"text": "words"}\n')
    codec = nb.fit(rows, "int8")
    nb.create(tmp_path / "x.nest", codec).close()
    with nb.open(tmp_path / "x.nest") as index:
        index.add(range(50), rows[:50])
    nestbit("compress", "rows.npy", "x.codes", "--codec", "int8")
    command, message = MISTAKES[mistake]
    done = nestbit(*command.split(" "))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    if "y.nest" in command:
        assert not (tmp_path / "y.nest").exists()


def test_ctrl_c_leaves_a_valid_index(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", rng.standard_normal((800_000, 96)).astype(np.float16))
    command = [sys.executable, "-m", "nestbit.cli", "build", "x.nest", "rows.npy"]
    child = subprocess.Popen(
        [*command, "--codec", "binary", "--sample", "2000"], cwd=tmp_path,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    segments = tmp_path / "x.nest" / "segments"
    while not (segments.is_dir() and any(not n.startswith(".") for n in os.listdir(segments))):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=120)
    assert child.returncode != 0
    with nb.open(tmp_path / "x.nest") as index:
        index.check()
        assert f"holds {len(index):,} rows" in told
        index.delete([0])
