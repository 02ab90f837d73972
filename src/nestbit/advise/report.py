"""The advice as one HTML page that needs no network: figures by Plotly, light and dark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from nestbit._extras import require
from nestbit.advise import figures
from nestbit.advise.advice import Advice, Loser
from nestbit.advise.figures import Figure
from nestbit.advise.output import conditions, cost_table, option_cells
from nestbit.advise.words import in_words

_TEXT = 300


def render(advice: Advice) -> str:
    """Return the page; needs the extra ``report``."""
    offline = require("plotly.offline", extra="report", purpose="drawing the report")
    page = _Page()
    body = [
        "<h1>What compression keeps on your embeddings</h1>",
        f'<p class="lead">{escape(advice.sentence)}</p>',
        "<ul>",
        *(f"<li>{escape(line)}</li>" for line in conditions(advice)),
        "</ul>",
        *_build(advice),
        page.figure(figures.pareto(advice, "bytes"), wide=True),
        page.figure(figures.pareto(advice, "ms"), wide=True),
        _recipes(advice),
        "<h2>Cost per month</h2>",
        _table(*cost_table(advice)),
    ]
    if (grown := figures.growth(advice)) is not None:
        body.append(page.figure(grown, wide=True))
    if (worst := figures.losers(advice)) is not None:
        body += [page.figure(worst, wide=True), _losers(advice.losers)]
    body += [
        "<h2>The model</h2>",
        "<ul>",
        *(f"<li>{escape(line)}</li>" for line in in_words(advice.diagnosis)),
        "</ul>",
        '<div class="grid-of-figures">',
        *(page.figure(figure, wide=False) for figure in figures.diagnosis(advice)),
        "</div>",
    ]
    style, script = (
        files("nestbit.advise").joinpath(name).read_text(encoding="utf-8")
        for name in ("report.css", "report.js")
    )
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>nestbit: advice on {advice.n:,} embeddings</title>",
            f"<style>\n{style}</style>",
            f"<script>{offline.get_plotlyjs()}</script>",
            "</head>\n<body>\n<main>",
            *body,
            "</main>",
            f"<script>const FIGURES = {page.json()};\n{script}</script>",
            "</body>\n</html>\n",
        ]
    )


class _Page:
    """Collects the figures' descriptions while the page is written."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    def figure(self, figure: Figure, *, wide: bool) -> str:
        """The place of a figure on the page."""
        name = f"figure-{len(self._figures)}"
        self._figures[name] = figure
        level = "h2" if wide else "h3"
        return (
            f'<section class="{"wide" if wide else "small"}"><{level}>{escape(figure.title)}'
            f'</{level}>\n<p class="note">{escape(figure.note)}</p>\n'
            f'<div class="figure" id="{name}" role="img" aria-label="{escape(figure.title)}">'
            "</div></section>"
        )

    def json(self) -> str:
        """All figures for the script; "</" would end it."""
        data = {
            name: {"traces": figure.traces, "layout": figure.layout}
            for name, figure in self._figures.items()
        }
        return json.dumps(data, allow_nan=False).replace("</", "<\\/")


def _build(advice: Advice) -> list[str]:
    if advice.choice.option is None:
        return []
    recipe = advice.recipe
    commands = (
        f'nestbit compress embeddings.npy embeddings.nest.safetensors --codec "{recipe.spec}" '
        f"--metric {advice.metric}"
    )
    plan = f" --oversample {recipe.oversample:g}" if recipe.oversample != 1 else ""
    if recipe.target_recall is not None:
        plan = f" --target-recall {recipe.target_recall:g}"
    commands += f"\nnestbit search embeddings.nest.safetensors queries.npy -k {advice.k}{plan}"
    return [
        "<h2>Build it</h2>",
        f"<pre><code>{escape(recipe.code)}</code></pre>",
        f"<pre><code>{escape(commands)}</code></pre>",
    ]


def _recipes(advice: Advice) -> str:
    head = ["recipe", "RAM", "disk", "less RAM", f"recall@{advice.k}"]
    head += [] if advice.float_ndcg is None else [f"nDCG@{advice.k}", "kept"]
    head += ["ms", "$ per 1M"]
    rows = [option_cells(option, advice) for option in advice.options]
    marked = None
    if advice.choice.option is not None:
        marked = next(i for i, o in enumerate(advice.options) if o is advice.choice.option)
    table = _table(head, rows, marked)
    return f"<details><summary>All {len(rows)} recipes measured</summary>\n{table}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], marked: int | None = None) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = [f'<div class="scroll"><table>\n<thead><tr>{cells}</tr></thead>\n<tbody>']
    for i, row in enumerate(rows):
        css = ' class="chosen"' if i == marked else ""
        lines.append(f"<tr{css}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return "\n".join([*lines, "</tbody>\n</table></div>"])


def _losers(losers: Sequence[Loser]) -> str:
    lines = ['<ol class="losers">']
    for loser in losers[:10]:
        text = loser.query if loser.text is None else loser.text
        missed = loser.missed_texts or loser.missed
        shown = "".join(f"<li>{escape(_cut(m))}</li>" for m in missed)
        lines.append(
            f"<li><b>{escape(_cut(text))}</b> <span>{loser.floats:.2f} → {loser.compressed:.2f}"
            f"</span>" + (f"<ul>{shown}</ul>" if shown else "") + "</li>"
        )
    note = (
        '<p class="note">Below each query: what float finds among its best and this does not.</p>'
    )
    return "\n".join([note, *lines, "</ol>"])


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT].rstrip()} …"
