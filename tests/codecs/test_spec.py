import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestbit.codecs import CODERS, TRANSFORMS, Codec, parse
from nestbit.errors import SpecError

CANONICAL = [
    "binary",
    "binary + int8",
    "pca(128) | int8",
    "center | rotate | binary + truncate(64) | float16 + bfloat16",
    "hash(256, n_hashes=4) | uint8",
    "prune(64, by=supervised) | int8(quantile=0.99)",
    "itq(iterations=10) | binary",
    "project(512) | binary + float32",
    "nested(0.5) + int8",
    "nested(1) + rabitq(bits=4)",
    "pca(64) | pq(32)",
]


@pytest.mark.parametrize("text", CANONICAL)
def test_a_canonical_spec_is_written_back_unchanged(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("pca( 128 )|int8", "pca(128) | int8"),
        ("pca(d=128) | int8", "pca(128) | int8"),
        ("hash(256, 4) | int8", "hash(256, n_hashes=4) | int8"),
        ("hash(256,1)|int8", "hash(256) | int8"),
        ("int8(1e+0)", "int8"),
        ("binary()+int8", "binary + int8"),
        ("prune(64, variance) | binary", "prune(64) | binary"),
    ],
)
def test_other_spellings_have_one_canonical_form(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("binry", "unknown stage 'binry'.*binary, int8"),
        ("pca(8)", "ends in the transform"),
        ("binary | int8", "must come last"),
        ("pca | int8", "needs the argument 'd'"),
        ("pca(x) | int8", "whole number"),
        ("pca(8, 9) | int8", "too many arguments"),
        ("pca(8, d=9) | int8", "given twice"),
        ("pca(8, by=9) | int8", "unknown argument 'by'.*pca\\(d\\)"),
        ("prune(8, by=luck) | int8", "variance\\|magnitude\\|supervised"),
        ("int8(quantile=2)", "quantile"),
        ("binary +", "cannot read"),
        ("| binary", "cannot read"),
        ("pca(8 | int8", "cannot read"),
        ("int8(quantile=nan)", "quantile"),
    ],
)
def test_a_bad_spec_says_what_is_wrong_and_what_is_known(text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        parse(text)


def test_a_spec_that_is_not_a_string_is_refused() -> None:
    with pytest.raises(SpecError, match="is a string"):
        parse(8)  # type: ignore[arg-type]


@given(st.text(alphabet="abinry8pc()|+,=. 0", max_size=30))
def test_any_text_parses_or_raises_a_spec_error(text: str) -> None:
    try:
        spec = parse(text)
    except SpecError:
        return
    assert parse(str(spec)) == spec


_ARGUMENTS = dict.fromkeys(("truncate", "pca", "project", "hash", "prune", "nested", "pq"), "(3)")


@given(st.lists(st.sampled_from(sorted(TRANSFORMS)), max_size=4), st.sampled_from(sorted(CODERS)))
def test_every_pipeline_of_known_stages_round_trips(transforms: list[str], coder: str) -> None:
    text = " | ".join([stage + _ARGUMENTS.get(stage, "") for stage in (*transforms, coder)])
    assert str(parse(text)) == text


def test_normalize_is_refused_where_it_would_change_the_metric() -> None:
    with pytest.raises(SpecError, match="metric='cosine'"):
        Codec("normalize | int8", metric="dot")
