"""Filters on metadata: a small dict language, compiled to parameterised SQL.

``{"lang": "en", "year": {"gte": 2020, "lt": 2025}}`` asks for all of its conditions. A condition
is a value, which must be equal, or operators and their arguments. Fields descend by dots
(``"author.name"``). ``{"$or": [...]}``, ``{"$and": [...]}`` and ``{"$not": {...}}`` combine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from nestbit.errors import InputError
from nestbit.index.catalog import field_sql

Sql = tuple[str, list[Any]]

_ORDER = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def compile_filter(where: Mapping[str, Any]) -> Sql:
    """SQL that is true for the rows that pass (never NULL), and its parameters.

    Raises `InputError` for an operator that is not known, listing those that are, and for a value
    that no metadata can be compared with.
    """
    if not isinstance(where, Mapping):
        raise InputError(f"a filter is a dict of fields and conditions, got {where!r}")
    return _join("AND", [_entry(key, value) for key, value in where.items()])


def _entry(key: Any, value: Any) -> Sql:
    if not isinstance(key, str):
        raise InputError(f"a filter's keys are names of fields, got {key!r}")
    if not key.startswith("$"):
        return _field(key, value)
    if key not in COMBINATORS:
        raise InputError(f"unknown combinator {key!r}; known: {', '.join(COMBINATORS)}")
    return COMBINATORS[key](value)


def _field(field: str, condition: Any) -> Sql:
    if not isinstance(condition, Mapping):
        return _equal(field, condition)
    if not condition:
        raise InputError(f"the condition on {field!r} is empty; known: {', '.join(OPERATORS)}")
    parts = []
    for name, argument in condition.items():
        if name not in OPERATORS:
            raise InputError(
                f"unknown operator {name!r} on {field!r}; known: {', '.join(OPERATORS)}"
            )
        parts.append(OPERATORS[name](field, argument))
    return _join("AND", parts)


def _equal(field: str, value: Any) -> Sql:
    if value is None:
        return _type(field) + " IS 'null'", []
    # json_extract gives 1 for true: as in Python, True equals 1. IS is never NULL.
    # Of a list or an object it gives the JSON text, which no text may equal.
    scalar = _scalar(field, value)
    text = f" AND {_type(field)} IS 'text'" if isinstance(scalar, str) else ""
    return f"({field_sql(field)} IS ?{text})", [scalar]


def _ordered(symbol: str) -> Callable[[str, Any], Sql]:
    def compare(field: str, bound: Any) -> Sql:
        value = _scalar(field, bound)
        # SQLite finds any text greater than any number: only like compares with like here.
        sql = field_sql(field)
        if isinstance(value, str):
            return f"({_type(field)} IS 'text' AND {sql} {symbol} ?)", [value]
        return f"(typeof({sql}) IN ('integer', 'real') AND {sql} {symbol} ?)", [value]

    return compare


def _one_of(field: str, values: Any) -> Sql:
    items = _items(field, "in", values)
    scalars = [_scalar(field, value) for value in items if value is not None]
    # One parameter, however long the list is.
    sql = field_sql(field)
    scalar = f"{sql} IS NOT NULL AND {_type(field)} NOT IN ('array', 'object')"
    listed = f"({sql} IN (SELECT value FROM json_each(?)) AND {scalar})"
    if len(scalars) < len(items):
        listed = f"({listed} OR {_equal(field, None)[0]})"
    try:
        return listed, [json.dumps(scalars, allow_nan=False)]
    except ValueError as error:
        raise InputError(f"the list for 'in' on {field!r} holds an infinite number") from error


def _exists(field: str, wanted: Any) -> Sql:
    if not isinstance(wanted, bool):
        raise InputError(f"'exists' on {field!r} is True or False, got {wanted!r}")
    return f"{_type(field)} IS {'NOT ' if wanted else ''}NULL", []


def _contains(field: str, value: Any) -> Sql:
    path = _path(field)
    listed = f"SELECT 1 FROM json_each(metadata, {path}) WHERE json_each.value IS ?"
    return f"({_type(field)} IS 'array' AND EXISTS ({listed}))", [_scalar(field, value)]


def _negated(operator: Callable[[str, Any], Sql]) -> Callable[[str, Any], Sql]:
    def negation(field: str, argument: Any) -> Sql:
        sql, parameters = operator(field, argument)
        return f"NOT ({sql})", parameters

    return negation


OPERATORS: dict[str, Callable[[str, Any], Sql]] = {
    "eq": _equal,
    "ne": _negated(_equal),
    **{name: _ordered(symbol) for name, symbol in _ORDER.items()},
    "in": _one_of,
    "nin": _negated(_one_of),
    "exists": _exists,
    "contains": _contains,
}


def _all(filters: Any) -> Sql:
    return _join("AND", [compile_filter(f) for f in _items("$and", "$and", filters)])


def _any(filters: Any) -> Sql:
    parts = [compile_filter(f) for f in _items("$or", "$or", filters)]
    return _join("OR", parts) if parts else ("0", [])


def _not(where: Any) -> Sql:
    sql, parameters = compile_filter(where)
    return f"NOT {sql}", parameters


COMBINATORS: dict[str, Callable[[Any], Sql]] = {"$and": _all, "$or": _any, "$not": _not}


def _join(word: str, parts: list[Sql]) -> Sql:
    if not parts:
        return "1", []
    sql = f" {word} ".join(sql for sql, _ in parts)
    return f"({sql})", [p for _, parameters in parts for p in parameters]


def _path(field: str) -> str:
    return field_sql(field).removeprefix("json_extract(metadata, ").removesuffix(")")


def _type(field: str) -> str:
    return f"json_type(metadata, {_path(field)})"


def _items(field: str, operator: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise InputError(f"{operator!r} on {field!r} takes a list, got {values!r}")
    return list(values)


def _scalar(field: str, value: Any) -> str | int | float:
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a NumPy number
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise InputError(f"{value} in the condition on {field!r} does not fit 64 bits")
    if isinstance(value, float) and value != value:
        raise InputError(f"the condition on {field!r} compares with NaN, which equals nothing")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{value!r} in the condition on {field!r} is no Unicode") from error
    if not isinstance(value, str | int | float):
        raise InputError(
            f"the condition on {field!r} compares with {value!r}; use a string, number or bool"
        )
    return value
