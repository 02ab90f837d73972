"""Every vector format gives back the same rows, in chunks of any size."""

import json

import numpy as np
import pytest

from nestbit.errors import InputError
from nestbit.io import READERS, open_vectors

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
safetensors_numpy = pytest.importorskip("safetensors.numpy")

N, DIM = 53, 7
ROWS = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)


def save_vecs(path, rows, dtype):
    with path.open("wb") as file:
        for row in rows:
            file.write(np.int32(len(row)).tobytes() + row.astype(dtype).tobytes())


def save_jsonl(path, rows, **more):
    with path.open("w") as file:
        for i, row in enumerate(rows):
            record = {k: v(i) for k, v in more.items()} | {"vector": [float(v) for v in row]}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def save_parquet(path, rows, kind, **more):
    lists = pa.array([[float(v) for v in row] for row in rows], pa.list_(pa.float64())).cast(kind)
    pq.write_table(pa.table({**more, "vector": lists}), path, row_group_size=17)


def npz(path, rows):
    np.savez(path, text=np.array(["a"]), vectors=rows, length=np.ones(3))


SAVERS = {
    "c-order.npy": np.save,
    "fortran.npy": lambda path, rows: np.save(path, np.asfortranarray(rows)),
    "big-endian.npy": lambda path, rows: np.save(path, rows.astype(">f8")),
    "stored.npz": npz,
    "stored-fortran.npz": lambda path, rows: np.savez(path, np.asfortranarray(rows)),
    "compressed.npz": lambda path, rows: np.savez_compressed(path, vectors=rows, n=np.ones(2)),
    "f32.safetensors": lambda path, rows: safetensors_numpy.save_file(
        {"other": np.ones(5, np.float32), "vectors": rows}, path
    ),
    "f64.safetensors": lambda path, rows: safetensors_numpy.save_file(
        {"vectors": rows.astype(np.float64), "ints": np.ones((3, 3), np.int8)}, path
    ),
    "rows.fvecs": lambda path, rows: save_vecs(path, rows, "<f4"),
    "list.parquet": lambda path, rows: save_parquet(path, rows, pa.list_(pa.float32())),
    "large.parquet": lambda path, rows: save_parquet(path, rows, pa.large_list(pa.float64())),
    "fixed.parquet": lambda path, rows: save_parquet(path, rows, pa.list_(pa.float32(), DIM)),
    "rows.jsonl": save_jsonl,
    "UPPER.NPY": np.save,
}


@pytest.fixture(params=SAVERS)
def saved(request, tmp_path):
    path = tmp_path / request.param
    with path.open("wb") as file:  # an open file keeps np.save from appending a suffix
        target = file if request.param.lower().endswith((".npy", ".npz")) else path
        SAVERS[request.param](target, ROWS)
    return path


@pytest.mark.parametrize("rows", [1, 10, N, 1000, None])
def test_chunks_are_the_rows_of_the_file_in_order(saved, rows):
    source = open_vectors(saved)
    assert (source.n, source.dim) == (N, DIM)
    chunks = list(source.chunks(rows))
    assert [start for start, _ in chunks] == np.cumsum([0, *(len(c) for _, c in chunks)])[
        :-1
    ].tolist()
    assert max(len(c) for _, c in chunks) <= (rows or N)
    together = np.concatenate([c for _, c in chunks])
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, ROWS)


def test_taken_rows_are_those_asked_for(saved):
    indices = np.array([0, 3, 4, 20, N - 1])
    np.testing.assert_array_equal(open_vectors(saved).take(indices), ROWS[indices])


def test_a_sample_has_distinct_random_rows_in_file_order(saved):
    source = open_vectors(saved)
    sample = source.sample(20, seed=1)
    numbers = [int(np.flatnonzero((row == ROWS).all(axis=1))[0]) for row in sample]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 20
    assert numbers != list(range(20))
    np.testing.assert_array_equal(source.sample(20, seed=1), sample)
    assert not np.array_equal(source.sample(20, seed=2), sample)
    np.testing.assert_array_equal(source.sample(N + 1), ROWS)


def test_a_row_that_is_not_finite_is_told_by_its_number_in_the_file(tmp_path):
    bad = ROWS.copy()
    bad[41, 2] = np.nan
    for name, save in SAVERS.items():
        path = tmp_path / name
        with path.open("wb") as file:
            save(file if name.lower().endswith((".npy", ".npz")) else path, bad)
        source = open_vectors(path)
        with pytest.raises(InputError, match=r"nan at row 41 \(from 0\), dimension 2"):
            list(source.chunks(10))
        with pytest.raises(InputError, match=r"nan at row 41 \(from 0\), dimension 2"):
            source.take(np.array([3, 41, 50]))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "i1", "u1", "<i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_real_dtype_is_widened_to_float32(tmp_path, dtype, order):
    rows = (10 * ROWS).astype(dtype)
    np.save(tmp_path / "x.npy", np.asarray(rows, order=order))
    source = open_vectors(tmp_path / "x.npy")
    ((_, got),) = source.chunks()
    np.testing.assert_array_equal(got, rows.astype(np.float32))
    assert source.dtype == np.dtype(dtype).name


def test_a_bfloat16_tensor_is_widened_to_float32(tmp_path):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    rows = torch.from_numpy(ROWS).to(torch.bfloat16)
    save_file({"half": torch.zeros(3), "vectors": rows}, tmp_path / "x.safetensors")
    source = open_vectors(tmp_path / "x.safetensors")
    assert source.dtype == "BF16"
    ((_, got),) = source.chunks()
    np.testing.assert_array_equal(got, rows.float().numpy())
    np.testing.assert_array_equal(source.take(np.array([2, 9])), rows.float().numpy()[[2, 9]])


def test_bvecs_hold_bytes(tmp_path):
    rows = np.random.default_rng(1).integers(0, 256, (11, 5), dtype=np.uint8)
    save_vecs(tmp_path / "x.bvecs", rows, "u1")
    ((_, got),) = open_vectors(tmp_path / "x.bvecs").chunks()
    np.testing.assert_array_equal(got, rows.astype(np.float32))


def test_a_half_precision_parquet_column_is_widened(tmp_path):
    halves = pa.array([row.astype(np.float16) for row in ROWS], pa.list_(pa.float16()))
    pq.write_table(pa.table({"vector": halves}), tmp_path / "x.parquet")
    got = np.concatenate([c for _, c in open_vectors(tmp_path / "x.parquet").chunks(8)])
    np.testing.assert_array_equal(got, ROWS.astype(np.float16).astype(np.float32))


def test_a_name_chooses_among_several_arrays(tmp_path):
    arrays = {"a": ROWS, "b": 2 * ROWS}
    np.savez(tmp_path / "x.npz", **arrays)
    safetensors_numpy.save_file(arrays, tmp_path / "x.safetensors")
    lists = {k: pa.array(list(v), pa.list_(pa.float32())) for k, v in arrays.items()}
    pq.write_table(pa.table(lists), tmp_path / "x.parquet")
    records = [{k: v[i].tolist() for k, v in arrays.items()} for i in range(N)]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, records)))
    for path in sorted(tmp_path.iterdir()):
        ((_, got),) = open_vectors(path, "b").chunks()
        np.testing.assert_array_equal(got, 2 * ROWS)
        with pytest.raises(InputError, match=r"more than one \w+ of vectors: a, b; name one"):
            open_vectors(path)
        with pytest.raises(InputError, match=r"no \w+ 'c'; it has: a, b"):
            open_vectors(path, "c")


@pytest.mark.parametrize("key", ["id", "_id"])
@pytest.mark.parametrize("ids", [lambda i: f"doc\u2028{i}", lambda i: 10 * i])
def test_ids_of_json_lines_come_with_their_rows(tmp_path, key, ids):
    save_jsonl(tmp_path / "x.jsonl", ROWS, **{key: ids, "text": lambda i: "one\u2028two\x85"})
    source = open_vectors(tmp_path / "x.jsonl")
    assert source.ids_kind == ("str" if isinstance(ids(0), str) else "int")
    got = [i for chunk in source.chunks_with_ids(10) for i in chunk.ids]
    assert got == [ids(i) for i in range(N)]


@pytest.mark.parametrize("ids", [pa.array(map(str, range(N))), pa.array(range(N), pa.int32())])
def test_ids_of_a_parquet_column_come_with_their_rows(tmp_path, ids):
    save_parquet(tmp_path / "x.parquet", ROWS, pa.list_(pa.float32()), id=ids)
    chunks = open_vectors(tmp_path / "x.parquet").chunks_with_ids(10)
    assert [i for chunk in chunks for i in chunk.ids] == ids.to_pylist()


def test_blank_lines_between_json_lines_are_no_rows(tmp_path):
    lines = [json.dumps({"v": row.tolist()}) for row in ROWS]
    (tmp_path / "x.jsonl").write_text("\n\n" + " \n\n".join(lines) + "\n\r\n")
    source = open_vectors(tmp_path / "x.jsonl")
    assert source.n == N
    np.testing.assert_array_equal(source.take(np.array([1, 52])), ROWS[[1, 52]])


def test_a_chunk_stays_within_its_budget_of_bytes(tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    source = open_vectors(tmp_path / "x.npy")
    assert source.rows_in(10 * 4 * DIM) == 10
    assert source.rows_in(1) == 1
    with pytest.raises(InputError, match="at least 1 row"):
        list(source.chunks(0))
    with pytest.raises(InputError, match="at least 1 row"):
        source.sample(0)


def test_every_suffix_of_the_registry_is_tested_here():
    tested = {"." + name.lower().rpartition(".")[2] for name in SAVERS} | {".bvecs"}
    assert tested == set(READERS)
