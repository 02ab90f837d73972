"""Recipes: a codec's spec, and how far its plan oversamples; and the grid that is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nestbit.advise.budget import Footprint
from nestbit.codecs import Codec, parse
from nestbit.search import Plan

# Candidates per hit that are rescored by a finer level, from fast to safe.
OVERSAMPLES = (2.0, 5.0, 10.0, 20.0, 50.0)
# Recall of what an exhaustive rescoring finds, for plans that fit the candidates to the query.
TARGETS = (0.95, 0.99)
NESTED_BITS = ("4", "2", "1", "0.5", "0.25")

Resident = Literal["coarse", "all"]


@dataclass(frozen=True)
class Recipe:
    """A spec that `nestbit.fit` takes, and the plan its codes are searched by.

    ``oversample`` is 1 for codes of one level, which have no finer level to rescore by. Instead
    of it, ``target_recall`` lets each query rescore as many candidates as it needs.
    """

    spec: str
    oversample: float = 1.0
    target_recall: float | None = None

    def plan(self, codec: Codec) -> Plan:
        """The plan for a codec of this spec."""
        if len(codec.levels) == 1:
            return Plan.default(codec)
        if self.target_recall is not None:
            return Plan.default(codec, target_recall=self.target_recall)
        return Plan.default(codec, oversample=self.oversample)

    def __str__(self) -> str:
        if self.target_recall is not None:
            return f"{self.spec}, rescoring for {self.target_recall:.0%}"
        if self.oversample == 1:
            return self.spec
        return f"{self.spec}, rescoring {self.oversample:g}×k"

    @property
    def code(self) -> str:
        """Lines of Python that build and search it."""
        plan = ""
        if self.target_recall is not None:
            plan = f", plan=nb.Plan.default(codec, target_recall={self.target_recall:g})"
        elif self.oversample != 1:
            plan = f", plan=nb.Plan.default(codec, oversample={self.oversample:g})"
        return (
            f'codec = nb.fit(embeddings, "{self.spec}")\n'
            "codes = codec.encode(embeddings)\n"
            f"hits = nb.search(codec, codes, queries, k=10{plan})"
        )


def levels_of(spec: str) -> tuple[str, ...]:
    """The levels of a spec in canonical form; raises `SpecError` for one that does not parse."""
    return tuple(str(level) for level in parse(spec).levels)


def recipes_of(spec: str) -> tuple[Recipe, ...]:
    """The recipes to try for a spec: only levels beyond the first leave anything to choose."""
    if len(levels_of(spec)) == 1:
        return (Recipe(spec),)
    fixed = (Recipe(spec, oversample) for oversample in OVERSAMPLES)
    return (*fixed, *(Recipe(spec, target_recall=target) for target in TARGETS))


def footprint_of(level_bytes: tuple[int, ...], resident: Resident) -> Footprint:
    """Where the levels of a code lie: all in memory, or the finer ones on disk."""
    if resident == "all":
        return Footprint(sum(level_bytes), 0)
    return Footprint(level_bytes[0], sum(level_bytes[1:]))


def default_grid(dim: int, *, matryoshka: bool) -> tuple[str, ...]:
    """The specs tried for ``dim`` dimensions; truncated ones where prefixes are worth it."""
    coarse = [f"nested({bits})" for bits in NESTED_BITS if float(bits) * dim >= 16]
    # Two bits and more find so much by themselves that they leave a finer level nothing to add.
    first = [spec for spec, bits in zip(coarse, NESTED_BITS, strict=False) if float(bits) <= 1]
    specs = ["int8", *coarse, *(f"{spec} + int8" for spec in first), "binary + int8"]
    if dim >= 16:
        specs.append("nested(1) + residual | nested(3)")
    half, quarter = dim // 2, dim // 4
    if half >= 16:
        specs.append(f"pca({half}) | int8")
    if matryoshka and quarter >= 16:
        specs += [f"truncate({half}) | int8", f"truncate({quarter}) | int8"]
        specs.append(f"truncate({quarter}) | int8 + int8")
    return tuple(specs)
