"""Rows of the catalogue that a partner flagged stay those that it shares, whatever tables it has later."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.home.own_rows import flagged_rows, obtain_rows
from pipeline.home.paths import Home
from pipeline.plan.catalogue import Catalogue, CatalogueTask
from pipeline.plan.plan import Plan, read_plan
from tests.support.federation import Federation

TASKS = tuple(CatalogueTask(id=name, threshold=6.0) for name in "ABC")


@pytest.fixture
def plan(enrolled: Federation) -> Plan:
    """A plan with three rows."""
    return read_plan(enrolled.plan_file).model_copy(update={"catalogue": Catalogue(tasks=TASKS)})


def test_rows_are_flagged_once(plan: Plan, tmp_path: Path) -> None:
    """Tables that change before the count ends, or later, change nothing; a count under another plan begins anew."""
    home = Home(tmp_path)
    assert obtain_rows(plan, home, [2, 0]) == [0, 2]
    assert obtain_rows(plan, home, [1]) == [0, 2]
    assert flagged_rows(plan, home, {0: (5,), 1: (6,)}) == {0: (5,)}
    other = plan.model_copy(update={"federation": plan.federation.model_copy(update={"seed": 9})})
    assert obtain_rows(other, home, [1]) == [1]


def test_a_home_that_does_not_know_shares_all(plan: Plan, tmp_path: Path) -> None:
    """As before rows were noted."""
    assert flagged_rows(plan, Home(tmp_path), {1: (6,)}) == {1: (6,)}


def test_a_damaged_note_is_named(plan: Plan, tmp_path: Path) -> None:
    """With its path."""
    home = Home(tmp_path)
    home.rows.write_text("{")
    with pytest.raises(ConfigError, match=r"rows\.json"):
        flagged_rows(plan, home, {})
