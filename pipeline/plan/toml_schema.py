"""Read TOML files and validate them; errors name every key that is unknown or has a wrong type or value."""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from data_prep.columns import nearest
from pipeline.errors import ConfigError
from pipeline.runtime.redact import may_hold_secret
from secure.encoding.limited_toml import parse_toml
from secure.files import read_plain

_MOST_BYTES = 1 << 22  # of a plan or configuration; a plan whose catalogue has 10,000 tasks has 500 kB
_MOST_PROBLEMS = 20  # shown of a file

_LONGEST_SHOWN = 80  # characters of a value
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's words for models and for dataclasses
_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")  # at the end of tomllib's message
_UNQUOTED = re.compile(r"[^\W\d]|[/.~\\]")  # how texts begin, and no other value but true, false, inf and nan


class Schema(BaseModel):
    """A table of a configuration file: unknown keys, wrong types, NaN and infinity are refused.

    The docstring under a setting describes it, the first paragraph of a class's docstring the table.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


AnySchema = TypeVar("AnySchema", bound=Schema)


def read_toml(path: Path, schema: type[AnySchema]) -> AnySchema:
    """Read a TOML file and validate it against `schema`.

    Raises ConfigError with the file and every wrong key, with the found and the expected value.
    """
    return check_table(read_table(path), schema, str(path))


def read_table(path: Path) -> dict[str, Any]:
    """Parse a TOML file. Raises ConfigError if it cannot be read."""
    try:
        text = read_plain(path, _MOST_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
        return parse_toml(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text, which every TOML file is; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {_where(str(error), text)}") from error
    except (ValueError, RecursionError, OSError) as error:  # ValueError: an endless number
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def _where(message: str, text: str) -> str:
    """Return tomllib's message with the line's key, not its value, which may be a password; and what is likely wrong.

    text : the file's
    """
    position = _POSITION.search(message)
    if position is None:
        return message
    line, column = int(position[1]), int(position[2])
    row = text.split("\n")[line - 1]
    key, equals, _ = row[: column - 1].partition("=")
    place = f"line {line}, column {column}" + (f", behind {key.strip()} =" if equals else "")
    problem = _POSITION.sub("", message)
    if problem == "Invalid value" and _UNQUOTED.match(row[column - 1 :]):
        problem = "found a text without quotes, expected it in double quotes"
    elif problem == r"Illegal character '\n'":
        problem = "found a text whose quotes do not close in its line"
    elif problem.startswith("Unescaped '\\'"):
        problem += "; put the text in single quotes instead of double ones"
    return f"{place}: {problem}"


def check_table(table: dict[str, Any], schema: type[AnySchema], where: str) -> AnySchema:
    """Validate a parsed table. It goes through JSON, because pydantic's strict types accept a JSON array as a tuple."""
    try:
        not_json = list(_not_json(table))
        if not_json:
            raise _refusal(where, not_json, len(not_json))
        return schema.model_validate_json(json.dumps(table))
    except RecursionError:
        raise ConfigError(f"{where}: found tables that are too deep, expected at most three in one another") from None
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [_describe(item, schema) for item in problems[:_MOST_PROBLEMS]]  # each takes milliseconds
        raise _refusal(where, lines, len(problems)) from None


def _refusal(where: str, lines: list[str], n_problems: int) -> ConfigError:
    more = f"; and {n_problems - _MOST_PROBLEMS} more" if n_problems > _MOST_PROBLEMS else ""
    return ConfigError(f"{where}: {n_problems} problem(s): " + "; ".join(lines[:_MOST_PROBLEMS]) + more)


def _not_json(value: object, key: str = "") -> Iterator[str]:
    """Messages for values that JSON does not have and no setting allows: NaN, infinities, dates, NUL characters."""
    if isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _not_json(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{key}: found {value}, expected a finite number"
    elif isinstance(value, str) and "\0" in value:
        yield f"{key}: found a NUL character, expected a text without"
    elif not isinstance(value, str | int | float):
        yield f"{key}: found {value}, expected a text or a number, no date or time"


def _describe(item: Any, schema: type[Schema]) -> str:  # noqa: ANN401 -- pydantic's ErrorDetails, with free content
    loc, value = item["loc"], item["input"]
    key = ".".join(str(part) for part in loc) or "the file as a whole"
    if item["type"] in _UNKNOWN:
        is_section = isinstance(value, dict)
        names = _names_at(loc[:-1], schema, sections=is_section)
        near = nearest(str(loc[-1]), names)
        expected = f"nearest: {near}" if near else f"expected one of {', '.join(names)}"
        return f"{key}: unknown {'section' if is_section else 'setting'}; {expected}"
    is_shown = len(repr(value)) <= _LONGEST_SHOWN and not isinstance(value, dict) and not may_hold_secret(loc)
    found = f", found {value!r}" if is_shown else ""
    return f"{key}: {item['msg'].removeprefix('Value error, ')}{found}"


def _names_at(loc: Sequence[str | int], schema: type[Schema], *, sections: bool) -> list[str]:
    """Return the sections or the settings that the table at a place of the file may have; all names if it has none."""
    table = whole = schema.model_json_schema()
    for part in loc:
        table = table["items"] if isinstance(part, int) else table["properties"][part]
        if reference := reference_in(table):
            table = whole["$defs"][reference]
    is_section = {
        name: bool(reference_in(about)) or about.get("type") == "object" for name, about in table["properties"].items()
    }
    return [name for name, found in is_section.items() if found == sections] or list(is_section)


def reference_in(about: dict[str, Any]) -> str:
    """Return the name of the nested table that a JSON schema refers to; "" for a setting."""
    references = [part["$ref"] for part in (about, *about.get("anyOf", ())) if "$ref" in part]
    return str(references[0]).rsplit("/", 1)[-1] if references else ""
