"""Optional packages, imported only when a feature that needs one is used."""

from __future__ import annotations

import importlib
from types import ModuleType

from nestbit.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or raise `MissingExtraError` naming the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs the package {module.split('.')[0]!r}; "
            f"install it with: pip install 'nestbit[{extra}]'"
        ) from error
