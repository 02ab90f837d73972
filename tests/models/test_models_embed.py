import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from nestbit.errors import FileFormatError, InputError
from nestbit.models import EmbeddingModel, embed

TEXTS = [f"text number {i}" for i in range(103)]


class CountingModel:
    """Embeds a text by its characters, and remembers which texts it was given."""

    def __init__(self, dim=5, name="counting", shift=0):
        self.name, self.dim, self.shift = name, dim, shift
        self.seen = []

    def encode_documents(self, texts):
        self.seen.extend(texts)
        rows = [np.random.default_rng(list(text.encode())) for text in texts]
        return np.array([row.normal(size=self.dim) + self.shift for row in rows], dtype=np.float32)

    def encode_queries(self, texts):
        return -self.encode_documents(texts)


class StoppingModel(CountingModel):
    def __init__(self, after, **options):
        super().__init__(**options)
        self.after = after

    def encode_documents(self, texts):
        if len(self.seen) >= self.after:
            raise KeyboardInterrupt
        return super().encode_documents(texts)


def stop_halfway(path, after=50, batch_size=10, **options):
    model = StoppingModel(after, **options)
    with pytest.raises(KeyboardInterrupt):
        embed(model, TEXTS, path=path, batch_size=batch_size, progress=False)
    return model


def test_the_protocol_is_satisfied_by_any_class_with_its_four_members():
    assert isinstance(CountingModel(), EmbeddingModel)
    assert not isinstance(object(), EmbeddingModel)


@pytest.mark.parametrize("batch_size", [1, 7, 103, 1000])
def test_batches_change_nothing_in_memory_or_on_disk(tmp_path, batch_size):
    whole = CountingModel().encode_documents(TEXTS)
    memory = embed(CountingModel(), TEXTS, batch_size=batch_size, progress=False)
    disk = embed(
        CountingModel(), TEXTS, path=tmp_path / "x.npy", batch_size=batch_size, progress=False
    )
    np.testing.assert_array_equal(memory, whole)
    np.testing.assert_array_equal(disk, whole)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy", allow_pickle=False), whole)
    assert not (tmp_path / "x.npy.partial").exists()


def test_a_generator_is_read_once_and_gives_the_same_file(tmp_path):
    listed = embed(CountingModel(), TEXTS, path=tmp_path / "a.npy", progress=False)
    streamed = embed(
        CountingModel(), (t for t in TEXTS), path=tmp_path / "b.npy", batch_size=9, progress=False
    )
    np.testing.assert_array_equal(listed, streamed)


def test_queries_go_through_the_query_encoder(tmp_path):
    documents = embed(CountingModel(), TEXTS, progress=False)
    queries = embed(CountingModel(), TEXTS, kind="queries", progress=False)
    np.testing.assert_array_equal(queries, -documents)


@pytest.mark.parametrize("path", [None, "x.npy"])
def test_no_texts_give_no_rows_of_the_right_width(tmp_path, path):
    x = embed(CountingModel(), [], path=path and tmp_path / path, progress=False)
    assert x.shape == (0, 5)
    assert x.dtype == np.float32


def test_an_interrupted_run_embeds_only_what_is_missing(tmp_path):
    path = tmp_path / "x.npy"
    first = stop_halfway(path)
    second = CountingModel()
    x = embed(second, TEXTS, path=path, batch_size=10, progress=False)
    np.testing.assert_array_equal(x, CountingModel().encode_documents(TEXTS))
    # The first text is embedded once more, to see that the model is the same.
    assert second.seen == [TEXTS[0], *TEXTS[len(first.seen) :]]


def test_a_run_killed_with_sigkill_resumes_with_at_most_one_batch_embedded_twice(tmp_path):
    path, log, batch = tmp_path / "x.npy", tmp_path / "log", 16
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, sys, time
        import numpy as np
        from nestbit.models import embed

        class Slow:
            name, dim = "slow", 4
            def encode_documents(self, texts):
                with open({str(log)!r}, "a") as file:
                    file.writelines(text + "\\n" for text in texts)
                    file.flush(); os.fsync(file.fileno())
                time.sleep(float(sys.argv[1]))
                return np.array([[int(t), 1, 2, 3] for t in texts], dtype=np.float32)
            encode_queries = encode_documents

        texts = [str(i) for i in range(400)]
        embed(Slow(), texts, path={str(path)!r}, batch_size={batch}, progress=False)
        """)
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    process = subprocess.Popen([sys.executable, script, "0.05"], env=environment)
    deadline = time.monotonic() + 60
    while not log.exists() or len(log.read_text().splitlines()) < 200:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not path.exists()

    done_before = len(log.read_text().splitlines())
    subprocess.run([sys.executable, script, "0"], env=environment, check=True, timeout=60)
    seen = [int(line) for line in log.read_text().splitlines()]
    counts = np.bincount(seen, minlength=400)
    assert counts.min() == 1
    assert counts.max() <= 2
    twice = np.flatnonzero(counts == 2)
    assert len(twice) <= batch + 1  # the probe of the first text, and one batch
    assert len(seen) - done_before <= 400 - done_before + batch + 1
    np.testing.assert_array_equal(np.load(path)[:, 0], np.arange(400))


def test_a_finished_file_is_returned_without_embedding_again(tmp_path):
    path = tmp_path / "x.npy"
    embed(CountingModel(), TEXTS, path=path, progress=False)
    again = CountingModel()
    x = embed(again, TEXTS, path=path, progress=False)
    assert again.seen == []
    np.testing.assert_array_equal(x, CountingModel().encode_documents(TEXTS))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "x.npy.journal"]


@pytest.mark.parametrize(
    "texts",
    [
        [*TEXTS[:20], "changed", *TEXTS[21:]],
        TEXTS[:30],
        ["text number 0text number 1", "", *TEXTS[2:]],
        TEXTS[::-1],
    ],
    ids=["one text changed", "fewer texts", "a boundary moved", "another order"],
)
def test_a_changed_corpus_is_refused(tmp_path, texts):
    path = tmp_path / "x.npy"
    stop_halfway(path)
    with pytest.raises(InputError, match=r"the texts differ from the 50 .* restart=True"):
        embed(CountingModel(), texts, path=path, progress=False)


def test_texts_changed_beyond_the_finished_rows_are_simply_embedded(tmp_path):
    path = tmp_path / "x.npy"
    stop_halfway(path)
    texts = [*TEXTS[:60], "new", "newer"]
    x = embed(CountingModel(), texts, path=path, progress=False)
    np.testing.assert_array_equal(x, CountingModel().encode_documents(texts))


@pytest.mark.parametrize(
    "texts", [TEXTS[:-1], [*TEXTS, "more"], [*TEXTS[:-1], "other"]], ids=["fewer", "more", "other"]
)
def test_a_finished_file_is_refused_for_another_corpus(tmp_path, texts):
    path = tmp_path / "x.npy"
    embed(CountingModel(), TEXTS, path=path, progress=False)
    before = path.read_bytes()
    with pytest.raises(InputError, match="restart=True"):
        embed(CountingModel(), texts, path=path, progress=False)
    assert path.read_bytes() == before
    x = embed(CountingModel(), texts, path=path, progress=False, restart=True)
    np.testing.assert_array_equal(x, CountingModel().encode_documents(texts))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (CountingModel(name="another"), "model 'counting', now it is 'another'"),
        (CountingModel(dim=6), "dimensions 5, now it is 6"),
        (CountingModel(shift=1), "embeds the first text differently"),
    ],
    ids=["name", "dim", "same name, other weights"],
)
def test_another_model_is_refused(tmp_path, model, message):
    path = tmp_path / "x.npy"
    stop_halfway(path)
    with pytest.raises(InputError, match=message):
        embed(model, TEXTS, path=path, progress=False)


def test_another_kind_of_text_is_refused(tmp_path):
    stop_halfway(tmp_path / "x.npy")
    with pytest.raises(InputError, match="kind of text 'documents', now it is 'queries'"):
        embed(CountingModel(), TEXTS, path=tmp_path / "x.npy", kind="queries", progress=False)


def test_restart_discards_what_is_on_disk(tmp_path):
    path = tmp_path / "x.npy"
    stop_halfway(path)
    model = CountingModel(name="another")
    x = embed(model, TEXTS[:7], path=path, progress=False, restart=True)
    assert x.shape == (7, 5)
    assert model.seen == TEXTS[:7]


def test_rows_written_after_the_last_journal_are_dropped(tmp_path):
    path = tmp_path / "x.npy"
    stop_halfway(path)
    with (tmp_path / "x.npy.partial").open("ab") as file:
        file.write(b"\x01" * 33)  # half a batch that reached the disk before the kill
    x = embed(CountingModel(), TEXTS, path=path, batch_size=10, progress=False)
    np.testing.assert_array_equal(x, CountingModel().encode_documents(TEXTS))


def test_a_kill_between_the_last_journal_and_the_rename_costs_no_embedding(tmp_path):
    path = tmp_path / "x.npy"
    embed(CountingModel(), TEXTS, path=path, progress=False)
    path.rename(tmp_path / "x.npy.partial")
    model = CountingModel()
    x = embed(model, TEXTS, path=path, progress=False)
    assert model.seen == [TEXTS[0]]
    np.testing.assert_array_equal(x, CountingModel().encode_documents(TEXTS))


def test_a_kill_before_the_rename_over_an_older_file_returns_the_newer_rows(tmp_path):
    path = tmp_path / "x.npy"
    embed(CountingModel(), TEXTS[:9], path=tmp_path / "old.npy", progress=False)
    embed(CountingModel(), TEXTS, path=path, progress=False)
    path.rename(tmp_path / "x.npy.partial")
    (tmp_path / "old.npy").rename(path)
    assert len(embed(CountingModel(), TEXTS, path=path, progress=False)) == len(TEXTS)


def test_a_deleted_result_is_made_anew(tmp_path):
    path = tmp_path / "x.npy"
    embed(CountingModel(), TEXTS, path=path, progress=False)
    path.unlink()
    model = CountingModel()
    embed(model, TEXTS, path=path, progress=False)
    assert model.seen == TEXTS


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "truncated":
        del data[-50 * 4 :]
    else:
        data[200] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", "altered"])
def test_a_damaged_partial_file_is_named(tmp_path, how):
    stop_halfway(tmp_path / "x.npy")
    damage(tmp_path / "x.npy.partial", how)
    with pytest.raises(FileFormatError, match=rf"x\.npy\.partial .*{how}.*delete it"):
        embed(CountingModel(), TEXTS, path=tmp_path / "x.npy", progress=False)


def test_a_truncated_result_is_named(tmp_path):
    embed(CountingModel(), TEXTS, path=tmp_path / "x.npy", progress=False)
    damage(tmp_path / "x.npy", "truncated")
    with pytest.raises(FileFormatError, match=r"x\.npy"):
        embed(CountingModel(), TEXTS, path=tmp_path / "x.npy", progress=False)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"rows": 3}', "rows as text", "newer format"],
)
def test_a_foreign_journal_is_named(tmp_path, content):
    stop_halfway(tmp_path / "x.npy")
    journal = tmp_path / "x.npy.journal"
    fields = json.loads(journal.read_text())
    if content == "rows as text":
        content = json.dumps(fields | {"rows": "50"})
    elif content == "newer format":
        content = json.dumps(fields | {"format": 99})
    journal.write_text(content)
    with pytest.raises(FileFormatError, match=r"x\.npy\.journal"):
        embed(CountingModel(), TEXTS, path=tmp_path / "x.npy", progress=False)


def test_two_runs_cannot_write_one_file(tmp_path):
    path = tmp_path / "x.npy"

    class Reentrant(CountingModel):
        def encode_documents(self, texts):
            embed(CountingModel(), TEXTS, path=path, progress=False)
            return super().encode_documents(texts)

    with pytest.raises(InputError, match="another process is embedding"):
        embed(Reentrant(), TEXTS, path=path, progress=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "text 11 is NoneType"), (1.5, "text 11 is float"), ("\ud800", "text 11 .*surrogate")],
)
@pytest.mark.parametrize("path", [None, "x.npy"])
def test_what_is_no_text_is_refused_with_its_row(tmp_path, text, message, path):
    texts = [*TEXTS[:11], text]
    with pytest.raises(InputError, match=message):
        embed(CountingModel(), texts, path=path and tmp_path / path, batch_size=4, progress=False)


def test_a_row_that_is_not_finite_is_refused_with_the_texts_it_came_from():
    class Broken(CountingModel):
        def encode_documents(self, texts):
            x = super().encode_documents(texts)
            x[1] = np.nan
            return x

    with pytest.raises(InputError, match=r"by counting of texts 0 to 9 hold nan at row 1"):
        embed(Broken(), TEXTS, batch_size=10, progress=False)


def test_a_model_that_loses_a_row_is_refused():
    class Broken(CountingModel):
        def encode_documents(self, texts):
            return super().encode_documents(texts)[1:]

    with pytest.raises(InputError, match=r"shape \(9, 5\), expected \(10, 5\)"):
        embed(Broken(), TEXTS, batch_size=10, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "passages"}, "kind must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"texts": "one string"}, "got one string"),
        ({"path": Path("x.txt")}, "must end in .npy"),
        ({"path": Path("no/such/folder/x.npy")}, "there is no folder"),
    ],
)
def test_bad_options_are_refused(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    arguments = {"texts": TEXTS, **options}
    with pytest.raises(InputError, match=message):
        embed(CountingModel(), arguments.pop("texts"), progress=False, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_written_to_standard_error_where_there_is_no_terminal(capsys):
    embed(CountingModel(), TEXTS, batch_size=50, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "50 of 103 texts" in err
    assert "103 of 103 texts" in err
    embed(CountingModel(), TEXTS, batch_size=50, progress=False)
    assert capsys.readouterr().err == ""
