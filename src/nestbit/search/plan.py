"""Search plans: which levels a search opens, in what order, and how many rows each keeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from nestbit.codecs import Codec, first_part
from nestbit.errors import InputError

# A scan of bits or bytes rounds the query to int8 (an error of about 1% of the scores' spread),
# so a plan of a single level rescores a few times k rows with the float query.
ROUNDING_OVERSAMPLE = 3.0
# The usual factor between a coarse level and a finer one (Yamada et al. rescore 10 k or more).
COARSE_OVERSAMPLE = 10.0


def check_target(target_recall: float) -> None:
    """Raise `InputError` unless 0 < target_recall < 1: all rows need no target but a full scan."""
    if not 0 < target_recall < 1:
        raise InputError(f"target_recall must lie between 0 and 1, got {target_recall}")


@dataclass(frozen=True)
class Stage:
    """One stage: score rows by one level, keep the best ``oversample * k`` for the next.

    ``query`` is ``float``, or ``binary`` to compare packed sign bits by Hamming distance.
    ``dims`` limits the stage to the first dimensions of the code; of codes in cells
    (nested, rabitq, pq) it counts cells. The first stage of a plan scans all rows, later ones
    rescore the survivors; the last keeps k whatever its factor.

    ``target_recall`` on the first of several stages replaces its factor: each query has as many
    of its candidates rescored by the second stage as are expected to hold this share of the
    rows that stage would keep if it scored all rows. The share is a mean over queries, and
    relative to that level's own exhaustive search, not to the float embeddings.
    """

    level: int = 0
    query: Literal["float", "binary"] = "float"
    dims: int | None = None
    oversample: float = 1.0
    target_recall: float | None = None

    def __post_init__(self) -> None:
        if self.query not in ("float", "binary"):
            raise InputError(f"a stage's query is 'float' or 'binary', got {self.query!r}")
        if not 1 <= self.oversample < float("inf"):
            raise InputError(f"oversample must be at least 1, got {self.oversample}")
        if self.target_recall is not None:
            check_target(self.target_recall)
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
        targets = [i for i, stage in enumerate(self.stages) if stage.target_recall is not None]
        if targets and (targets != [0] or len(self.stages) == 1):
            raise InputError(
                "target_recall belongs to the first of several stages, got it on stage "
                f"{targets[-1]} of {len(self.stages)}"
            )

    @classmethod
    def default(
        cls,
        codec: Codec,
        *,
        oversample: float = COARSE_OVERSAMPLE,
        target_recall: float | None = None,
    ) -> Plan:
        """Scan the coarsest level with the float query, then rescore by each finer level.

        A codec of one level rescores that same level, which removes the rounding of the scan.
        With ``target_recall`` the first rescoring reads as many candidates per query as it
        needs (see `Stage`), in place of ``oversample`` times k.
        """
        if target_recall is not None:
            check_target(target_recall)
        exact = codec.levels[0].coder.layout == "floats"
        return _default_plan(len(codec.levels), exact, oversample, target_recall)

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
        it. Stage i of S keeps ``oversample * k * 2^(S-1-i)`` rows. The code is that of the
        finest level; where that is a residual, the level that it completes, then rescored.
        """
        finest = len(codec.levels) - 1
        level = first_part(codec.levels, finest)
        coder = codec.levels[level].coder
        whole, unit = coder.prefixes, coder.prefix_unit
        if dims is None:
            widths = {max(unit, whole >> s) // unit * unit for s in range(5, 0, -1)}
            dims = (*sorted(w for w in widths if w < whole), whole)
        if list(dims) != sorted(set(dims)):
            raise InputError(f"the funnel's dims must ascend, got {dims}")
        reads = [(level, None if width == whole else width) for width in dims]
        reads += [(residual, None) for residual in range(level + 1, finest + 1)]
        last = len(reads) - 1
        return cls(
            tuple(
                Stage(each, dims=width, oversample=oversample * 2 ** (last - i))
                for i, (each, width) in enumerate(reads)
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
            if i == 0 and codec.levels[stage.level].residual:
                raise InputError(
                    f"stage 0 scans level {stage.level}, which holds a residual alone; "
                    f"scan level {first_part(codec.levels, stage.level)} and rescore by this one"
                )
            if stage.query == "binary" and coder.layout != "bits":
                raise InputError(f"stage {i} compares bits, level {stage.level} is {coder.kind}")
            if stage.dims is None:
                continue
            if not 1 <= stage.dims <= coder.prefixes:
                raise InputError(f"stage {i} reads {stage.dims} of {coder.prefixes} dimensions")
            if stage.dims % coder.prefix_unit and stage.dims != coder.prefixes:
                raise InputError(f"stage {i}: a prefix of bits must be a multiple of 8")


@lru_cache(maxsize=64)
def _default_plan(levels: int, exact: bool, oversample: float, target_recall: float | None) -> Plan:
    """The plan for so many levels; ``exact`` where the first holds the floats themselves."""
    last = levels - 1
    if last == 0:
        if exact:
            return Plan((Stage(0),))
        first = Stage(0, oversample=ROUNDING_OVERSAMPLE, target_recall=target_recall)
        return Plan((first, Stage(0)))
    first = Stage(0, oversample=oversample, target_recall=target_recall)
    middle = (Stage(i, oversample=oversample) for i in range(1, last))
    return Plan((first, *middle, Stage(last)))
