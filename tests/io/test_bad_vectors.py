"""A file that cannot be read as vectors is refused with what was found, where, and the remedy."""

import json
import pickle
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from nestbit.errors import FileFormatError, InputError
from nestbit.io import open_vectors

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
safetensors_numpy = pytest.importorskip("safetensors.numpy")

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


class Boom:
    def __reduce__(self):
        return (pytest.fail, ("the array was unpickled",))


def npy(array, cut=None, more=b""):
    def write(path):
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=True)
        path.write_bytes(path.read_bytes()[:cut] + more)

    return write


def raw(content):
    return lambda path: path.write_bytes(content)


def npz(compressed=False, **arrays):
    def write(path):
        (np.savez_compressed if compressed else np.savez)(path, **arrays)

    return write


def damaged_npz(path):
    rows = np.random.default_rng(0).standard_normal((500, 40))
    np.savez_compressed(path, x=rows)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def lying_npz(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (9, 9)}
        )


def tensors(**arrays):
    return lambda path: safetensors_numpy.save_file(arrays, path)


def cut(write, at):
    def cut_write(path):
        write(path)
        path.write_bytes(path.read_bytes()[:at])

    return cut_write


def header(text, body=b""):
    return raw(len(text).to_bytes(8, "little") + text + body)


def parquet(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


def lines(*records):
    texts = [r if isinstance(r, str) else json.dumps(r) for r in records]
    return lambda path: path.write_text("\n".join(texts))


def vecs(*rows):
    return raw(b"".join(np.int32(len(r)).tobytes() + np.float32(r).tobytes() for r in rows))


def floats(*rows):
    return pa.array(rows, pa.list_(pa.float32()))


ONE = {"v": [1.0, 2.0]}
TENSOR = b'{"x":{"dtype":"F32","shape":[1,2],"data_offsets":[%d,%d]}}'

# name, how it is written, the error, and what its message must say
BAD = [
    ("unknown.csv", raw(b"1,2"), InputError, r"unknown suffix '\.csv'; known: \.npy, .*\.jsonl"),
    ("none", raw(b"1,2"), InputError, "unknown suffix ''"),
    ("empty.npy", raw(b""), FileFormatError, "not a whole .npy file"),
    ("foreign.npy", raw(b"not an array at all"), FileFormatError, "not a whole .npy file"),
    ("header.npy", npy(ROWS, cut=40), FileFormatError, "not a whole .npy file"),
    ("cut.npy", npy(ROWS, cut=-1), FileFormatError, "truncated: .* 224 bytes, it has 223"),
    ("tail.npy", npy(ROWS, more=b"!"), FileFormatError, "followed by other bytes"),
    ("objects.npy", npy(np.array([[Boom()]])), InputError, "never unpickled"),
    ("pickle.npy", raw(pickle.dumps([1])), FileFormatError, "not a whole .npy file"),
    ("one.npy", npy(ROWS[0]), InputError, r"shape \(4,\); save x\[None, :\]"),
    ("three.npy", npy(ROWS.reshape(2, 3, 4)), InputError, r"it has shape \(2, 3, 4\)"),
    ("complex.npy", npy(ROWS.astype(complex)), InputError, "real numbers, it holds complex128"),
    ("bool.npy", npy(ROWS > 3), InputError, "real numbers, it holds bool"),
    ("text.npy", npy(np.array([["a"]])), InputError, "real numbers, it holds <U1"),
    ("norows.npy", npy(ROWS[:0]), InputError, r"no rows: its vectors have shape \(0, 4\)"),
    ("nodims.npy", npy(ROWS[:, :0]), InputError, "no dimensions"),
    ("huge.npy", npy(np.array([[1e300]])), InputError, r"1e\+300 at row 0 .*not a finite float32"),
    ("foreign.npz", raw(b"PK but not a zip"), FileFormatError, "not a whole .npz archive"),
    ("cut.npz", cut(npz(x=ROWS), 150), FileFormatError, "not a whole .npz archive"),
    ("several.npz", npz(a=ROWS, b=ROWS), InputError, "more than one array of vectors: a, b"),
    ("flat.npz", npz(a=ROWS[0]), InputError, "no array of vectors; it has: a"),
    ("fortran.npz", npz(True, a=np.asfortranarray(ROWS)), InputError, "Fortran order.*savez"),
    ("damaged.npz", damaged_npz, FileFormatError, "is damaged"),
    ("lying.npz", lying_npz, FileFormatError, "its header tells of"),
    ("empty.safetensors", raw(b""), FileFormatError, "not a safetensors file"),
    ("foreign.safetensors", raw(b"GGUF" * 9), FileFormatError, "not a safetensors file"),
    ("cut.safetensors", cut(tensors(x=ROWS), -1), FileFormatError, "truncated: its header tells"),
    ("head.safetensors", cut(tensors(x=ROWS), 30), FileFormatError, "truncated"),
    ("json.safetensors", header(b"{'x'}"), FileFormatError, "header that is altered"),
    ("list.safetensors", header(b"[1, 2]"), FileFormatError, r"does not start with '\{'"),
    ("hole.safetensors", header(TENSOR % (4, 12), bytes(12)), FileFormatError, "leaves a hole"),
    ("small.safetensors", header(TENSOR % (0, 4), bytes(4)), FileFormatError, "not fill"),
    ("back.safetensors", header(TENSOR % (8, 0), bytes(8)), FileFormatError, "ends before it"),
    ("minus.safetensors", header(TENSOR % (-8, 0), bytes(8)), FileFormatError, "not counts"),
    ("tail.safetensors", header(TENSOR % (0, 8), bytes(9)), FileFormatError, "foreign bytes"),
    ("twice.safetensors", header(b'{"x":1,"x":2}'), FileFormatError, "a name occurs twice"),
    ("flat.safetensors", tensors(x=ROWS[0]), InputError, "no tensor of vectors; it has: x"),
    ("ints.safetensors", tensors(x=ROWS.astype("i4")), InputError, "no tensor of vectors"),
    ("empty.fvecs", raw(b""), InputError, "is empty"),
    ("short.fvecs", raw(b"\1\0"), FileFormatError, "not a .fvecs file"),
    ("foreign.fvecs", raw(b"\x93NUMPY and more"), FileFormatError, "not a .fvecs file"),
    ("negative.fvecs", raw(np.int32(-1).tobytes() * 9), FileFormatError, "-1 dimensions"),
    ("cut.fvecs", cut(vecs(*ROWS), -3), FileFormatError, "after 5 rows of 4 .* 17 bytes are left"),
    ("ragged.fvecs", vecs([1, 2], [3, 4], [5]), FileFormatError, "rows of different lengths"),
    (
        "swapped.fvecs",
        vecs([1, 2], [1, 2], [5, 5, 5], [1]),
        InputError,
        r"row 2 \(from 0\) says 3 dimensions, the first row 2",
    ),
    ("foreign.parquet", raw(b"PAR1 but nothing else"), FileFormatError, "not a whole Parquet"),
    ("empty.parquet", raw(b""), FileFormatError, "not a whole Parquet"),
    ("cut.parquet", cut(parquet(v=floats([1, 2])), -9), FileFormatError, "not a whole Parquet"),
    ("norows.parquet", parquet(v=floats()), InputError, "has no rows"),
    ("text.parquet", parquet(t=["a"]), InputError, "no column of vectors; it has: t"),
    (
        "ragged.parquet",
        parquet(v=floats([1, 2], [3, 4], [5])),
        InputError,
        r"row 2 \(from 0\) of column 'v' has 1 dimensions, the first 2",
    ),
    ("null.parquet", parquet(v=floats([1, 2], None)), InputError, r"is null at row 1 \(from 0\)"),
    ("hole.parquet", parquet(v=floats([1, 2], [3, None])), InputError, "holds a null at row 1"),
    (
        "fixed.parquet",
        parquet(v=pa.array([[1, 2], [3, None]], pa.list_(pa.float32(), 2))),
        InputError,
        "holds a null at row 1",
    ),
    (
        "ids.parquet",
        parquet(v=floats([1, 2], [3, 4]), id=pa.array(["a", None])),
        InputError,
        "column 'id' is null at row 1",
    ),
    ("empty.jsonl", raw(b" \n\n"), InputError, "is empty"),
    ("foreign.jsonl", raw(b"\x93NUMPY\0"), FileFormatError, "line 1 is not JSON"),
    ("array.jsonl", lines("[1, 2]"), FileFormatError, "line 1 is not a JSON object"),
    ("deep.jsonl", raw(b"[" * 100_000), FileFormatError, "line 1 is not JSON"),
    ("later.jsonl", lines(ONE, "", '{"v": [1,'), FileFormatError, "line 3 is not JSON"),
    ("novector.jsonl", lines({"text": "a"}), InputError, "no key of vectors; it has: text"),
    ("several.jsonl", lines({"v": [1.0], "w": [1.0]}), InputError, "more than one key"),
    ("gone.jsonl", lines(ONE, {"w": 1}), InputError, r"row 1 \(from 0, line 2\) has no key 'v'"),
    ("ragged.jsonl", lines(ONE, ONE, {"v": [1.0]}), InputError, "row 2 .*has 1 dimensions"),
    ("words.jsonl", lines(ONE, {"v": ["1", "2"]}), InputError, "'v' is not a list of numbers"),
    ("bools.jsonl", lines(ONE, {"v": [1.0, True]}), InputError, "'v' is not a list of numbers"),
    ("null.jsonl", lines(ONE, {"v": None}), InputError, "'v' is not a list of numbers"),
    ("inf.jsonl", lines(ONE, {"v": [1.0, float("inf")]}), InputError, "inf at row 1"),
    ("big.jsonl", lines(ONE, {"v": [1, 10**400]}), InputError, "beyond any float"),
    ("noid.jsonl", lines(ONE | {"id": "a"}, ONE), InputError, "row 1 .* has the id None"),
    ("mixed.jsonl", lines(ONE | {"id": 1}, ONE | {"id": "b"}), InputError, "ids of one type"),
]


@pytest.mark.parametrize(("name", "write", "error", "message"), BAD, ids=[b[0] for b in BAD])
def test_a_bad_file_is_refused_with_its_name_and_the_fault(tmp_path, name, write, error, message):
    path = tmp_path / name
    write(path)
    with pytest.raises(error, match=message) as raised:
        list(open_vectors(path).chunks_with_ids(2))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "write", "error", "message"), BAD, ids=[b[0] for b in BAD])
def test_sampling_a_bad_file_raises_nothing_else(tmp_path, name, write, error, message):
    path = tmp_path / name
    write(path)
    with suppress(InputError, FileFormatError):
        open_vectors(path).sample(3)


NAMED = [
    ("x.npy", npy(ROWS), "v", "one unnamed array"),
    ("x.fvecs", vecs(*ROWS), "v", "one unnamed array"),
    ("flat.npz", npz(v=ROWS[0]), "v", r"must have shape \(n, dim\)"),
    ("objects.npz", npz(v=np.array([[Boom()]]), w=ROWS), "v", "never unpickled"),
    ("flat.safetensors", tensors(v=ROWS[0]), "v", r"must have shape \(n, dim\)"),
    ("bools.safetensors", tensors(v=ROWS > 3), "v", "must hold real numbers, it holds BOOL"),
    ("text.parquet", parquet(v=["a"]), "v", "must hold lists of numbers, it holds string"),
    ("text.jsonl", lines({"v": "a", "w": [1.0]}), "v", "'v' of the first row is not a list"),
]


@pytest.mark.parametrize(("name", "write", "column", "message"), NAMED, ids=[b[0] for b in NAMED])
def test_a_named_array_that_does_not_fit_is_refused(tmp_path, name, write, column, message):
    write(tmp_path / name)
    with pytest.raises(InputError, match=message):
        open_vectors(tmp_path / name, column)


def test_an_unused_array_of_objects_does_not_stand_in_the_way(tmp_path):
    np.savez(tmp_path / "x.npz", v=ROWS, objects=np.array([Boom()]))
    ((_, got),) = open_vectors(tmp_path / "x.npz").chunks()
    np.testing.assert_array_equal(got, ROWS)


@pytest.mark.parametrize(
    "suffix", ["npy", "npz", "safetensors", "fvecs", "bvecs", "parquet", "jsonl"]
)
def test_a_missing_file_and_a_directory_are_os_errors(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        open_vectors(tmp_path / f"x.{suffix}")
    (tmp_path / f"d.{suffix}").mkdir()
    with pytest.raises(IsADirectoryError):
        open_vectors(tmp_path / f"d.{suffix}")


@pytest.mark.parametrize("suffix", ["npy", "fvecs", "npz", "jsonl"])
def test_a_file_cut_after_it_was_opened_is_told(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    rows = np.random.default_rng(0).standard_normal((4000, 16)).astype(np.float32)
    {
        "npy": lambda: np.save(path, rows),
        "npz": lambda: np.savez(path, rows),
        "fvecs": lambda: vecs(*rows)(path),
        "jsonl": lambda: lines(*({"v": r.tolist()} for r in rows))(path),
    }[suffix]()
    source = open_vectors(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(FileFormatError, match=r"while it was read|not JSON"):
        list(source.chunks(100))
