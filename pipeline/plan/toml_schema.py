"""Read TOML files and validate them; errors name every key that is unknown or has a wrong type or value."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ConfigError
from secure.encoding.limited_toml import parse_toml
from secure.files import read_plain

_MOST_BYTES = 1 << 22  # of a plan or configuration; a plan whose catalogue has 10,000 tasks has 500 kB
_MOST_PROBLEMS = 20  # shown of a file


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
        return parse_toml(read_plain(path, _MOST_BYTES).decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (ValueError, RecursionError, OSError) as error:  # ValueError: not TOML, not UTF-8, an endless number
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def check_table(table: dict[str, Any], schema: type[AnySchema], where: str) -> AnySchema:
    """Validate a parsed table. It goes through JSON, because pydantic's strict types accept a JSON array as a tuple."""
    try:
        not_json = list(_not_json(table))
        if not_json:
            raise _refusal(where, not_json)
        return schema.model_validate_json(json.dumps(table))
    except RecursionError:
        raise ConfigError(f"{where}: found tables that are too deep, expected at most three in one another") from None
    except ValidationError as error:
        raise _refusal(where, [_describe(item) for item in error.errors(include_url=False)]) from None


def _refusal(where: str, lines: list[str]) -> ConfigError:
    more = f"; and {len(lines) - _MOST_PROBLEMS} more" if len(lines) > _MOST_PROBLEMS else ""
    return ConfigError(f"{where}: {len(lines)} problem(s): " + "; ".join(lines[:_MOST_PROBLEMS]) + more)


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


def _describe(item: Any) -> str:  # noqa: ANN401 -- pydantic's ErrorDetails, a TypedDict with free content
    key = ".".join(str(part) for part in item["loc"]) or "the file as a whole"
    value = repr(item["input"])
    found = f", found {value}" if len(value) <= 80 and not isinstance(item["input"], dict) else ""  # noqa: PLR2004
    return f"{key}: {item['msg'].removeprefix('Value error, ')}{found}"
