"""From a file of vectors to a compressed file, in memory that does not grow with it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from nestbit.codecs import Codec, Codes
from nestbit.errors import InputError
from nestbit.io.codes_writer import CodesWriter
from nestbit.io.source import Chunk, VectorSource

# All chunks in flight together hold at most this many bytes of float32 rows.
DEFAULT_BUFFER = 64 << 20


def encode_file(
    codec: Codec,
    source: VectorSource,
    path: str | os.PathLike[str],
    *,
    threads: int = 1,
    buffer: int = DEFAULT_BUFFER,
    progress: Callable[[int], object] = lambda rows: None,
) -> tuple[float, ...]:
    """Encode the rows of ``source`` into the compressed file ``path``, which appears whole.

    ``threads`` chunks are encoded at once; all chunks in flight hold at most ``buffer`` bytes of
    float32 rows (at least one row each). ``progress`` is called with the number of rows done.
    Returns the share of clipped values in each level. Raises `InputError` for rows that cannot
    be encoded and for an output that is the input.
    """
    if threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    if os.path.exists(path) and os.path.samefile(path, source.path):
        raise InputError(f"{source.path} is both input and output; choose another output")
    # One chunk more than threads is in flight: the next is read while the others are encoded.
    rows = source.rows_in(buffer // (threads + 1))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="nestbit-encode")
    pending: deque[tuple[Chunk, Future[Codes]]] = deque()
    try:
        with CodesWriter(path, codec, source.n, ids=source.ids_kind) as writer:

            def write_oldest() -> None:
                chunk, codes = pending.popleft()
                writer.append(codes.result(), chunk.ids)
                progress(len(chunk.rows))

            for chunk in source.chunks_with_ids(rows):
                pending.append((chunk, pool.submit(codec.encode, chunk.rows)))
                if len(pending) > threads:
                    write_oldest()
            while pending:
                write_oldest()
            return writer.clipped
    finally:
        pool.shutdown(cancel_futures=True)
