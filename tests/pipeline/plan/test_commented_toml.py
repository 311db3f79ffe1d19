"""The written configuration files: every setting with its default and its meaning, from the schemas alone."""

import tomllib
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pipeline.plan.commented_toml import commented_toml, settings_of, toml_value
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import Schema
from tests.support.toml_lines import lines_by_key

REQUIRED: dict[type[Schema], dict[str, object]] = {
    Plan: {
        "federation.name": "example",
        "federation.id": "ab" * 16,
        "federation.custodian": "P01",
        "federation.seed": 1,
        "rounds.n_rounds": 20,
        "rounds.local_steps": 50,
        "rounds.min_partners": 3,
    },
    PartnerConfig: {
        "name": "P01",
        "plan": "plan.toml",
        "exchange": "exchange",
        "data.assays": "T0.csv",
        "data.activities": "T1.csv",
        "data.structures": "T2.csv",
    },
    AggregatorConfig: {"name": "hub", "plan": "plan.toml", "exchange": "exchange"},
}
KINDS = pytest.mark.parametrize("schema", REQUIRED, ids=lambda schema: schema.__name__)


def defaults(schema: type[Schema]) -> dict[str, Any]:
    """Every default by dotted key, as pydantic fills it in, without our own reading of the schema."""
    cards = [
        {"name": name, "role": role, "signing": "", "signature": ""}
        for name, role in (("P01", "partner"), ("P02", "partner"), ("P03", "partner"), ("hub", "aggregator"))
    ]
    table: dict[str, Any] = {"format": 1, "card": tuple(cards)} if schema is Plan else {}
    for key, value in REQUIRED[schema].items():
        *path, name = key.split(".")
        inner = table
        for part in path:
            inner = inner.setdefault(part, {})
        inner[name] = value
    return dict(flat(schema.model_validate(table).model_dump(mode="json", exclude={"card"})))


def flat(table: dict[str, Any], key: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and values of nested tables."""
    rows: list[tuple[str, Any]] = []
    for name, value in table.items():
        rows += flat(value, f"{key}{name}.") if isinstance(value, dict) else [(f"{key}{name}", value)]
    return rows


@KINDS
@pytest.mark.parametrize("whole", [True, False])
def test_every_setting_stands_there_with_its_default(schema: type[Schema], *, whole: bool) -> None:
    """Each setting is written with its default value, and its description after or above it."""
    found = lines_by_key(commented_toml(schema, REQUIRED[schema], title="", whole=whole))
    for key, default in defaults(schema).items():
        if key in {"continues", "privacy"}:  # optional tables, in comments
            inside = {"continues": {"plan", "revision", "round"}, "privacy": {"epsilon", "delta", "clip_norm"}}[key]
            assert {f"{key}.{name}" for name in inside} <= found.keys()
            continue
        value = "..." if default is None else toml_value(default)
        active = key in REQUIRED[schema] or (whole and default is not None)
        line = f"{'' if active else '# '}{key.rsplit('.', 1)[-1]} = {value}"
        assert found[key].split("  # ")[0] == line


@KINDS
def test_every_setting_is_described(schema: type[Schema]) -> None:
    """Every setting has a docstring, a sentence; a table has the first lines of its class's docstring."""
    described = {setting.key: setting.description for setting in settings_of(schema)}
    assert [key for key, text in described.items() if not (len(text) > 1 and text.endswith("."))] == []


@KINDS
def test_no_line_is_too_long(schema: type[Schema]) -> None:
    """A comment that is too long for its setting's line is written above it."""
    text = commented_toml(schema, REQUIRED[schema], title="word " * 100, whole=True)
    assert max(map(len, text.splitlines())) <= 120


class Inner(Schema):
    """A table.

    What else is said of it is not for the file.
    """

    kind: Literal["plain", "odd"] = "plain"
    """Which kind."""

    size: float = 0.5
    """Size
    in m.
    """

    limit: int | None = None
    """Upper limit."""


class Outer(Schema):
    """A file for the tests."""

    name: str = Field(min_length=1)
    """Who it is."""

    inner: Inner = Inner()


def test_a_written_file() -> None:
    """Title, settings, tables; a choice names all its values, a chosen value its default."""
    text = commented_toml(Outer, {"name": "a", "inner.size": 2.0}, title="Title.", whole=False)
    assert text == (
        "# Title.\n"
        'name = "a"  # Who it is.\n'
        "\n"
        "# A table.\n"
        "[inner]\n"
        '# kind = "plain"  # Which kind. (plain or odd)\n'
        "size = 2.0  # Size in m. [default: 0.5]\n"
        "# limit = ...  # Upper limit.\n"
    )


def test_a_remark_says_why() -> None:
    """A remark is written above its setting."""
    text = commented_toml(Outer, {"name": "a"}, title="", whole=True, remarks={"inner.kind": "Because."})
    assert '# Because.\nkind = "plain"  # Which kind. (plain or odd)\nsize = 0.5  # Size in m.\n' in text


@pytest.mark.parametrize(("values", "key"), [({}, "name"), ({"name": "a", "inner.nosuch": 1}, "inner.nosuch")])
def test_missing_and_unknown_settings_are_refused(values: dict[str, object], key: str) -> None:
    """A required one without a value, and one that the schema does not have."""
    with pytest.raises(KeyError, match=key):
        commented_toml(Outer, values, title="", whole=True)


plain_text = st.text(st.characters(exclude_categories=["Cs"]))
plain_value = st.one_of(plain_text, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))


@given(st.one_of(plain_value.filter(lambda value: value not in (float("inf"), -float("inf"))), st.lists(plain_text)))
def test_any_value_can_be_read_back(value: object) -> None:
    """TOML reads every written value back, control characters too."""
    assert tomllib.loads(f"key = {toml_value(value)}")["key"] == value


def test_tables_in_a_line() -> None:
    """The tasks of a catalogue."""
    tasks = ({"id": "CYP2D6", "threshold": 6.0},)
    assert toml_value(tasks) == '[{id = "CYP2D6", threshold = 6.0}]'
    assert tomllib.loads(f"tasks = {toml_value(tasks)}")["tasks"] == list(tasks)
