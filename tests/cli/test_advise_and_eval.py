"""advise and eval on files do what the library does on arrays."""

import json

import numpy as np
import pytest

import nestbit as nb
from nestbit.evaluate import exact_search, recall_at_k
from synthetic import text_like


@pytest.fixture
def files(tmp_path):
    rows, queries = text_like(1500, 96), text_like(80, 96, seed=1)
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "queries.npy", queries)
    (tmp_path / "rows.txt").write_text("".join(f"d{i}\n" for i in range(1500)))
    (tmp_path / "queries.txt").write_text("".join(f"q{i}\n" for i in range(80)))
    near = exact_search(rows, queries, 2).ids
    (tmp_path / "qrels.txt").write_text(
        "".join(f"q{i} 0 d{row} 1\n" for i, found in enumerate(near) for row in found)
    )
    return tmp_path


IDS = ("--ids", "rows.txt", "--query-ids", "queries.txt", "--qrels", "qrels.txt")
SPECS = ("--spec", "binary + int8", "--spec", "int8")


def test_advise_recommends_what_the_library_does(files, ok):
    printed = ok("advise", "rows.npy", "--queries", "queries.npy", *SPECS, "--recall", 0.85,
                 "--out", "a.json", "--out", "a.md")  # fmt: skip
    data = json.loads((files / "a.json").read_text())
    rows, queries = np.load(files / "rows.npy"), np.load(files / "queries.npy")
    expected = nb.advise(rows, queries, recall=0.85, specs=SPECS[1::2])
    assert data["best"]["spec"] == expected.best
    assert data["options"][0]["recall"] == pytest.approx(
        [expected.options[0].recall.value, *data["options"][0]["recall"][1:]]
    )
    assert " ".join(data["sentence"].split()) in " ".join(printed.split())
    assert (files / "a.md").read_text().startswith("# Advice")


def test_advise_with_judgements_and_a_report(files, ok):
    pytest.importorskip("ir_measures")
    pytest.importorskip("plotly")
    ok("advise", "rows.npy", "--queries", "queries.npy", *IDS, *SPECS, "--keep", 0.9,
       "--out", "a.html", "--out", "a.json")  # fmt: skip
    page = (files / "a.html").read_text()
    data = json.loads((files / "a.json").read_text())
    assert data["float"]["ndcg"] == 1
    assert data["sentence"].replace("'", "&#x27;") in page


def test_advise_holds_rows_out_and_reports_a_refusal_by_its_status(files, nestbit):
    done = nestbit("advise", "rows.npy", "--held-out", 60, "--spec", "binary", "--recall", 0.99)
    assert done.returncode == 1
    assert "No recommendation" in done.stdout


def test_eval_compares_a_compressed_file_with_float(files, ok):
    pytest.importorskip("ir_measures")
    pytest.importorskip("scipy")
    ok("compress", "rows.npy", "x.nest", "--codec", "binary + int8")
    printed = ok("eval", "x.nest", "rows.npy", "queries.npy", *IDS, "--out", "e.json")
    ok("eval", "x.nest", "rows.npy", "queries.npy", "--out", "e.md")
    data = json.loads((files / "e.json").read_text())
    rows, queries = np.load(files / "rows.npy"), np.load(files / "queries.npy")
    from nestbit.io import read_codes

    codec, codes, _ = read_codes(files / "x.nest")
    hits = nb.search(codec, codes, queries, 10)
    assert data["recall"] == pytest.approx(recall_at_k(hits.ids, exact_search(rows, queries).ids))
    assert data["judged"]["nDCG@10"]["float"] == 1
    assert 0.9 < data["judged"]["nDCG@10"]["kept"] <= 1
    assert 0.9 < data["kendall_tau"] < data["spearman_rho"] <= 1
    assert "nDCG@10" in printed
    assert "| recall |" in (files / "e.md").read_text()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("advise rows.npy --out a.txt", "known: .json, .md, .html"),
        ("advise rows.npy --keep 0.9", "needs qrels"),
        ("advise rows.npy --query-ids queries.txt", "which is not given"),
        ("advise rows.npy --gb 1", "give rows as well"),
        ("advise rows.npy --ids queries.txt", "queries.txt has 80 ids, rows.npy 1500 rows"),
        ("advise rows.npy --qrels qrels.txt --collection .", "not both"),
        ("eval x.nest rows.npy queries.npy --plan deep", "known: default, hamming, funnel"),
        ("eval x.nest rows.npy queries.npy --out a.txt", "known: .json, .md"),
    ],
)
def test_mistakes_are_told_in_one_line(files, nestbit, command, message):
    done = nestbit(*command.split())
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
