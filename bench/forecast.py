"""Recall foretold for a larger collection, against what is measured there.

    python bench/forecast.py DATA_DIR [--cache FOLDER] [--out bench/results]

One-line summaries of packages under three models: the given MiniLM embeddings, wordllama's static
table, and TF-IDF with SVD. 500 rows are asked of the others. Recall is foretold
for two, four and eight times the rows from random 10,000 of them (or ``--known``), with codecs
fitted on those alone, and measured with codecs fitted as for the whole collection.
Goes on from the cache where an earlier run stopped. Writes forecast.json and forecast.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from rich.console import Console

from _report import environment, markdown, show, write
from nestbit.advise import extrapolate
from nestbit.advise.sweep import Setting, Sweep, sweep
from nestbit.evaluate import hold_out
from nestbit.models.wordllama import WordLlamaModel

K = 10
ASKED = 500
TIMES = (2, 4, 8)
SVD_DIMS = 128
SPECS = (
    "int8", "binary", "nested(4)", "nested(1)", "pca({half}) | int8", "binary + int8",
    "nested(1) + int8", "nested(0.5) + int8",
)  # fmt: skip
SETTING = Setting(k=K, growth=True)


@dataclass(frozen=True)
class Forecast:
    """Recall foretold from ``known`` rows, and measured on ``rows``."""

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

    @property
    def error(self) -> float:
        return self.foretold - self.measured

    @property
    def stray(self) -> float:
        """The error in probits, for one doubling of the rows; chance among the queries counts."""
        ends = (NormalDist().inv_cdf(_inside(one)) for one in (self.foretold, self.measured))
        foretold, measured = ends
        return float((foretold - measured) / np.sqrt(np.log2(self.rows / self.known)))


def _inside(share: float) -> float:
    """A share of hits with its probit kept finite, as half a hit among all would."""
    half = 0.5 / (K * ASKED)
    return min(max(share, half), 1 - half)


def minilm(root: Path) -> np.ndarray:
    return np.load(root / "embeddings" / "minilm" / "summaries80k.npy").astype(np.float32)


def wordllama(root: Path) -> np.ndarray:
    return np.asarray(WordLlamaModel().encode_documents(texts(root)), np.float32)


def svd(root: Path) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, min_df=3, max_features=30_000, stop_words="english")
    x = TruncatedSVD(SVD_DIMS, random_state=0).fit_transform(words.fit_transform(texts(root)))
    return x[np.linalg.norm(x, axis=1) > 1e-6].astype(np.float32)


def texts(root: Path) -> list[str]:
    return (root / "summaries80k.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")


MODELS: dict[str, Callable[[Path], np.ndarray]] = {
    "MiniLM, 384": minilm,
    "wordllama, 256": wordllama,
    f"TF-IDF and SVD, {SVD_DIMS}": svd,
}


def forecasts(
    name: str, x: np.ndarray, known_rows: list[int], cache: Path | None
) -> list[Forecast]:
    """One for every recipe of the specs, known number of rows and multiple of it."""
    held = hold_out(x, ASKED)
    grid = tuple(spec.format(half=x.shape[1] // 2) for spec in SPECS)
    whole = _sweep(name, held.rows, held.queries, grid, cache)
    measured = _recalls(whole)
    found = []
    for known in known_rows:
        rows = held.rows[whole.order][:known]
        small = _sweep(f"{name}, {known}", rows, held.queries, grid, cache)
        sizes = tuple(part.rows for part in small.parts)
        for result in small.results:
            for one in result.recipes:
                for times in TIMES:
                    # The whole collection's own parts are the sizes that recall is known at.
                    at = [part.rows for part in whole.parts]
                    place = int(np.argmin(np.abs(np.array(at) - known * times)))
                    values = measured.get(str(one.recipe))
                    if values is None or abs(at[place] / (known * times) - 1) > 0.02:
                        continue
                    ahead = extrapolate(sizes, one.recalls, at[place], k=K).recall
                    found.append(
                        Forecast(
                            name, str(one.recipe), known, at[place],
                            ahead.value, ahead.low, ahead.high, float(values[place].mean()),
                        )
                    )  # fmt: skip
    return found


def _sweep(
    name: str, rows: np.ndarray, queries: np.ndarray, grid: tuple[str, ...], cache: Path | None
) -> Sweep:
    print(f"{name}: sweeping {len(rows):,} rows", flush=True)
    return sweep(rows, queries, grid, SETTING, cache=cache)


def _recalls(whole: Sweep) -> dict[str, np.ndarray]:
    """Recall (parts, m) of every recipe that was measured to the end."""
    return {
        str(one.recipe): one.recalls
        for result in whole.results
        if result.dropped is None
        for one in result.recipes
    }


def _tables(found: list[Forecast]) -> dict[str, list[list[str]]]:
    groups: dict[tuple[str, int, int], list[Forecast]] = {}
    for one in found:
        groups.setdefault((one.dataset, one.known, one.rows), []).append(one)
    summary = [
        [
            name, f"{known:,} → {rows:,}", str(len(group)),
            f"{np.mean([abs(f.error) for f in group]):.4f}",
            f"{np.mean([f.error for f in group]):+.4f}",
            f"{max(abs(f.error) for f in group):.3f}",
            f"{_root_mean_square([f.stray for f in group]):.3f}",
            f"{np.mean([f.high - f.low for f in group]):.3f}",
            f"{100 * np.mean([f.held for f in group]):.0f}",
        ]
        for (name, known, rows), group in groups.items()
    ]  # fmt: skip
    errors = [f.error for f in found]
    summary.append([
        "all", "", str(len(found)), f"{np.mean(np.abs(errors)):.4f}", f"{np.mean(errors):+.4f}",
        f"{np.max(np.abs(errors)):.3f}", f"{_root_mean_square([f.stray for f in found]):.3f}",
        f"{np.mean([f.high - f.low for f in found]):.3f}",
        f"{100 * np.mean([f.held for f in found]):.0f}",
    ])  # fmt: skip
    farthest = [
        [
            f.dataset, f.recipe, f"{f.known:,} → {f.rows:,}",
            f"{f.foretold:.3f} ({f.low:.3f} to {f.high:.3f})", f"{f.measured:.3f}",
            "yes" if f.held else "NO",
        ]
        for f in found if f.rows > 7 * f.known
    ]  # fmt: skip
    return {
        "Recall at more rows, foretold and measured": [
            ["data", "rows", "recipes", "mean error", "bias", "largest", "stray (probits)",
             "mean width", "inside (%)"], *summary,
        ],
        "Eight times the rows": [
            ["data", "recipe", "rows", "foretold", "measured", "inside"], *farthest
        ],
    }  # fmt: skip


def _root_mean_square(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--known", type=int, action="append", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    found: list[Forecast] = []
    for name, embed in MODELS.items():
        found += forecasts(name, embed(options.data), options.known or [10_000], options.cache)
    tables = _tables(found)
    console = Console(width=160)
    for title, table in tables.items():
        show(console, title, table)
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"environment": environment(), "forecasts": [asdict(f) for f in found]}
    write(options.out / "forecast.json", json.dumps(report, indent=1) + "\n")
    sections = [f"## {title}\n\n{markdown(table)}" for title, table in tables.items()]
    write(options.out / "forecast.md", "\n".join(sections))


if __name__ == "__main__":
    main()
