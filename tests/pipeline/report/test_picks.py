"""Hits among picked compounds, and the worth in measurements, of reports: numbers, sentences, and what is shared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.report.metrics import SIDES
from pipeline.report.picks import PERCENTS, picks_of, picks_sentence, pooled_picks
from pipeline.report.schema import TaskRow
from pipeline.report.shareable import shareable
from pipeline.report.worth import shown_worth, worth_sentence
from tests.support.made_up_reports import made_up_report, report_of, scores


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 30), st.integers(0, 9))
def test_picks_are_means_over_the_scored_tasks(n_tasks: int, seed: int):
    """Of both models and at random, by numpy; the interval contains the change, and needs five assays."""
    report = made_up_report(n_tasks, seed=seed)
    assert [each.percent for each in report.picks] == (list(PERCENTS) if n_tasks else [])
    for each in report.picks:
        name = f"hit_rate_{each.percent}"
        local, federated = (np.mean([row.score(side, name) for row in report.tasks]) for side in SIDES)
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
    assert "first 10" in sentence


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 40))
def test_shared_picks_are_of_five_assays_and_many_compounds(n_tasks: int):
    """The best-ranked 1 %, often one compound a task, and small numbers of assays stay private; the rest is rounded."""
    report = made_up_report(n_tasks)
    told = shareable(report).picks
    assert [each.percent for each in told] == [each.percent for each in report.picks if each.n_assays >= 5][:1]
    for each in told:
        assert each.percent == PERCENTS[0]
        for value in (each.local, each.federated, each.at_random, each.change, *(each.interval_95 or ())):
            assert value == round(value, 2)


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


def half_fitted(row: TaskRow, half: float | None) -> TaskRow:
    """A task whose model gains .04 by the second half of the measurements, and .02 by federation."""
    return row.model_copy(update={"local": scores(0.5), "federated": scores(0.52), "half_data": half})


def test_the_worth_is_of_the_tasks_with_all_three_scores():
    """Half of the made-up curve's rise is half a doubling; without the models fitted on half there is no estimate."""
    made = made_up_report(20).tasks
    rows = [half_fitted(row, 0.46) for row in made]
    report = report_of([*rows[:18], *(half_fitted(row, None) for row in made[18:])])
    assert report.worth is not None
    assert report.worth.share == pytest.approx(2**0.5 - 1)
    assert (report.worth.n_tasks, report.worth.n_assays) == (18, 9)
    assert "41 %" in worth_sentence(report.worth)
    told = shareable(report).worth
    assert told is not None
    assert told.to_json() == {"share": 0.41, "low": 0.41, "high": 0.41}
    assert report_of([half_fitted(row, None) for row in made]).worth is None
    assert report_of(rows[:8]).worth is None  # four assays
    assert worth_sentence(None) == ""


@pytest.mark.parametrize(("share", "shown"), [(0.0, "0 %"), (0.001, "1 %"), (0.37, "37 %"), (1.0, "over 100 %")])
def test_a_worth_is_shown_in_whole_percents(share: float, shown: str):
    """The most that is estimated is told as more than that."""
    assert shown_worth(share) == shown
