"""The model card: what a user of the registered model has to know, in the room that MLflow has."""

import re

import pytest

from pipeline.model.description import Description
from pipeline.report.report import read_report
from pipeline.tracking.model_card import _cell, model_card
from tests.support.federation import Federation
from tests.support.made_up_reports import made_up_report

LIMIT = 5000


def test_it_has_scores_domain_tasks_and_how_to_call_it(finished: Federation):
    """And, before all, who may have it."""
    home = finished.home("P01")
    report, description = read_report(home), Description.read(home.model)
    card = model_card(home.model, report)
    assert card.short == card.whole
    assert card.whole.startswith("**Private to P01**")
    for part in (
        report.verdict.sentence,
        f"{report.summary.average_precision.federated:.3f}",  # type: ignore[union-attr]
        'load_model("models:/small-abababab-P01@kept")',
        "hocket serve",
        f"{description.least_similarity:.3f}",
        "| rounds | 2 |",
        "ECFP, radius 3, 512 bits",
    ):
        assert part in card.whole
    rows = {line.split(" | ")[0] for line in card.whole.splitlines() if line.startswith("| P01-A")}
    assert rows == {f"| {task.name}" for task in description.tasks if not task.is_auxiliary}


def test_without_a_report_it_has_no_scores(finished: Federation):
    """A damaged report is no reason to have no card."""
    card = model_card(finished.home("P01").model, None)
    assert "Scores on the test fold" not in card.whole
    assert "## Tasks" in card.whole


@pytest.mark.parametrize("n_copies", [1, 40, 400])
def test_the_short_one_fits_and_counts_the_rest(done: Federation, n_copies: int):
    """As many tasks as there is room for; shown and left out are all."""
    folder = done.home("P01").model
    description = Description.read(folder)
    tasks = tuple(
        task.model_copy(update={"input_assay_id": f"{task.input_assay_id}-{i}"})
        for i in range(n_copies)
        for task in description.tasks
    )
    description.model_copy(update={"tasks": tasks}).write(folder)
    card = model_card(folder, made_up_report(10))
    n_whole, n_short = (len(re.findall(r"(?m)^\| P01-A", text)) for text in (card.whole, card.short))
    assert n_whole == sum(not task.is_auxiliary for task in tasks)
    assert len(card.short) <= LIMIT
    more = re.search(r"and (\d+) more", card.short)
    assert n_short + (int(more[1]) if more else 0) == n_whole
    assert (n_copies > 1) == bool(more)
    if more:
        assert len(card.short) > LIMIT - 200


def test_the_local_models_are_called_so(done: Federation):
    """Where the gate keeps them, kinds are those of the local models."""
    folder = done.home("P01").model
    description = Description.read(folder)
    description.model_copy(update={"kept": "local"}).write(folder)
    card = model_card(folder, None).whole
    assert "did not keep" in card
    assert "on the trunk" not in card


@pytest.mark.parametrize("name", ["a|b", "[x](http://evil.example)", "a\nb", "<script>", "*a* `b`"])
def test_an_assay_s_name_is_only_text(name: str):
    """Whatever it is, it stays in its cell."""
    assert not re.search(r"(?<!\\)[|\[\]<>*`]|\n", _cell(name))
