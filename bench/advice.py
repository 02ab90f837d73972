"""Does the advice hold? The recipe is built on all rows, and its promise and forecast checked.

    python bench/advice.py DATA_DIR [--only minilm/scifact] [--cache FOLDER] [--out bench/results]

For every model and collection, `nb.advise` sees every second query. Its recipe is then fitted on
all rows, as a user would, and measured with the same queries and with the others. Where a
collection is large enough, recall at all rows is foretold from an eighth of them. Writes
advice.json and advice.md; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

import nestbit as nb
from _datasets import Dataset, datasets
from _report import environment, markdown, show, write
from nestbit.advise import extrapolate
from nestbit.advise.recipes import default_grid
from nestbit.advise.sweep import Setting, sweep
from nestbit.advise.truth import part_sizes
from nestbit.evaluate import exact_search, recall_per_query

FORECAST_ROWS = 40_000
K = 10


@dataclass(frozen=True)
class Promise:
    """What was promised with every second query, and what was measured."""

    dataset: str
    recipe: str
    promised: float
    low: float
    high: float
    built: float
    others: float

    @property
    def held(self) -> bool:
        return self.low <= self.built <= self.high


@dataclass(frozen=True)
class Forecast:
    """Recall foretold from the first eighth of the rows, and measured on all of them."""

    dataset: str
    recipe: str
    known: int
    rows: int
    foretold: float
    low: float
    high: float
    measured: float

    @property
    def held(self) -> bool:
        return self.low <= self.measured <= self.high


def promise(data: Dataset, floor: float, cache: Path | None) -> Promise | None:
    """Advice by recall, since every collection has that; None where it refuses."""
    asked = data.queries[::2]
    advice = nb.advise(data.corpus, asked, recall=floor, k=K, threads=1, cache=cache)
    option = advice.choice.option
    if option is None:
        print(f"{data.name}: {advice.sentence}")
        return None
    codec = nb.fit(data.corpus, advice.best)
    codes = codec.encode(data.corpus)
    means = []
    for queries in (asked, data.queries[1::2]):
        ids = nb.search(codec, codes, queries, K, advice.plan(codec)).ids
        means.append(float(recall_per_query(ids, exact_search(data.corpus, queries, K).ids).mean()))
    found = option.recall
    return Promise(data.name, str(option.recipe), found.value, found.low, found.high, *means)


def forecasts(data: Dataset, cache: Path | None) -> list[Forecast]:
    """One for every recipe of the grid."""
    grid = default_grid(data.corpus.shape[1], matryoshka=False)
    setting = Setting(k=K)
    full = sweep(data.corpus, data.queries, grid, setting, cache=cache)
    known = len(data.corpus) // 8
    rows = data.corpus[full.order][:known]
    small = sweep(rows, data.queries, grid, setting, cache=cache)
    sizes = part_sizes(known, K)
    measured = {one.recipe: one for r in full.results for one in r.recipes}
    found = []
    for result in small.results:
        for one in result.recipes:
            whole = measured.get(one.recipe)
            if whole is None or len(whole.recalls) != len(full.parts):
                continue
            ahead = extrapolate(sizes, one.recalls, len(data.corpus), k=K).recall
            found.append(
                Forecast(
                    data.name,
                    str(one.recipe),
                    known,
                    len(data.corpus),
                    ahead.value,
                    ahead.low,
                    ahead.high,
                    float(whole.recalls[-1].mean()),
                )
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--floor", type=float, default=0.95)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    promises: list[Promise] = []
    ahead: list[Forecast] = []
    for data in datasets(options.data, options.only, unjudged=True):
        if (one := promise(data, options.floor, options.cache)) is not None:
            promises.append(one)
        if len(data.corpus) >= FORECAST_ROWS:
            ahead += forecasts(data, options.cache)
    tables = {
        f"Recipes for a recall of {options.floor:.0%}, then built on all rows": [
            ["data", "recipe", "promised", "built", "inside", "other queries"],
            *(
                [p.dataset, p.recipe, f"{p.promised:.3f} ({p.low:.3f} to {p.high:.3f})",
                 f"{p.built:.3f}", "yes" if p.held else "NO", f"{p.others:.3f}"]
                for p in promises
            ),
        ],
        "Recall foretold from an eighth of the rows": [
            ["data", "recipe", "rows", "foretold", "measured", "inside"],
            *(
                [f.dataset, f.recipe, f"{f.known:,} → {f.rows:,}",
                 f"{f.foretold:.3f} ({f.low:.3f} to {f.high:.3f})", f"{f.measured:.3f}",
                 "yes" if f.held else "NO"]
                for f in ahead
            ),
        ],
    }  # fmt: skip
    console = Console()
    for title, table in tables.items():
        show(console, title, table)
    options.out.mkdir(parents=True, exist_ok=True)
    report = {
        "environment": environment(),
        "promises": [asdict(p) | {"held": p.held} for p in promises],
        "forecasts": [asdict(f) | {"held": f.held} for f in ahead],
    }
    write(options.out / "advice.json", json.dumps(report, indent=1) + "\n")
    sections = [f"## {title}\n\n{markdown(table)}" for title, table in tables.items()]
    write(options.out / "advice.md", "\n".join(sections))
    if ahead:
        errors = [abs(f.foretold - f.measured) for f in ahead]
        print(f"forecast: mean error {np.mean(errors):.4f}, largest {max(errors):.4f}")


if __name__ == "__main__":
    main()
