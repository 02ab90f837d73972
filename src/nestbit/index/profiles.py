"""What an index keeps besides its codes so that a search need not read them all.

- ``memory``: nothing but codes; a search scans them, or the partitions that it opens.
- ``balanced``: each row's neighbours in a graph.
- ``speed``: the same graph, which a search holds in memory together with the codes of all levels.
- ``auto``: ``memory`` where a scan is fast enough; else the fastest of these whose graph fits the
  memory that was allowed (``balanced`` if nothing was said), unless a scan is measured faster.
"""

from __future__ import annotations

from typing import Literal, get_args

from nestbit.codecs import Codec
from nestbit.errors import InputError
from nestbit.index.walk import walkable

Profile = Literal["auto", "memory", "balanced", "speed"]

DEGREE = 32
# Fewer rows than this are scanned in less time than a graph would save.
FEWEST_ROWS = 50_000
# A search that is told nothing else finds this share of what the finest level would.
DEFAULT_TARGET = 0.95


def check_profile(profile: str, memory_mb: float | None) -> None:
    """Raise `InputError` for a profile that there is not, or a memory that is none."""
    if profile not in get_args(Profile):
        known = ", ".join(get_args(Profile))
        raise InputError(f"profile is one of {known}, got {profile!r}")
    if memory_mb is not None and not memory_mb > 0:
        raise InputError(f"memory_mb must be more than 0, got {memory_mb}")


def walked_bytes(codec: Codec, profile: str) -> int:
    """Bytes of a row that the walks of a profile read again and again: it is to have memory for."""
    levels = codec.levels if profile == "speed" else codec.levels[:1]
    return 4 * DEGREE + sum(level.coder.n_bytes for level in levels)


def choose(codec: Codec, n: int, profile: str, memory_mb: float | None) -> tuple[str, str]:
    """The profile for a segment of n rows, one that is not ``auto``, and why.

    Raises `InputError` for a graph over codes that none can be walked over.
    """
    obstacle = walkable(codec)
    if profile != "auto":
        if profile != "memory" and obstacle is not None:
            raise InputError(f"profile {profile!r} needs a graph, and {obstacle}")
        return profile, "asked for"
    if obstacle is not None:
        return "memory", obstacle
    if n < FEWEST_ROWS:
        return "memory", f"{n:,} rows are scanned fast enough"
    if memory_mb is None:
        return "balanced", "no memory was told, so the graph is the small one"
    for name, codes in (("speed", "codes"), ("balanced", "coarse codes")):
        needed = n * walked_bytes(codec, name) / 1e6
        if needed <= memory_mb:
            return name, f"its graph and {codes} take {needed:,.0f} of {memory_mb:,.0f} MB"
    return "memory", f"a graph and coarse codes take {needed:,.0f} MB, more than {memory_mb:,.0f}"
