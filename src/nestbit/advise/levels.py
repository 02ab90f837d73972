"""Levels fitted and encoded once, however many specs they appear in."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.advise.cache import Cache
from nestbit.advise.recipes import levels_of
from nestbit.codecs import Codec, Codes
from nestbit.codecs.calibration import with_errors

_RESIDUAL = "residual"
_FEW_ROWS = 300


class LevelStore:
    """Codecs of single levels and their codes of the rows, made on first use; safe for threads.

    The levels of a spec are independent pipelines, so ``nested(1)`` alone and ``nested(1) + int8``
    share theirs. Codecs are fitted on ``rows`` (n, dim) as they come, codes are of the rows in
    ``order`` (n,). A spec with a level that codes the residual of another is fitted as a whole.
    """

    def __init__(
        self,
        rows: Floats,
        order: NDArray[np.int64],
        metric: str,
        sample: int,
        seed: int,
        cache: Cache | None = None,
    ) -> None:
        self._cache = Cache(None, "") if cache is None else cache
        self._rows, self._order = rows, order
        self._metric, self._sample, self._seed = metric, sample, seed
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._codecs: dict[str, Codec] = {}
        self._wholes: dict[str, Codec] = {}
        # The rows that a fit would draw, so that all that is fitted here equals what a user fits.
        self._sampled: NDArray[np.int64] | slice = slice(None)
        if len(rows) > sample:
            drawn = np.random.default_rng(seed).choice(len(rows), sample, replace=False)
            self._sampled = np.sort(drawn)
        self._codes: dict[str, Codes] = {}
        self._sizes: dict[str, tuple[int, ...]] = {}

    def parts(self, spec: str) -> tuple[str, ...]:
        """The specs that are fitted for ``spec``: its levels, or itself where they depend."""
        levels = levels_of(spec)
        return (spec,) if any(level.startswith(_RESIDUAL) for level in levels) else levels

    def codec(self, part: str) -> Codec:
        """The codec of one of the `parts`; only one of several levels has standard errors."""
        with self._lock(part):
            if part not in self._codecs:
                known = self._cache.load_codec(part)
                if known is None:
                    known = Codec(part, metric=self._metric, seed=self._seed)
                    # Only plans of two levels use them, and `_join` measures those of a pair.
                    several = len(levels_of(part)) > 1
                    known.fit(self._rows, sample=self._sample, errors=several)
                    self._cache.store_codec(known)
                self._codecs[part] = known
            return self._codecs[part]

    def codes(self, part: str, start: int, stop: int) -> Codes:
        """Its codes of the ordered rows from ``start`` to ``stop``."""
        codec = self.codec(part)
        with self._lock(part):
            known = self._codes.get(part)
            if known is None or len(known) < stop:
                known = self._codes[part] = codec.encode(self._rows[self._order[:stop]])
            return known[start:stop]

    def whole(self, spec: str, start: int, stop: int) -> tuple[Codec, Codes]:
        """The codec of ``spec`` put together from its parts, and its codes of these rows."""
        parts = self.parts(spec)
        codes = [self.codes(part, start, stop) for part in parts]
        joined = Codes(tuple(level for one in codes for level in one.levels), codes[0].zero_rows)
        with self._lock(f"{spec} as a whole"):
            if spec not in self._wholes:
                self._wholes[spec] = self._join(spec, [self.codec(part) for part in parts])
            return self._wholes[spec], joined

    def bytes(self, spec: str) -> tuple[int, ...]:
        """Bytes a row of each level, from a fit on a few rows: on many they are the same."""
        few = self._rows[: max(_FEW_ROWS, 2 * self._rows.shape[1])]
        sizes: list[int] = []
        for part in self.parts(spec):
            with self._lock(f"{part} on a few rows"):
                if part not in self._sizes:
                    codec = Codec(part, metric=self._metric, seed=self._seed)
                    levels = codec.fit(few, errors=False).levels
                    self._sizes[part] = tuple(level.n_bytes for level in levels)
                sizes += self._sizes[part]
        return tuple(sizes)

    def _join(self, spec: str, codecs: Sequence[Codec]) -> Codec:
        """A joined codec whose standard errors are measured again, as a fit of ``spec`` would."""
        codec = join(codecs, spec)
        if len(codecs) > 1:
            rows = codec.prepare(self._rows[self._sampled])
            codec.levels_ = with_errors(
                codec.recipe, codec.levels, rows, None, self._metric, self._seed
            )
        return codec

    def _lock(self, part: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(part, threading.Lock())


def join(codecs: Sequence[Codec], spec: str) -> Codec:
    """One codec of ``spec`` from fitted codecs of its levels, coarse to fine."""
    if len(codecs) == 1:
        return codecs[0]
    arrays: dict[str, NDArray[Any]] = {}
    levels: list[Any] = []
    for codec in codecs:
        own, header = codec.state()
        for name, array in own.items():
            number, _, rest = name.removeprefix("level").partition(".")
            arrays[f"level{len(levels) + int(number)}.{rest}"] = array
        levels += header["levels"]
    return Codec.from_state(arrays, {**codecs[0].state()[1], "spec": spec, "levels": levels})
