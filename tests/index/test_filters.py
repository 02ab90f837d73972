"""Filters let through what they say, as if each row were asked in Python."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_cases import metadata, recall

import nestbit as nb
from nestbit.errors import InputError

ROWS = [
    {"a": 1, "b": "x", "tags": ["p", "q"], "n": {"m": 2.5}},
    {"a": 2, "b": "y", "tags": []},
    {"a": 2.0, "b": "it's"},
    {"a": "2", "b": None, "n": {"m": -1}},
    {"a": True, "b": "x", "tags": ["q"]},
    {"a": None, "n": {"m": 10**12}},
    {"b": "ü", "tags": "p"},
    {},
    None,
]
SCALARS = [1, 2, 2.5, "2", "x", '["p","q"]', "{}", "it's", "ü", True, -1, 10**12]
MISSING = object()


@pytest.fixture(scope="module")
def index(tmp_path_factory, rows):
    with nb.create(tmp_path_factory.mktemp("f") / "x", "float32", fields=["a", "n.m"]) as index:
        index.add(range(len(ROWS)), rows[: len(ROWS)], metadata=ROWS)
        yield index


def value(row, field):
    for part in field.split("."):
        row = row.get(part, MISSING) if isinstance(row, dict) else MISSING
    return row


def alike(a, b):
    return isinstance(a, str) == isinstance(b, str) and not isinstance(a, list | dict)


def same(found, wanted):
    return found is not MISSING and found == wanted


COMPARE = {
    "eq": same,
    "ne": lambda v, w: not same(v, w),
    "lt": lambda v, w: known(v) and alike(v, w) and v < w,
    "lte": lambda v, w: known(v) and alike(v, w) and v <= w,
    "gt": lambda v, w: known(v) and alike(v, w) and v > w,
    "gte": lambda v, w: known(v) and alike(v, w) and v >= w,
    "in": lambda v, w: any(same(v, x) for x in w),
    "nin": lambda v, w: not any(same(v, x) for x in w),
    "exists": lambda v, w: (v is not MISSING) == w,
    "contains": lambda v, w: isinstance(v, list) and w in v,
}


def known(v):
    return v is not MISSING and v is not None


def passes(row, where):
    for key, condition in where.items():
        if key == "$and":
            ok = all(passes(row, w) for w in condition)
        elif key == "$or":
            ok = any(passes(row, w) for w in condition)
        elif key == "$not":
            ok = not passes(row, condition)
        elif isinstance(condition, dict):
            ok = all(COMPARE[op](value(row, key), arg) for op, arg in condition.items())
        else:
            ok = same(value(row, key), condition)
        if not ok:
            return False
    return True


scalars = st.sampled_from(SCALARS)
arguments = {
    **dict.fromkeys(("lt", "lte", "gt", "gte", "contains"), scalars),
    **{op: scalars | st.none() for op in ("eq", "ne")},
    **{op: st.lists(scalars | st.none(), max_size=4) for op in ("in", "nin")},
    "exists": st.booleans(),
}
conditions = st.dictionaries(st.sampled_from(sorted(arguments)), st.none(), min_size=1).flatmap(
    lambda ops: st.fixed_dictionaries({op: arguments[op] for op in ops})
)
fields = st.sampled_from(["a", "b", "tags", "n.m", "zz"])
leaves = st.dictionaries(fields, scalars | st.none() | conditions, max_size=2)
filters = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "$or": st.lists(inner, max_size=3),
            "$and": st.lists(inner, max_size=3),
            "$not": inner,
            "b": scalars,
        },
    ),
    max_leaves=6,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=filters)
def test_a_filter_lets_the_rows_through_that_python_lets_through(index, where):
    expected = [i for i, row in enumerate(ROWS) if passes(row or {}, where)]
    hits = index.search(np.ones((1, 96)), k=len(ROWS), where=where)
    assert sorted(hits.ids[0].tolist()) == expected
    assert index.count(where) == len(expected)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"a": {"greater": 1}}, "unknown operator 'greater' on 'a'; known: eq, ne, lt, lte, gt"),
        ({"$xor": []}, r"unknown combinator '\$xor'; known: \$and, \$or, \$not"),
        ({"a": {}}, "is empty"),
        ({"a": [1]}, "use a string, number or bool"),
        ({"a": {"in": "abc"}}, "takes a list"),
        ({"a": {"exists": 1}}, "True or False"),
        ({"a": {"gt": None}}, "compares with None"),
        ({"a": float("nan")}, "NaN"),
        ({"a": 1 << 64}, "64 bits"),
        ({"a": {"in": [float("inf")]}}, "infinite"),
        ({'a"': 1}, "no name of a metadata field"),
        ({"a..b": 1}, "no name of a metadata field"),
        ([("a", 1)], "a filter is a dict"),
        ({3: 1}, "names of fields"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(index, where, message):
    with pytest.raises(InputError, match=message):
        index.search(np.ones((1, 96)), where=where)


def test_names_of_fields_are_no_sql(index):
    assert index.count({"a') OR 1=1 --": 1}) == 0


def test_a_declared_field_is_found_by_its_index(index):
    from nestbit.index.filters import compile_filter

    for where in ({"a": 2}, {"n.m": {"gte": 2}}, {"a": {"in": [1, 2]}}):
        condition, parameters = compile_filter(where)
        query = f"EXPLAIN QUERY PLAN SELECT row FROM rows WHERE {condition}"
        with index._catalog.read() as connection:
            plan = connection.execute(query, parameters).fetchall()
        assert "USING INDEX field_" in str(plan), plan


@pytest.mark.parametrize("where", [{"year": 2003}, {"lang": {"ne": "en"}}, {"year": {"gte": 2003}}])
def test_recall_under_a_filter_is_that_of_a_search_over_its_rows(tmp_path, where, truth, queries):
    from synthetic import text_like

    x = text_like(10_000, 96)
    fields = [metadata(i) for i in range(len(x))]
    keep = np.array([passes(row, where) for row in fields])
    with nb.create(tmp_path / "x.nest", "nested(1) + int8") as index:
        index.add(range(len(x)), x, metadata=fields)
        hits = index.search(queries, where=where, explain=True)
        assert keep[hits.ids].all()
        scores = queries @ x.T
        scores[:, ~keep] = -2
        found = recall(hits.ids, np.argsort(-scores, axis=1)[:, :10])
        if where == {"year": 2003}:  # 400 rows: they are all compared by their finest level
            assert len(hits.stages) == 1
            assert found > 0.98
        else:
            assert len(hits.stages) == 2
            assert found > 0.85


def test_few_survivors_of_deletions_are_searched_exactly(tmp_path, rows, queries, truth):
    with nb.create(tmp_path / "x.nest", "binary + int8", fit_rows=1000) as index:
        index.add(range(2000), rows)
        index.delete(range(1990))
        hits = index.search(queries, k=20)
    assert hits.ids.shape == (20, 10)
    assert (hits.ids >= 1990).all()
