"""What compressed search keeps on real collections: nDCG@10, or R@1 where items are known.

    python bench/quality.py DATA_DIR [--only minilm/scifact] [--out bench/results]

DATA_DIR holds ``collections/`` in BEIR form, ``embeddings/MODEL/COLLECTION_{corpus,queries}.npy``
with ``.ids.txt`` beside them, and a README.md whose table has the reference figures. Prints
tables and writes quality.json and quality.md; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

import nestbit as nb
from _datasets import TREC_DEPTH, Dataset, datasets
from _report import environment, markdown, show, write
from nestbit.evaluate import recall_at_k

OVERSAMPLE = 10.0
TOLERANCE = 0.002


@dataclass(frozen=True)
class Variant:
    """One compressed search: a spec (``{half}`` is half the dim), and how its codes are read."""

    name: str
    spec: str
    plan: Callable[[nb.Codec], nb.Plan]
    k: int = 10  # hits per search; a first stage keeps OVERSAMPLE times as many


def hamming(codec: nb.Codec) -> nb.Plan:
    return nb.Plan.hamming(codec, oversample=1)


def hamming_rescored(codec: nb.Codec) -> nb.Plan:
    return nb.Plan.hamming(codec, oversample=OVERSAMPLE)


def float_query(codec: nb.Codec) -> nb.Plan:
    return nb.Plan.default(codec, oversample=OVERSAMPLE)


MAIN = (
    Variant("binary, Hamming", "binary", hamming),
    Variant("binary, float query", "binary", float_query),
    Variant("binary, Hamming, rescored ×10", "binary", hamming_rescored),
    Variant("int8", "int8", float_query),
    Variant("binary + int8, ×10", "binary + int8", float_query),
    Variant("binary (Hamming) + int8, ×10", "binary + int8", hamming_rescored),
    Variant("binary + int8, ×10, k=100", "binary + int8", float_query, k=TREC_DEPTH),
    Variant("nested(1)", "nested(1)", float_query),
    Variant("nested(0.5)", "nested(0.5)", float_query),
    Variant("nested(0.5) + int8, ×10", "nested(0.5) + int8", float_query),
    Variant("nested(1) + int8, ×10", "nested(1) + int8", float_query),
)
EXTRA = (
    Variant("float16", "float16", float_query),
    Variant("uint8", "uint8", float_query),
    Variant("int8(quantile=0.999)", "int8(quantile=0.999)", float_query),
    Variant("truncate(½) | int8", "truncate({half}) | int8", float_query),
    Variant("pca(½) | int8", "pca({half}) | int8", float_query),
    Variant("center | binary, Hamming", "center | binary", hamming),
    Variant("center | binary, float query", "center | binary", float_query),
    Variant("rotate | binary, float query", "rotate | binary", float_query),
    Variant("itq | binary, Hamming", "itq | binary", hamming),
    Variant("itq | binary, float query", "itq | binary", float_query),
    Variant("center | binary + int8, ×10", "center | binary + int8", float_query),
    Variant("rotate | binary + int8, ×10", "rotate | binary + int8", float_query),
    Variant(
        "rotate | binary + int8, ×10, k=100", "rotate | binary + int8", float_query, k=TREC_DEPTH
    ),
    Variant(
        "center | binary + int8(quantile=0.999), ×10",
        "center | binary + int8(quantile=0.999)",
        float_query,
    ),
    Variant("pca(½) | binary + int8, ×10", "pca({half}) | binary + int8", float_query),
)


@dataclass(frozen=True)
class Row:
    """One measured variant on one dataset."""

    model: str
    collection: str
    variant: str
    spec: str
    k: int
    extra: bool
    measure: str
    quality: float
    retention: float
    recall: float
    bytes_per_vector: int
    times_smaller: float
    fit_seconds: float
    encode_seconds: float
    search_seconds: float


@dataclass(frozen=True)
class Check:
    """A measured figure beside the one that the data's README gives."""

    dataset: str
    what: str
    measured: float
    expected: float

    @property
    def agrees(self) -> bool:
        return abs(self.measured - self.expected) <= TOLERANCE


def measure_float(data: Dataset) -> Row:
    data.corpus, data.queries  # noqa: B018  loaded before the clock starts
    began = time.perf_counter()
    hits = data.truth
    seconds = time.perf_counter() - began
    n_bytes = 4 * data.corpus.shape[1]
    return Row(
        data.model, data.collection, "float32", "float32", TREC_DEPTH, False, data.measure,
        data.quality(hits), 1.0, 1.0, n_bytes, 1.0, 0.0, 0.0, seconds,
    )  # fmt: skip


@dataclass(frozen=True)
class Compressed:
    """A dataset in the codes of one codec, and the seconds that fitting and encoding took."""

    codec: nb.Codec
    codes: nb.Codes
    fit_seconds: float
    encode_seconds: float

    @classmethod
    def of(cls, data: Dataset, spec: str) -> Compressed:
        began = time.perf_counter()
        codec = nb.fit(data.corpus, spec)
        fitted = time.perf_counter()
        codes = codec.encode(data.corpus)
        return cls(codec, codes, fitted - began, time.perf_counter() - fitted)


def measure(
    data: Dataset, variant: Variant, spec: str, store: Compressed, full: Row, extra: bool
) -> Row:
    began = time.perf_counter()
    plan = variant.plan(store.codec)
    hits = nb.search(store.codec, store.codes, data.queries, variant.k, plan)
    seconds = time.perf_counter() - began
    quality = data.quality(hits)
    return Row(
        model=data.model,
        collection=data.collection,
        variant=variant.name,
        spec=spec,
        k=variant.k,
        extra=extra,
        measure=data.measure,
        quality=quality,
        retention=quality / full.quality,
        recall=recall_at_k(hits.ids[:, :10], data.truth.ids[:, :10]),
        bytes_per_vector=store.codec.n_bytes,
        times_smaller=full.bytes_per_vector / store.codec.n_bytes,
        fit_seconds=store.fit_seconds,
        encode_seconds=store.encode_seconds,
        search_seconds=seconds,
    )


def measure_all(data: Dataset, main_only: bool, console: Console) -> list[Row]:
    full = measure_float(data)
    rows = [full]
    stored: dict[str, Compressed] = {}
    for extra, variants in ((False, MAIN), (True, () if main_only else EXTRA)):
        for variant in variants:
            console.print(f"{data.name}: {variant.name}", style="dim")
            spec = variant.spec.format(half=data.corpus.shape[1] // 2)
            if spec not in stored:
                stored[spec] = Compressed.of(data, spec)
            rows.append(measure(data, variant, spec, stored[spec], full, extra))
    return rows


def expected_figures(readme: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Reference figures by (model, collection) and column, from the README's Markdown table."""
    header: list[str] = []
    figures: dict[tuple[str, str], dict[str, float]] = {}
    for line in readme.read_text(encoding="utf-8").split("\n"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            header = []
        elif not header:
            header = cells
        elif "model" in header and "collection" in header and set(line) - set("|-: "):
            named = dict(zip(header, cells, strict=True))
            numbers = {
                column: re.fullmatch(r"(?:R@1\s+)?(\d*\.\d+)", cell)
                for column, cell in named.items()
            }
            figures[named["model"], named["collection"]] = {
                column: float(match[1]) for column, match in numbers.items() if match
            }
    return figures


def checks(data: Dataset, figures: dict[str, float]) -> list[Check]:
    """Repeat the reference figures, all of runs 100 deep."""
    sign = nb.Codec("binary", dim=data.corpus.shape[1])
    codes = sign.encode(data.corpus)
    plans = {"sign/Hamming": hamming(sign), "float query × sign": float_query(sign)}
    found = []
    for column, expected in figures.items():
        if column in plans:
            hits = nb.search(sign, codes, data.queries, TREC_DEPTH, plans[column])
        elif column.startswith("float"):
            hits = data.truth
        else:
            continue
        found.append(Check(data.name, column, data.quality(hits), expected))
    return found


def quality_tables(rows: list[Row]) -> dict[str, list[list[str]]]:
    """Main and extra variants: variants down, datasets across, the first line the header."""
    names = list(dict.fromkeys(f"{row.model}/{row.collection}" for row in rows))
    cells = {(row.variant, f"{row.model}/{row.collection}"): row for row in rows}
    measures = {f"{row.model}/{row.collection}": row.measure for row in rows}
    header = ["search", "× smaller", *(f"{name} {measures[name]}" for name in names)]
    tables = {}
    for title, extra in (("Quality (retention)", False), ("More variants", True)):
        body = []
        for variant in dict.fromkeys(row.variant for row in rows if row.extra == extra):
            found = [cells[variant, name] for name in names if (variant, name) in cells]
            smaller = sorted({f"{row.times_smaller:.1f}" for row in found}, key=float)
            body.append(
                [variant, " to ".join(dict.fromkeys((smaller[0], smaller[-1])))]
                + [f"{row.quality:.4f} ({row.retention:.1%})" for row in found]
            )
        if body:
            tables[title] = [header, *body]
    return tables


def check_table(found: list[Check]) -> list[list[str]]:
    header = ["data", "figure", "measured", "in the README", "difference", f"within {TOLERANCE}"]
    return [header] + [
        [c.dataset, c.what, f"{c.measured:.4f}", f"{c.expected:g}",
         f"{c.measured - c.expected:+.4f}", "yes" if c.agrees else "NO"]
        for c in found
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--only", action="append", default=[], metavar="MODEL/COLLECTION")
    parser.add_argument("--main-only", action="store_true", help="leave out the extra variants")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()

    console = Console()
    readme = arguments.data / "README.md"
    figures = expected_figures(readme) if readme.is_file() else {}
    rows: list[Row] = []
    compared: list[Check] = []
    for data in datasets(arguments.data, arguments.only):
        rows += measure_all(data, arguments.main_only, console)
        compared += checks(data, figures.get((data.model, data.collection), {}))

    tables = quality_tables(rows) | ({"Check": check_table(compared)} if compared else {})
    for title, table in tables.items():
        show(console, title, table)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = {
        "environment": environment(),
        "oversample": OVERSAMPLE,
        "rows": [asdict(row) for row in rows],
        "checks": [asdict(check) | {"agrees": check.agrees} for check in compared],
    }
    write(arguments.out / "quality.json", json.dumps(report, indent=1) + "\n")
    sections = [f"## {title}\n\n{markdown(table)}" for title, table in tables.items()]
    write(arguments.out / "quality.md", "\n".join(sections))
    console.print(f"wrote {arguments.out}/quality.json and quality.md")


if __name__ == "__main__":
    main()
