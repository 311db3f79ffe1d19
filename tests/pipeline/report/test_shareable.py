"""What a partner shares: no task, no id, no structure, no small count, in no file of any kind."""

import csv
import json
import re
import zlib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from partners.settings import ModelKind
from pipeline.pages.files import write_private_page, write_shareable
from pipeline.pages.private_page import private_page
from pipeline.pages.shareable_page import shareable_page
from pipeline.report.disclosure import FEWEST, HIDDEN
from pipeline.report.metrics import METRICS, SIDES, SUMMARY_KIND, Side
from pipeline.report.parts import Sides
from pipeline.report.report import read_report
from pipeline.report.row_schema import AnyRow, TaskRow
from pipeline.report.schema import PrivacyFacts
from pipeline.report.shareable import OTHER_KINDS, shareable
from pipeline.report.shareable_schema import ShareableSummary, read_shared
from tests.support.federation import Federation
from tests.support.made_up_reports import made_up_report, report_of, scores, without

SIZES = st.integers(0, 40)


def integers(tree: object) -> list[int]:
    """All counts of a summary: whole numbers under keys that begin with n_, but for the plan's rounds and bins."""
    if isinstance(tree, dict):
        here = [
            v for k, v in tree.items() if k.startswith("n_") and isinstance(v, int) and k not in ("n_rounds", "n_bins")
        ]
        return here + [found for value in tree.values() for found in integers(value)]
    return [found for value in tree for found in integers(value)] if isinstance(tree, list) else []


def floats(tree: object) -> list[float]:
    """All floats of a summary."""
    if isinstance(tree, dict):
        return [found for value in tree.values() for found in floats(value)]
    if isinstance(tree, list):
        return [found for value in tree for found in floats(value)]
    return [tree] if isinstance(tree, float) else []


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.integers(0, 1000))
def test_a_summary_has_no_id_and_no_small_count(n_tasks: int, n_regressions: int, seed: int):
    """The schema for merging accepts the summary, for any number of tasks."""
    found = shareable(made_up_report(n_tasks, n_regressions, seed=seed)).to_json()
    text = json.dumps(found, allow_nan=False)
    assert "secret" not in text
    assert '"threshold"' not in text
    assert all(count >= FEWEST for count in integers(found))
    assert found["kind"] == SUMMARY_KIND
    ShareableSummary.model_validate_json(text)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_changes_are_told_as_means_of_five_or_more(n_tasks: int, seed: int):
    """Each number is the mean of five or more neighbouring sorted changes, as numpy computes it."""
    report = made_up_report(n_tasks, seed=seed)
    told = shareable(report).classification.changes
    for metric in METRICS:
        pairs = [(row.score("local", metric), row.score("federated", metric)) for row in report.tasks]
        changes = np.sort([federated - local for local, federated in pairs if None not in (local, federated)])
        parts = np.array_split(changes, min(10, changes.size // FEWEST)) if changes.size >= FEWEST else []
        assert all(part.size >= FEWEST for part in parts)
        assert told[metric] == pytest.approx([part.mean() for part in parts], abs=6e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(5, 40), st.integers(0, 1000))
def test_no_p_value_stands_beside_a_hidden_count(n_tasks: int, seed: int):
    """Over few assays, or with few tasks better or worse, a p-value would reveal the hidden counts."""
    told = shareable(made_up_report(n_tasks, seed=seed)).to_json()["summary"]
    for metric in METRICS:
        found = told[metric]
        if found is not None:
            is_small = HIDDEN in (found["n_assays"], found["n_better"], found["n_worse"])
            assert {found[name] is None for name in found if name.startswith("p_")} == {is_small}


def test_a_mean_of_few_tasks_is_not_told():
    """With four scored tasks there is no mean, no interval, no figure."""
    found = shareable(made_up_report(4, 4)).to_json()
    assert found["summary"]["average_precision"] is None
    assert found["summary"]["regression"]["r2"] is None
    assert found["summary"]["n_judged"] == "< 5"
    views = found["classification"]
    assert views["changes"] == {metric: [] for metric in METRICS}
    assert (views["sizes"], views["types"], views["domain"], views["learning"]) == ([], [], None, {})
    assert found["verdict"]["outcome"] == "unjudged"


def test_an_interval_over_few_assays_is_not_told():
    """Of eight tasks of four assays the mean is shared; the interval could end at one assay's scores."""
    found = shareable(made_up_report(8)).summary.average_precision
    assert found is not None
    assert found.interval_95 is None
    assert found.n_assays == "< 5"


def test_few_tasks_without_a_score_withhold_the_number_of_tasks():
    """The number of tasks without a score is small, so it must not be the difference of two shown numbers."""
    rows = made_up_report(20).tasks
    some = [row.model_copy(update={"local": scores(None)}) for row in rows[:2]] + rows[2:]
    told = shareable(report_of(some)).summary
    assert (told.n_tasks, told.n_judged) == ("withheld", 18)


def test_what_is_told_is_true():
    """Means, group means, shares and curves are those of the report, rounded."""
    report = made_up_report(60, 30)
    found = shareable(report).to_json()
    for metric in METRICS:
        for side in SIDES:
            mean = np.mean([row.score(side, metric) for row in report.tasks])
            assert found["summary"][metric][side] == pytest.approx(mean, abs=1e-4)
    change = np.sort([row.federated.roc_auc - row.local.roc_auc for row in report.tasks])
    tenths = [part.mean() for part in np.array_split(change, 10)]
    np.testing.assert_allclose(found["classification"]["changes"]["roc_auc"], tenths, atol=6e-5)
    assert sum(group["n_tasks"] for group in found["classification"]["sizes"]) == 60
    assert sum(group["n_tasks"] for group in found["classification"]["types"]) == 60
    assert found["classification"]["learning"]["loss"] == report.to_json()["learning"]["loss"]
    assert found["data"]["rejected"]["T1"] == {
        "out_of_range": round(180 / 8000, 3),
        "other reasons": round(20 / 8000, 3),
    }
    assert found["data"]["rejected"]["T2"] == {}
    assert sum(fold["labels"] for fold in found["data"]["folds"]) == pytest.approx(1, abs=3e-3)


# --------------------------------------------------------------------------------------------- network, kinds of model


def test_the_networks_means_are_told_too():
    """Rounded, with the counts of the main comparison."""
    report = made_up_report(60, 30)
    found = shareable(report)
    assert (found.network.n_tasks, found.network.n_judged) == (found.summary.n_tasks, found.summary.n_judged)
    for metric in METRICS:
        told, exact = found.network.comparison(metric), report.network.summary.comparison(metric)
        assert told is not None
        assert exact is not None
        assert (told.local, told.federated) == (round(exact.local, 4), round(exact.federated, 4))
    assert found.network.regression is not None
    assert found.network.regression.r2 is not None


def with_network(row: TaskRow, **sides: float) -> TaskRow:
    """The same task with other scores of the network."""
    return row.model_copy(update={"network": row.network.model_copy(update={k: scores(v) for k, v in sides.items()})})


def as_network(row: TaskRow) -> TaskRow:
    """The same task, whose chosen models are the network's."""
    return row.model_copy(update={"network": Sides(local=row.local, federated=row.federated)})


@pytest.mark.parametrize("n_others", [0, 1, 4, 5])
@pytest.mark.parametrize("side", SIDES)
def test_the_scores_of_few_tasks_cannot_be_found_by_subtraction(n_others: int, side: Side):
    """If almost all tasks keep the network, both means differ by the scores of the few others."""
    rows = [as_network(row) for row in made_up_report(30).tasks]
    some = [with_network(row, **{side: 0.5}) for row in rows[:n_others]] + rows[n_others:]
    told = shareable(report_of(some)).network
    assert (told.average_precision is None) == (told.roc_auc is None) == (n_others in (1, 4))


def test_the_networks_means_are_of_the_same_tasks_or_not_told():
    """One task that the network has no score for would be the difference of two counts and two means."""
    rows = list(made_up_report(30).tasks)
    missing = rows[0].model_copy(update={"network": Sides(local=scores(None), federated=scores(None))})
    assert shareable(report_of(rows)).network.average_precision is not None
    told = shareable(report_of([missing, *rows[1:]]))
    assert told.network.average_precision is None
    assert told.network.n_judged == told.summary.n_judged == 30


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(get_args(ModelKind)), max_size=40))
def test_kinds_of_model_are_told_as_shares_of_five_or_more(kinds: list[ModelKind]):
    """Kinds with fewer than five tasks are joined; shares are of the scored tasks and sum to one.

    Nothing tells whose head is averaged in: that many shared rows of the catalogue the partner holds.
    """
    made = made_up_report(len(kinds)).tasks
    rows = [row.model_copy(update={"kept": kind}) for row, kind in zip(made, kinds, strict=True)]
    told = shareable(report_of(rows)).classification.kept
    if len(kinds) < FEWEST:
        assert told == {}
        return
    assert sum(told.values()) == pytest.approx(1, abs=0.003)
    bare = [kind.removesuffix(" and head") for kind in kinds]
    for kind, share in told.items():
        assert not kind.endswith("head")
        assert share * len(kinds) > FEWEST - 0.1
        assert kind == OTHER_KINDS or share == round(bare.count(kind) / len(kinds), 3)


def test_shares_do_not_reveal_how_many_tasks_are_hidden():
    """Where the number of scored tasks is told too low, no shares of the true number are told."""
    rows = list(made_up_report(0, 30).regression_tasks or ())
    assert shareable(report_of([], rows)).regression is not None
    some = [without(row, "spearman") for row in rows[:2]] + rows[2:]
    views = shareable(report_of([], some)).regression
    assert views is not None
    assert (views.strongest, views.kept) == ({}, {})


def test_the_plans_bound_of_privacy_is_told_and_what_was_spent_is_not():
    """Spent epsilon would tell the number of training compounds; delta, which is small, is not rounded."""
    facts = PrivacyFacts(epsilon=8.0, delta=1e-7, spent=3.14159)
    report = made_up_report(9).model_copy(update={"privacy": facts})
    summary = shareable(report)
    assert summary.privacy.to_json() == {"epsilon": 8.0, "delta": 1e-7}
    assert "3.14" not in json.dumps(summary.to_json())
    assert "privacy" not in shareable(made_up_report(9)).to_json()
    private, shared = (page.sections[-1].text for page in (private_page(report), shareable_page(summary)))
    assert any("epsilon 8 at delta 1e-07" in sentence and "3.14" in sentence for sentence in private)
    assert any("epsilon 8 at delta 1e-07" in sentence and "3.14" not in sentence for sentence in shared)


def test_reports_that_differ_in_ids_alone_share_the_same():
    """Nothing of an id is in a summary, not even in its order."""
    report = made_up_report(30, 20)

    def renamed(row: AnyRow) -> Any:  # noqa: ANN401 -- of its own kind
        number = int(row.input_assay_id.rsplit("-")[-1])
        return row.model_copy(update={"input_assay_id": f"z{1000 - number}"})

    other = report_of([renamed(row) for row in report.tasks], [renamed(row) for row in report.regression_tasks or ()])
    assert shareable(report) == shareable(other)


# ------------------------------------------------------------------------------------------------ files of a real run


@pytest.fixture(scope="module")
def shared(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Federation, Path]:
    """The folder that P01 of a finished federation may share."""
    folder = tmp_path_factory.mktemp("shared")
    write_shareable(folder, read_report(finished.home("P01")))
    return finished, folder


def private_words(federation: Federation, name: str) -> set[str]:
    """Every id of T0, T1 and T2 and every structure of a partner, as written and as prepared."""
    words: set[str] = set()
    for table, columns in {"T0": [0], "T1": [0, 1], "T2": [0, 1]}.items():
        with (federation.folder / name / f"{table}.csv").open(newline="") as file:
            for row in list(csv.reader(file))[1:]:
                words |= {row[column] for column in columns}
    return words


def all_text_of(path: Path) -> str:
    """All text in a file, also in an image's metadata and pixels, and in embedded figures."""
    content = path.read_bytes()
    if path.suffix == ".png":
        with Image.open(path) as image:
            return f"{image.info} {image.text}" + content.decode("latin-1")  # type: ignore[attr-defined]
    text = content.decode()
    for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", text):
        import base64  # noqa: PLC0415

        embedded = base64.b64decode(found)
        text += embedded.decode("latin-1") + _inflated(embedded)
    return text


def _inflated(content: bytes) -> str:
    try:
        return zlib.decompress(content).decode("latin-1")
    except zlib.error:
        return ""


def test_no_id_and_no_structure_is_in_any_shared_file(shared: tuple[Federation, Path]):
    """HTML, JSON, SVG, PNG, their names and metadata: no word of T0, T1 or T2 except very short ones."""
    federation, folder = shared
    words = private_words(federation, "P01")
    assert {"P01-A1", "P01-C0001"} & words
    assert len(words) > 200
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".json", ".png", ".svg"}
    for path in files:
        text = all_text_of(path) + str(path.relative_to(folder))
        assert not {word for word in words if word in text}, path.name


def test_that_search_would_find_an_id(finished: Federation, tmp_path: Path):
    """The private page of the same report fails it, and so does an SVG with an id as a label."""
    federation = finished
    report = read_report(federation.home("P01"))
    copy = type(federation.home("P01"))(tmp_path)
    write_private_page(copy, report)
    words = private_words(federation, "P01")
    text = all_text_of(copy.report / "report.html")
    assert {word for word in words if word in text}


@pytest.mark.slow
def test_made_up_pages_hide_their_ids(tmp_path: Path):
    """With enough tasks for every figure, regression too, none of the shared files says `secret`."""
    write_shareable(tmp_path, made_up_report(60, 30))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".svg"]) >= 12
    assert not [path for path in files if "secret" in all_text_of(path)]


def test_a_shared_folder_is_what_merging_takes(shared: tuple[Federation, Path]):
    """summary.json reads back as it was written, and equals the one in the report's folder."""
    federation, folder = shared
    assert read_shared(folder / "summary.json").partner == "P01"
    assert (folder / "summary.json").read_bytes() == (federation.home("P01").report / "summary.json").read_bytes()


def test_sharing_twice_writes_the_same_bytes(shared: tuple[Federation, Path], tmp_path: Path):
    """Figures and pages included."""
    federation, folder = shared
    write_shareable(tmp_path, read_report(federation.home("P01")))
    for path in sorted(folder.rglob("*.*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes(), path.name
