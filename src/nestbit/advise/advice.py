"""What `advise` returns."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nestbit._atomic import atomic_file
from nestbit.advise.budget import Budget, Prices
from nestbit.advise.choice import Choice, Floor
from nestbit.advise.diagnosis import Diagnosis
from nestbit.advise.intervals import Interval
from nestbit.advise.options import Option, front
from nestbit.advise.recipes import Recipe, Resident
from nestbit.codecs import Codec
from nestbit.errors import InputError
from nestbit.search import Plan


@dataclass(frozen=True)
class Loser:
    """A query that loses by the recipe: its value in float and compressed, and texts if known.

    ``missed`` are rows (or ids) of the float top k that the recipe does not find, best first.
    """

    query: str
    text: str | None
    floats: float
    compressed: float
    missed: tuple[str, ...]
    missed_texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advice:
    """Measured recipes and the one to take.

    ``options`` are in order of cost, ``dropped`` the specs left early and why. ``losers`` are the
    queries that lose most by the recipe chosen, or by the best where none is.
    """

    n: int
    dim: int
    n_queries: int
    metric: str
    k: int
    queries_from: str
    float_ndcg: float | None
    float_milliseconds: float
    options: tuple[Option, ...]
    dropped: tuple[tuple[str, str], ...]
    choice: Choice
    floor: Floor | None
    budget: Budget | None
    prices: Prices
    resident: Resident
    rows: int | None
    confidence: float
    diagnosis: Diagnosis
    losers: tuple[Loser, ...]

    @property
    def best(self) -> str:
        """The spec to build, as `nestbit.fit` takes it.

        Raises `InputError` where no recipe could be promised, with the reason.
        """
        return self.recipe.spec

    @property
    def recipe(self) -> Recipe:
        """Spec and plan; raises `InputError` where no recipe could be promised."""
        if self.choice.option is None:
            raise InputError(f"there is no recipe to recommend: {self.choice.refusal}")
        return self.choice.option.recipe

    def plan(self, codec: Codec) -> Plan:
        """The plan to search by, for a codec of the spec `best`."""
        return self.recipe.plan(codec)

    @property
    def shown(self) -> Option:
        """The option chosen, or else the one that keeps most."""
        return self.choice.option or max(self.options, key=lambda o: o.quality.value)

    @property
    def measure(self) -> str:
        """What quality means here."""
        return f"recall@{self.k}" if self.float_ndcg is None else f"nDCG@{self.k} kept"

    def expect(self, queries: int) -> Interval:
        """What `shown` should keep in the mean over so many ``queries`` other than those asked.

        Raises `InputError` for fewer than 1.
        """
        if queries < 1:
            raise InputError(f"queries must be at least 1, got {queries}")
        return self.shown.quality.of_others(self.n_queries, queries)

    def front(self, by: str = "bytes") -> tuple[Option, ...]:
        """The Pareto front: most kept per ``bytes`` (in memory), ``dollars`` or ``ms``."""
        costs = {
            "bytes": lambda o: o.footprint.ram,
            "dollars": lambda o: o.dollars_per_million,
            "ms": lambda o: o.milliseconds,
        }
        if by not in costs:
            raise InputError(f"unknown cost {by!r}; known: {', '.join(costs)}")
        return front(self.options, costs[by])

    @property
    def sentence(self) -> str:
        """The recommendation, or the refusal, in one sentence."""
        option = self.choice.option
        if option is None:
            return f"No recommendation: {self.choice.refusal}."
        disk = f" and {option.footprint.disk:,} on disk" if option.footprint.disk else ""
        kept = option.quality
        times = 4 * self.dim / option.footprint.ram
        what = f"of float's nDCG@{self.k}" if option.keep else f"of float's top {self.k}"
        promised = (
            f"{kept.value:.1%} {what} ({self.confidence:.0%} interval {kept.low:.1%} to "
            f"{kept.high:.1%})"
        )
        text = (
            f"Take {option.recipe}: it keeps {promised} in {option.footprint.ram:,} bytes of "
            f"memory{disk} per vector, {times:.3g} times less memory than the "
            f"{4 * self.dim:,} of float32"
        )
        if option.grown is not None and self.rows is not None and self.rows != self.n:
            grown = option.grown.recall
            text += (
                f"; at {self.rows:,} rows its recall of the float top {self.k} is expected at "
                f"{grown.value:.1%} ({grown.low:.1%} to {grown.high:.1%})"
            )
        return f"{text}."

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the advice as .json, .md or .html, told by the suffix, by atomic rename.

        Raises `InputError` for another suffix. HTML needs the extra ``report``.
        """
        from nestbit.advise.output import WRITERS  # it imports this module

        suffix = Path(path).suffix.lower()
        if suffix not in WRITERS:
            raise InputError(f"{path} has no suffix of a report; known: {', '.join(WRITERS)}")
        text = WRITERS[suffix](self)
        with atomic_file(path) as file:
            file.write(text.encode())
