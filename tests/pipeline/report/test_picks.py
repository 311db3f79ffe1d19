"""Hits among picked compounds, and the worth in measurements, of reports: numbers, sentences, and what is shared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pages.consortium_page import consortium_page
from pipeline.pages.tables import picks_table
from pipeline.report.consortium import merge
from pipeline.report.metrics import SIDES
from pipeline.report.picks import FEWEST_COMPOUNDS, PERCENTS, picks_of, picks_sentence, pooled_picks
from pipeline.report.row_schema import TaskRow
from pipeline.report.schema import Picks, SharedWorth
from pipeline.report.shareable import shareable
from pipeline.report.worth import shared_worth, shown_worth, worth_sentence
from tests.support.made_up_reports import made_up_report, report_of, scores, task_row


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 30), st.integers(0, 9))
def test_picks_are_means_over_the_scored_tasks(n_tasks: int, seed: int):
    """Of both models and at random, by numpy; the interval contains the change, and needs five assays.

    The best-ranked 1 % are picked from tasks with 100 test compounds or more: of fewer they would be one compound.
    """
    report = made_up_report(n_tasks, seed=seed)
    large = [row for row in report.tasks if row.n_active + row.n_inactive >= 100]
    assert [each.percent for each in report.picks] == ([10] if report.tasks else []) + ([1] if large else [])
    for each in report.picks:
        name, picked = f"hit_rate_{each.percent}", large if each.percent == 1 else report.tasks
        assert each.n_tasks == len(picked)
        local, federated = (np.mean([row.score(side, name) for row in picked]) for side in SIDES)
        assert (each.local, each.federated) == pytest.approx((local, federated))
        assert each.change == pytest.approx(federated - local)
        assert each.at_random == pytest.approx(31 / 78)
        assert (each.interval_95 is None) == (each.n_assays < 5)
        assert each.interval_95 is None or each.interval_95[0] <= each.change <= each.interval_95[1]


def test_tasks_without_a_score_are_not_picked_from():
    """They count in no mean."""
    rows = made_up_report(12).tasks
    unscored = [row.model_copy(update={"local": scores(None)}) for row in rows[:4]]
    assert picks_of([*unscored, *rows[4:]], 1) == picks_of(rows[4:], 1)
    assert picks_of(unscored, 1) == []
    assert picks_sentence([]) == ""


def test_the_sentence_has_whole_numbers_of_picks():
    """Hits in 100 and in 10 picks, with either model and at random."""
    report = made_up_report(60)
    sentence = picks_sentence(report.picks)
    for each, n in zip(report.picks, (100, 10), strict=True):
        for rate in (each.local, each.federated, each.at_random):
            assert f"{round(n * rate, 1):g} " in sentence
    assert "next 100 picks" in sentence
    assert "first 10:" in sentence
    assert "mean over 60 tasks" in sentence
    assert f"mean over the 30 with {FEWEST_COMPOUNDS[1]} test compounds or more" in sentence


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 40))
def test_shared_picks_are_of_five_assays_and_many_compounds(n_tasks: int):
    """The best-ranked 1 %, often one compound a task, and small numbers of assays stay private; the rest is rounded."""
    report = made_up_report(n_tasks)
    told = shareable(report).picks
    assert [each.percent for each in told] == [each.percent for each in report.picks if each.n_assays >= 5][:1]
    for each in told:
        assert each.percent == PERCENTS[0]
        for value in (each.local, each.federated, each.change, *(each.interval_95 or ())):
            assert value == round(value, 2)
        assert each.at_random == round(31 / 78, 4)


@pytest.mark.parametrize(
    ("n_tasks", "n_compounds", "hits", "is_told"),
    [
        (25, 20, (20, 30), True),
        (24, 20, (20, 30), False),  # 48 picks
        (5, 20, (5, 5), False),  # 10 picks
        (25, 20, (5, 45), True),
        (25, 20, (4, 45), False),
        (25, 20, (5, 46), False),  # four misses
        (5, 91, (20, 30), True),  # 10 picks a task: 10 % rounded up
        (5, 90, (20, 30), False),
    ],
)
def test_shared_picks_tell_no_small_count(n_tasks: int, n_compounds: int, hits: tuple[int, int], is_told: bool):  # noqa: FBT001 -- a case
    """At least 50 picks over all tasks, and five hits and five misses of either model."""
    n_picks = n_tasks * -(-n_compounds // 10)
    rates = [n / n_picks for n in hits]
    rows = [task_row(i, *rates, n_active=n_compounds // 2, n_inactive=-(-n_compounds // 2)) for i in range(n_tasks)]
    assert [each.percent for each in shareable(report_of(rows)).picks] == ([10] if is_told else [])


@pytest.mark.parametrize("n_inactive", [199, 1999])
def test_rare_actives_have_a_shared_enrichment(n_inactive: int):
    """The rate at random keeps the digits that make the shared enrichment the private one."""
    rows = [task_row(i, 0.06, 0.09, n_active=1, n_inactive=n_inactive) for i in range(20)]
    report = report_of(rows)
    private, shared = (picks_table({"": picks[:1]}, "").rows[0] for picks in (report.picks, shareable(report).picks))
    assert private[-2:] == shared[-2:] == [f"{rate * (1 + n_inactive):.2f}" for rate in (0.06, 0.09)]


def test_a_shared_rate_at_random_of_none_has_a_dash_as_enrichment():
    """Of one active in 30,000 compounds no shared digit is left."""
    none = Picks(
        percent=10, n_tasks=9, n_assays=9, at_random=0.0, local=0.1, federated=0.2, change=0.1, interval_95=None
    )
    assert picks_table({"P01": [none]}, "partner").rows[0][-2:] == ["–", "–"]  # noqa: RUF001 -- an en dash


def test_a_consortium_without_shared_hits_still_has_the_worth():
    """The page names the partners whose hits are not shown."""
    summary = shareable(made_up_report(20)).model_copy(update={"picks": []})
    assert summary.worth is not None
    (section,) = (each for each in consortium_page(merge([summary])).sections if each.title.startswith("Hits and"))
    assert [table.header[1] for table in section.tables] == ["more measurements"]
    assert section.text[-1] == "Hits not shown, for too few tasks, assays, hits or misses: P01."


def test_pooled_picks_weigh_by_tasks():
    """One partner's own pooled are unchanged; of two they are means over all tasks."""
    few, many = (shareable(made_up_report(n, seed=n)).picks[0] for n in (20, 60))
    alone, both = pooled_picks([few]), pooled_picks([few, many])
    assert alone is not None
    assert both is not None
    assert alone.local == pytest.approx(few.local)
    assert alone.interval_95 is not None
    assert few.interval_95 is not None
    assert np.ptp(alone.interval_95) == pytest.approx(np.ptp(few.interval_95))
    assert both.federated == pytest.approx((20 * few.federated + 60 * many.federated) / 80)
    assert both.n_tasks == 80
    assert pooled_picks([]) is None


def half_fitted(row: TaskRow, half: float | None, federated: float = 0.52) -> TaskRow:
    """A task whose model gains .04 by the second half of the measurements, and .02 by federation."""
    return row.model_copy(update={"local": scores(0.5), "federated": scores(federated), "half_data": half})


def test_the_worth_is_of_the_tasks_with_all_three_scores():
    """Half of the made-up curve's rise is half a doubling; without the models fitted on half there is no estimate."""
    made = made_up_report(20).tasks
    rows = [half_fitted(row, 0.46) for row in made]
    report = report_of([*rows[:18], *(half_fitted(row, None) for row in made[18:])])
    assert report.worth is not None
    assert report.worth.share == pytest.approx(2**0.5 - 1)
    assert (report.worth.n_tasks, report.worth.n_assays) == (18, 9)
    assert "41 %" in worth_sentence(report.worth)
    assert "mean over 18 tasks" in worth_sentence(report.worth)
    told = shareable(report).worth
    assert told is not None
    assert told.to_json() == {"share": 0.41, "low": 0.41, "high": 0.41}
    assert report_of([half_fitted(row, None) for row in made]).worth is None
    assert report_of(rows[:8]).worth is None  # four assays
    assert worth_sentence(None) == ""


def test_a_harmed_partner_reads_of_no_worth():
    """Not of 0 % more measurements that would bring the change."""
    report = report_of([half_fitted(row, 0.46, federated=0.48) for row in made_up_report(20).tasks])
    for worth in (report.worth, shareable(report).worth):
        assert worth is not None
        assert worth_sentence(worth).startswith(
            "The change is worth no further measurements of the partner's own (95 %"
        )
        assert "would bring" not in worth_sentence(worth)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0 %"), (0.001, "1 %"), (0.004, "1 %"), (0.37, "37 %"), (0.996, "99 %"), (1.0, "over 100 %")],
)
def test_a_worth_is_shown_in_whole_percents(share: float, shown: str):
    """The most that is estimated is told as more than that."""
    assert shown_worth(share) == shown


@given(st.floats(0, 1))
def test_a_worth_is_shown_the_same_when_shared(share: float):
    """Rounded to whole percents before or after."""
    shared = shared_worth(SharedWorth(share=share, low=0.0, high=1.0))
    assert shared is not None
    assert shown_worth(shared.share) == shown_worth(share)
