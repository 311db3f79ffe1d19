"""A configuration file as a person would write it: every setting of a schema, with its meaning and its default."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.plan.toml_schema import Schema

_COLUMNS = 120


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, or a table of them, as the schema has it."""

    key: str  # dotted
    description: str  # in one line
    default: Any  # as JSON has it; None: none, or absent
    choices: tuple[str, ...]  # empty: not a choice
    is_table: bool
    is_required: bool  # there is no default, not even being absent
    is_optional: bool  # may be absent altogether

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rsplit(".", 1)[-1]

    @property
    def table(self) -> str:
        """The key of the table that holds it; "" for the file itself."""
        return self.key.rpartition(".")[0]


def settings_of(schema: type[Schema]) -> list[Setting]:
    """All settings and tables, each table before what is in it; the list of cards is no setting."""
    whole = schema.model_json_schema()
    return list(_settings(whole, whole["$defs"], ""))


def _settings(table: dict[str, Any], tables: dict[str, Any], key: str) -> Iterator[Setting]:
    required = table.get("required", [])
    for name, about in table["properties"].items():
        path, reference = f"{key}.{name}".lstrip("."), _reference(about)
        kinds = about.get("anyOf", [])
        optional = {"type": "null"} in kinds
        if reference:
            inner = tables[reference.rsplit("/", 1)[-1]]
            described = _line(inner["description"].split("\n\n")[0])
            yield Setting(path, described, None, (), is_table=True, is_required=name in required, is_optional=optional)
            yield from _settings(inner, tables, path)
        elif "$ref" not in about.get("items", {}) or name not in required:
            choices = tuple(str(one) for one in about.get("enum", ()) if isinstance(one, str))
            default = about.get("default", about.get("const"))
            needed = name in required and "const" not in about
            described = _line(about.get("description", ""))
            yield Setting(path, described, default, choices, is_table=False, is_required=needed, is_optional=optional)


def _line(text: str) -> str:
    return " ".join(text.split())


def _reference(about: dict[str, Any]) -> str:
    """Where the schema of a nested table stands; "" for a plain setting."""
    found = [one["$ref"] for one in (about, *about.get("anyOf", ())) if "$ref" in one]
    return str(found[0]) if found else ""


def written(
    schema: type[Schema],
    values: Mapping[str, object],
    *,
    title: str,
    whole: bool,
    remarks: Mapping[str, str] | None = None,
) -> str:
    """TOML text of all settings with their descriptions, in the schema's order.

    values  : what is chosen, by dotted key; every required setting is among them
    whole   : a setting that is not chosen stands there with its default; else behind a #, so that it follows hocket's
    remarks : why something was chosen, by dotted key, said above it
    Raises KeyError for a required setting without a value and for a key that is no setting.
    """
    settings = settings_of(schema)
    tables = {one.key: one for one in settings if one.is_table}
    unknown = values.keys() - {one.key for one in settings}
    if unknown:
        raise KeyError(f"no settings of {schema.__name__}: {sorted(unknown)}")
    lines = [f"# {line}" for line in textwrap.wrap(title, _COLUMNS - 2)]
    for key in ("", *tables):
        chosen = any(name.startswith(f"{key}.") for name in values)
        aside = "# " if key and tables[key].is_optional and not chosen else ""
        own = [one for one in settings if one.table == key and not one.is_table]
        if key:
            lines += ["", f"# {tables[key].description}", f"{aside}[{key}]"]
        for one in own:
            lines += [f"# {remarks[one.key]}"] if remarks and one.key in remarks else []
            lines += _lines(one, values, aside, whole=whole)
    return "\n".join(lines) + "\n"


def _lines(setting: Setting, values: Mapping[str, object], aside: str, *, whole: bool) -> list[str]:
    """The setting with its comment, behind it where a line holds both."""
    value = values.get(setting.key, setting.default)
    if value is None and setting.is_required and not aside:
        raise KeyError(f"{setting.key}: required, and no value was given")
    if not aside and setting.key not in values and (value is None or not whole):
        aside = "# "
    comment = setting.description
    if setting.choices:
        comment = f"{comment} ({' or '.join(setting.choices)})".lstrip()
    if setting.default is not None and value != setting.default:
        comment = f"{comment} [default: {toml_value(setting.default)}]".lstrip()
    line = f"{aside}{setting.name} = {'...' if value is None else toml_value(value)}"
    if len(line) + len(comment) + 4 <= _COLUMNS:
        return [f"{line}  # {comment}"]
    return [*(f"# {part}" for part in textwrap.wrap(comment, _COLUMNS - 2)), line]


def toml_value(value: object) -> str:
    """A value in TOML; JSON's notation is TOML's for texts, numbers, booleans and lists of them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
