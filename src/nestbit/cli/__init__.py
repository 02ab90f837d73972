"""The command line, ``nestbit``."""

from __future__ import annotations

import signal
import sys

from nestbit._extras import require
from nestbit.errors import NestbitError

__all__ = ["main"]


def main() -> None:
    """Run the command line; what the user can mend is told in one line, with exit status 2."""
    # A default SIGTERM would leave the hidden half of an output behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for package in ("typer", "rich"):
            require(package, extra="cli", purpose="the command line")
        from nestbit.cli.app import app

        app(prog_name="nestbit")
    except NestbitError as error:
        _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        _fail(f"{where}{error.strerror or error}")


def _fail(message: str) -> None:
    line = " ".join(part.strip() for part in message.splitlines())
    print(f"nestbit: {line}", file=sys.stderr)
    sys.exit(2)
