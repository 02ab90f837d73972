"""TREC qrels, MTEB's Parquet, and queries held out of arrays."""

import numpy as np
import pytest

from nestbit.errors import FileFormatError, InputError
from nestbit.evaluate import hold_out, read_mteb, read_trec_qrels


def test_trec_qrels_are_read_between_any_blanks(tmp_path):
    path = tmp_path / "qrels.txt"
    path.write_text("301 0 FR940202-2-00150 1\n301\t0\tFR940104  -1\n\n302 Q0 d 2\n")
    assert read_trec_qrels(path) == {
        "301": {"FR940202-2-00150": 1, "FR940104": -1},
        "302": {"d": 2},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 0 d\n", "line 1: expected"),
        ("1 0 d 1\n1 0 d 0\n", "line 2: 'd' is judged twice"),
        ("1 0 d 0.5\n", "whole grade"),
        ("", "no judgements"),
    ],
)
def test_malformed_trec_qrels_are_named(tmp_path, text, words):
    path = tmp_path / "qrels.txt"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=words):
        read_trec_qrels(path)


def write(path, **columns):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(exist_ok=True)
    parquet.write_table(arrow.table(columns), path)


@pytest.fixture
def mteb(tmp_path):
    write(
        tmp_path / "corpus" / "corpus-00000-of-00001.parquet",
        _id=["d1", "d2"],
        title=["T", None],
        text=["one", "two"],
    )
    write(tmp_path / "queries" / "queries.parquet", _id=["q1", "q2"], text=["ask", "other"])
    write(
        tmp_path / "data" / "test-00000-of-00001.parquet",
        **{"query-id": ["q1", "q1"], "corpus-id": ["d2", "d1"], "score": [1.0, 0.0]},
    )
    return tmp_path


def test_mteb_parquet_gives_texts_and_the_judged_queries(mteb):
    collection = read_mteb(mteb)
    assert collection.doc_ids == ["d1", "d2"]
    assert collection.texts == ["T one", "two"]
    assert collection.query_ids == ["q1"]
    assert collection.queries == ["ask"]
    assert collection.qrels == {"q1": {"d2": 1, "d1": 0}}


def test_a_missing_split_names_those_there_are(mteb):
    with pytest.raises(InputError, match="the splits there are: test"):
        read_mteb(mteb, split="dev")


def test_a_missing_column_or_query_is_named(mteb):
    write(mteb / "queries" / "queries.parquet", _id=["q2"], text=["other"])
    with pytest.raises(FileFormatError, match="lacks 1 of the 1 queries"):
        read_mteb(mteb)
    write(mteb / "queries" / "queries.parquet", _id=["q1"], words=["other"])
    with pytest.raises(FileFormatError, match="lacks the column 'text'"):
        read_mteb(mteb)
    (mteb / "queries" / "queries.parquet").write_bytes(b"no parquet")
    with pytest.raises(FileFormatError, match="is not a Parquet file"):
        read_mteb(mteb)


def test_queries_held_out_are_no_longer_candidates(rows):
    held = hold_out(rows, 50, seed=3)
    assert held.queries.shape == (50, 96)
    assert len(held.rows) == len(rows) - 50
    np.testing.assert_array_equal(held.rows, rows[held.row_numbers])
    np.testing.assert_array_equal(held.queries, rows[held.query_numbers])
    assert not set(held.row_numbers) & set(held.query_numbers)
    assert (hold_out(rows, 50, seed=4).query_numbers != held.query_numbers).any()


def test_zero_rows_are_never_asked():
    x = np.zeros((20, 4), np.float32)
    x[::5] = 1
    assert set(hold_out(x, 2).query_numbers) <= {0, 5, 10, 15}


@pytest.mark.parametrize("m", [0, 1001])
def test_too_many_or_no_queries_cannot_be_held_out(rows, m):
    with pytest.raises(InputError, match="between 1 and 1000"):
        hold_out(rows, m)
