"""Advice as JSON and Markdown, and the table of suffixes that it can be saved by."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from nestbit.advise.advice import Advice
from nestbit.advise.budget import Footprint
from nestbit.advise.extrapolation import Extrapolation
from nestbit.advise.intervals import Interval
from nestbit.advise.options import Option
from nestbit.advise.sweep import OVER_BUDGET
from nestbit.advise.words import in_words

FORMAT_VERSION = 1
# Sizes of collection that the cost table is made for.
COST_ROWS = (1_000_000, 10_000_000, 100_000_000, 250_000_000)


def to_dict(advice: Advice) -> dict[str, Any]:
    """The advice as plain values; intervals are [value, low, high]."""
    found = advice.diagnosis
    choice = advice.choice
    return {
        "version": FORMAT_VERSION,
        "sentence": advice.sentence,
        "best": None if choice.option is None else _recipe(choice.option),
        "refusal": choice.refusal,
        "needed_queries": choice.needed,
        "rows": advice.n,
        "dim": advice.dim,
        "metric": advice.metric,
        "k": advice.k,
        "queries": advice.n_queries,
        "queries_from": advice.queries_from,
        "confidence": advice.confidence,
        "floor": None if advice.floor is None else asdict(advice.floor),
        "budget": None if advice.budget is None else asdict(advice.budget),
        "prices": asdict(advice.prices),
        "resident": advice.resident,
        "target_rows": advice.rows,
        "float": {"ndcg": advice.float_ndcg, "milliseconds": advice.float_milliseconds},
        "options": [_option(option) for option in advice.options],
        "front": {
            by: [str(option.recipe) for option in advice.front(by)]
            for by in ("bytes", "dollars", "ms")
        },
        "dropped": dict(advice.dropped),
        "losers": [asdict(loser) for loser in advice.losers],
        "diagnosis": {
            "words": in_words(found),
            "effective_dim": found.effective_dim,
            "mean_length": found.mean_length,
            "outliers": list(found.outliers),
            "kurtosis": found.kurtosis,
            "matryoshka": found.matryoshka,
            "signs_suit": found.signs_suit,
            "spectrum": found.spectrum.tolist(),
            "sign_entropy": found.sign_entropy.tolist(),
            "sorted_values": found.sorted_values.tolist(),
            "prefix_recall": {str(d): r for d, r in found.prefix_recall.items()},
            "random_recall": {str(d): r for d, r in found.random_recall.items()},
            "sign_recall": found.sign_recall,
        },
    }


def to_json(advice: Advice) -> str:
    """The advice as JSON, one document ended by a line break."""
    return json.dumps(to_dict(advice), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def to_markdown(advice: Advice) -> str:
    """The advice as a Markdown page."""
    head = ["recipe", "RAM", "disk", "less RAM", f"recall@{advice.k}"]
    head += [] if advice.float_ndcg is None else [f"nDCG@{advice.k}", "kept"]
    head += ["ms", "$ per 1M and month"]
    on_front = {id(option) for option in advice.front("bytes")}
    rows = [
        [f"**{name}**" if id(option) in on_front else name, *cells]
        for option in advice.options
        for name, *cells in [option_cells(option, advice)]
    ]
    lines = [
        "# Advice",
        "",
        advice.sentence,
        "",
        *(f"- {line}" for line in conditions(advice)),
        "",
        "## Recipes",
        "",
        *_table(head, rows),
        "",
        "Bold: no other recipe keeps more in as little memory.",
        "",
        "## Cost per month",
        "",
        *_table(*cost_table(advice)),
        "",
        "## The model",
        "",
        *(f"- {line}" for line in in_words(advice.diagnosis)),
        "",
    ]
    if advice.choice.option is not None:
        lines += ["## Build it", "", "```python", advice.recipe.code, "```", ""]
    return "\n".join(lines)


def option_cells(option: Option, advice: Advice) -> list[str]:
    """The cells of a recipe's line in a table, its name first."""
    cells = [
        str(option.recipe),
        f"{option.footprint.ram:,}",
        f"{option.footprint.disk:,}",
        f"{4 * advice.dim / option.footprint.ram:.3g}×",
        percent(option.recall),
    ]
    if option.keep is not None and option.ndcg is not None:
        cells += [f"{option.ndcg:.4f}", percent(option.keep)]
    return [*cells, f"{option.milliseconds:.3f}", f"{option.dollars_per_million:.3g}"]


def cost_table(advice: Advice) -> tuple[list[str], list[list[str]]]:
    """Dollars per month for float32 and the recipes of the front, by rows."""
    whole = Footprint(4 * advice.dim, 0)
    head = ["", *(f"{rows / 1e6:,.0f}M rows" for rows in COST_ROWS)]
    body = [["float32, all in memory", *(_money(whole, rows, advice) for rows in COST_ROWS)]]
    seen = set()
    for option in advice.front("dollars"):
        if option.recipe.spec not in seen:
            seen.add(option.recipe.spec)
            costs = (_money(option.footprint, rows, advice) for rows in COST_ROWS)
            body.append([option.recipe.spec, *costs])
    return head, body


def conditions(advice: Advice) -> list[str]:
    """How the figures were measured."""
    lines = [
        f"{advice.n:,} rows of {advice.dim} dimensions, {advice.queries_from}, metric "
        f"{advice.metric}; intervals are {advice.confidence:.0%}, by a paired bootstrap over "
        "queries, and hold for all recipes at once.",
        "Memory holds "
        + ("the first level, disk the finer ones" if advice.resident == "coarse" else "all levels")
        + f"; ${advice.prices.ram:g} per GB and month of memory, ${advice.prices.disk:g} of disk.",
        "ms: the median of one query on one thread by an exhaustive scan held in memory; float32 "
        f"by BLAS takes at best {advice.float_milliseconds:.3f}.",
    ]
    large = [name for name, why in advice.dropped if why == OVER_BUDGET]
    worse = [name for name, why in advice.dropped if why != OVER_BUDGET]
    if worse:
        lines.append(f"Left early, since a smaller recipe finds more: {', '.join(worse)}.")
    if large:
        lines.append(f"Not tried, being beyond the budget: {', '.join(large)}.")
    return lines


def percent(interval: Interval) -> str:
    """An interval in per cent, such as 98.7% (97.9 to 99.3)."""
    return f"{interval.value:.1%} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _money(footprint: Footprint, rows: int, advice: Advice) -> str:
    dollars = footprint.dollars(rows, advice.prices)
    return f"${dollars:,.0f}" if dollars >= 10 else f"${dollars:,.2f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    # The bars of a spec would end its cell.
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return [lines[0], f"|{'|'.join(['---'] * len(head))}|", *lines[1:]]


def _recipe(option: Option) -> dict[str, Any]:
    return {
        "spec": option.recipe.spec,
        "oversample": option.recipe.oversample,
        "target_recall": option.recipe.target_recall,
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        **_recipe(option),
        "ram_bytes": option.footprint.ram,
        "disk_bytes": option.footprint.disk,
        "dollars_per_million": option.dollars_per_million,
        "milliseconds": option.milliseconds,
        "recall": _interval(option.recall),
        "keep": None if option.keep is None else _interval(option.keep),
        "ndcg": option.ndcg,
        "grown": None if option.grown is None else _grown(option.grown),
    }


def _grown(found: Extrapolation) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "recall": _interval(found.recall),
        "sizes": list(found.sizes),
        "recalls": list(found.recalls),
        "held_back": _interval(found.held_back),
    }


def _interval(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


def _html(advice: Advice) -> str:
    from nestbit.advise.report import render  # it imports this module

    return render(advice)


WRITERS: dict[str, Callable[[Advice], str]] = {
    ".json": to_json,
    ".md": to_markdown,
    ".html": _html,
}
