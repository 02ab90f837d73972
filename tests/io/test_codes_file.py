"""A compressed file gives back its codec, codes and ids, and opens as plain safetensors."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from nestbit import Codec, fit
from nestbit._safetensors import ALIGNMENT, PADDING, read_header
from nestbit._seal import seal
from nestbit.codecs import Codes
from nestbit.errors import FileFormatError, InputError
from nestbit.io import CodesWriter, open_vectors, read_codes, verify, write_codes

N, DIM = 61, 21
X = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
X[[0, 33]] = 0

# Written by: python tests/io/make_golden.py (once for each format version, never again)
GOLDEN = Path(__file__).parent / "golden" / "codes-v1.nest"

SPECS = ["binary", "int8", "uint8", "float16", "bfloat16", "float32", "pca(9) | int8", "rabitq"]
STACKED = ["binary + int8", "rotate | binary + truncate(8) | bfloat16 + float32"]


def assert_same(codes, other):
    assert len(codes.levels) == len(other.levels)
    for a, b in zip(codes.levels, other.levels, strict=True):
        assert a.layout == b.layout
        assert a.data.dtype == b.data.dtype
        np.testing.assert_array_equal(a.data, b.data)
        assert a.factors.keys() == b.factors.keys()
        for name in a.factors:
            np.testing.assert_array_equal(a.factors[name], b.factors[name])
    np.testing.assert_array_equal(codes.zero_rows, other.zero_rows)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("spec", SPECS + STACKED)
@pytest.mark.parametrize("chunk", [1, 10, N])
def test_chunks_written_one_by_one_are_read_as_one(tmp_path, spec, metric, chunk):
    codec = fit(X, spec, metric=metric, model="some/model")
    whole = codec.encode(X)
    with CodesWriter(tmp_path / "x", codec, N) as writer:
        for start in range(0, N, chunk):
            writer.append(whole[start : start + chunk])
    again, codes, ids = read_codes(tmp_path / "x")
    assert_same(whole, codes)
    assert ids is None
    assert codes.clipped == pytest.approx(whole.clipped)
    assert (again.spec, again.metric, again.model) == (codec.spec, metric, "some/model")
    np.testing.assert_array_equal(again.decode(codes), codec.decode(whole))
    verify(tmp_path / "x")


def test_the_clipped_share_is_that_of_all_chunks(tmp_path):
    codec = fit(X[:20], "binary + int8")
    with CodesWriter(tmp_path / "x", codec, N) as writer:
        for start in range(0, N, 9):
            writer.append(codec.encode(X[start : start + 9]))
        assert writer.clipped == pytest.approx(codec.encode(X).clipped)
    clipped = read_codes(tmp_path / "x")[1].clipped
    assert clipped == pytest.approx(codec.encode(X).clipped)
    assert clipped[0] == 0 < clipped[1]


@pytest.mark.parametrize(
    "ids",
    [
        range(100, 100 + N),
        [-(2**63), 2**63 - 1, *range(N - 2)],
        [f"doc-{i}" for i in range(N)],
        ["", "\u2028", "naïve", "同", *map(str, range(N - 4))],
        [""] * N,
    ],
    ids=["range", "extremes", "names", "unicode", "empty"],
)
@pytest.mark.parametrize("chunk", [7, N])
def test_ids_come_back(tmp_path, ids, chunk):
    codec = fit(X, "binary")
    with CodesWriter(tmp_path / "x", codec, N, ids="str" if "" in ids else kind(ids)) as writer:
        for start in range(0, N, chunk):
            part = slice(start, start + chunk)
            writer.append(codec.encode(X[part]), ids[part])
    _, codes, got = read_codes(tmp_path / "x")
    assert list(got) == list(ids)
    assert list(got[2:9]) == list(ids[2:9])
    assert got[-1] == ids[-1]
    with pytest.raises(IndexError):
        got[N]
    verify(tmp_path / "x")
    write_codes(tmp_path / "y", codec, codes, got)
    assert list(read_codes(tmp_path / "y")[2]) == list(ids)


def kind(ids):
    return "str" if isinstance(ids[0], str) else "int"


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("spec", SPECS + STACKED)
@pytest.mark.parametrize("ids", [None, [f"é{i}" for i in range(N)]], ids=["noids", "ids"])
def test_the_safetensors_package_opens_it_and_arrays_are_aligned(tmp_path, spec, metric, ids):
    safetensors = pytest.importorskip("safetensors")
    codec = fit(X, spec, metric=metric)
    codes = codec.encode(X)
    write_codes(tmp_path / "x", codec, codes, ids)
    header = read_header(tmp_path / "x")
    for name, tensor in header.tensors.items():
        assert name.startswith(PADDING) or tensor.start % ALIGNMENT == 0
    framework = "pt" if "bfloat16" in spec else "numpy"  # NumPy has no such type
    if framework == "pt":
        pytest.importorskip("torch")
    with safetensors.safe_open(tmp_path / "x", framework) as file:
        assert set(file.keys()) == set(header.tensors)
        assert file.metadata()["format"] == "nestbit.codes"
        for i, level in enumerate(codes.levels):
            data = file.get_tensor(f"level{i}.data")
            if framework == "pt":
                import torch

                data = (data.view(torch.int16) if data.dtype == torch.bfloat16 else data).numpy()
            np.testing.assert_array_equal(data.view(level.data.dtype), level.data)


def test_arrays_are_mapped_and_read_only(tmp_path):
    write_codes(tmp_path / "x", codec := fit(X, "int8"), codec.encode(X))
    _, codes, _ = read_codes(tmp_path / "x")
    assert not codes.levels[0].data.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        codes.levels[0].data[0, 0] = 1


def golden_rows():
    rows = np.sin(np.arange(5 * 11)).reshape(5, 11).astype(np.float32)
    rows[2] = 0
    return rows


def append(path, codec, n, rows, ids=None, announced=None, error=None):
    with CodesWriter(path, codec, n, ids=announced) as writer:
        writer.append(codec.encode(rows), ids)
        if error is not None:
            raise error


def test_a_failed_writer_leaves_the_older_file(tmp_path):
    codec = fit(X, "int8")
    write_codes(tmp_path / "x", codec, codec.encode(X))
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(InputError, match="61 rows were announced, 10 came"):
        append(tmp_path / "x", codec, N, X[:10])
    with pytest.raises(KeyboardInterrupt):
        append(tmp_path / "x", codec, N, X, error=KeyboardInterrupt())
    assert (tmp_path / "x").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("announced", "rows", "ids", "message"),
    [
        (None, 20, None, "10 rows were announced, 20 came"),
        ("int", 10, None, "10 rows came with none of their ids, announced were int ids"),
        (None, 10, range(10), "10 rows came with 10 of their ids, announced were none"),
        ("int", 10, range(9), "10 rows came with 9 of their ids"),
        ("int", 10, [*range(9), 2**63], "must be whole numbers|does not fit"),
        ("int", 10, ["a"] * 10, "must be whole numbers"),
        ("int", 10, [1.5] * 10, "must be whole numbers"),
        ("str", 10, [*"abcdefghi", 1], "must all be strings, got 1"),
        ("str", 10, ["\ud800"] * 10, "no UTF-8 form"),
    ],
)
def test_rows_and_ids_that_do_not_fit_are_refused(tmp_path, announced, rows, ids, message):
    codec = fit(X, "binary")
    with pytest.raises(InputError, match=message):
        append(tmp_path / "x", codec, 10, X[:rows], ids, announced)
    assert list(tmp_path.iterdir()) == []


def test_codes_of_another_codec_or_none_are_refused(tmp_path):
    codec = fit(X, "binary")
    with pytest.raises(InputError, match="made by another codec"):
        write_codes(tmp_path / "x", codec, fit(X, "int8").encode(X))
    with pytest.raises(InputError, match="no rows to write"):
        write_codes(tmp_path / "x", codec, Codes(codec.encode(X).levels, np.empty(0, int))[:0])
    assert list(tmp_path.iterdir()) == []


def test_an_altered_byte_of_the_codes_is_found_by_verify(tmp_path):
    codec = fit(X, "binary + int8", metric="l2")
    write_codes(tmp_path / "x", codec, codec.encode(X), [f"doc{i}" for i in range(N)])
    content = bytearray((tmp_path / "x").read_bytes())
    header = read_header(tmp_path / "x")
    for name, tensor in header.tensors.items():
        if name.startswith(PADDING):
            continue
        altered = bytearray(content)
        altered[tensor.start + tensor.nbytes // 2] ^= 4
        (tmp_path / "y").write_bytes(altered)
        with pytest.raises(FileFormatError, match=f"array '{name}' is altered"):
            verify(tmp_path / "y")


def test_verify_tells_how_far_it_is(tmp_path):
    codec = fit(X, "int8")
    write_codes(tmp_path / "x", codec, codec.encode(X))
    blocks = []
    verify(tmp_path / "x", blocks.append)
    assert sum(blocks) >= X.size


def rewritten(path, change):
    """The file with a changed header whose checksum is right: made on purpose."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["header"])
    change(header, inner)
    header["__metadata__"]["header"] = json.dumps(inner)
    header["__metadata__"]["header_crc32"] = "00000000"
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(seal(struct.pack("<Q", len(text)) + text) + content[8 + length :])


FORGED = {
    "newer version": (
        lambda h, i: h["__metadata__"].update(format_version="2"),
        "version .2.,.*update",
    ),
    "no version": (lambda h, i: h["__metadata__"].pop("format_version"), "format version ''"),
    "other format": (lambda h, i: h["__metadata__"].update(format="x"), "not a compressed file"),
    "no checksums": (lambda h, i: h["__metadata__"].pop("crc32"), "not one that nestbit wrote"),
    "bad checksums": (lambda h, i: h["__metadata__"].update(crc32="[]"), "do not parse"),
    "no seal": (lambda h, i: h["__metadata__"].pop("format"), "not a compressed file"),
    "no codec": (lambda h, i: i.pop("codec"), "another build"),
    "no rows": (lambda h, i: i.pop("n"), "another build"),
    "other rows": (lambda h, i: i.update(n=N + 1), r"of shape \(61, 3\), its header tells of"),
    "other dim": (lambda h, i: i["codec"].update(dim=5), "x: codec state is damaged"),
    "lost level": (lambda h, i: h.update(level9=h.pop("level0.data")), "lacks the array 'level0"),
    "lost ids": (lambda h, i: h.update(x=h.pop("ids.ends")), "lacks the array 'ids.ends'"),
    "other dtype": (
        lambda h, i: h["level0.data"].update(dtype="I8"),
        "takes uint8 codes of width 3, got int8",
    ),
    "unknown ids": (lambda h, i: i.update(ids=7), "unknown kind 7"),
    "list": (lambda h, i: i.update(factors=7), "another build"),
}


@pytest.mark.parametrize(("change", "message"), FORGED.values(), ids=FORGED)
def test_a_header_made_on_purpose_is_refused_with_the_files_name(tmp_path, change, message):
    codec = fit(X, "binary")
    write_codes(tmp_path / "x", codec, codec.encode(X), [str(i) for i in range(N)])
    rewritten(tmp_path / "x", change)
    with pytest.raises(FileFormatError, match=message) as raised:
        read_codes(tmp_path / "x")
    assert str(tmp_path / "x") in str(raised.value)


def test_other_files_are_told_for_what_they_are(tmp_path):
    codec = fit(X, "binary")
    codec.save(tmp_path / "codec")
    with pytest.raises(FileFormatError, match="a codec without codes, not a compressed file"):
        read_codes(tmp_path / "codec")
    write_codes(tmp_path / "codes", codec, codec.encode(X))
    with pytest.raises(FileFormatError, match="holds no nestbit codec"):
        Codec.load(tmp_path / "codes")
    (tmp_path / "text").write_text("some words, nothing else")
    with pytest.raises(FileFormatError, match="not a compressed file; make one with"):
        read_codes(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        read_codes(tmp_path / "none")
    (tmp_path / "codes").rename(tmp_path / "codes.safetensors")
    with pytest.raises(InputError, match="a file that nestbit made, not vectors"):
        open_vectors(tmp_path / "codes.safetensors")


def test_a_file_of_format_version_1_is_still_read(tmp_path):
    codec, codes, ids = read_codes(GOLDEN)
    verify(GOLDEN)
    assert (codec.spec, codec.metric, codec.model) == ("binary + int8", "l2", "golden")
    assert list(ids) == [f"dóc{i}" for i in range(5)]
    assert codes.zero_rows.tolist() == [2]
    rows = golden_rows()
    np.testing.assert_allclose(codec.decode(codes), rows, atol=0.02)
    np.testing.assert_array_equal(codes.levels[0].data, np.packbits(rows > 0, axis=1))
    norms = (rows.astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(codes.levels[1].factors["norm2"], norms, rtol=1e-6)


def overwrite(path, content):
    """In place: some file systems sync a file that is emptied first, which takes long."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def shape_of(codec, codes, ids):
    shapes = [(level.layout, level.data.shape, level.data.dtype) for level in codes.levels]
    return codec.spec, codec.metric, codec.model, shapes, codes.zero_rows.tolist(), type(ids)


def test_no_mutation_of_the_bytes_does_more_than_a_file_format_error(tmp_path):
    rng = np.random.default_rng(0)
    codec = fit(X, "binary + int8", metric="l2", model="m")
    path = tmp_path / "x"
    write_codes(path, codec, codec.encode(X[:9]), [f"doc{i}" for i in range(9)])
    content = path.read_bytes()
    expected = shape_of(*read_codes(path))
    header_end = min(t.start for t in read_header(path).tensors.values())
    opened = refused = 0
    for trial in range(3000):
        altered = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            # Half of the mutations hit the header, where the parser is.
            first, last = (0, header_end) if trial % 2 else (header_end, len(altered))
            at = rng.integers(first, last)
            altered[at] = rng.integers(256) if trial % 3 else altered[at] ^ (1 << rng.integers(8))
        if trial % 5 == 0:
            altered = altered[: rng.integers(len(altered))]
        if trial % 7 == 0:
            altered += rng.bytes(rng.integers(1, 80))
        overwrite(path, altered)
        try:
            assert shape_of(*read_codes(path)) == expected
            opened += 1
        except FileFormatError:
            refused += 1
    assert opened > 100
    assert refused > 1000


def test_no_mutation_of_a_header_made_on_purpose_does_more_than_that(tmp_path):
    rng = np.random.default_rng(1)
    codec = fit(X, "pca(9) | binary + int8", metric="l2", model="m")
    path = tmp_path / "x"
    write_codes(path, codec, codec.encode(X[:9]), [f"doc{i}" for i in range(9)])
    content = path.read_bytes()
    header_end = min(t.start for t in read_header(path).tensors.values())
    seal_at = content.index(b'"header_crc32":"') + 16
    opened = refused = 0
    for _ in range(3000):
        altered = bytearray(content)
        at = rng.integers(8, header_end)
        if altered[at] in b' {}[]":,\\':
            continue  # most of these end in the JSON parser: see the test above
        # A digit stays a digit, so that the change reaches what is behind the parser.
        span = b"0123456789" if altered[at] in b"0123456789" else b"abcdefgxyz_"
        altered[at] = span[rng.integers(len(span))]
        altered[seal_at : seal_at + 8] = b"00000000"
        overwrite(path, seal(bytes(altered[:header_end])) + altered[header_end:])
        try:
            codec, codes, ids = read_codes(path)
            codec.decode(codes)
            list(ids)
            opened += 1
        except FileFormatError:
            refused += 1
    assert opened > 50
    assert refused > 1000
