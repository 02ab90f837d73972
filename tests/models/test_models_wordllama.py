import logging

import numpy as np
import pytest

from nestbit.errors import InputError
from nestbit.models import EmbeddingModel, WordLlamaModel, embed

pytest.importorskip("wordllama", reason="the package wordllama is not installed")

TEXTS = ["a sorted list of numbers", "open a file", "x", "read the rows of a table " * 50]


@pytest.fixture(scope="module")
def model():
    return WordLlamaModel()


def upstream(texts):
    from pathlib import Path

    import wordllama

    bundled = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    return bundled.embed(texts, norm=True)


def test_it_satisfies_the_protocol(model):
    assert isinstance(model, EmbeddingModel)
    assert (model.name, model.dim) == ("wordllama-l2-256", 256)


def test_rows_equal_those_of_the_package_itself(model):
    x = model.encode_documents(TEXTS)
    assert x.shape == (4, 256)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, upstream(TEXTS), atol=2e-6)
    np.testing.assert_array_equal(model.encode_queries(TEXTS), x)


def test_rows_have_length_one_and_the_raw_mean_points_the_same_way(model):
    x = model.encode_documents(TEXTS)
    raw = WordLlamaModel(normalize=False).encode_documents(TEXTS)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    assert (np.abs(lengths - 1) > 0.01).all()
    np.testing.assert_allclose(raw / lengths, x, atol=1e-6)


def test_an_empty_text_gives_a_zero_row_and_leaves_its_neighbours_alone(model):
    x = model.encode_documents(["", TEXTS[0], ""])
    assert not x[0].any()
    assert not x[2].any()
    np.testing.assert_array_equal(x[1], model.encode_documents(TEXTS[:1])[0])


def test_no_texts_give_no_rows(model):
    assert model.encode_documents([]).shape == (0, 256)


@pytest.mark.parametrize("dim", [1, 64, 100, 256])
def test_truncation_keeps_the_first_dimensions_and_length_one(model, dim):
    short = WordLlamaModel(truncate_dim=dim)
    x, whole = short.encode_documents(TEXTS), model.encode_documents(TEXTS)[:, :dim]
    assert short.dim == dim
    np.testing.assert_allclose(x, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-5)


def test_truncation_is_part_of_the_name():
    assert WordLlamaModel(truncate_dim=64).name == "wordllama-l2-256@64"
    assert WordLlamaModel(truncate_dim=256).name == "wordllama-l2-256"


@pytest.mark.parametrize("dim", [0, -1, 257, 2.5, True])
def test_an_impossible_truncation_is_refused(dim):
    with pytest.raises(InputError, match="truncate_dim must be"):
        WordLlamaModel(truncate_dim=dim)


def test_a_text_longer_than_one_piece_is_the_mean_of_all_its_tokens():
    model = WordLlamaModel(normalize=False)
    word = model.encode_documents(["table"])[0]
    long = model.encode_documents([" ".join(["table"] * 30_000)])[0]
    np.testing.assert_allclose(long, word, rtol=1e-3, atol=1e-3)


def test_odd_characters_are_embedded(model):
    x = model.encode_documents(["日本語 🙂", "\x00", "\u2028", "   "])
    assert np.isfinite(x).all()


def test_loading_leaves_the_callers_logging_alone():
    root = logging.getLogger()
    before = list(root.handlers), root.level
    WordLlamaModel()
    assert (list(root.handlers), root.level) == before


def test_a_corpus_goes_through_embed(model):
    x = embed(model, TEXTS, batch_size=2, progress=False)
    np.testing.assert_array_equal(x, model.encode_documents(TEXTS))
