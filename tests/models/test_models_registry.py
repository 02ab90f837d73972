import importlib

import pytest

from nestbit import _extras
from nestbit.errors import InputError, MissingExtraError
from nestbit.models import OnnxModel, SentenceTransformerModel, WordLlamaModel, load_model


def test_the_bundled_model_is_loaded_by_its_name_with_options():
    pytest.importorskip("wordllama", reason="the package wordllama is not installed")
    model = load_model("wordllama", truncate_dim=64)
    assert isinstance(model, WordLlamaModel)
    assert model.dim == 64


@pytest.mark.parametrize("name", ["", "word2vec", "WordLlama", "sentence-transformer:x"])
def test_an_unknown_model_lists_the_known_ones(name):
    with pytest.raises(
        InputError, match=r"known are: wordllama, sentence-transformers:NAME, onnx:DIR"
    ):
        load_model(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onnx", "needs its DIR: onnx:DIR"),
        ("onnx:", "needs its DIR: onnx:DIR"),
        ("sentence-transformers:", "needs its NAME"),
        ("wordllama:l3", "takes nothing after a colon"),
        ("wordllama:", "takes nothing after a colon"),
    ],
)
def test_what_stands_after_the_colon_is_checked(name, message):
    with pytest.raises(InputError, match=message):
        load_model(name)


@pytest.mark.parametrize(
    ("make", "package", "extra"),
    [
        (WordLlamaModel, "wordllama", "offline"),
        (
            lambda: SentenceTransformerModel("x"),
            "sentence_transformers",
            "sentence-transformers",
        ),
    ],
)
def test_a_missing_package_names_the_extra_that_brings_it(monkeypatch, make, package, extra):
    real = importlib.import_module

    def without(name, *rest):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *rest)

    monkeypatch.setattr(_extras.importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=rf"pip install 'nestbit\[{extra}\]'"):
        make()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="no tokenizer at"):
        OnnxModel(tmp_path / "none")
