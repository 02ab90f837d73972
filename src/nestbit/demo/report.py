"""The demo's HTML report: one file, no network, light and dark, readable on a phone."""

from __future__ import annotations

import os
from html import escape
from importlib.resources import files

from nestbit._atomic import atomic_file
from nestbit.demo.plot import Point, quality_plot
from nestbit.demo.run import Answer, DemoResult, Measured
from nestbit.demo.wording import (
    COLUMNS,
    cells,
    headline,
    how_measured,
    rounded,
    standings,
)


def write_report(path: str | os.PathLike[str], result: DemoResult) -> None:
    """Write the report on ``result`` to ``path``, whole or not at all."""
    with atomic_file(path) as file:
        file.write(render(result).encode("utf-8"))


def render(result: DemoResult) -> str:
    """Return the report as one HTML page."""
    style = files("nestbit.demo").joinpath("report.css").read_text(encoding="utf-8")
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>nestbit demo: {result.n:,} texts compressed</title>",
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>",
        "<h1>Your embeddings, compressed</h1>",
        f'<p class="lead">{escape(headline(result))}</p>',
        f"<p>{escape(_corpus(result))}</p>",
        "<h2>What each codec keeps</h2>",
        _table(result),
        *(f'<p class="note">{escape(line)}</p>' for line in standings(result)),
        _plots(result),
        f"<h2>Answers from {_share(result)} of the bytes</h2>",
        f'<p class="note">Searched in the “{escape(result.answers_from)}” codes; '
        "the scores are estimated cosines.</p>",
        *(_answer(answer) for answer in result.answers),
        "<h2>How this was measured</h2>",
        "<ul>",
        *(f"<li>{escape(line)}</li>" for line in how_measured(result)),
        "</ul>\n</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _corpus(result: DemoResult) -> str:
    return f"{result.corpus.source}, embedded by {result.model} in {result.dim} dimensions."


def _table(result: DemoResult) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in COLUMNS)
    lines = [f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>"]
    for row in (result.baseline, *result.rows):
        css = "baseline" if row is result.baseline else row.verdict
        body = "".join(
            f'<td data-label="{escape(column)}">{_cell(column, value, row)}</td>'
            for column, value in zip(COLUMNS, cells(row, result), strict=True)
        )
        lines.append(f'<tr class="{css}">{body}</tr>')
    return "\n".join([*lines, "</tbody>\n</table>"])


def _cell(column: str, value: str, row: Measured) -> str:
    if column == COLUMNS[0]:
        return f"<b>{escape(value)}</b><small>{escape(row.plan)}</small>"
    return escape(value)


def _plots(result: DemoResult) -> str:
    rows = [row for row in result.rows if row.retention is not None]
    if not rows:
        return '<p class="note">Float finds no known item, so there is no quality to plot.</p>'
    points = [Point(row.name, row.n_bytes, row.retention or 0.0) for row in rows]
    base = result.baseline
    points.append(Point(base.name, base.n_bytes, base.retention or 0.0, "point float"))
    wide = quality_plot(points, width=860, height=460, font=13)
    narrow = quality_plot(points, width=360, height=480, font=10.5)
    return (
        "<h2>Quality per byte</h2>\n"
        f'<p class="note">nDCG@{result.k} kept against float32. The line joins the codecs that '
        "no other beats in both bytes and quality.</p>\n"
        f'<figure class="wide">{wide}</figure>\n<figure class="narrow">{narrow}</figure>'
    )


def _share(result: DemoResult) -> str:
    row = next(row for row in result.rows if row.name == result.answers_from)
    return f"{100 / row.times_smaller:.0f}%"


def _answer(answer: Answer) -> str:
    lines = [f'<section><h3>{escape(answer.query)}</h3>\n<ol class="answers">']
    for entry, score in answer.found:
        lines.append(
            f'<li><span class="score">{rounded(score)}</span> <code>{escape(entry.name)}</code>'
            f"<br>{escape(entry.headline[:200])}</li>"
        )
    return "\n".join([*lines, "</ol></section>"])
