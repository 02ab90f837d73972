"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import nestbit
from nestbit.cli.advise import advise
from nestbit.cli.compress import compress
from nestbit.cli.demo import demo
from nestbit.cli.doctor import doctor
from nestbit.cli.evaluate import evaluate
from nestbit.cli.index import add, build, check, compact, delete, stats
from nestbit.cli.info import info
from nestbit.cli.search import search

app = typer.Typer(
    name="nestbit",
    no_args_is_help=True,
    add_completion=False,
    # Errors that the user can mend are told by `nestbit.cli.main`; others keep their traceback.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"nestbit {nestbit.__version__}")
        raise typer.Exit


@app.callback()
def _nestbit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Make stored embeddings 4 to 64 times smaller and search them compressed."""


app.command("demo")(demo)
app.command("advise")(advise)
app.command("compress")(compress)
app.command("search")(search)
app.command("build")(build)
app.command("add")(add)
app.command("delete")(delete)
app.command("compact")(compact)
app.command("stats")(stats)
app.command("check")(check)
app.command("eval")(evaluate)
app.command("info")(info)
app.command("doctor")(doctor)
