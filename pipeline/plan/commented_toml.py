"""Write a configuration file with every setting of a schema, its meaning and its default."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.plan.toml_schema import Schema, reference_in

_COLUMNS = 120


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting or table of a schema."""

    key: str  # dotted
    description: str  # in one line
    default: Any  # as a JSON value; None: no default
    choices: tuple[str, ...]  # allowed values; empty: any
    is_table: bool
    is_required: bool  # no default, and it may not be absent
    is_optional: bool  # may be absent altogether

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rsplit(".", 1)[-1]

    @property
    def table(self) -> str:
        """The key of its table; "" for the top of the file."""
        return self.key.rpartition(".")[0]


def settings_of(schema: type[Schema]) -> list[Setting]:
    """All settings and tables of a schema, each table before its settings, without the list of cards."""
    whole = schema.model_json_schema()
    return list(_settings(whole, whole["$defs"], ""))


def _settings(table: dict[str, Any], tables: dict[str, Any], key: str) -> Iterator[Setting]:
    required = table.get("required", [])
    for name, about in table["properties"].items():
        path, reference = f"{key}.{name}".lstrip("."), reference_in(about)
        kinds = about.get("anyOf", [])
        optional = {"type": "null"} in kinds
        if reference:
            inner = tables[reference]
            described = _line(inner["description"].split("\n\n")[0])
            yield Setting(path, described, None, (), is_table=True, is_required=name in required, is_optional=optional)
            yield from _settings(inner, tables, path)
        elif "$ref" not in about.get("items", {}) or name not in required:
            choices = tuple(choice for choice in about.get("enum", ()) if isinstance(choice, str))
            default = about.get("default", about.get("const"))
            needed = name in required and "const" not in about
            described = _line(about.get("description", ""))
            yield Setting(path, described, default, choices, is_table=False, is_required=needed, is_optional=optional)


def _line(text: str) -> str:
    return " ".join(text.split())


def commented_toml(
    schema: type[Schema],
    values: Mapping[str, object],
    *,
    title: str,
    whole: bool,
    remarks: Mapping[str, str] | None = None,
) -> str:
    """TOML text of all settings with their descriptions, in the schema's order.

    values  : chosen values by dotted key, with at least every required setting
    whole   : if true, other settings are written with their default, else as a comment, so that they follow the default
              of later versions
    remarks : a comment to write above a setting, by dotted key
    Raises KeyError for a required setting without a value and for a key that is no setting.
    """
    settings = settings_of(schema)
    tables = {setting.key: setting for setting in settings if setting.is_table}
    unknown = values.keys() - {setting.key for setting in settings}
    if unknown:
        raise KeyError(f"no settings of {schema.__name__}: {sorted(unknown)}")
    lines = [f"# {line}" for line in textwrap.wrap(title, _COLUMNS - 2)]
    for key in ("", *tables):
        chosen = any(name.startswith(f"{key}.") for name in values)
        hash_mark = "# " if key and tables[key].is_optional and not chosen else ""
        own = [setting for setting in settings if setting.table == key and not setting.is_table]
        if key:
            lines += ["", f"# {tables[key].description}", f"{hash_mark}[{key}]"]
        for setting in own:
            lines += [f"# {remarks[setting.key]}"] if remarks and setting.key in remarks else []
            lines += _lines(setting, values, hash_mark, whole=whole)
    return "\n".join(lines) + "\n"


def _lines(setting: Setting, values: Mapping[str, object], hash_mark: str, *, whole: bool) -> list[str]:
    """The setting with its comment, in one line if it is short enough."""
    value = values.get(setting.key, setting.default)
    if value is None and setting.is_required and not hash_mark:
        raise KeyError(f"{setting.key}: required, and no value was given")
    if not hash_mark and setting.key not in values and (value is None or not whole):
        hash_mark = "# "
    comment = setting.description
    if setting.choices:
        comment = f"{comment} ({' or '.join(setting.choices)})".lstrip()
    if setting.default is not None and value != setting.default:
        comment = f"{comment} [default: {toml_value(setting.default)}]".lstrip()
    line = f"{hash_mark}{setting.name} = {'...' if value is None else toml_value(value)}"
    if len(line) + len(comment) + 4 <= _COLUMNS:
        return [f"{line}  # {comment}"]
    return [*(f"# {part}" for part in textwrap.wrap(comment, _COLUMNS - 2)), line]


def toml_value(value: object) -> str:
    """A value in TOML; JSON's notation is valid TOML for texts, numbers, booleans and lists of them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
