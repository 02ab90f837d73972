"""
Native kernels of nestbit; call them through nestbit.kernels, which validates.
"""

from typing import Any

import numpy
import numpy.typing

def isa() -> str:
    """
    Name of the instruction set in use: NESTBIT_ISA, or the best of this machine.
    """

def available_isas() -> list[str]:
    """Names of the instruction sets this machine can run, plainest first."""

def hamming_scan(
    rows: numpy.typing.NDArray[numpy.uint8],
    queries: numpy.typing.NDArray[numpy.uint8],
    k: int,
    threads: int,
    mask: numpy.typing.NDArray[numpy.uint8] | None = None,
    ranges: numpy.typing.NDArray[numpy.int64] | None = None,
    visits: numpy.typing.NDArray[numpy.uint8] | None = None,
    isa: str = "",
) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int32]]:
    """The k rows of least Hamming distance to each query."""

def bits_scan(
    rows: numpy.typing.NDArray[numpy.uint8],
    weights: numpy.typing.NDArray[numpy.int8],
    k: int,
    scales: numpy.typing.NDArray[numpy.float32] | None,
    row_bias: numpy.typing.NDArray[numpy.float32] | None,
    threads: int,
    mask: numpy.typing.NDArray[numpy.uint8] | None = None,
    ranges: numpy.typing.NDArray[numpy.int64] | None = None,
    visits: numpy.typing.NDArray[numpy.uint8] | None = None,
    isa: str = "",
) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """The k rows of largest scale * sum(weights of the row's ones) + bias."""

def bytes_scan(
    rows: numpy.typing.NDArray[Any],
    weights: numpy.typing.NDArray[numpy.int8],
    k: int,
    scales: numpy.typing.NDArray[numpy.float32] | None,
    row_bias: numpy.typing.NDArray[numpy.float32] | None,
    threads: int,
    mask: numpy.typing.NDArray[numpy.uint8] | None = None,
    ranges: numpy.typing.NDArray[numpy.int64] | None = None,
    visits: numpy.typing.NDArray[numpy.uint8] | None = None,
    isa: str = "",
) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """The k rows of largest scale * dot(weights, row) + bias."""

def cells_scan(
    rows: numpy.typing.NDArray[numpy.uint8],
    tables: numpy.typing.NDArray[numpy.uint8],
    k: int,
    scales: numpy.typing.NDArray[numpy.float32] | None,
    bases: numpy.typing.NDArray[numpy.float32] | None,
    row_scale: numpy.typing.NDArray[Any] | None,
    row_bias: numpy.typing.NDArray[numpy.float32] | None,
    threads: int,
    mask: numpy.typing.NDArray[numpy.uint8] | None = None,
    ranges: numpy.typing.NDArray[numpy.int64] | None = None,
    visits: numpy.typing.NDArray[numpy.uint8] | None = None,
    isa: str = "",
) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """
    The k rows of largest row scale * (scale * sum(tables at the row's cells) + base) + bias.
    """

def bits_rescore(
    rows: numpy.typing.NDArray[numpy.uint8],
    ids: numpy.typing.NDArray[numpy.int64],
    weights: numpy.typing.NDArray[numpy.float32],
    threads: int,
    isa: str = "",
) -> numpy.typing.NDArray[numpy.float32]:
    """Sum of the weights of the ones of the rows that ids pick."""

def cells_rescore(
    rows: numpy.typing.NDArray[numpy.uint8],
    ids: numpy.typing.NDArray[numpy.int64],
    tables: numpy.typing.NDArray[numpy.float32],
    threads: int,
    isa: str = "",
) -> numpy.typing.NDArray[numpy.float32]:
    """Sum of the tables' values at the cells of the rows that ids pick."""

def rescore(
    rows: numpy.typing.NDArray[Any],
    ids: numpy.typing.NDArray[numpy.int64],
    weights: numpy.typing.NDArray[numpy.float32],
    threads: int,
    isa: str = "",
) -> numpy.typing.NDArray[numpy.float32]:
    """
    Dot products of the weights with the rows that ids pick; uint16 rows are bfloat16.
    """

def cells_encode(
    z: numpy.typing.NDArray[numpy.float32],
    first: numpy.typing.NDArray[numpy.int32],
    width: numpy.typing.NDArray[numpy.int32],
    centroids: numpy.typing.NDArray[numpy.float32],
    decoded: numpy.typing.NDArray[numpy.float32],
    threads: int,
    isa: str = "",
) -> tuple[numpy.typing.NDArray[numpy.uint8], numpy.typing.NDArray[numpy.float32]]:
    """
    Codes of the rows z, and the pair of <decoded row, z> and |decoded row|**2 of each.
    """

def cells_tables(
    z: numpy.typing.NDArray[numpy.float32],
    first: numpy.typing.NDArray[numpy.int32],
    width: numpy.typing.NDArray[numpy.int32],
    books: numpy.typing.NDArray[numpy.float32],
    threads: int,
    isa: str = "",
) -> tuple[
    numpy.typing.NDArray[numpy.float32],
    numpy.typing.NDArray[numpy.uint8],
    numpy.typing.NDArray[numpy.float32],
    numpy.typing.NDArray[numpy.float32],
]:
    """
    Inner products of the queries z with all centroids, and these in steps of a scale.
    """

def cells_decode(
    codes: numpy.typing.NDArray[numpy.uint8],
    first: numpy.typing.NDArray[numpy.int32],
    width: numpy.typing.NDArray[numpy.int32],
    decoded: numpy.typing.NDArray[numpy.float32],
    coordinates: int,
    threads: int,
) -> numpy.typing.NDArray[numpy.float32]:
    """Sums of the decoded centroids that the cells of the codes pick."""

def hadamard(
    x: numpy.typing.NDArray[numpy.float32],
    signs: numpy.typing.NDArray[numpy.float32],
    inverse: bool,
    threads: int,
    isa: str = "",
) -> numpy.typing.NDArray[numpy.float32]:
    """
    Rows rotated by rounds of signs and Hadamard transforms, or rotated back.
    """

def rabitq_encode(
    z: numpy.typing.NDArray[numpy.float32], bits: int, threads: int, isa: str = ""
) -> tuple[numpy.typing.NDArray[numpy.uint8], numpy.typing.NDArray[numpy.float32]]:
    """
    Bit planes of the grid points nearest in direction, their products and squares.
    """

def bytes_encode(
    z: numpy.typing.NDArray[numpy.float32],
    offset: numpy.typing.NDArray[numpy.float32],
    inverse: numpy.typing.NDArray[numpy.float32],
    is_signed: bool,
    threads: int,
) -> tuple[numpy.typing.NDArray[numpy.uint8], int]:
    """
    Rounded (z - offset) * inverse, clipped to a byte, and how many values were clipped.
    """

def all_finite(
    values: numpy.typing.NDArray[Any], ranges: numpy.typing.NDArray[numpy.int64] | None = None
) -> bool:
    """
    Whether float16 or float32 values, or those in the ranges, are neither NaN nor infinite.
    """

def read_bytes(data: numpy.typing.NDArray[numpy.uint8], isa: str = "") -> int:
    """
    Wrapping sum of the 64-bit words of the data: a plain read, to compare scans with.
    """

def gather_rows(
    descriptor: int,
    columns: list[tuple[int, int]],
    places: numpy.typing.NDArray[numpy.int64],
    n: int,
) -> list[numpy.typing.NDArray[numpy.uint8]]:
    """
    The rows at ascending places of arrays in a file, given as starts and widths.
    """

def best_of(
    ids: numpy.typing.NDArray[numpy.int64], scores: numpy.typing.NDArray[numpy.float32], k: int
) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """Per row the k best by score, then smaller id, then column; NaN last."""

def best_named(
    places: numpy.typing.NDArray[numpy.int64],
    scores: numpy.typing.NDArray[numpy.float32],
    k: int,
    ranks: numpy.typing.NDArray[numpy.uint32] | None,
    names: numpy.typing.NDArray[numpy.int64],
) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """Per row names of the k best places by score, then rank."""

def expected_misses(
    coarse: numpy.typing.NDArray[numpy.float32],
    fine: numpy.typing.NDArray[numpy.float32],
    queries: numpy.typing.NDArray[numpy.int64],
    count: int,
    n: int,
    rank: float,
    outliers: float,
    slope: float,
    pairs: float,
    deviations: numpy.typing.NDArray[numpy.float32] | None,
    tail_at: numpy.typing.NDArray[numpy.float64],
    log_tail: numpy.typing.NDArray[numpy.float64],
) -> numpy.typing.NDArray[numpy.float64]:
    """
    Rows beyond the first count that are expected to beat the score at a rank.
    """

def graph_leaves(
    rows: numpy.typing.NDArray[numpy.int8],
    squares: numpy.typing.NDArray[numpy.uint32],
    members: numpy.typing.NDArray[numpy.uint32],
    offsets: numpy.typing.NDArray[numpy.int64],
    targets: numpy.typing.NDArray[numpy.uint32],
    target_offsets: numpy.typing.NDArray[numpy.int64],
    keep: int,
    candidates: numpy.typing.NDArray[numpy.uint64],
    start: int,
    first: int,
    last: int,
    threads: int,
    isa: str = "",
) -> None:
    """Merges the nearest targets of each leaf into the lists of its members."""

def graph_neighbours(
    rows: numpy.typing.NDArray[numpy.int8],
    squares: numpy.typing.NDArray[numpy.uint32],
    candidates: numpy.typing.NDArray[numpy.uint64],
    start: int,
    alpha: float,
    neighbours: numpy.typing.NDArray[numpy.uint32],
    threads: int,
    isa: str = "",
) -> None:
    """
    Writes diverse neighbours of rows from start on, chosen from their candidates.
    """

def graph_reverse(
    rows: numpy.typing.NDArray[numpy.int8],
    squares: numpy.typing.NDArray[numpy.uint32],
    neighbours: numpy.typing.NDArray[numpy.uint32],
    alpha: float,
    most: int,
    sources: numpy.typing.NDArray[numpy.uint32],
    threads: int,
    isa: str = "",
) -> None:
    """
    Chooses again from the neighbours of each row and the rows it is a neighbour of.
    """

def graph_connect(
    rows: numpy.typing.NDArray[numpy.int8],
    squares: numpy.typing.NDArray[numpy.uint32],
    neighbours: numpy.typing.NDArray[numpy.uint32],
    entries: numpy.typing.NDArray[numpy.uint32],
) -> int:
    """
    Replaces edges until every row can be reached from the entries; returns how many.
    """

class Graph:
    """A graph of rows, of views on arrays that were checked."""

    def walk(
        self,
        tables: numpy.typing.NDArray[numpy.uint8],
        scales: numpy.typing.NDArray[numpy.float32],
        bases: numpy.typing.NDArray[numpy.float32],
        k: int,
        beam: int,
        room: int,
        starts: int,
        threads: int,
        weights: numpy.typing.NDArray[numpy.int16] | None = None,
        fine_scales: numpy.typing.NDArray[numpy.float32] | None = None,
        mask: numpy.typing.NDArray[numpy.uint8] | None = None,
        isa: str = "",
    ) -> tuple[
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.float32],
        numpy.typing.NDArray[numpy.int64],
    ]:
        """The k best rows a walk finds, and counts of rows scored and expanded."""

    def search(
        self,
        z: numpy.typing.NDArray[numpy.float32],
        first: numpy.typing.NDArray[numpy.int32],
        width: numpy.typing.NDArray[numpy.int32],
        books: numpy.typing.NDArray[numpy.float32],
        bias: numpy.typing.NDArray[numpy.float32],
        gain: float,
        weights: numpy.typing.NDArray[numpy.float32] | None,
        fine_bias: numpy.typing.NDArray[numpy.float32] | None,
        k: int,
        beam: int,
        room: int,
        starts: int,
        threads: int,
        mask: numpy.typing.NDArray[numpy.uint8] | None = None,
        offset: int = 0,
        isa: str = "",
    ) -> tuple[
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.float32],
        numpy.typing.NDArray[numpy.int64],
    ]:
        """
        What `walk` finds for queries as `round_queries` rounds them, with their bias added.
        """

    def set_finest(
        self, rows: numpy.typing.NDArray[Any], bias: numpy.typing.NDArray[numpy.float32] | None
    ) -> None:
        """A level of floats that searches of embeddings may finish with."""

    def search_rows(
        self,
        map: QueryMap,
        rows: numpy.typing.NDArray[numpy.float32],
        k: int,
        beam: int,
        room: int,
        starts: int,
        threads: int,
        mask: numpy.typing.NDArray[numpy.uint8] | None = None,
        offset: int = 0,
        isa: str = "",
        finish: int = 0,
    ) -> tuple[
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.float32],
        numpy.typing.NDArray[numpy.int64],
    ]:
        """
        What `search` finds for what a map makes of embeddings, or their best by the finest level.
        """

def graph_of_codes(
    wide: bool,
    neighbours: numpy.typing.NDArray[numpy.uint32],
    codes: numpy.typing.NDArray[numpy.uint8],
    scale: numpy.typing.NDArray[Any] | None,
    bias: numpy.typing.NDArray[numpy.float32] | None,
    entries: numpy.typing.NDArray[numpy.uint32],
    entry_codes: numpy.typing.NDArray[numpy.uint8],
    entry_scale: numpy.typing.NDArray[Any] | None,
    entry_bias: numpy.typing.NDArray[numpy.float32] | None,
    fine: numpy.typing.NDArray[Any] | None,
    fine_bias: numpy.typing.NDArray[numpy.float32] | None,
) -> Graph:
    """A graph of rows' neighbours and every row's code."""

class QueryMap:
    """What a codec makes of queries, of arrays that were checked."""

    def __init__(
        self,
        unit: bool,
        squared: bool,
        centred: bool,
        mean: numpy.typing.NDArray[numpy.float32],
        coordinates: numpy.typing.NDArray[numpy.float32],
        rotated: bool,
        first: numpy.typing.NDArray[numpy.int32],
        width: numpy.typing.NDArray[numpy.int32],
        books: numpy.typing.NDArray[numpy.float32],
        offset: numpy.typing.NDArray[numpy.float32] | None,
        step: numpy.typing.NDArray[numpy.float32] | None,
    ) -> None: ...
    def floats(
        self, rows: numpy.typing.NDArray[numpy.float32], threads: int, isa: str = ""
    ) -> tuple[
        numpy.typing.NDArray[numpy.float32],
        numpy.typing.NDArray[numpy.float32],
        numpy.typing.NDArray[numpy.float32] | None,
        numpy.typing.NDArray[numpy.float32] | None,
    ]:
        """
        Coordinates, bias, and weights and a bias of the finer level, of embeddings.
        """

def round_queries(
    z: numpy.typing.NDArray[numpy.float32],
    first: numpy.typing.NDArray[numpy.int32],
    width: numpy.typing.NDArray[numpy.int32],
    books: numpy.typing.NDArray[numpy.float32],
    bias: numpy.typing.NDArray[numpy.float32],
    gain: float,
    weights: numpy.typing.NDArray[numpy.float32] | None,
    fine_bias: numpy.typing.NDArray[numpy.float32] | None,
    threads: int,
    isa: str = "",
) -> tuple[
    numpy.typing.NDArray[numpy.uint8],
    numpy.typing.NDArray[numpy.float32],
    numpy.typing.NDArray[numpy.float32],
    numpy.typing.NDArray[numpy.int16] | None,
    numpy.typing.NDArray[numpy.float32] | None,
    numpy.typing.NDArray[numpy.float32],
]:
    """
    Tables, scales and bases, weights and theirs, and the bias that all scores lack.
    """
