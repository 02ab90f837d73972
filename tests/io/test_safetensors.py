"""Own reading and writing of safetensors agree with the safetensors package."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nestbit._safetensors import (
    ALIGNMENT,
    PADDING,
    map_array,
    read_arrays,
    read_header,
    write_arrays,
)
from nestbit.errors import FileFormatError, InputError

safetensors_numpy = pytest.importorskip("safetensors.numpy")

DTYPES = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]
ARRAYS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(
        lambda name: name != "__metadata__" and not name.startswith(PADDING)
    ),
    hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=5)),
    max_size=5,
)


@given(arrays=ARRAYS, note=st.text(st.characters(codec="utf-8")))
def test_what_is_written_is_read_by_both(tmp_path_factory, arrays, note):
    path = tmp_path_factory.mktemp("written") / "x"
    write_arrays(path, arrays, {"note": note})
    again, metadata = read_arrays(path)
    assert metadata["note"] == note
    theirs = safetensors_numpy.load_file(path)
    assert again.keys() == arrays.keys() == {k for k in theirs if not k.startswith(PADDING)}
    for name, array in arrays.items():
        for got in (again[name], theirs[name]):
            assert got.dtype == array.dtype
            assert got.shape == array.shape
            assert got.tobytes() == array.tobytes()
    for name, tensor in read_header(path).tensors.items():
        assert name.startswith(PADDING) or tensor.start % ALIGNMENT == 0


@given(arrays=ARRAYS)
def test_what_the_package_writes_is_mapped(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("theirs") / "x"
    safetensors_numpy.save_file(arrays, path, {"a": "b"})
    header = read_header(path)
    assert header.metadata == {"a": "b"}
    assert header.tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        mapped = map_array(header, name)
        assert mapped.dtype == array.dtype
        assert mapped.shape == array.shape
        assert mapped.tobytes() == array.tobytes()


def test_strided_and_big_endian_arrays_are_written_as_they_read(tmp_path):
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    write_arrays(tmp_path / "x", {"t": x.T, "s": x[::2, ::3], "b": x.astype(">f4")}, {})
    again, _ = read_arrays(tmp_path / "x")
    np.testing.assert_array_equal(again["t"], x.T)
    np.testing.assert_array_equal(again["s"], x[::2, ::3])
    np.testing.assert_array_equal(again["b"], x)


@pytest.mark.parametrize("dtype", [complex, object, "U3", "f16"])
def test_a_dtype_outside_the_format_is_refused_and_nothing_written(tmp_path, dtype):
    with pytest.raises(InputError, match="cannot hold the dtype"):
        write_arrays(tmp_path / "x", {"a": np.zeros(2, dtype)}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["__metadata__", "_pad.", "_pad.1"])
def test_a_name_that_the_format_uses_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be named"):
        write_arrays(tmp_path / "x", {name: np.ones(3)}, {})
    assert list(tmp_path.iterdir()) == []


def test_every_altered_byte_but_padding_is_found(tmp_path):
    arrays = {"a": np.arange(9, dtype=np.int16), "b": np.ones((2, 3), np.float32)}
    write_arrays(tmp_path / "x", arrays, {"note": "n"})
    content = (tmp_path / "x").read_bytes()
    tensors = read_header(tmp_path / "x").tensors
    padding = {
        at
        for name, t in tensors.items()
        if name.startswith(PADDING)
        for at in range(t.start, t.start + t.nbytes)
    }
    assert 0 < len(padding) < 64
    for at in set(range(len(content))) - padding:
        altered = bytearray(content)
        altered[at] ^= 1
        with (tmp_path / "x").open("r+b") as file:
            file.write(altered)
        with pytest.raises(FileFormatError):
            read_arrays(tmp_path / "x")
    (tmp_path / "x").write_bytes(content)
    for length in reversed(range(len(content))):
        os.truncate(tmp_path / "x", length)
        with pytest.raises(FileFormatError):
            read_arrays(tmp_path / "x")


def test_a_plain_file_of_tensors_is_told_from_a_file_of_nestbit(tmp_path):
    safetensors_numpy.save_file({"a": np.ones(3)}, tmp_path / "x")
    with pytest.raises(FileFormatError, match="not one that nestbit wrote"):
        read_arrays(tmp_path / "x")
