"""An embedding model exported to ONNX: a folder with ``model.onnx`` and ``tokenizer.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit._extras import require
from nestbit.errors import FileFormatError, InputError
from nestbit.models._base import normalized, truncated_dim

Pooling = Literal["mean", "cls"]

_MAX_LENGTH = 512
_PAD_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>")
_POOLED_OUTPUTS = ("sentence_embedding", "text_embeds", "pooled_embeddings")
_TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings")
_INT_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OnnxModel:
    """ONNX Runtime over ``folder/model.onnx`` (or ``folder/onnx/model.onnx``) and its tokenizer.

    The output is the one named by ``output``; else a sentence embedding (n, dim) if the model
    has one, else its token embeddings (n, tokens, dim), pooled over the attention mask.
    ``pooling`` None reads the folder's ``1_Pooling/config.json`` and is "mean" without one.
    Texts are cut at ``max_length`` tokens: None keeps the tokenizer's own limit, 512 if it has
    none. Prefixes such as "query: " are prepended as they are. Rows are truncated to
    ``truncate_dim`` and then, unless ``normalize`` is False, scaled to length one.
    Raises `InputError` for a folder or an output that is not there, `FileFormatError` for a file
    that cannot be read, `MissingExtraError` without onnxruntime or tokenizers.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        pooling: Pooling | None = None,
        output: str | None = None,
        query_prefix: str = "",
        document_prefix: str = "",
        truncate_dim: int | None = None,
        normalize: bool = True,
        max_length: int | None = None,
        batch_size: int = 32,
        threads: int | None = None,
    ) -> None:
        folder = Path(folder)
        self._tokenizer, self._pad = _load_tokenizer(folder / "tokenizer.json", max_length)
        self._session = _load_session(_model_file(folder), threads)
        self._inputs = _input_types(self._session, folder)
        self._pooling = _pooling(folder) if pooling is None else pooling
        if self._pooling not in ("mean", "cls"):
            raise InputError(f"pooling must be 'mean' or 'cls', got {pooling!r}")
        self._output, self._pooled = _choose_output(self._session, output, folder)
        self._prefixes = {"query": query_prefix, "document": document_prefix}
        self._batch_size = max(1, batch_size)
        self._normalize = normalize
        self._keep: int | None = None
        full = self._run(["a"]).shape[1]
        self._dim = self._keep = truncated_dim(truncate_dim, full, str(folder))
        label = f"onnx:{folder.resolve().name}-{_digest(_model_file(folder))}"
        self._name = label if self._dim == full else f"{label}@{self._dim}"

    @property
    def name(self) -> str:
        """The folder's name and 8 digits of the model file's SHA-256, ``@d`` when truncated."""
        return self._name

    @property
    def dim(self) -> int:
        """Dimensions of one embedding."""
        return self._dim

    def encode_documents(self, texts: Sequence[str]) -> Floats:
        """Embed ``texts`` with the document prefix, shape (n, dim)."""
        return self._encode(self._prefixes["document"], texts)

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Embed ``texts`` with the query prefix, shape (n, dim)."""
        return self._encode(self._prefixes["query"], texts)

    def _encode(self, prefix: str, texts: Sequence[str]) -> Floats:
        out = np.zeros((len(texts), self._dim), dtype=np.float32)
        # Texts of similar length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            out[rows] = self._run([prefix + texts[i] for i in rows])
        return out

    def _run(self, texts: list[str]) -> Floats:
        encodings = self._tokenizer.encode_batch(texts)
        # At least one column: a tokenizer without special tokens gives none for an empty text.
        width = max(1, *(len(encoding.ids) for encoding in encodings))
        tokens = {
            "input_ids": np.full((len(texts), width), self._pad, dtype=np.int64),
            "attention_mask": np.zeros((len(texts), width), dtype=np.int64),
            "token_type_ids": np.zeros((len(texts), width), dtype=np.int64),
        }
        for row, encoding in enumerate(encodings):
            length = len(encoding.ids)
            tokens["input_ids"][row, :length] = encoding.ids
            tokens["attention_mask"][row, :length] = 1
            tokens["token_type_ids"][row, :length] = encoding.type_ids
        feed: dict[str, NDArray[Any]] = {
            name: tokens[name].astype(dtype) for name, dtype in self._inputs.items()
        }
        values = np.asarray(self._session.run([self._output], feed)[0], dtype=np.float32)
        if not self._pooled:
            values = _pool(values, tokens["attention_mask"], self._pooling)
        values = np.ascontiguousarray(values[:, : self._keep])
        return normalized(values) if self._normalize else values


def _pool(values: Floats, mask: NDArray[np.int64], pooling: str) -> Floats:
    """Pool token embeddings (n, tokens, dim) to (n, dim); a row without tokens is zero."""
    weights = mask.astype(np.float32)
    if pooling == "cls":
        return values[:, 0] * weights[:, :1]
    sums = np.einsum("ntd,nt->nd", values, weights)
    return np.asarray(sums / np.maximum(weights.sum(axis=1, keepdims=True), 1), dtype=np.float32)


def _model_file(folder: Path) -> Path:
    candidates = (folder / "model.onnx", folder / "onnx" / "model.onnx")
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(f"no ONNX model at {candidates[0]} or {candidates[1]}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


def _load_tokenizer(path: Path, max_length: int | None) -> tuple[Any, int]:
    if not path.is_file():
        raise InputError(f"no tokenizer at {path}; save the model's tokenizer.json beside it")
    package = require("tokenizers", extra="onnx", purpose="an ONNX model's tokenizer")
    try:
        tokenizer = package.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for a file it cannot parse
        raise FileFormatError(
            f"{path} is not a tokenizer of the tokenizers library: {error}"
        ) from error
    if max_length is not None and max_length < 1:
        raise InputError(f"max_length must be at least 1, got {max_length}")
    if max_length is not None or tokenizer.truncation is None:
        tokenizer.enable_truncation(max_length or _MAX_LENGTH)
    padding = tokenizer.padding
    if padding is not None:
        pad = int(padding["pad_id"])
    else:
        ids = (tokenizer.token_to_id(token) for token in _PAD_TOKENS)
        pad = next((i for i in ids if i is not None), 0)
    tokenizer.no_padding()
    return tokenizer, pad


def _load_session(path: Path, threads: int | None) -> Any:
    runtime = require("onnxruntime", extra="onnx", purpose="an ONNX model")
    options = runtime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return runtime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # every onnxruntime error derives from Exception alone
        raise FileFormatError(f"onnxruntime cannot load {path}: {error}") from error


def _input_types(session: Any, folder: Path) -> dict[str, type]:
    types: dict[str, type] = {}
    for value in session.get_inputs():
        if value.name not in ("input_ids", "attention_mask", "token_type_ids"):
            raise InputError(
                f"the model in {folder} wants the input {value.name!r}; known are input_ids, "
                "attention_mask and token_type_ids: export it without the others"
            )
        if value.type not in _INT_TYPES:
            raise InputError(
                f"the model in {folder} wants {value.name!r} as {value.type}; "
                "integers of 32 or 64 bits are known"
            )
        types[value.name] = _INT_TYPES[value.type]
    return types


def _choose_output(session: Any, wanted: str | None, folder: Path) -> tuple[str, bool]:
    """Return the output's name, and whether it holds one row per text already."""
    ranks = {value.name: len(value.shape) for value in session.get_outputs()}
    listing = ", ".join(f"{name} ({rank} axes)" for name, rank in ranks.items())
    if wanted is not None and wanted not in ranks:
        raise InputError(f"the model in {folder} has no output {wanted!r}, only: {listing}")
    usable = [name for name, rank in ranks.items() if rank in (2, 3)]
    preferred = [wanted] if wanted else [*_POOLED_OUTPUTS, *_TOKEN_OUTPUTS]
    for name in preferred:
        if name in usable:
            return name, ranks[name] == 2
    if wanted is None and len(usable) == 1:
        return usable[0], ranks[usable[0]] == 2
    raise InputError(
        f"cannot tell which output of the model in {folder} holds the embeddings; "
        f"name one with output=: {listing}"
    )


def _pooling(folder: Path) -> str:
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise FileFormatError(f"{path} is not a pooling configuration of sentence-transformers")
    modes = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
    }
    on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    # sentence-transformers 6 writes {"pooling_mode": "mean"} instead of one flag per mode.
    single = config.get("pooling_mode")
    if single in ("mean", "cls") and not on:
        return str(single)
    if len(on) != 1 or on[0] not in modes:
        raise InputError(
            f"{path} asks for pooling by {single or ', '.join(on) or 'nothing'}; "
            "'mean' and 'cls' are known: pass pooling= to choose one of them"
        )
    return modes[on[0]]
