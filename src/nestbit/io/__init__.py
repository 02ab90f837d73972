"""Files: vectors read in chunks, and codes with their codec."""

from nestbit.io.codes_file import CodesWriter, read_codes, verify, write_codes
from nestbit.io.source import Chunk, VectorSource
from nestbit.io.vectors import READERS, open_vectors

__all__ = [
    "READERS",
    "Chunk",
    "CodesWriter",
    "VectorSource",
    "open_vectors",
    "read_codes",
    "verify",
    "write_codes",
]
