"""Canonical JSON: every value has exactly one byte form."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure.encoding.canonical import canonical_json, digest, is_digest, parse_canonical
from secure.errors import NotCanonical

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@given(values)
def test_round_trip(value):
    """What was written canonically reads back as the same value and writes the same bytes."""
    data = canonical_json(value)
    assert parse_canonical(data, "test") == value
    assert canonical_json(parse_canonical(data, "test")) == data


@given(st.dictionaries(texts, st.integers(), min_size=2))
def test_order_does_not_matter(value):
    """The insertion order of a dictionary does not change the bytes."""
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_golden_bytes():
    """The form is sorted, dense UTF-8."""
    assert canonical_json({"b": [1, 2.5, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,2.5,null]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, b"x", {1}, "\ud800", {"a": object()}])
def test_refused_values(value):
    """Values that JSON cannot hold, or could hold in two ways, have no canonical form."""
    with pytest.raises(NotCanonical):
        canonical_json(value)


def test_refused_depth():
    """Deep nesting is refused in writing and in reading."""
    deep = "[" * 50_000 + "]" * 50_000
    with pytest.raises(NotCanonical):
        parse_canonical(deep.encode(), "test")
    with pytest.raises(NotCanonical):
        canonical_json(json.loads("[" * 20 + "]" * 20))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a":1 }',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b"[NaN]",
        b"1e2",
        b'"\\u0041"',
        b"\xff",
        b"[1]\n",
        b"-0",
    ],
)
def test_refused_spellings(data):
    """Every other form is refused: spaces, order, repeats, escapes, NaN, broken UTF-8."""
    with pytest.raises(NotCanonical):
        parse_canonical(data, "test")


def test_digest():
    """The digest is SHA-256 in hexadecimal."""
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert is_digest(digest(b""))
    assert not is_digest(digest(b"").upper())
    assert not is_digest(digest(b"")[:-1])
    assert not is_digest(0)
