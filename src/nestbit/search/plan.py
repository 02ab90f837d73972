"""Search plans: which levels a search opens, in what order, and how many rows each keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nestbit.codecs import Codec
from nestbit.errors import InputError

# A scan of bits or bytes rounds the query to int8 (an error of about 1% of the scores' spread),
# so a plan of a single level rescores a few times k rows with the float query.
ROUNDING_OVERSAMPLE = 3.0
# The usual factor between a coarse level and a finer one (Yamada et al. rescore 10 k or more).
COARSE_OVERSAMPLE = 10.0


@dataclass(frozen=True)
class Stage:
    """One stage: score rows by one level, keep the best ``oversample * k`` for the next.

    ``query`` is ``float``, or ``binary`` to compare packed sign bits by Hamming distance.
    ``dims`` limits the stage to the first dimensions of the code; of codes in 4-bit cells
    (nested, rabitq, pq) it counts cells. The first stage of a plan scans all rows, later ones
    rescore the survivors; the last keeps k whatever its factor.
    """

    level: int = 0
    query: Literal["float", "binary"] = "float"
    dims: int | None = None
    oversample: float = 1.0

    def __post_init__(self) -> None:
        if self.query not in ("float", "binary"):
            raise InputError(f"a stage's query is 'float' or 'binary', got {self.query!r}")
        if not 1 <= self.oversample < float("inf"):
            raise InputError(f"oversample must be at least 1, got {self.oversample}")
        if self.query == "binary" and self.dims is not None:
            raise InputError("a stage with a binary query reads whole codes; leave out dims")

    def keep(self, k: int, n: int) -> int:
        """Rows kept for the next stage, at most ``n``."""
        return min(n, max(k, round(self.oversample * k)))


@dataclass(frozen=True)
class Plan:
    """The stages of a search, coarse to fine."""

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("a plan needs at least one stage")

    @classmethod
    def default(cls, codec: Codec, *, oversample: float = COARSE_OVERSAMPLE) -> Plan:
        """Scan the coarsest level with the float query, then rescore by each finer level.

        A codec of one level rescores that same level, which removes the rounding of the scan.
        """
        last = len(codec.levels) - 1
        if last == 0:
            if codec.levels[0].coder.layout == "floats":
                return cls((Stage(0),))
            return cls((Stage(0, oversample=ROUNDING_OVERSAMPLE), Stage(0)))
        coarse = (Stage(i, oversample=oversample) for i in range(last))
        return cls((*coarse, Stage(last)))

    @classmethod
    def hamming(cls, codec: Codec, *, oversample: float = COARSE_OVERSAMPLE) -> Plan:
        """Scan bits by Hamming distance, then rescore with the float query.

        On a codec of one level the rescoring reads the same bits again and needs no second
        copy (Yamada et al., ACL 2021). ``oversample=1`` on such a codec is Hamming alone.
        """
        first = Stage(0, query="binary", oversample=oversample)
        finer = range(1, len(codec.levels))
        if not finer:
            return cls((first,)) if oversample == 1 else cls((first, Stage(0)))
        middle = tuple(Stage(i, oversample=oversample) for i in finer[:-1])
        return cls((first, *middle, Stage(finer[-1])))

    @classmethod
    def funnel(
        cls, codec: Codec, *, dims: tuple[int, ...] | None = None, oversample: float = 1.0
    ) -> Plan:
        """The Matryoshka funnel over prefixes of one code, each stage keeping half the rows.

        ``dims`` are the widths, ascending; by default 1/32, 1/16, ... of the code up to all of
        it. Stage i of S keeps ``oversample * k * 2^(S-1-i)`` rows.
        """
        level = len(codec.levels) - 1
        coder = codec.levels[level].coder
        whole, unit = coder.prefixes, coder.prefix_unit
        if dims is None:
            widths = {max(unit, whole >> s) // unit * unit for s in range(5, 0, -1)}
            dims = (*sorted(w for w in widths if w < whole), whole)
        if list(dims) != sorted(set(dims)):
            raise InputError(f"the funnel's dims must ascend, got {dims}")
        last = len(dims) - 1
        return cls(
            tuple(
                Stage(
                    level,
                    dims=None if width == whole else width,
                    oversample=oversample * 2 ** (last - i),
                )
                for i, width in enumerate(dims)
            )
        )

    def check(self, codec: Codec) -> None:
        """Raise `InputError` for a stage that the codec's levels cannot serve."""
        for i, stage in enumerate(self.stages):
            if not 0 <= stage.level < len(codec.levels):
                raise InputError(
                    f"stage {i} reads level {stage.level}; {codec.spec!r} has "
                    f"{len(codec.levels)} (counted from 0)"
                )
            coder = codec.levels[stage.level].coder
            if stage.query == "binary" and coder.layout != "bits":
                raise InputError(f"stage {i} compares bits, level {stage.level} is {coder.kind}")
            if stage.dims is None:
                continue
            if not 1 <= stage.dims <= coder.prefixes:
                raise InputError(f"stage {i} reads {stage.dims} of {coder.prefixes} dimensions")
            if stage.dims % coder.prefix_unit and stage.dims != coder.prefixes:
                raise InputError(f"stage {i}: a prefix of bits must be a multiple of 8")
