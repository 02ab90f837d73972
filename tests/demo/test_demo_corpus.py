import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestbit.demo.corpus import Deduplicator, Entry, contains, first_sentence, sample, shorten
from nestbit.demo.docstrings import _entries, docstring_corpus


@pytest.mark.parametrize(
    ("text", "first", "rest"),
    [
        ("One thing. Another thing.", "One thing.", "Another thing."),
        ("One thing.\n\nMore of it.", "One thing.", "More of it."),
        ("A title\n\nThen text. And more.", "A title", "Then text. And more."),
        ("Use a format, e.g. JSON. Then go.", "Use a format, e.g. JSON.", "Then go."),
        ("Is it so? Yes.", "Is it so?", "Yes."),
        ('He said "no." Then left.', 'He said "no."', "Then left."),
        ("Version 3.11 of x.y is out. Good.", "Version 3.11 of x.y is out.", "Good."),
        ("only this", "only this", ""),
        ("", "", ""),
    ],
)
def test_the_first_sentence_ends_where_a_reader_ends_it(text, first, rest):
    assert first_sentence(text) == (first, rest)


@given(st.text())
def test_splitting_loses_nothing_but_space(text):
    first, rest = first_sentence(text)
    assert "".join((first + rest).split()) == "".join(text.split())


@given(st.text(), st.integers(1, 50))
def test_a_shortened_text_is_a_prefix_within_the_limit(text, limit):
    short = shorten(text, limit)
    assert text.startswith(short)
    assert len(short) <= limit


def test_a_query_is_found_in_a_document_whatever_its_spacing_and_case():
    assert contains("x  Read the\n Whole FILE into memory", "read the whole file.")
    assert not contains("read the file", "read the whole file")


def test_a_repeated_document_is_refused_and_a_repeated_query_emptied():
    keep = Deduplicator()
    assert keep.admit(Entry("a", "q one", "d one"), "d one") == Entry("a", "q one", "d one")
    assert keep.admit(Entry("b", "q two", "D  ONE"), "D  ONE") is None
    assert keep.admit(Entry("c", "Q One", "d two"), "d two") == Entry("c", "", "d two")
    assert keep.admit(Entry("d", "", "d three"), "d three") == Entry("d", "", "d three")


@given(st.integers(0, 60), st.integers(1, 30), st.integers(0, 3))
def test_a_sample_keeps_the_order_and_counts_everything(n, limit, seed):
    entries = [Entry(str(i), "", "") for i in range(n)]
    kept, total = sample(iter(entries), limit, seed)
    numbers = [int(e.name) for e in kept]
    assert total == n
    assert len(kept) == min(n, limit)
    assert numbers == sorted(set(numbers))
    assert sample(iter(entries), limit, seed) == (kept, total)


def test_every_entry_is_sampled_about_equally_often():
    entries = [Entry(str(i), "", "") for i in range(20)]
    counts = [0] * 20
    for seed in range(2000):
        for entry in sample(entries, 5, seed)[0]:
            counts[int(entry.name)] += 1
    assert min(counts) > 400  # 500 expected, standard deviation 19
    assert max(counts) < 600


SOURCE = '''
raise SystemExit("this file is read, never run")

class Box:
    """Hold things that belong together. A box has a lid, four walls and a floor of strong wood.
    """

    def add(self, thing):
        """Put one thing into the box.

        Raises an error when the box is full, or when the thing has no size at all.
        """

    async def wait(self):
        """box.wait(timeout) -> bool

        Wait until the box is empty.

        Returns whether it was emptied within the timeout, which is given in seconds.
        """

    def echo(self):
        """Say the same thing twice. Say the same thing twice, and then some more of it here."""

    def short(self):
        """Too short. Says nothing."""

def signature(a, b):
    """signature(a : int, b : int) -> int  does many things with whole numbers of all sizes."""
'''


def test_docstrings_become_known_items_without_being_run(tmp_path):
    (tmp_path / "pkg").mkdir()
    file = tmp_path / "pkg" / "things.py"
    file.write_text(SOURCE)
    found = {entry.name: entry for entry, _ in _entries(tmp_path, file)}
    assert set(found) == {"pkg.things.Box", "pkg.things.Box.add", "pkg.things.Box.wait"}
    add = found["pkg.things.Box.add"]
    assert add.query == "Put one thing into the box."
    assert add.document.startswith("pkg.things.Box.add\nRaises an error when the box is full")
    assert found["pkg.things.Box.wait"].query == "Wait until the box is empty."


@pytest.mark.parametrize("data", [b"def (", b"x = '\0'", b"\xff\xfe", b"(" * 5000, b""])
def test_a_file_that_is_no_python_is_passed_over(tmp_path, data):
    file = tmp_path / "x.py"
    file.write_bytes(data)
    assert list(_entries(tmp_path, file)) == []


@pytest.fixture(scope="module")
def docstrings():
    return docstring_corpus(1500)


def test_no_query_stands_in_its_own_document(docstrings):
    assert len(docstrings.entries) == 1500
    assert all(not contains(e.document, e.query) for e in docstrings.entries)


def test_every_docstring_entry_is_a_known_item_of_its_own(docstrings):
    assert docstrings.known_items == list(range(1500))
    assert len({e.query.casefold() for e in docstrings.entries}) == 1500
    assert len({e.document for e in docstrings.entries}) == 1500


def test_the_corpus_is_the_same_in_another_process(docstrings):
    code = (
        "import hashlib; from nestbit.demo.docstrings import docstring_corpus as c;"
        "print(hashlib.sha256(repr(c(1500).entries).encode()).hexdigest())"
    )
    here = hashlib.sha256(repr(docstrings.entries).encode()).hexdigest()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here


def test_the_standard_library_comes_first(docstrings):
    assert docstrings.entries[0].name.startswith("__future__")
    assert {"json.dumps", "threading.Thread.join"} & {e.name for e in docstrings.entries} or (
        docstrings.entries[-1].name < "json"
    )
