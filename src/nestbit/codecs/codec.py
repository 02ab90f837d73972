"""The codec: one object that travels with its codes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings
from nestbit._safetensors import read_arrays, write_arrays
from nestbit.codecs import chain
from nestbit.codecs.calibration import with_errors
from nestbit.codecs.chain import CodesScorer
from nestbit.codecs.codes import Codes, LevelCodes, concatenate
from nestbit.codecs.explain import explain_level
from nestbit.codecs.level import Level
from nestbit.codecs.ops import unit_rows
from nestbit.codecs.spec import Spec, parse
from nestbit.codecs.transforms import Normalize
from nestbit.errors import FileFormatError, InputError, NotFittedError, SpecError

METRICS = ("cosine", "dot", "l2")
STATE_VERSION = 1
DEFAULT_SAMPLE = 50_000

_BLOCK_VALUES = 1 << 22


class Codec:
    """A spec, the metric it serves, and, once fitted, everything needed to encode and score.

    ``dim`` fixes the width of the embeddings beforehand; a spec whose stages learn nothing
    (such as ``binary``) is then fitted at once. ``model`` names the embedding model.
    Raises `SpecError` for a spec that does not parse or does not suit the metric.
    """

    def __init__(
        self,
        spec: str,
        *,
        metric: str = "cosine",
        dim: int | None = None,
        model: str | None = None,
        seed: int = 0,
    ) -> None:
        if metric not in METRICS:
            raise InputError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")
        self.recipe: Spec = parse(spec)
        if metric != "cosine" and _normalizes(self.recipe):
            raise SpecError(
                f"'normalize' discards the lengths that metric {metric!r} scores; "
                "use metric='cosine' or drop the stage"
            )
        self.metric = metric
        self.model = model
        self.seed = seed
        self._dim = dim
        self.levels_: tuple[Level, ...] | None = None
        if dim is not None and not self.recipe.learns:
            self._fit_levels(np.empty((0, dim), np.float32), None)

    def __str__(self) -> str:
        return self.spec

    def __repr__(self) -> str:
        state = f"dim={self._dim}" if self.fitted else "not fitted"
        return f"Codec({self.spec!r}, metric={self.metric!r}, {state})"

    @property
    def spec(self) -> str:
        """The spec in canonical form; ``parse`` reads it back to the same recipe."""
        return str(self.recipe)

    @property
    def fitted(self) -> bool:
        """Whether the codec can encode."""
        return self.levels_ is not None

    @property
    def levels(self) -> tuple[Level, ...]:
        """The fitted levels, coarse to fine; raises `NotFittedError` before fitting."""
        if self.levels_ is None:
            raise NotFittedError(
                f"the codec {self.spec!r} is not fitted; call fit(embeddings) or nestbit.fit first"
            )
        return self.levels_

    @property
    def dim(self) -> int:
        """Dimensions of the embeddings; raises `NotFittedError` before fitting."""
        return self.levels[0].dim

    @property
    def n_bytes(self) -> int:
        """Bytes per row over all levels."""
        return sum(level.n_bytes for level in self.levels)

    def fit(
        self,
        embeddings: ArrayLike,
        *,
        queries: ArrayLike | None = None,
        sample: int = DEFAULT_SAMPLE,
        errors: bool = True,
    ) -> Self:
        """Learn from at most ``sample`` random rows of ``embeddings`` (n, dim).

        ``queries`` (m, dim) are sample queries for the stages that use them. Without ``errors``
        no standard errors are measured, which saves up to half of the time. Raises `InputError`
        for bad arrays or too few rows.
        """
        if sample < 1:
            raise InputError(f"sample must be at least 1 row, got {sample}")
        x = np.asarray(embeddings)
        if x.ndim == 2 and len(x) > sample:
            rng = np.random.default_rng(self.seed)
            x = x[np.sort(rng.choice(len(x), sample, replace=False))]
        rows = as_embeddings(x, dim=self._dim)
        if len(rows) == 0:
            raise InputError("there are no rows to fit on: the embeddings are empty")
        q = None
        if queries is not None:
            q = as_embeddings(queries, name="queries", dim=rows.shape[1])
        self._fit_levels(rows, q, errors=errors)
        return self

    def prepare(self, x: Floats) -> Floats:
        """Rows or queries (n, dim) as the levels take them: scaled to unit length for cosine."""
        return unit_rows(x) if self.metric == "cosine" else x

    def _fit_levels(self, rows: Floats, queries: Floats | None, *, errors: bool = True) -> None:
        rows = self.prepare(rows)
        queries = None if queries is None else self.prepare(queries)
        levels = chain.fit(self.recipe, rows, queries, self.metric, self.seed)
        if errors:
            levels = with_errors(self.recipe, levels, rows, queries, self.metric, self.seed)
        self.levels_ = levels
        self._dim = rows.shape[1]

    def encode(self, embeddings: ArrayLike) -> Codes:
        """Codes of ``embeddings`` (n, dim); raises `InputError` for rows that do not fit."""
        x = as_embeddings(embeddings, dim=self.dim)
        step = max(1, _BLOCK_VALUES // x.shape[1])
        blocks, zero_rows = [], []
        # Block by block, so that the float temporaries stay small; one block if x is empty.
        for start in range(0, max(1, len(x)), step):
            rows = x[start : start + step]
            zero_rows.append(start + np.flatnonzero(~rows.any(axis=1)))
            prepared = self.prepare(rows)
            blocks.append(chain.encode(self.levels, prepared))
        levels, clipped = [], []
        for parts, level in zip(zip(*blocks, strict=True), self.levels, strict=True):
            levels.append(concatenate([codes for codes, _ in parts]))
            clipped.append(sum(n for _, n in parts) / max(1, len(x) * level.coder.dim))
        return Codes(tuple(levels), np.concatenate(zero_rows).astype(np.int64), tuple(clipped))

    def decode(self, codes: Codes, *, level: int = -1) -> Floats:
        """Best float reconstruction (n, dim) from one level, the finest unless told.

        A residual level is added to those before it. For metric cosine these are the unit rows.
        All-zero rows come back as zero.
        """
        check_codes(self, codes)
        x = chain.decode(self.levels, codes.levels, range(len(self.levels))[level])
        x[codes.zero_rows] = 0
        return x

    def scorer(self, queries: Floats, *, level: int, dims: int | None = None) -> CodesScorer:
        """Prepare queries (m, dim), as `prepare` returns them, to score codes by one level.

        ``dims`` limits them to the first dimensions (or cells) of that level's own code.
        """
        return chain.scorer(self.levels, level, queries, dims=dims)

    def standard_errors(self, queries: ArrayLike, *, level: int = -1) -> Floats:
        """Standard errors (m,) of the scores that a level gives to ``queries`` (m, dim).

        For 95% of a query's best rows by that level, score and float score differ by at most
        1.96 standard errors; over rows drawn blindly the share may differ (see `explain`).
        Raises `InputError` for a codec that was fitted without rows or on too few of them.
        """
        model = self.levels[level].errors
        if model is None:
            raise InputError(
                f"{self.spec!r} has no standard errors: they are measured when a codec is fitted "
                "on at least 200 rows, and more than its stages need"
            )
        q = self.prepare(as_embeddings(queries, name="queries", dim=self.dim))
        return np.float32(2 if self.metric == "l2" else 1) * model.standard_errors(q)

    def codes_from(self, *arrays: NDArray[Any]) -> Codes:
        """Codes made elsewhere, one packed array (n, width) per level, to be searched as they are.

        Bits are in `numpy.packbits` order. Raises `InputError` for arrays that do not match
        the levels, or when the metric needs row factors that such codes lack.
        """
        parts = zip(self.levels, arrays, strict=False)
        data = tuple(LevelCodes(level.coder.layout, np.asarray(a)) for level, a in parts)
        if len(arrays) != len(self.levels):
            raise InputError(f"{self.spec!r} has {len(self.levels)} levels, got {len(arrays)}")
        codes = Codes(data, np.empty(0, np.int64))
        check_codes(self, codes)
        return codes

    def explain(self) -> str:
        """Text on what each level does with a row, and what a fit compared and found best."""
        lines = [f"{self.spec}, metric {self.metric}, {self.dim} dimensions"]
        for i, level in enumerate(self.levels):
            lines += [f"level {i}", *(f"  {line}" for line in explain_level(level))]
        return "\n".join(lines)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """All arrays by name, and a JSON header; `from_state` makes the codec again."""
        arrays: dict[str, NDArray[Any]] = {}
        headers = []
        for i, level in enumerate(self.levels):
            level_arrays, header = level.state()
            arrays |= {f"level{i}.{name}": array for name, array in level_arrays.items()}
            headers.append(header)
        return arrays, {
            "version": STATE_VERSION,
            "spec": self.spec,
            "metric": self.metric,
            "dim": self.dim,
            "model": self.model,
            "seed": self.seed,
            "levels": headers,
        }

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> Codec:
        """The codec that `state` described; raises `FileFormatError` for what does not fit."""
        version = header.get("version")
        if version != STATE_VERSION:
            raise FileFormatError(
                f"codec state has version {version!r}, this nestbit reads {STATE_VERSION}; "
                "update nestbit or fit the codec again"
            )
        try:
            codec = cls(
                header["spec"],
                metric=header["metric"],
                model=header["model"],
                seed=int(header["seed"]),
            )
            if len(header["levels"]) != len(codec.recipe.levels):
                raise FileFormatError("the number of levels differs from the spec's")
            codec._dim = int(header["dim"])
            codec.levels_ = tuple(
                Level.restore(level, _under(arrays, f"level{i}."), part, codec.metric, codec._dim)
                for i, (level, part) in enumerate(
                    zip(codec.recipe.levels, header["levels"], strict=True)
                )
            )
        except FileFormatError as error:
            raise FileFormatError(f"codec state is damaged: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"codec state is damaged: {error!r}") from error
        return codec

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codec as one safetensors file, by atomic rename."""
        arrays, header = self.state()
        write_arrays(Path(path), arrays, {"nestbit.codec": json.dumps(header)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Codec:
        """Read what `save` wrote; raises `FileFormatError` for anything else."""
        arrays, metadata = read_arrays(Path(path))
        if "nestbit.codec" not in metadata:
            raise FileFormatError(f"{path} is a safetensors file, but holds no nestbit codec")
        try:
            header = json.loads(metadata["nestbit.codec"])
        except json.JSONDecodeError as error:
            raise FileFormatError(f"{path}: the codec header is not JSON: {error}") from error
        return cls.from_state(arrays, header)


def fit(
    embeddings: ArrayLike,
    spec: str,
    *,
    metric: str = "cosine",
    queries: ArrayLike | None = None,
    model: str | None = None,
    sample: int = DEFAULT_SAMPLE,
    seed: int = 0,
) -> Codec:
    """Fit a codec on ``embeddings`` (n, dim), of which at most ``sample`` random rows are read.

    ``metric`` is ``cosine``, ``dot`` or ``l2``; ``queries`` (m, dim) are sample queries for the
    stages that use them. Raises `SpecError` and `InputError`.
    """
    codec = Codec(spec, metric=metric, model=model, seed=seed)
    return codec.fit(embeddings, queries=queries, sample=sample)


def check_codes(codec: Codec, codes: Codes) -> None:
    """Raise `InputError` unless ``codes`` have the layouts and widths of the codec's levels."""
    if len(codes.levels) != len(codec.levels):
        raise InputError(
            f"the codes have {len(codes.levels)} levels, the codec {codec.spec!r} "
            f"has {len(codec.levels)}"
        )
    for i, (part, level) in enumerate(zip(codes.levels, codec.levels, strict=True)):
        coder, data = level.coder, part.data
        if data.ndim != 2 or data.shape[1] != coder.width or data.dtype != coder.dtype:
            raise InputError(
                f"level {i} ({coder.kind}) takes {coder.dtype} codes of width {coder.width}, "
                f"got {data.dtype} of shape {data.shape}; were they made by another codec?"
            )
        if missing := set(level.factors) - set(part.factors):
            raise InputError(
                f"level {i} ({coder.kind}, metric {level.metric}) lacks the row factors "
                f"{', '.join(sorted(missing))}; encode the embeddings instead"
            )


def _normalizes(recipe: Spec) -> bool:
    return any(isinstance(s, Normalize) for level in recipe.levels for s in level.transforms)


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
