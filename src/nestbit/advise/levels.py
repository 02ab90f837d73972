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


class LevelStore:
    """Codecs of single levels and their codes of the rows, made on first use; safe for threads.

    The levels of a spec are independent pipelines, so ``nested(1)`` alone and ``nested(1) + int8``
    share theirs. A spec with a level that codes the residual of another is fitted as a whole.
    """

    def __init__(
        self, rows: Floats, metric: str, sample: int, seed: int, cache: Cache | None = None
    ) -> None:
        self._cache = Cache(None, "") if cache is None else cache
        self._rows, self._metric, self._sample, self._seed = rows, metric, sample, seed
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._codecs: dict[str, Codec] = {}
        self._wholes: dict[str, Codec] = {}
        # The rows that a fit would draw, so that all that is fitted here equals what a user fits.
        self._sampled: NDArray[np.int64] | slice = slice(None)
        if len(rows) > sample:
            drawn = np.random.default_rng(seed).choice(len(rows), sample, replace=False)
            self._sampled = np.sort(drawn)
        self._codes: dict[tuple[str, int], Codes] = {}

    def parts(self, spec: str) -> tuple[str, ...]:
        """The specs that are fitted for ``spec``: its levels, or itself where they depend."""
        levels = levels_of(spec)
        return (spec,) if any(level.startswith(_RESIDUAL) for level in levels) else levels

    def codec(self, part: str) -> Codec:
        """The codec of one of the `parts`."""
        with self._lock(part):
            if part not in self._codecs:
                known = self._cache.load_codec(part)
                if known is None:
                    known = Codec(part, metric=self._metric, seed=self._seed)
                    known.fit(self._rows, sample=self._sample)
                    self._cache.store_codec(known)
                self._codecs[part] = known
            return self._codecs[part]

    def codes(self, part: str, rows: int) -> Codes:
        """Its codes of the first ``rows`` rows."""
        codec = self.codec(part)
        with self._lock(part):
            held = [n for name, n in self._codes if name == part]
            if not held or max(held) < rows:
                for n in held:
                    del self._codes[part, n]
                held = [rows]
                self._codes[part, rows] = codec.encode(self._rows[:rows])
            return self._codes[part, max(held)][:rows]

    def whole(self, spec: str, rows: int) -> tuple[Codec, Codes]:
        """The codec of ``spec`` put together from its parts, and its codes of the first rows."""
        parts = self.parts(spec)
        codes = [self.codes(part, rows) for part in parts]
        joined = Codes(tuple(level for one in codes for level in one.levels), codes[0].zero_rows)
        with self._lock(f"{spec} as a whole"):
            if spec not in self._wholes:
                self._wholes[spec] = self._join(spec, [self.codec(part) for part in parts])
            return self._wholes[spec], joined

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
