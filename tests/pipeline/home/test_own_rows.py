"""Rows of the catalogue that a partner flagged stay those that it shares, whatever tables it has later."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.home.catalogue_counts import keep_counts
from pipeline.home.counted_flags import flagged_under
from pipeline.home.own_rows import flagged_rows, obtain_rows
from pipeline.home.paths import Home
from pipeline.plan.catalogue import Catalogue, CatalogueTask
from pipeline.plan.plan import Plan, read_plan
from secure.messages.message_name import MessageName
from tests.support.federation import Federation

TASKS = tuple(CatalogueTask(id=name, threshold=6.0) for name in "ABC")


@pytest.fixture
def plan(enrolled: Federation) -> Plan:
    """A plan with three rows."""
    return read_plan(enrolled.plan_file).model_copy(update={"catalogue": Catalogue(tasks=TASKS)})


def test_rows_are_flagged_once(plan: Plan, tmp_path: Path) -> None:
    """Tables that change before the count ends, or later, change nothing."""
    home = Home(tmp_path)
    assert obtain_rows(plan, home, [2, 0]) == [0, 2]
    assert obtain_rows(plan, home, [1]) == [0, 2]
    assert flagged_rows(plan, home, {0: (5,), 1: (6,)}) == {0: (5,)}


@pytest.fixture
def other(plan: Plan) -> Plan:
    """Another plan of the same rows."""
    return plan.model_copy(update={"federation": plan.federation.model_copy(update={"seed": 9})})


def test_a_second_count_has_the_flags_of_the_first(plan: Plan, other: Plan, tmp_path: Path) -> None:
    """The difference of both would be what a partner's tables gained; flags that nobody counted are made anew."""
    home = Home(tmp_path)
    obtain_rows(plan, home, [2, 0])
    assert obtain_rows(other, home, [1]) == [1]
    keep_counts(other, home, [3, 3, 3], flagged_under(other, home))
    assert obtain_rows(plan, home, [2, 0]) == [1]
    keep_counts(plan, home, [3, 3, 3], flagged_under(plan, home))
    assert flagged_rows(plan, home, {0: (5,), 1: (6,)}) == {1: (6,)}


def test_counted_flags_that_are_lost_or_others_are_refused(plan: Plan, other: Plan, tmp_path: Path) -> None:
    """Neither are all rows shared, nor are flags made again."""
    home = Home(tmp_path)
    obtain_rows(plan, home, [2])
    keep_counts(plan, home, [3, 3, 3], flagged_under(plan, home))
    kept = home.rows.read_text()
    for change in (lambda: home.rows.write_text(kept.replace(plan.digest, other.digest)), home.rows.unlink):
        change()
        with pytest.raises(ConfigError, match=r"rows\.json: .*counted"):
            flagged_rows(plan, home, {1: (6,)})
        with pytest.raises(ConfigError, match=r"rows\.json: .*counted"):
            obtain_rows(other, home, [1])


def test_flags_that_an_update_holds_are_not_made_again(plan: Plan, other: Plan, tmp_path: Path) -> None:
    """Back under the first plan, whose update is sealed, after a revision that had its own flags."""
    home = Home(tmp_path)
    obtain_rows(plan, home, [2])
    update = home.outbox(MessageName("update", 0, 1, "P01").manifest)
    update.parent.mkdir(parents=True)
    update.write_text("{}")
    later = Home(tmp_path, "revision-02")
    assert obtain_rows(other, later, [1]) == [1]
    with pytest.raises(ConfigError, match="this plan's update"):
        obtain_rows(plan, home, [2])


def test_a_home_that_does_not_know_shares_all(plan: Plan, tmp_path: Path) -> None:
    """As before rows were noted."""
    assert flagged_rows(plan, Home(tmp_path), {1: (6,)}) == {1: (6,)}


def test_a_damaged_note_is_named(plan: Plan, tmp_path: Path) -> None:
    """With its path."""
    home = Home(tmp_path)
    home.rows.write_text("{")
    with pytest.raises(ConfigError, match=r"rows\.json"):
        flagged_rows(plan, home, {})
