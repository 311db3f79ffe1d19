"""Tables of a plan as parsed TOML: changed, flattened, refused."""

import copy
from typing import Any

import pytest

from pipeline.errors import ConfigError, ExitCode
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import check_table

Table = dict[str, Any]
APART = {"card", "continues", "catalogue", "columns"}  # each has its own test of what it does to the digest
CONTINUES = {"plan": "ab" * 32, "revision": 2, "round": 2}


def leaves(tree: object, prefix: str = "") -> dict[str, object]:
    """Every setting of a plan by its dotted key, without those that are tested apart."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    found: dict[str, object] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}.{key}" if prefix else key) if key not in APART else {}
    return found


def changed(table: Table, key: str, value: object) -> Table:
    """A copy of the plan with one key set (dots lead into tables, numbers into arrays)."""
    result = copy.deepcopy(table)
    node: Any = result
    *path, last = key.split(".")
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[last] = value
    return result


def refusal(table: Table) -> str:
    """The message for a plan that must be refused as a configuration."""
    with pytest.raises(ConfigError) as caught:
        check_table(table, Plan, "consortium/plan.toml")
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    message = str(caught.value)
    assert message.startswith("consortium/plan.toml: ")
    return message


def swapped(text: str, old: str, new: str) -> str:
    """Replace exactly one piece of a plan's text."""
    assert text.count(old) == 1
    return text.replace(old, new)


def reversed_toml(table: Table) -> str:
    """The same plan with all keys and tables in the opposite order and a comment at every line."""
    lines: list[str] = []

    def write(name: str, node: Table) -> None:
        scalars = {key: value for key, value in node.items() if not isinstance(value, dict)}
        lines.extend([f"[{name}]  # table", *(f"{k} = {literal(v)}  # why" for k, v in reversed(scalars.items()))])
        for key, value in reversed(node.items()):
            if isinstance(value, dict):
                write(f"{name}.{key}", value)

    lines.append(f"format = {table['format']}")
    for name, node in reversed(table.items()):
        if isinstance(node, dict):
            write(name, node)
    for card in table["card"]:
        lines.extend(["[[card]]", *(f'{key} = "{value}"' for key, value in reversed(card.items()))])
    return "\n".join(lines)


def literal(value: object) -> str:
    """A TOML literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, list | tuple) else repr(value)
