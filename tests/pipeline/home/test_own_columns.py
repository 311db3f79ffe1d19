"""The file in a home with the input columns that a partner flagged."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from partners.network.input_columns import InputColumns
from partners.network.shared_head_rows import HolderCounts
from partners.training_data.column_flags import ColumnFlags
from pipeline.errors import ConfigError
from pipeline.home.catalogue_counts import Holders, counted_digest, keep_counts, known_holders, known_layout
from pipeline.home.counted_flags import flagged_under
from pipeline.home.own_columns import input_columns, obtain_flags
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import check_table
from tests.support.federation import Federation

FLAGS = ColumnFlags(np.array([1, 5, 511]), np.array([0, 7]))
COUNTS = [3, 0, 2] + [3] * 509


@pytest.fixture
def plan(enrolled: Federation) -> Plan:
    """Three partners whose input columns are counted."""
    return plan_with(enrolled)


def plan_with(federation: Federation, **changes: object) -> Plan:
    """The same plan with other tables."""
    table = {key: value for key, value in tomllib.loads(federation.plan_file.read_text()).items() if key != "columns"}
    return check_table(table | changes, Plan, "plan")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A partner's home."""
    return Home(tmp_path)


def never() -> ColumnFlags:
    """Flags that nobody asks for."""
    raise AssertionError("flags were made again")


def test_flags_are_made_once_for_a_plan(enrolled: Federation, plan: Plan, home: Home):
    """Later they come from the file; after the count under every plan, before it another plan has its own."""
    assert obtain_flags(plan, home, lambda: FLAGS) is FLAGS
    again = obtain_flags(plan, home, never)
    assert (again.flagged.tolist(), again.withheld.tolist()) == ([1, 5, 511], [0, 7])
    other = plan_with(enrolled, columns={"withhold": 0.5})
    with pytest.raises(AssertionError, match="made again"):
        obtain_flags(other, home, never)
    keep_counts(plan, home, COUNTS, flagged_under(plan, home))
    assert obtain_flags(other, home, never).flagged.tolist() == [1, 5, 511]
    home.columns.write_text(home.columns.read_text().replace(plan.digest, other.digest))
    with pytest.raises(ConfigError, match="which were counted"):
        input_columns(plan, home, Holders())


def test_counts_and_flags_make_a_partners_part(plan: Plan, home: Home):
    """Counts of columns come back with their partners and minimum; the vector has the columns with enough holders."""
    assert known_holders(plan, home) is None
    obtain_flags(plan, home, lambda: FLAGS)
    keep_counts(plan, home, COUNTS)
    holders = known_holders(plan, home)
    assert holders == Holders(HolderCounts(), HolderCounts(tuple(COUNTS), frozenset(plan.partner_names), 3, 3))
    assert known_layout(plan, home) == plan.layout_with(0, 510)
    columns = input_columns(plan, home, holders)
    assert (columns.flagged.tolist(), columns.withheld.tolist()) == ([1, 5, 511], [0, 7])
    assert (columns.trunk_seed, columns.own.tolist()) == (plan.federation.seed, [0, 1, 2, 7])
    assert counted_digest(plan, holders) != counted_digest(plan, Holders())


def test_a_later_revision_keeps_the_count(enrolled: Federation, plan: Plan, home: Home):
    """With its own minimum; one that counts nothing, or something else, does not fit the home."""
    keep_counts(plan, home, COUNTS)
    continues = {"plan": plan.digest, "revision": 2, "round": 2}
    later = plan_with(enrolled, continues=continues, columns={"min_partners": 2})
    holders = known_holders(later, home)
    assert holders is not None
    assert (holders.columns.least, holders.columns.least_when_counted) == (2, 3)
    assert known_layout(later, home) == known_layout(plan, home)
    with_tasks = plan_with(enrolled, continues=continues, catalogue={"tasks": [{"id": "C", "threshold": 6.0}]})
    with pytest.raises(ConfigError, match=r"catalogue\.json: .*no counts"):
        known_holders(with_tasks, home)


def test_a_plan_that_counts_nothing_needs_no_file(enrolled: Federation, home: Home):
    """All columns are shared, whatever lies in the home."""
    plan = plan_with(enrolled, columns={"min_partners": 0})
    home.columns.write_text("{}")
    columns = input_columns(plan, home, Holders())
    assert not columns.is_counted
    assert (columns.shared, columns.own.size) == (None, InputColumns().own.size)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-5], "read as JSON"),
        (lambda text: text.replace('"flagged"', '"flags"'), "flagged: Field required"),
        (lambda text: text.replace("  511\n", "  512\n"), "found column 512, expected columns below 512"),
        (lambda text: text.replace("  511\n", "  4\n"), "not ascending"),
        (lambda text: text.replace("  1,\n", "  -1,\n"), "not ascending"),
        (lambda text: text.replace("  5,\n", "  5.5,\n"), "flagged.1: "),
    ],
)
def test_damaged_flags_are_refused(plan: Plan, home: Home, change, said: str):
    """A file that is cut, lacks a key, or has a column that cannot be."""
    obtain_flags(plan, home, lambda: FLAGS)
    home.columns.write_text(change(home.columns.read_text()))
    with pytest.raises(ConfigError, match=said):
        input_columns(plan, home, Holders())
