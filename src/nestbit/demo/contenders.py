"""The codecs and plans that the demo compares, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nestbit.codecs import Codec
from nestbit.search import Plan

_ENOUGH_FOR_CELLS = 64


@dataclass(frozen=True)
class Contender:
    """A spec and the plan it is searched with; ``name`` is unique in the table."""

    name: str
    spec: str
    plan: Callable[[Codec], Plan]


def contenders(dim: int, n: int) -> list[Contender]:
    """The contenders for ``n`` embeddings of ``dim`` dimensions, from most to fewest bytes.

    Half and a quarter of the dimensions are rounded to whole bytes of bits. A PCA is left out
    where there are no more rows than directions, a width that is not below ``dim`` and cells
    for fewer rows than their training takes too.
    """
    widths = [d for d in (_eighths(dim / 2), _eighths(dim / 4)) if d < dim]
    widths = list(dict.fromkeys(widths))
    specs = ["binary + int8", "int8"]
    if widths:
        specs.append(f"truncate({widths[0]}) | float16")
    for d in widths:
        specs += [f"pca({d}) | int8"] if n > d else []
        specs.append(f"truncate({d}) | int8")
    if n >= _ENOUGH_FOR_CELLS:
        specs.append("nested(1)")
    found = [Contender(spec, spec, Plan.default) for spec in (*specs, "binary")]
    found.append(Contender("binary, Hamming", "binary", _hamming_alone))
    if widths:
        short = f"truncate({widths[0]}) | binary"
        found.append(Contender(short, short, Plan.default))
    return found


def describe(plan: Plan, codec: Codec, k: int, n: int) -> str:
    """Say what a search by ``plan`` reads: ``scan binary, best 100 again by int8``."""
    words = []
    keep = n
    for i, stage in enumerate(plan.stages):
        kind = codec.levels[stage.level].coder.kind
        query = " by Hamming distance" if stage.query == "binary" else ""
        words.append(f"scan {kind}{query}" if i == 0 else f"best {keep} again by {kind}")
        keep = stage.keep(k, n)
    return ", ".join(words)


def _hamming_alone(codec: Codec) -> Plan:
    return Plan.hamming(codec, oversample=1)


def _eighths(dim: float) -> int:
    return max(8, round(dim / 8) * 8)
