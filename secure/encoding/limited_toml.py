"""Parse TOML that somebody else wrote, in time and memory that do not grow with the square of its length."""

import re
import tomllib
from typing import Any

_MOST_DOTS = 20  # in a key; hocket's have two at most
_MOST_COST = 10**8  # sum over lines of the square of their dots that are not in numbers: a key of 10,000 parts
# comments without quotes go first: prose may have more dots in a row
_COMMENT = re.compile(r"^([^\"'\n#]*)#[^\"'\n]*", re.MULTILINE)
_BETWEEN = re.compile(r"[=,\n\[\]{}]")
_DOT = re.compile(r"(?<![0-9])\.|\.(?![0-9])")


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises ValueError for text that is not TOML, or has more dots in one key or text than any of hocket's has: the
    parser's time and memory grow with their square. RecursionError for arrays that are too deep.
    """
    bare = _COMMENT.sub(r"\1", text)
    if any(part.count(".") > _MOST_DOTS for part in _BETWEEN.split(bare)) or _cost(bare) > _MOST_COST:
        raise ValueError(f"found more than {_MOST_DOTS} dots in a key or a text, expected at most so many")
    return tomllib.loads(text)


def _cost(bare: str) -> int:
    """Bound for keys in which quoted delimiters stand between the dots."""
    return sum(len(_DOT.findall(line)) ** 2 for line in bare.split("\n"))
