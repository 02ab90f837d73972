import json

import numpy as np
import pytest

from nestbit.errors import FileFormatError, InputError
from nestbit.models import EmbeddingModel, OnnxModel, load_model

onnx = pytest.importorskip("onnx", reason="the package onnx, which writes the model, is missing")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "query:", "passage:", "a", "b", "c", "d", "e"]
DIM = 6
TABLE = np.random.default_rng(7).normal(size=(len(WORDS), DIM)).astype(np.float32)


def write_tokenizer(folder, *, cls=False, truncation=None):
    from tokenizers import models, pre_tokenizers, processors

    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if cls:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A", special_tokens=[("[CLS]", 2)]
        )
    if truncation:
        tokenizer.enable_truncation(truncation)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_model(
    path, *, output="last_hidden_state", pooled=False, int_type=None, inputs=None, second=None
):
    """Write a model that looks each token up in TABLE (and takes the maximum if ``pooled``)."""
    from onnx import TensorProto, helper, numpy_helper

    int_type = int_type or TensorProto.INT64
    inputs = inputs or ["input_ids", "attention_mask"]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["tokens"], axis=0)]
    if pooled:
        nodes.append(helper.make_node("ReduceMax", ["tokens"], [output], axes=[1], keepdims=0))
        shape = ["n", DIM]
    else:
        nodes.append(helper.make_node("Identity", ["tokens"], [output]))
        shape = ["n", "t", DIM]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    if second:
        nodes.append(helper.make_node("ReduceMax", ["tokens"], [second], axes=[1], keepdims=0))
        outputs.append(helper.make_tensor_value_info(second, TensorProto.FLOAT, ["n", DIM]))
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info(name, int_type, ["n", "t"]) for name in inputs],
        outputs,
        [numpy_helper.from_array(TABLE, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())


@pytest.fixture
def folder(tmp_path):
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx")
    return tmp_path


def rows(*texts):
    return [TABLE[[WORDS.index(w) if w in WORDS else 1 for w in t.split()]] for t in texts]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


TEXTS = ["a b c d e", "b", "c zzz", "e e e d a b c"]


def test_it_is_loaded_by_string_and_satisfies_the_protocol(folder):
    model = load_model(f"onnx:{folder}")
    assert isinstance(model, EmbeddingModel)
    assert model.dim == DIM
    assert model.name.startswith(f"onnx:{folder.name}-")


def test_mean_pooling_counts_only_the_tokens_of_the_mask(folder):
    x = OnnxModel(folder).encode_documents(TEXTS)
    expected = unit(np.array([tokens.mean(axis=0) for tokens in rows(*TEXTS)]))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, expected, atol=1e-6)


def test_raw_rows_are_the_plain_means(folder):
    x = OnnxModel(folder, normalize=False).encode_documents(TEXTS)
    expected = np.array([tokens.mean(axis=0) for tokens in rows(*TEXTS)])
    np.testing.assert_allclose(x, expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_the_batch_size_changes_neither_rows_nor_their_order(folder, batch_size):
    x = OnnxModel(folder, batch_size=batch_size).encode_documents(TEXTS * 5)
    once = OnnxModel(folder).encode_documents(TEXTS)
    np.testing.assert_allclose(x, np.tile(once, (5, 1)), atol=1e-6)


def test_cls_pooling_takes_the_first_token(tmp_path):
    write_tokenizer(tmp_path, cls=True)
    write_model(tmp_path / "model.onnx")
    x = OnnxModel(tmp_path, pooling="cls").encode_documents(TEXTS)
    np.testing.assert_allclose(x, np.tile(unit(TABLE[2]), (4, 1)), atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        {"pooling_mode": "cls"},
    ],
)
def test_the_folders_own_pooling_is_read(tmp_path, config):
    write_tokenizer(tmp_path, cls=True)
    write_model(tmp_path / "model.onnx")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(config))
    read = OnnxModel(tmp_path).encode_documents(TEXTS)
    np.testing.assert_array_equal(read, OnnxModel(tmp_path, pooling="cls").encode_documents(TEXTS))
    given = OnnxModel(tmp_path, pooling="mean").encode_documents(TEXTS)
    assert not np.allclose(read, given)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{"pooling_mode_max_tokens": true}', InputError),
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}', InputError),
        ('{"pooling_mode": "weightedmean"}', InputError),
        ("{", FileFormatError),
        ("[]", FileFormatError),
    ],
)
def test_an_unknown_pooling_is_refused_and_not_guessed(folder, content, error):
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(content)
    with pytest.raises(error, match=r"1_Pooling"):
        OnnxModel(folder)


def test_prefixes_stand_before_queries_and_documents(folder):
    model = OnnxModel(folder, query_prefix="query: ", document_prefix="passage: ")
    plain = OnnxModel(folder)
    np.testing.assert_allclose(
        model.encode_queries(TEXTS), plain.encode_queries(["query: " + t for t in TEXTS]), atol=1e-6
    )
    np.testing.assert_allclose(
        model.encode_documents(TEXTS),
        plain.encode_documents(["passage: " + t for t in TEXTS]),
        atol=1e-6,
    )
    assert not np.allclose(model.encode_queries(TEXTS), plain.encode_queries(TEXTS))


def test_an_empty_text_gives_a_zero_row_and_no_texts_no_rows(folder):
    model = OnnxModel(folder)
    x = model.encode_documents(["", "a"])
    assert not x[0].any()
    np.testing.assert_allclose(x[1], unit(TABLE[5]), atol=1e-6)
    assert model.encode_documents([]).shape == (0, DIM)


def test_truncation_comes_before_normalisation(folder):
    model = OnnxModel(folder, truncate_dim=2)
    assert model.dim == 2
    assert model.name == OnnxModel(folder).name + "@2"
    expected = unit(np.array([tokens.mean(axis=0)[:2] for tokens in rows(*TEXTS)]))
    np.testing.assert_allclose(model.encode_documents(TEXTS), expected, atol=1e-6)
    with pytest.raises(InputError, match="between 1 and the 6 dimensions"):
        OnnxModel(folder, truncate_dim=7)


@pytest.mark.parametrize(("own", "asked", "kept"), [(None, 3, 3), (2, None, 2), (2, 4, 4)])
def test_texts_are_cut_at_the_length_asked_for_or_the_tokenizers_own(tmp_path, own, asked, kept):
    write_tokenizer(tmp_path, truncation=own)
    write_model(tmp_path / "model.onnx")
    x = OnnxModel(tmp_path, max_length=asked).encode_documents(["a b c d e"])
    expected = unit(TABLE[[5, 6, 7, 8, 9][:kept]].mean(axis=0))
    np.testing.assert_allclose(x[0], expected, atol=1e-6)


def test_inputs_of_32_bits_and_token_types_are_fed(tmp_path):
    write_tokenizer(tmp_path)
    write_model(
        tmp_path / "model.onnx",
        int_type=onnx.TensorProto.INT32,
        inputs=["input_ids", "token_type_ids"],
    )
    x = OnnxModel(tmp_path).encode_documents(["a b"])
    np.testing.assert_allclose(x[0], unit(TABLE[[5, 6]].mean(axis=0)), atol=1e-6)


def test_a_model_in_the_folder_onnx_is_found(tmp_path):
    write_tokenizer(tmp_path)
    write_model(tmp_path / "onnx" / "model.onnx")
    assert OnnxModel(tmp_path).dim == DIM


def test_an_output_that_is_pooled_already_is_taken_as_it_is(tmp_path):
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx", output="sentence_embedding", pooled=True)
    x = OnnxModel(tmp_path, normalize=False).encode_documents(["a b c"])
    np.testing.assert_allclose(x[0], TABLE[[5, 6, 7]].max(axis=0), atol=1e-6)


def test_a_sentence_embedding_wins_over_tokens_unless_another_output_is_named(tmp_path):
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx", second="sentence_embedding")
    pooled = OnnxModel(tmp_path, normalize=False).encode_documents(["a b c"])[0]
    tokens = OnnxModel(tmp_path, normalize=False, output="last_hidden_state")
    np.testing.assert_allclose(pooled, TABLE[[5, 6, 7]].max(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        tokens.encode_documents(["a b c"])[0], TABLE[[5, 6, 7]].mean(axis=0), atol=1e-6
    )


def test_the_only_output_may_have_any_name(tmp_path):
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx", output="1234")
    assert OnnxModel(tmp_path).dim == DIM


def test_outputs_that_could_both_be_meant_are_listed_instead_of_guessed(tmp_path):
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx", output="first", second="other")
    with pytest.raises(InputError, match=r"name one with output=: first \(3 axes\), other"):
        OnnxModel(tmp_path)
    assert OnnxModel(tmp_path, output="other").dim == DIM
    with pytest.raises(InputError, match="has no output 'third', only: first"):
        OnnxModel(tmp_path, output="third")


def test_an_input_nobody_can_fill_is_refused(tmp_path):
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx", inputs=["input_ids", "pixel_values"])
    with pytest.raises(InputError, match="'pixel_values'"):
        OnnxModel(tmp_path)


def test_another_set_of_weights_has_another_name(tmp_path):
    names = []
    for i, output in enumerate(["last_hidden_state", "token_embeddings"]):
        folder = tmp_path / str(i) / "model"
        folder.mkdir(parents=True)
        write_tokenizer(folder)
        write_model(folder / "model.onnx", output=output)
        names.append(OnnxModel(folder).name)
    assert names[0] != names[1]


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        OnnxModel(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FileFormatError, match=r"tokenizer\.json is not a tokenizer"):
        OnnxModel(tmp_path)
    write_tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"no ONNX model at .*model\.onnx"):
        OnnxModel(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(FileFormatError, match=r"cannot load .*model\.onnx"):
        OnnxModel(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"pooling": "max"}, "pooling must be"), ({"max_length": 0}, "max_length must be")],
)
def test_bad_options_are_refused(folder, options, message):
    with pytest.raises(InputError, match=message):
        OnnxModel(folder, **options)
