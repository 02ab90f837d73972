"""How the commands write numbers, and tables of a name and a value."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text


def size(n_bytes: int) -> str:
    """Bytes in the unit that reads best, as in 6.1 GB."""
    amount = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def share(value: float) -> str:
    """A share in per cent; a small one is not rounded to nothing."""
    return f"{100 * value:.2g}%" if 0 < value < 0.001 else f"{100 * value:.2f}%"


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns; values are never read as markup."""
    facts = list(facts)
    width = max(len(name) for name, _ in facts)
    console = Console()
    for name, value in facts:
        console.print(Text.assemble((f"{name:{width}}  ", "dim"), value), soft_wrap=True)
