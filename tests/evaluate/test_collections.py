"""`read_beir`: what a folder holds, line by line, and what is refused."""

import json

import pytest

from nestbit.errors import FileFormatError, InputError
from nestbit.evaluate import read_beir


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "qrels").mkdir()
    write_jsonl(
        tmp_path / "corpus.jsonl",
        [
            {"_id": "d1", "title": "One", "text": "first", "metadata": {}},
            {"_id": "d2", "title": "", "text": "line\u2028separator"},
            {"_id": "d3", "text": "no title"},
        ],
    )
    write_jsonl(
        tmp_path / "queries.jsonl",
        [
            {"_id": "q3", "text": "three"},
            {"_id": "q1", "text": "one"},
            {"_id": "q2", "text": "two"},
        ],
    )
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td3\t1\nq3\td2\t0\n"
    )
    return tmp_path


def write_jsonl(path, records):
    # Unescaped, so that a line separator inside a text stands in the file as it is.
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_bytes(text.encode())


def test_texts_are_title_and_text_in_file_order(folder):
    collection = read_beir(folder)
    assert collection.doc_ids == ["d1", "d2", "d3"]
    assert collection.texts == ["One first", "line\u2028separator", "no title"]


def test_only_the_judged_queries_of_the_split_are_read(folder):
    collection = read_beir(folder)
    assert collection.query_ids == ["q3", "q1"]
    assert collection.queries == ["three", "one"]
    assert collection.qrels == {"q1": {"d1": 2, "d3": 1}, "q3": {"d2": 0}}


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_no_other_line_break_ends_a_line(folder, separator):
    # JSON escapes control characters; the line breaks above U+007F may stand as they are.
    record = {"_id": "d4", "text": f"a{separator}b"}
    write_jsonl(folder / "corpus.jsonl", [record])
    assert read_beir(folder).texts == [f"a{separator}b"]


def test_windows_line_ends_blank_lines_and_a_missing_header_are_read(folder):
    (folder / "qrels" / "test.tsv").write_bytes(b"q1\td1\t1\r\n\r\nq3\td2\t1")
    assert read_beir(folder).qrels == {"q1": {"d1": 1}, "q3": {"d2": 1}}


def test_a_missing_split_names_the_splits_there_are(folder):
    (folder / "qrels" / "dev.tsv").write_text("q1\td1\t1\n")
    with pytest.raises(InputError, match="the splits there are: dev, test"):
        read_beir(folder, "train")


def test_a_missing_corpus_is_named(folder):
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"there is no file .*corpus\.jsonl"):
        read_beir(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", b'{"_id": "d1", "text": "x"}\n{"_id"', r"corpus\.jsonl, line 2: not JSON"),
        ("corpus.jsonl", b'["d1"]', "line 1: expected an object, got list"),
        ("corpus.jsonl", b'{"_id": "d1"}', "line 1: 'text' must be a string, got None"),
        ("corpus.jsonl", b'{"_id": 1, "text": "x"}', "'_id' must be a string, got 1"),
        ("corpus.jsonl", b'{"_id": "d1", "title": null, "text": "x"}', "'title' must be a string"),
        ("corpus.jsonl", b'{"_id": "d", "text": "\xff"}', "line 1: not UTF-8"),
        ("corpus.jsonl", b'{"_id": "d", "text": ""}\n' * 2, "line 2: the id 'd' appears twice"),
        ("queries.jsonl", b'{"_id": "q1", "text": "x"}', "lacks 1 of the 2 queries judged"),
        ("qrels/test.tsv", b"query-id\tcorpus-id\tscore\nq1\td1\n", "line 2: expected query id"),
        ("qrels/test.tsv", b"q1 d1 1\n", "line 1: expected query id"),
        ("qrels/test.tsv", b"q1\td1\thigh\n", "line 1: expected query id"),
        ("qrels/test.tsv", b"q1\td1\t1\nq1\td1\t2\n", "line 2: 'd1' is judged twice"),
        ("qrels/test.tsv", b"query-id\tcorpus-id\tscore\n", "holds no judgements"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(folder, file, content, message):
    (folder / file).write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_beir(folder)
