"""What the table and the report say about a result; every figure comes from the result."""

from __future__ import annotations

from nestbit.demo.run import ENOUGH_QUERIES, DemoResult, Measured

COLUMNS = (
    "codec",
    "bytes",
    "smaller",
    "recall",
    "nDCG",
    "kept %",
    "ms",
    "speed",
)


def cells(row: Measured, result: DemoResult) -> list[str]:
    """The row's values in the order of `COLUMNS`."""
    return [
        row.name,
        f"{row.n_bytes:,}",
        f"{row.times_smaller:.3g}×",
        f"{row.recall:.3f}",
        f"{row.ndcg:.4f}",
        kept(row, is_float=row is result.baseline),
        f"{row.milliseconds:.3f}",
        f"{row.speed:.2g}×" if row.speed < 10 else f"{row.speed:.0f}×",
    ]


def kept(row: Measured, *, is_float: bool = False) -> str:
    """Retention in percent with its interval, such as ``98.7 ±0.6``."""
    if row.retention is None:
        return "–"
    if row.margin is None or is_float:
        return f"{100 * row.retention:.1f}"
    return f"{100 * row.retention:.1f} ±{100 * row.margin:.1f}"


def rounded(score: float) -> str:
    """A score with two digits and no negative zero."""
    return f"{round(score, 2) + 0.0:.2f}"


def headline(result: DemoResult) -> str:
    """One sentence with the measured figures of the best trade."""
    best = result.headline
    size = (
        f"in {best.n_bytes:,} bytes a vector instead of {result.baseline.n_bytes:,} "
        f"({best.times_smaller:.3g} times smaller)"
    )
    speed = f"at {best.speed:.2g} times the speed of an exhaustive float32 search"
    if best.retention is None:
        return f"“{best.name}” finds {best.recall:.1%} of float32's top {result.k} {size}, {speed}."
    return f"“{best.name}” keeps {kept(best)}% of float32's nDCG@{result.k} {size}, {speed}."


def standings(result: DemoResult) -> list[str]:
    """Which codecs beat float32, which lose to it, and which cannot be told apart from it."""
    if result.baseline.retention is None:
        return ["Float32 itself finds no known item among its best: retention is undefined."]
    groups = {
        "ahead": "Beat float32",
        "level": "Not told apart from float32",
        "behind": "Lose to float32",
    }
    lines = []
    if result.n_queries < ENOUGH_QUERIES:
        lines.append(
            f"{result.n_queries} queries are too few to tell codecs apart; give a corpus with "
            f"{ENOUGH_QUERIES} known items or more."
        )
    for verdict, label in groups.items():
        names = [row.name for row in result.rows if row.verdict == verdict]
        if names:
            lines.append(f"{label} (nDCG@{result.k}, 95% interval): {'; '.join(names)}.")
    slower = [row.name for row in result.rows if row.speed < 1]
    if slower:
        lines.append(f"Slower than float32 for one query: {'; '.join(slower)}.")
    return lines


def how_measured(result: DemoResult) -> list[str]:
    """The conditions of every figure."""
    k, base = result.k, result.baseline
    return [
        f"Known items: {result.corpus.queries_from}; {result.n_queries:,} such queries "
        f"(seed {result.seed}) among {result.n:,} texts. No query stands in its document.",
        f"recall: the share of the float32 top {k} that is found.",
        f"nDCG@{k}: 1 / log2(1 + rank) of the known item, 0 beyond rank {k}; kept: divided by "
        f"float32's {base.ndcg:.4f}, with the 95% interval of the paired difference.",
        f"ms: the median time of a search call with one query on one thread, over interleaved "
        f"rounds ({result.isa} kernels). speed: against an exhaustive float32 product by NumPy's "
        "BLAS, also on one thread.",
        "bytes: all levels of the code; calibration (a few kilobytes for all rows) not counted.",
        "Time taken: " + ", ".join(f"{name} {s:.1f} s" for name, s in result.seconds.items()) + ".",
    ]
