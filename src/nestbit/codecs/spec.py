"""The spec grammar: ``stage(arg, key=value) | stage + ...``, read and written here only.

``|`` joins the stages of a level, the last of which is a coder; ``+`` joins levels, coarse to
fine. A level that begins with ``residual`` codes what the level before it left. The arguments
of a stage are the fields of its dataclass.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from dataclasses import dataclass
from typing import Any

from nestbit.codecs.cell_recipes import Nested, Pq, RaBitQ
from nestbit.codecs.coder import Coder
from nestbit.codecs.coders import BFloat16, Binary, Float16, Float32, Int8, Uint8
from nestbit.codecs.transforms import (
    Center,
    Hash,
    Itq,
    Normalize,
    Pca,
    Project,
    Prune,
    Rotate,
    Transform,
    Truncate,
)
from nestbit.errors import SpecError

TRANSFORMS: dict[str, type[Transform]] = {
    "normalize": Normalize,
    "center": Center,
    "truncate": Truncate,
    "pca": Pca,
    "rotate": Rotate,
    "itq": Itq,
    "project": Project,
    "hash": Hash,
    "prune": Prune,
}
CODERS: dict[str, type[Coder]] = {
    "binary": Binary,
    "int8": Int8,
    "uint8": Uint8,
    "float16": Float16,
    "bfloat16": BFloat16,
    "float32": Float32,
    "nested": Nested,
    "rabitq": RaBitQ,
    "pq": Pq,
}

RESIDUAL = "residual"
# Stages that scale each row by itself: their scores are not sums over levels.
_SCALING = (Normalize, Truncate)

_STAGE = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\((.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True)
class LevelSpec:
    """The recipe of one level: transforms, then a coder.

    A ``residual`` level codes what the level before it left of the rows.
    """

    transforms: tuple[Transform, ...]
    coder: Coder
    residual: bool = False

    def __str__(self) -> str:
        start = [RESIDUAL] if self.residual else []
        return " | ".join([*start, *map(_format, self.transforms), _format(self.coder)])

    @property
    def learns(self) -> bool:
        """Whether the level must be fitted before it can encode."""
        return self.coder.learns or any(stage.learns for stage in self.transforms)


@dataclass(frozen=True)
class Spec:
    """The recipe of a codec: its levels, coarse to fine; ``str`` writes it back."""

    levels: tuple[LevelSpec, ...]

    def __str__(self) -> str:
        return " + ".join(str(level) for level in self.levels)

    @property
    def learns(self) -> bool:
        """Whether any level must be fitted."""
        return any(level.learns for level in self.levels)


def parse(text: str) -> Spec:
    """Read a spec; raises `SpecError` that shows the part at fault and what is known."""
    if not isinstance(text, str):
        raise SpecError(f"a spec is a string such as 'binary + int8', got {text!r}")
    if not text.strip():
        raise SpecError(f"the spec is empty; {_known()}")
    levels = tuple(_level(part, text) for part in _split(text, "+"))
    _check_residuals(levels, text)
    return Spec(levels)


def _check_residuals(levels: tuple[LevelSpec, ...], text: str) -> None:
    if levels[0].residual:
        raise SpecError(f"the first level of {text!r} has no level before it to take a residual of")
    for i, level in enumerate(levels):
        chained = level.residual or (i + 1 < len(levels) and levels[i + 1].residual)
        scaling = [stage for stage in level.transforms if isinstance(stage, _SCALING)]
        if chained and scaling:
            raise SpecError(
                f"{_format(scaling[0])!r} in {text!r} scales every row by itself, so no residual "
                "adds up with it; drop the stage or the residual"
            )
        if i and level.residual and isinstance(levels[i - 1].coder, RaBitQ):
            raise SpecError(
                f"rabitq in {text!r} scores rows by their exact products with the mean, so no "
                "residual adds up with it; begin with another coder, as in 'nested(1) + residual'"
            )


def _level(part: str, text: str) -> LevelSpec:
    pieces = _split(part, "|")
    residual = pieces[0].strip() == RESIDUAL
    stages = [_stage(piece, text) for piece in pieces[residual:]]
    if not stages:
        raise SpecError(f"level {part.strip()!r} lacks a coder: {', '.join(CODERS)}")
    *front, coder = stages
    for stage in front:
        if not isinstance(stage, Transform):
            raise SpecError(
                f"{_format(stage)!r} in {text!r} is a coder and must come last in its level; "
                "join levels with '+'"
            )
    if not isinstance(coder, Coder):
        raise SpecError(
            f"level {part.strip()!r} ends in the transform {_format(coder)!r}; "
            f"end it with a coder: {', '.join(CODERS)}"
        )
    transforms = tuple(stage for stage in front if isinstance(stage, Transform))
    return LevelSpec(transforms, coder, residual)


def _stage(piece: str, text: str) -> Transform | Coder:
    match = _STAGE.fullmatch(piece)
    if match is None:
        raise SpecError(f"cannot read {piece.strip()!r} in spec {text!r}; {_known()}")
    name, arguments = match.groups()
    if name == RESIDUAL:
        raise SpecError(
            f"'residual' in {text!r} must come first in a level and takes no argument, "
            "as in 'nested(1) + residual | nested(3)'"
        )
    known: dict[str, type[Any]] = {**TRANSFORMS, **CODERS}
    if name not in known:
        raise SpecError(f"unknown stage {name!r} in spec {text!r}; {_known()}")
    stage: Transform | Coder = _bind(name, known[name], arguments or "", text)
    return stage


def _bind(name: str, cls: type[Any], arguments: str, text: str) -> Any:
    fields = dataclasses.fields(cls)
    hints = typing.get_type_hints(cls)
    usage = f"{name}({', '.join(_describe(f, hints[f.name]) for f in fields)})"
    values: dict[str, Any] = {}
    pieces = [piece.strip() for piece in arguments.split(",")] if arguments.strip() else []
    for position, piece in enumerate(pieces):
        key, equals, value = (part.strip() for part in piece.partition("="))
        if not equals:
            if position >= len(fields) or len(values) < position:
                raise SpecError(f"too many arguments in {name}({arguments}); usage: {usage}")
            key, value = fields[position].name, piece
        if key not in {f.name for f in fields}:
            raise SpecError(f"unknown argument {key!r} in {name}({arguments}); usage: {usage}")
        if key in values:
            raise SpecError(f"argument {key!r} is given twice in {name}({arguments})")
        values[key] = _convert(value, hints[key], f"{name}({arguments}) in spec {text!r}", usage)
    missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in values]
    if missing:
        raise SpecError(f"{name} needs the argument {missing[0]!r}; usage: {usage}")
    return cls(**values)


def _convert(value: str, hint: Any, where: str, usage: str) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            raise SpecError(f"unknown value {value!r} in {where}; usage: {usage}")
        return value
    try:
        return hint(value)
    except ValueError:
        kind = "a whole number" if hint is int else "a number"
        raise SpecError(f"{value!r} in {where} must be {kind}; usage: {usage}") from None


def _format(stage: Transform | Coder) -> str:
    names = {cls: name for name, cls in (*TRANSFORMS.items(), *CODERS.items())}
    parts = []
    for field in dataclasses.fields(stage):  # type: ignore[arg-type]  # all stages are dataclasses
        value = getattr(stage, field.name)
        if field.default is dataclasses.MISSING:
            parts.append(f"{value:g}" if isinstance(value, float) else f"{value}")
        elif value != field.default:
            parts.append(f"{field.name}={value}")
    return names[type(stage)] + (f"({', '.join(parts)})" if parts else "")


def _describe(field: dataclasses.Field[Any], hint: Any) -> str:
    words = typing.get_args(hint)
    if words:
        return f"{field.name}={'|'.join(words)}"
    return field.name if field.default is dataclasses.MISSING else f"{field.name}={field.default}"


def _split(text: str, separator: str) -> list[str]:
    """Split at separators outside parentheses (an exponent such as 1e+3 stays whole)."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _known() -> str:
    return (
        f"transforms: {', '.join(TRANSFORMS)}; coders: {', '.join(CODERS)}; "
        f"{RESIDUAL!r} may begin a level after the first"
    )
