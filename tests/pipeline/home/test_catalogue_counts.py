"""Rows of the catalogue that a partner holds, and the counts of holders in its home."""

import hashlib
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.prepared import Task
from partners.network.shared_head_rows import HolderCounts
from pipeline.errors import ConfigError
from pipeline.home.catalogue_counts import (
    counted_digest,
    has_counted,
    held_rows,
    keep_counts,
    known_holders,
    known_layout,
    opposite_tasks,
)
from pipeline.home.paths import Home
from pipeline.plan.catalogue import Catalogue
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import check_table
from tests.support.federation import Federation

TASKS = [{"id": "C1", "threshold": 6.0}, {"id": "C1", "threshold": 7.0}, {"id": "C2", "threshold": 6.0}]
CATALOGUE = Catalogue.model_validate_json(json.dumps({"tasks": TASKS}))
TASK = Task(
    task_id=0,
    input_assay_id="A",
    catalog_assay_id="C1",
    parent_assay_id=None,
    assay_type="CATALOG-PANEL",
    threshold=6.0,
    threshold_method="expert",
    direction="high",
    is_auxiliary=False,
    n_active=10,
    n_inactive=10,
    min_fold_active=1,
    min_fold_inactive=1,
    evaluated=True,
    training_weight=1.0,
    aggregation_weight=1.0,
)


def numbered(*tasks: Task) -> list[Task]:
    """Tasks as in a prepared folder."""
    return [replace(task, task_id=i) for i, task in enumerate(tasks)]


def test_a_task_is_found_by_its_id_and_threshold():
    """With another id, another threshold, no id, or an auxiliary task, the head stays private."""
    others = [
        replace(TASK, catalog_assay_id="C9"),
        replace(TASK, threshold=6.5),
        replace(TASK, catalog_assay_id=None, assay_type="NON-CATALOG-PANEL"),
        replace(TASK, catalog_assay_id="C2", is_auxiliary=True),
    ]
    tasks = numbered(*others, TASK, replace(TASK, threshold=7.0))
    assert held_rows(CATALOGUE, tasks) == {0: (4,), 1: (5,)}
    assert held_rows(Catalogue(), tasks) == {}


def test_several_tasks_belong_to_one_row():
    """Assays with one catalogue id and threshold are all held under it."""
    tasks = numbered(TASK, replace(TASK, threshold=7.0), replace(TASK, n_active=40), replace(TASK, threshold=7.0), TASK)
    assert held_rows(CATALOGUE, tasks) == {0: (0, 2, 4), 1: (1, 3)}


def test_tasks_that_contradict_each_other_do_not_share_a_head():
    """Where low values are active labels mean the opposite: those heads stay private, and a warning names them."""
    low = replace(TASK, direction="low", input_assay_id="LOW")
    tasks = numbered(low, replace(TASK, direction=""), TASK, replace(low, threshold=7.0), low)
    assert held_rows(CATALOGUE, tasks) == {0: (1, 2), 1: (3,)}
    (warning,) = opposite_tasks(CATALOGUE, tasks)
    assert re.search(r"row C1 at 6: the head is shared of A, .* not of LOW, .*\bT0\b", warning)


def test_tasks_of_one_direction_share_a_head():
    """Low ones too, if a row has no others; a binary assay's labels are as they are, whatever its direction."""
    low = replace(TASK, direction="low")
    binary = replace(TASK, threshold_method="binary")
    for tasks in (numbered(low, low), numbered(binary, replace(binary, direction="low")), numbered(TASK)):
        assert held_rows(CATALOGUE, tasks) == {0: tuple(task.task_id for task in tasks)}
        assert not list(opposite_tasks(CATALOGUE, tasks))


# ------------------------------------------------------------------------------------------------ the file in a home


def plan_with(federation: Federation, **changes: object) -> Plan:
    """The small federation's plan with the catalogue, or with other tables."""
    table = tomllib.loads(federation.plan_file.read_text()) | {"catalogue": {"tasks": TASKS}}
    return check_table(table | changes, Plan, "plan")


def continued(federation: Federation, before: Plan, round_no: int, **changes: object) -> Plan:
    """A revision of such a plan."""
    return plan_with(federation, continues={"plan": before.digest, "revision": 2, "round": round_no}, **changes)


@pytest.fixture
def plan(enrolled: Federation) -> Plan:
    """Three partners and a catalogue of three tasks."""
    return plan_with(enrolled)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A partner's home."""
    return Home(tmp_path)


def rows_of(plan: Plan, home: Home) -> HolderCounts:
    """The counts of the catalogue's rows in a home."""
    holders = known_holders(plan, home)
    assert holders is not None
    return holders.rows


def test_counts_come_back(plan: Plan, home: Home):
    """There are no counts before the counting round, and its counts after it."""
    assert known_holders(plan, home) is None
    assert known_layout(plan, home) is None
    keep_counts(plan, home, [3, 1, 2])
    assert known_layout(plan, home) == plan.layout_with(1)
    assert rows_of(plan, home) == HolderCounts((3, 1, 2), frozenset(plan.partner_names), 3, 3)


def test_a_plan_without_a_catalogue_needs_no_counts(enrolled: Federation, home: Home):
    """A plan without a catalogue has counts at once."""
    assert rows_of(plan_with(enrolled, catalogue={}), home) == HolderCounts()


def test_a_revision_from_the_first_round_on_counts_anew(enrolled: Federation, plan: Plan, home: Home):
    """Counting again needs the same partners: with others the difference would be a partner's flags."""
    keep_counts(plan, home, [3, 1, 2])
    assert known_holders(continued(enrolled, plan, 1), home) is None
    cards = [card.model_dump(exclude_none=True) for card in plan.card]
    other = cards[0] | {"name": "P99"}
    with pytest.raises(ConfigError, match=r"other partners.*\bP99\b"):
        known_holders(continued(enrolled, plan, 1, card=[*cards, other]), home)


def test_counts_of_the_same_partners_and_tasks_are_known(enrolled: Federation, plan: Plan, home: Home):
    """Under another plan too; not those of other partners or tasks, and none before the counting round."""
    assert not has_counted(plan, home)
    keep_counts(plan, home, [3, 1, 2])
    assert has_counted(continued(enrolled, plan, 1), home)
    cards = [card.model_dump(exclude_none=True) for card in plan.card]
    assert not has_counted(continued(enrolled, plan, 1, card=[*cards, cards[0] | {"name": "P99"}]), home)
    assert not has_counted(continued(enrolled, plan, 1, catalogue={"tasks": TASKS[:2]}), home)


def test_a_later_revision_keeps_what_was_counted(enrolled: Federation, plan: Plan, home: Home):
    """A later revision keeps counts, counted partners and places, with its own min_partners."""
    keep_counts(plan, home, [3, 1, 2])
    later = continued(enrolled, plan, 2, catalogue={"tasks": TASKS, "min_partners": 2})
    assert rows_of(later, home) == HolderCounts((3, 1, 2), frozenset(plan.partner_names), 2, 3)
    assert known_layout(later, home) == plan.layout_with(1)


def test_a_later_revision_has_the_same_catalogue(enrolled: Federation, plan: Plan, home: Home):
    """A later revision cannot add or change rows, and needs counts."""
    later = continued(enrolled, plan, 2)
    with pytest.raises(ConfigError, match=r"catalogue\.json: .*no counts"):
        known_holders(later, home)
    keep_counts(plan, home, [3, 1, 2])
    with pytest.raises(ConfigError, match="later revision keeps"):
        known_holders(continued(enrolled, plan, 2, catalogue={"tasks": TASKS[::-1]}), home)


def test_counts_of_an_earlier_version_are_explained(plan: Plan, home: Home):
    """It had places for all rows: who made them, and that a new federation must begin."""
    keep_counts(plan, home, [3, 1, 2])
    table = json.loads(home.catalogue.read_text())
    home.catalogue.write_text(json.dumps({key: value for key, value in table.items() if key != "min_partners"}))
    with pytest.raises(ConfigError, match=r"catalogue\.json: .*\bearlier version") as caught:
        known_holders(plan, home)
    assert "federation.id" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-5], "read as JSON"),
        (lambda text: text.replace('"counts"', '"count"'), "counts: Field required"),
        (lambda text: text.replace("  3,\n", "", 1), "found 2 counts, expected 3"),
        (lambda text: text.replace("  3,\n", "  3.5,\n", 1), "counts.0: "),
    ],
)
def test_damaged_counts_are_refused(plan: Plan, home: Home, change, said: str):
    """A file that is cut, lacks a key or a count, or has a wrong partner is refused."""
    keep_counts(plan, home, [3, 1, 2])
    home.catalogue.write_text(change(home.catalogue.read_text()))
    with pytest.raises(ConfigError, match=said):
        known_holders(plan, home)


def test_what_was_counted_has_a_digest(enrolled: Federation, plan: Plan, home: Home):
    """FORMAT.md's: of tasks, partners, counts, and the minimum under which they were counted, whatever a revision's."""
    keep_counts(plan, home, [3, 1, 2])
    tasks = json.dumps(TASKS, sort_keys=True, separators=(",", ":"))
    said = f'{{"counts":[3,1,2],"min_partners":3,"partners":["P01","P02","P03"],"tasks":{tasks}}}'
    later = continued(enrolled, plan, 2, catalogue={"tasks": TASKS, "min_partners": 2})
    for one in (plan, later):
        counts = known_holders(one, home)
        assert counts is not None
        assert counted_digest(one, counts) == hashlib.sha256(said.encode()).hexdigest()
