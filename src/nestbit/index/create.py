"""A new, empty index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nestbit._atomic import atomic_directory
from nestbit.codecs import Codec
from nestbit.errors import InputError
from nestbit.index.catalog import DEFAULT_PARTITION_ROWS, NAME, State, create_catalog, field_sql
from nestbit.index.codec_file import codec_path, save_codec
from nestbit.index.index import Index, Pin
from nestbit.index.profiles import Profile, check_profile, choose
from nestbit.index.segment import DIRECTORY


def create(
    path: str | os.PathLike[str],
    codec: str | Codec,
    *,
    dim: int | None = None,
    metric: str | None = None,
    model: str | None = None,
    seed: int | None = None,
    fields: Sequence[str] = (),
    fit_rows: int | None = None,
    partition_rows: int | None = DEFAULT_PARTITION_ROWS,
    profile: Profile = "memory",
    memory_mb: float | None = None,
    pin: Pin = "none",
) -> Index:
    """Make the directory ``path`` an empty index and open it.

    ``codec`` is a fitted codec, or a spec with its ``metric`` (cosine unless told), ``dim``,
    ``model`` and ``seed``. A spec that learns is fitted by the change that brings the index to
    ``fit_rows`` rows, by default 2,000 and at least 4 for each dimension; until then rows are kept
    as float32 and searched exactly. ``fields`` are names of metadata that get an index of their
    own for filters. Compaction partitions segments from ``partition_rows`` rows on, none if that is
    None, and makes graphs as ``profile`` and ``memory_mb`` tell (see `Index.compact`). Raises
    `InputError` where ``path`` exists already and for options that do not fit, `SpecError` for a
    bad spec.
    """
    options = {"dim": dim, "metric": metric, "model": model, "seed": seed}
    if isinstance(codec, Codec):
        if given := [name for name, value in options.items() if value is not None]:
            raise InputError(f"a codec brings its own {', '.join(given)}; leave these out")
    else:
        codec = Codec(codec, metric=metric or "cosine", dim=dim, model=model, seed=seed or 0)
    if dim is not None and dim < 1:
        raise InputError(f"dim must be at least 1, got {dim}")
    if fit_rows is not None and fit_rows < 1:
        raise InputError(f"fit_rows must be at least 1, got {fit_rows}")
    if partition_rows is not None and partition_rows < 1:
        raise InputError(f"partition_rows must be at least 1, or None, got {partition_rows}")
    check_profile(profile, memory_mb)
    if codec.fitted:
        choose(codec, 0, profile, memory_mb)
    if isinstance(fields, str):
        raise InputError(f"fields must be a list of names, got {fields!r}")
    for field in fields:
        field_sql(field)
    state = State(
        generation=0,
        horizon=0,
        next_row=0,
        live=0,
        id_kind=None,
        spec=codec.spec,
        metric=codec.metric,
        dim=codec.dim if codec.fitted else dim,
        model=codec.model,
        seed=codec.seed,
        fit_rows=fit_rows,
        fields=tuple(dict.fromkeys(fields)),
        partition_rows=partition_rows,
        profile=profile,
        memory_mb=memory_mb,
    )
    with atomic_directory(path) as directory:
        (directory / DIRECTORY).mkdir()
        entry = save_codec(codec, codec_path(directory, 1)) if codec.fitted else None
        create_catalog(directory / NAME, state, entry)
    return Index(Path(os.path.realpath(path)), pin=pin)
