import json

import pytest

pytest.importorskip("typer", reason="the package typer is not installed")
pytest.importorskip("wordllama", reason="the package wordllama is not installed")
pytest.importorskip("threadpoolctl", reason="the package threadpoolctl is not installed")

import typer
from typer.testing import CliRunner

from nestbit.cli.demo import demo
from nestbit.errors import InputError

SUBJECTS = ["cats", "trains", "bread", "rivers", "engines", "violins", "glaciers", "lamps"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = [
        {
            "id": f"{subject}-{i}",
            "text": f"A study of {subject} in the year {1900 + i}. "
            f"It says how {subject} were counted by hand in {1900 + i}, and what became of them.",
        }
        for subject in SUBJECTS
        for i in range(6)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(*arguments):
    app = typer.Typer()
    app.command()(demo)
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80"})


def test_the_demo_prints_its_table_and_answers_and_writes_the_report(corpus, tmp_path):
    out = tmp_path / "report.html"
    done = run("--corpus", corpus, "--out", out, "--query", "old violins", "--queries", 40)
    assert done.exit_code == 0, done.output
    for word in ("codec", "kept %", "float32", "binary + int8", "truncate(64) | int8"):
        assert word in done.stdout
    assert "…" not in done.stdout.split("codec")[1].split("float32's")[0]  # no column is cut
    assert "? old violins" in done.stdout
    assert "violins-" in done.stdout.split("? old violins")[1]
    assert f"Report: {out}" in done.stdout.replace("\n", "")
    assert "<svg" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "none"], "there is no file or folder none"),
        (["--limit", 0], "--limit must be at least 1"),
        (["--queries", 0], "--queries must be at least 1"),
        (["--out", "no/such/report.html"], "there is no folder no/such"),
        (["--out", "."], "is a folder"),
        (["--text-column", "body"], "--corpus, which is not given"),
        (["--model", "word2vec"], "unknown embedding model"),
    ],
)
def test_bad_options_are_told_before_any_work(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert list(tmp_path.iterdir()) == []
