"""Rows gathered from a file are those of the array, whatever lies between them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nestbit.errors import FileFormatError, InputError
from nestbit.kernels.gather import gather_rows

N = 3000
WIDTHS = [1, 2, 3, 24, 49, 384, 4096, 5000]
START = 129

Gather = Callable[[int, list[int]], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def rows() -> dict[int, NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return {width: rng.integers(0, 256, (N, width), dtype=np.uint8) for width in WIDTHS}


@pytest.fixture(scope="module")
def files(
    rows: dict[int, NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, tuple[Path, int]]]:
    """A file of rows of each width, which end with the file, and its descriptor."""
    folder = tmp_path_factory.mktemp("gather")
    opened = {}
    for width, array in rows.items():
        path = folder / str(width)
        path.write_bytes(bytes(START) + array.tobytes())
        opened[width] = (path, os.open(path, os.O_RDONLY))
    yield opened
    for _, descriptor in opened.values():
        os.close(descriptor)


@pytest.fixture
def gather(files: dict[int, tuple[Path, int]]) -> Gather:
    def run(width: int, places: list[int]) -> NDArray[np.uint8]:
        path, descriptor = files[width]
        (found,) = gather_rows(path, descriptor, [(START, width)], np.array(places, np.int64), N)
        return found

    return run


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "places",
    [
        [],
        [0],
        [N - 1],
        [0, N - 1],
        list(range(N)),
        list(range(7, 60)),
        list(range(0, N, 2)),
        list(range(0, N, 97)),
        [*range(10, 20), 500, 502, *range(2000, 2100, 3), N - 1],
    ],
    ids=["none", "first", "last", "ends", "all", "one run", "holes", "many runs", "mixed"],
)
def test_rows_are_those_at_their_places(
    gather: Gather, rows: dict[int, NDArray[np.uint8]], width: int, places: list[int]
) -> None:
    found = gather(width, places)
    assert found.shape == (len(places), width)
    np.testing.assert_array_equal(found, rows[width][places])


@settings(max_examples=60, deadline=None)
@given(
    places=st.sets(st.integers(0, N - 1), max_size=200),
    width=st.sampled_from(WIDTHS),
    cold=st.booleans(),
)
def test_any_places_give_their_rows_from_memory_and_from_disk(
    files: dict[int, tuple[Path, int]],
    rows: dict[int, NDArray[np.uint8]],
    places: set[int],
    width: int,
    cold: bool,
) -> None:
    path, descriptor = files[width]
    if cold and hasattr(os, "posix_fadvise"):
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    asked = np.array(sorted(places), np.int64)
    (found,) = gather_rows(path, descriptor, [(START, width)], asked, N)
    np.testing.assert_array_equal(found, rows[width][asked])


def test_several_arrays_of_a_file_are_read_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    data = rng.integers(0, 256, (N, 48), dtype=np.uint8)
    scale = rng.standard_normal(N).astype(np.float16)
    path = tmp_path / "both"
    path.write_bytes(data.tobytes() + bytes(64) + scale.tobytes())
    places = np.sort(rng.choice(N, 100, replace=False))
    with path.open("rb") as file:
        columns = [(0, 48), (data.nbytes + 64, 2)]
        found = gather_rows(path, file.fileno(), columns, places, N)
    np.testing.assert_array_equal(found[0], data[places])
    np.testing.assert_array_equal(found[1].view(np.float16)[:, 0], scale[places])


@pytest.mark.parametrize("places", [[N - 1], [0, N - 1], list(range(N)), list(range(0, N, 3))])
@pytest.mark.parametrize("width", [1, 49, 384])
def test_a_file_that_ends_too_early_is_named(
    rows: dict[int, NDArray[np.uint8]], tmp_path: Path, width: int, places: list[int]
) -> None:
    path = tmp_path / "short"
    path.write_bytes(rows[width].tobytes()[: -width * 4])
    asked = np.array(places, np.int64)
    with path.open("rb") as file, pytest.raises(FileFormatError, match=r"short was truncated"):
        gather_rows(path, file.fileno(), [(0, width)], asked, N)


def test_a_read_that_fails_tells_why_and_of_what_file(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError) as error:
            gather_rows(tmp_path, descriptor, [(0, 8)], np.arange(4), 10)
    finally:
        os.close(descriptor)
    assert (error.value.errno, error.value.filename) == (errno.EISDIR, str(tmp_path))


@pytest.mark.parametrize(
    "places",
    [
        np.array([3, 3]),
        np.array([4, 3]),
        np.array([-1, 3]),
        np.array([3, N]),
        np.array([[3, 4]]),
        np.array([3, 4], np.int32),
    ],
    ids=["twice", "descending", "negative", "beyond", "matrix", "int32"],
)
def test_places_that_do_not_fit_are_refused(
    files: dict[int, tuple[Path, int]], places: NDArray[np.int64]
) -> None:
    path, descriptor = files[24]
    with pytest.raises(InputError, match=f"ascending, each once, between 0 and {N - 1}"):
        gather_rows(path, descriptor, [(START, 24)], places, N)
