"""TOML of strangers: read as tomllib reads it, unless its keys would take the parser long."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure.encoding.limited_toml import parse_toml

EXAMPLE = (Path(__file__).parents[1] / "example" / "plan.toml").read_text()
BOMBS = {
    "key": "a." * 100_000 + "a = 1",
    "table": "[" + "a." * 100_000 + "a]",
    "spaced": "a . " * 100_000 + "a = 1",
    "quoted": "'a'." * 100_000 + "a = 1",
    "quoted delimiters": '"="."],".' * 100_000 + "a = 1",
    "behind a quoted comment": "'#'." * 100_000 + "a = 1",
    "inline": "x = {" + "a." * 100_000 + "a = 1}",
    "behind an array": "x = [1, 2, {" + "a." * 100_000 + "a = 1}]",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=list(BOMBS))
def test_a_key_of_many_parts_is_refused_before_it_is_parsed(text: str) -> None:
    """Such a key of 200 kB takes the parser 2.6 GB."""
    with pytest.raises(ValueError, match="dots"):
        parse_toml(text)


def test_what_is_not_toml_stays_an_error() -> None:
    """The parser's own error."""
    with pytest.raises(tomllib.TOMLDecodeError):
        parse_toml("a = ")


def test_ordinary_texts_are_read_as_ever() -> None:
    """A plan, and long lines of numbers, ids, addresses and comments with dots."""
    lines = [
        EXAMPLE,
        "long = [" + "1.5, " * 20_000 + "]",
        "names = [" + '"CYP.2D6.x", ' * 2_000 + "]",
        "# and so on " + "." * 500,
        'path = "../../../a.b/c.d.e"  # isn\'t this long ...',
    ]
    text = "\n[new]\n".join([lines[0], "\n".join(lines[1:])])
    assert parse_toml(text) == tomllib.loads(text)


@given(st.text(alphabet="ab.='\"#[]{}\n 1,", max_size=60))
def test_short_texts_are_read_as_tomllib_does(text: str) -> None:
    """The limits change nothing for keys of few parts."""
    if text.count(".") > 20:
        return
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(tomllib.TOMLDecodeError):
            parse_toml(text)
    else:
        assert parse_toml(text) == expected
