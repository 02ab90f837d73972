import json

import pytest

from nestbit.demo.files import file_corpus
from nestbit.errors import FileFormatError, InputError

SENTENCES = [
    "Cats sleep most of the day in warm places. They hunt small animals at night in the dark.",
    "Bread is made of flour and water. The dough must rise for several hours before it is baked.",
    "Trains run on rails between two cities. Passengers buy a ticket at the station or on board.",
]


def queries(corpus):
    return [entry.query for entry in corpus.entries]


def test_a_text_file_is_cut_into_paragraphs_with_a_sentence_as_query(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(
        "\n\n".join(s + " More about this and that follows here. " * 5 for s in SENTENCES)
    )
    corpus = file_corpus(path, 100)
    assert queries(corpus) == [s.split(". ")[0] + "." for s in SENTENCES]
    assert corpus.entries[1].name == "a.txt, paragraph 2"
    assert corpus.entries[0].document.startswith("They hunt small animals")
    assert "first sentence must find the rest" in corpus.queries_from
    assert corpus.source == f"3 texts of {path}"


def test_short_paragraphs_are_joined_and_long_ones_cut(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("# Heading\n\n" + SENTENCES[0] + "\n\n" + "word " * 3000)
    entries = file_corpus(path, 100).entries
    assert entries[0].document.startswith("# Heading") or entries[0].query.startswith("# Heading")
    assert max(len(e.document) for e in entries) <= 2000


def test_a_folder_is_read_in_order_whatever_it_holds(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "b.txt").write_text(SENTENCES[0])
    (tmp_path / "sub" / "c.rst").write_text(SENTENCES[1])
    (tmp_path / ".git" / "d.txt").write_text(SENTENCES[2])
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": SENTENCES[2]}) + "\n")
    (tmp_path / "x.png").write_bytes(b"\0\1\2")
    names = [entry.name for entry in file_corpus(tmp_path, 100).entries]
    assert names == ["a.jsonl, row 1", "b.txt, paragraph 1", "sub/c.rst, paragraph 1"]


RECORDS = [
    {"id": "k1", "title": "The habits of domestic cats", "text": SENTENCES[0]},
    {"id": "k2", "title": "", "text": SENTENCES[1]},
    {"id": "k3", "title": "Short", "text": SENTENCES[2]},
    {"id": "k4", "title": "Nothing to be found here", "text": ""},
]


def write_jsonl(path):
    path.write_text("".join(json.dumps(r) + "\n" for r in RECORDS))


def write_csv(path, delimiter=","):
    import csv

    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "title", "text"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(RECORDS)


def write_parquet(path):
    pa = pytest.importorskip("pyarrow", reason="the package pyarrow is not installed")
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(RECORDS), path)


WRITERS = {
    "x.jsonl": write_jsonl,
    "x.csv": write_csv,
    "semicolons.csv": lambda path: write_csv(path, ";"),
    "x.tsv": lambda path: write_csv(path, "\t"),
    "x.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_table_gives_titles_as_queries_and_first_sentences_without_them(tmp_path, name):
    WRITERS[name](tmp_path / name)
    corpus = file_corpus(tmp_path / name, 100)
    assert [e.name for e in corpus.entries] == ["k1", "k2", "k3"]
    assert queries(corpus) == [
        "The habits of domestic cats",
        "Bread is made of flour and water.",
        "Trains run on rails between two cities.",
    ]
    assert corpus.entries[0].document == SENTENCES[0]
    assert corpus.entries[1].document == SENTENCES[1].partition(". ")[2]
    assert corpus.queries_from == (
        "a title must find its text and a text's first sentence must find the rest of it"
    )


@pytest.mark.parametrize("name", WRITERS)
def test_the_text_column_can_be_named(tmp_path, name):
    WRITERS[name](tmp_path / name)
    with pytest.raises(InputError, match=r"has no column 'body' of text; it has: id, title, text"):
        file_corpus(tmp_path / name, 100, text_column="body")
    with pytest.raises(InputError, match="holds no text of 8 or more words"):
        file_corpus(tmp_path / name, 100, text_column="id")


def test_a_table_without_a_usual_name_lists_its_columns(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"name one with --text-column: a, b"):
        file_corpus(tmp_path / "x.csv", 100)


def test_the_only_column_is_the_text_whatever_its_name(tmp_path):
    (tmp_path / "x.csv").write_text("odd name\n" + SENTENCES[0] + "\n")
    assert queries(file_corpus(tmp_path / "x.csv", 9)) == [
        "Cats sleep most of the day in warm places."
    ]


def test_a_title_repeated_at_the_head_of_its_text_does_not_give_the_answer_away(tmp_path):
    title = "The habits of domestic cats"
    record = {"title": title, "text": f"{title} {SENTENCES[0]}"}
    (tmp_path / "x.jsonl").write_text(json.dumps(record))
    (entry,) = file_corpus(tmp_path / "x.jsonl", 9).entries
    assert entry.query == title
    assert title not in entry.document


def test_a_text_of_one_sentence_is_searched_among_but_not_for(tmp_path):
    one = "This is one single sentence of more than eight words in all"
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in [one, *SENTENCES]))
    corpus = file_corpus(tmp_path / "x.jsonl", 9)
    assert corpus.known_items == [1, 2, 3]
    assert corpus.entries[0].document == one


def test_a_limit_takes_a_stated_random_sample(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        "\n".join(json.dumps({"text": f"{SENTENCES[0]} It is cat {i}."}) for i in range(50))
    )
    corpus = file_corpus(path, 10, seed=3)
    assert len(corpus.entries) == 10
    assert corpus.source == f"10 of the 50 texts of {path} (seed 3)"
    assert corpus.entries == file_corpus(path, 10, seed=3).entries
    assert corpus.entries != file_corpus(path, 10, seed=4).entries


def test_line_separators_of_unicode_do_not_end_a_json_line(tmp_path):
    text = SENTENCES[0] + "\u2028" + SENTENCES[1]
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False))
    assert len(file_corpus(tmp_path / "x.jsonl", 9).entries) == 1


def test_bytes_that_are_no_utf8_are_replaced_in_text_and_refused_in_json(tmp_path):
    (tmp_path / "x.txt").write_bytes(SENTENCES[0].encode() + b" \xff\xfe")
    assert "\ufffd" in file_corpus(tmp_path / "x.txt", 9).entries[0].document
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "\xff"}')
    with pytest.raises(FileFormatError, match=r"x\.jsonl, line 1"):
        file_corpus(tmp_path / "x.jsonl", 9)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("x.jsonl", b'{"text": "a"}\n{"text"', FileFormatError, r"x\.jsonl, line 2: not JSON"),
        ("x.jsonl", b"[1]\n", FileFormatError, r"line 1: expected an object, got list"),
        ("x.jsonl", b"", InputError, "has no column of text"),
        ("x.jsonl", b'{"n": 5}', InputError, "has no column of text"),
        ("x.csv", b"", InputError, "has no column of text"),
        ("x.csv", b"text,title\nonly one\n", FileFormatError, r"line 2: 1 fields"),
        ("x.csv", b"text,text\na,b\n", FileFormatError, "repeats a column"),
        ("x.parquet", b"PAR1 and more", FileFormatError, "is not a Parquet file"),
        ("x.txt", b"", InputError, "holds no text of 8 or more words"),
        ("x.txt", b"few words", InputError, "holds no text of 8 or more words"),
        ("x.txt", b"\0\1\2\3", InputError, "is binary, not text"),
        ("x.png", b"", InputError, r"unknown ending '.png'; known are: .txt"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, name, content, error, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        file_corpus(tmp_path / name, 100)


def test_a_path_that_is_not_there_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="there is no file or folder"):
        file_corpus(tmp_path / "none", 100)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no file ending in .txt .* \(1 other files\)"):
        file_corpus(tmp_path, 100)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text(SENTENCES[0])

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(InputError, match=r"cannot read .*x\.txt: Permission denied"):
        file_corpus(path, 100)
