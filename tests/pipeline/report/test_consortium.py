"""Summaries of several partners on one page: what is taken, what is refused, and what comes out."""

import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as whenever
from hypothesis import settings
from hypothesis import strategies as st

from pipeline.errors import DamagedReport, ExitCode, MixedFederations, NotShareable, PipelineError
from pipeline.pages.consortium_files import merge_summaries
from pipeline.pages.consortium_page import consortium_page
from pipeline.report.audit.shared import SharedAudit, SharedAuditView
from pipeline.report.consortium import comparison_of, merge, pooled_network_sentence
from pipeline.report.disclosure import FEWEST, spaced_counts
from pipeline.report.metrics import METRICS, REGRESSION, SIDES
from pipeline.report.numbers import NONE
from pipeline.report.schema import PrivacyBound
from pipeline.report.shareable import shareable
from pipeline.report.shareable_schema import ShareableSummary
from pipeline.report.terminal_table import print_tables
from tests.support.cli_runner import python_process
from tests.support.made_up_reports import made_up_report, report_of, without

NAMES = ("P01", "P02", "P03")


def summary(name: str, n_tasks: int = 60, n_regressions: int = 0, gain: float = 0.03) -> ShareableSummary:
    """A partner's shareable summary."""
    seed = int(name[1:]) if name[1:].isdigit() else 7
    return shareable(made_up_report(n_tasks, n_regressions, seed=seed, gain=gain, partner=name))


def written(folder: Path, *summaries: ShareableSummary | dict[str, Any]) -> list[Path]:
    """Their files."""
    files = [folder / f"{i}.json" for i in range(len(summaries))]
    for file, found in zip(files, summaries, strict=True):
        file.write_text(json.dumps(found if isinstance(found, dict) else found.to_json()))
    return files


def test_merging_writes_one_page(tmp_path: Path):
    """consortium.html, its figures and consortium.json with every partner's summary as it was given."""
    given = [summary(name, 60, 30) for name in NAMES]
    merged = merge_summaries(written(tmp_path, *given), tmp_path / "out")
    assert merged.partners == given
    assert json.loads((tmp_path / "out/consortium.json").read_text()) == merged.to_json()
    page = (tmp_path / "out/consortium.html").read_text()
    assert all(name in page for name in NAMES)
    assert "secret" not in page
    assert {path.stem for path in (tmp_path / "out/figures").glob("*.svg")} == {
        *("partners", "changes", "learning", "domain"),
        *("regression_partners", "regression_changes", "regression_learning", "regression_domain"),
    }


def test_the_order_of_the_files_does_not_matter():
    """Partners are sorted by name."""
    given = [summary(name) for name in NAMES]
    assert merge(given) == merge(given[::-1])


def test_pooled_means_are_those_over_all_tasks():
    """Partners weigh by their number of scored tasks; the interval is that of independent normal means."""
    given = [summary(name, n) for name, n in zip(NAMES, (60, 30, 90), strict=True)]
    pooled = merge(given).pooled["roc_auc"]
    assert pooled is not None
    assert pooled.interval_95 is not None
    reports = [made_up_report(n, seed=i) for i, n in zip((1, 2, 3), (60, 30, 90), strict=True)]
    every = [row for report in reports for row in report.tasks]
    assert pooled.local == pytest.approx(np.mean([row.local.roc_auc for row in every]), abs=1e-4)
    assert pooled.federated == pytest.approx(np.mean([row.federated.roc_auc for row in every]), abs=1e-4)
    halves = [np.ptp(found.to_json()["summary"]["roc_auc"]["interval_95"]) / 2 for found in given]
    reach = np.sqrt(sum((n / 180 * half) ** 2 for n, half in zip((60, 30, 90), halves, strict=True)))
    assert np.ptp(pooled.interval_95) / 2 == pytest.approx(reach)
    assert (pooled.n_tasks, pooled.n_partners) == (180, 3)


def test_the_network_is_pooled_apart():
    """Its means over all partners, and the second sentence, which a partner without its own leaves out."""
    given = [summary(name, 60, 30) for name in NAMES]
    merged = merge(given)
    pooled = merged.network["average_precision"]
    assert pooled is not None
    told = [found.network.average_precision for found in given]
    assert pooled.change == pytest.approx(np.mean([each.change for each in told if each]))
    main = merged.pooled["average_precision"]
    assert main is not None
    assert pooled.change != main.change
    assert f"{main.change:+.3f}" in merged.verdict.sentence
    assert "strongest local models" in merged.verdict.sentence
    assert f"{pooled.change:+.3f}" in pooled_network_sentence(merged)
    assert pooled_network_sentence(merge([summary(name, 8) for name in NAMES])) == ""


def canaries_of(epsilon: float) -> SharedAudit:
    """What a partner with canaries shares of its audit."""
    view = SharedAuditView(
        name="canaries", attack="RMIA", auc=0.7, auc_interval=(0.6, 0.8), at=[], epsilon_at_least=epsilon
    )
    return SharedAudit(views=[view], n_warnings=0)


def test_epsilon_is_shown_as_each_summary_states_it():
    """A bound from above by the plan, one from below by canaries; without both there is no such section."""
    bound = PrivacyBound(epsilon=8.0, delta=1e-7)
    states = ({"privacy": bound, "audit": canaries_of(0.25)}, {"privacy": bound}, {"audit": canaries_of(0.0)})
    given = [summary(name).model_copy(update=state) for name, state in zip(NAMES, states, strict=True)]
    assert epsilons_shown(given) == [
        ["P01", "8", "1e-07", "0.25"],
        ["P02", "8", "1e-07", NONE],
        ["P03", "no bound", NONE, "0.00"],
    ]
    assert epsilons_shown([summary(name) for name in NAMES]) == []


@pytest.mark.parametrize(("proven", "n_texts"), [(0.25, 1), (8.5, 2)])
def test_more_proven_than_the_bound_allows_is_said(proven: float, n_texts: int):
    """One of the two is wrong then, or chance."""
    state = {"privacy": PrivacyBound(epsilon=8.0, delta=1e-7), "audit": canaries_of(proven)}
    page = consortium_page(merge([summary("P01").model_copy(update=state), summary("P02"), summary("P03")]))
    (section,) = (one for one in page.sections if any(table.caption == "Epsilon" for table in one.tables))
    assert len(section.text) == n_texts
    assert ("P01" in section.text[-1]) == (n_texts == 2)


def epsilons_shown(given: list[ShareableSummary]) -> list[list[str]]:
    """Rows of the consortium page's table of epsilon; none without such a table."""
    tables = [table for section in consortium_page(merge(given)).sections for table in section.tables]
    return [list(row) for table in tables if table.caption == "Epsilon" for row in table.rows]


def partial_summary(name: str, n_regressions: int, missing: dict[str, int]) -> tuple[ShareableSummary, list[Any]]:
    """A partner's summary in which some tasks have no score by some metrics; and its rows."""
    rows = list(made_up_report(0, n_regressions, seed=int(name[1:])).regression_tasks or ())
    for metric, n in missing.items():
        rows[:n] = [without(row, metric) for row in rows[:n]]
    return shareable(report_of([], rows, partner=name)), rows


@whenever(st.lists(st.tuples(st.integers(5, 40), st.integers(0, 15), st.integers(0, 15)), min_size=1, max_size=3))
@settings(max_examples=20, deadline=None)
def test_each_metric_weighs_by_its_scored_tasks(sizes: list[tuple[int, int, int]]):
    """A partner with fewer scored tasks in some metrics weighs less in these alone, within the four that are hidden."""
    given, rows = [], list[list[Any]]()
    for name, (n, *missing) in zip(NAMES, sizes, strict=False):
        found, of_partner = partial_summary(name, n, dict(zip(("spearman", "rmse"), missing, strict=True)))
        given.append(found)
        rows.append(of_partner)
    merged = merge(given)
    for metric in ("r2", "spearman"):
        told = [comparison_of(found.summary, REGRESSION, metric) for found in given]
        judged = [
            [row for row in of_partner if None not in (row.score("local", metric), row.score("federated", metric))]
            for of_partner in rows
        ]
        for table, of_metric in zip(told, judged, strict=True):
            assert table is None or len(of_metric) - FEWEST < table.n_judged <= len(of_metric)
        if all(table and table.n_judged == len(of_metric) for table, of_metric in zip(told, judged, strict=True)):
            every = [row for of_metric in judged for row in of_metric]
            pooled = merged.pooled[metric]
            assert pooled is not None
            for side in SIDES:
                expected = np.mean([row.score(side, metric) for row in every])
                assert getattr(pooled, side) == pytest.approx(expected, abs=1e-4)
            assert pooled.n_tasks == len(every)


@whenever(st.lists(st.integers(5, 60), min_size=1, max_size=5))
def test_no_two_told_counts_differ_by_a_small_one(counts: list[int]):
    """Each is at most four below the true count and never above it; counts five or more apart are unchanged."""
    told = spaced_counts(dict(enumerate(counts)))
    values = sorted(set(told.values()))
    assert all(later - earlier >= FEWEST for earlier, later in itertools.pairwise(values))
    assert all(0 <= count - told[i] < FEWEST for i, count in enumerate(counts))
    truth = sorted(set(counts))
    if all(later - earlier >= FEWEST for earlier, later in itertools.pairwise(truth)):
        assert values == truth


def test_one_partners_pooled_numbers_are_its_own():
    """Means, and the interval around the change."""
    (one,) = (given := [summary("P01", 60, 30)])
    pooled, found = merge(given).to_json()["pooled"], one.to_json()
    for part, metrics in ((found["summary"], METRICS), (found["summary"]["regression"], ("r2", "spearman"))):
        for metric in metrics:
            for name in ("local", "federated", "change", "riptop"):
                assert pooled[metric][name] == pytest.approx(part[metric][name])
            assert np.ptp(pooled[metric]["interval_95"]) == pytest.approx(np.ptp(part[metric]["interval_95"]))
            assert np.mean(pooled[metric]["interval_95"]) == pytest.approx(part[metric]["change"])


@pytest.mark.parametrize("metric", ["rmse", "censored_rmse"])
def test_errors_of_different_units_are_never_averaged(tmp_path: Path, metric: str):
    """Another unit at one partner does not change the pooled numbers; only RIPtoP has a mean."""
    before = merge([summary(name, 60, 30) for name in NAMES]).to_json()["pooled"][metric]
    given = [summary(name, 60, 30).to_json() for name in NAMES]
    told = given[1]["summary"]["regression"][metric]
    for name in ("local", "federated", "change"):
        told[name] *= 1000
    told["interval_95"] = [1000 * bound for bound in told["interval_95"]]
    merged = merge_summaries(written(tmp_path, *given), tmp_path / "out")
    assert merged.to_json()["pooled"][metric] == before
    assert {name: before[name] for name in ("local", "federated", "change", "interval_95")} == dict.fromkeys(
        ("local", "federated", "change", "interval_95")
    )
    shares = [found["summary"]["regression"][metric]["riptop"] for found in given]
    assert before["riptop"] == pytest.approx(np.mean(shares))  # as many tasks each
    assert "only RIPtoP" in (tmp_path / "out/consortium.html").read_text()


def test_a_partner_without_a_mean_is_listed_and_left_out(tmp_path: Path):
    """Its row has dashes, the mean is over the others; an interval is pooled only if all partners share theirs."""
    given = [summary("P01"), summary("P02", 3), summary("P03", 8)]
    merged = merge_summaries(written(tmp_path, *given), tmp_path / "out")
    pooled = merged.pooled["roc_auc"]
    assert pooled is not None
    assert (pooled.n_tasks, pooled.interval_95) == (68, None)
    assert "P02 and P03." in merged.verdict.sentence
    assert "P02" in (tmp_path / "out/consortium.html").read_text()


def test_harm_to_one_partner_decides_the_consortiums_outcome():
    """Harm to one partner stays visible beside a positive mean."""
    verdict = merge([summary("P01"), summary("P02"), summary("P09", gain=-0.1)]).verdict
    assert verdict.outcome == "worse"
    assert "harmed P09" in verdict.sentence
    assert re.search(r"helped P01 \(p [^)]*\) and P02 \(p [^)]*\)\.", verdict.sentence)


Change = Callable[[dict[str, Any]], object]


def _put(*keys: str, value: Any) -> Change:  # noqa: ANN401
    def change(found: dict[str, Any]) -> None:
        for key in keys[:-1]:
            found = found[key]
        found[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_put("federation", value="other"), MixedFederations, "federation is 'other'"),
        (_put("plan", value="00" * 32), MixedFederations, "plan is"),
        (_put("trunk", value="00" * 32), MixedFederations, "trunk is"),
        (_put("partner", value="P01"), MixedFederations, "summaries are of P01"),
        (_put("kind", value="something"), NotShareable, "kind 'something'"),
        (_put("format", value=1), NotShareable, "of format 1, expected"),
        (_put("tasks", value=[]), NotShareable, "private report"),
        (_put("extra", value=1), DamagedReport, "extra"),
        (_put("partner", value="[/red]P02"), DamagedReport, "partner"),
        (_put("partner", value="P" * 33), DamagedReport, "partner"),
        (_put("partner", value="\x1b[31mP02"), DamagedReport, r"\\x1b"),
        (_put("verdict", "sentence", value="\x9b2J"), DamagedReport, "printable"),
        (_put("classification", "kept", value={"\u202e": 0.5}), DamagedReport, "printable"),
        (_put("summary", "roc_auc", "change", value=1e308), DamagedReport, r"1e\+308"),
        (_put("summary", "roc_auc", "change", value=-(10**400)), DamagedReport, "1329 bits"),
        (_put("summary", "roc_auc", "n_judged", value=10**400), DamagedReport, "1329 bits"),
        (_put("summary", "n_judged", value=3), DamagedReport, "summary.n_judged"),
        (_put("network", "n_judged", value=3), DamagedReport, "network.n_judged"),
        (_put("classification", "kept", value={"A1": 0.5}), DamagedReport, "classification.kept"),
        (_put("summary", "roc_auc", "change", value="0.1"), DamagedReport, "summary.roc_auc.change"),
        (_put("classification", "sizes", value=[{"name": "x"}]), DamagedReport, "classification.sizes"),
        (
            _put("classification", "histograms", "roc_auc", "cells", value=[[0, 0, 4]]),
            DamagedReport,
            "classification.histograms.roc_auc.cells",
        ),
        (
            _put("classification", "histograms", "roc_auc", "cells", value=[[50, 0, 7]]),
            DamagedReport,
            "classification.histograms.roc_auc",
        ),
    ],
)
def test_what_does_not_belong_is_refused(tmp_path: Path, change: Change, error: type[PipelineError], message: str):
    """The error has the file, the key and a type of its own; nothing is written."""
    given = [summary(name).to_json() for name in NAMES]
    change(given[1])
    files = written(tmp_path, *given)
    with pytest.raises(error, match=message) as caught:
        merge_summaries(files, tmp_path / "out")
    assert error is MixedFederations or str(files[1]) in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_damaged(tmp_path: Path, make: Callable[[Path], None]):
    """A named pipe under the name of a partner's summary is not waited for."""
    make(tmp_path / "summary.json")
    with pytest.raises(DamagedReport, match="plain file"):
        merge_summaries([tmp_path / "summary.json"], tmp_path / "out")


def test_a_summary_larger_than_any_is_not_read(tmp_path: Path):
    """The size counts before anything is parsed."""
    file = tmp_path / "summary.json"
    file.write_bytes(b" " * 4_000_001)
    with pytest.raises(DamagedReport, match="4,000,000 bytes"):
        merge_summaries([file], tmp_path / "out")


def test_the_terminal_reads_no_markup_in_a_name(capsys: pytest.CaptureFixture[str]):
    """A name is shown as it is: a table would take brackets for its own commands."""
    report = made_up_report(9, partner="[/red]")
    print_tables([report])
    assert "[/red]" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"kind": NaN}', b"[" * 100_000])
def test_what_is_no_summary_at_all_is_damaged(tmp_path: Path, content: bytes):
    """Half a file, another kind of file, a deeply nested one."""
    file = tmp_path / "summary.json"
    file.write_bytes(content)
    with pytest.raises(DamagedReport, match="is damaged") as caught:
        merge_summaries([file], tmp_path / "out")
    assert caught.value.exit_code == ExitCode.DATA
    assert not (tmp_path / "out").exists()


def test_a_private_report_is_refused_with_advice(tmp_path: Path):
    """The error says that report.json is private and must not be sent."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(made_up_report(9).to_json()))
    with pytest.raises(NotShareable, match="private") as caught:
        merge_summaries([file], tmp_path / "out")
    assert any("--shareable" in note for note in caught.value.__notes__)
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_merging_needs_no_torch_rdkit_polars_sklearn_or_mlflow(tmp_path: Path):
    """The command merges without torch and rdkit, which an aggregator's machine may lack."""
    files = written(tmp_path, *(summary(name) for name in NAMES))
    blocked = ["torch", "rdkit", "polars", "sklearn", "safetensors", "mlflow", "crepes", "scipy", "tenseal"]
    arguments = ["report", "--merge", *map(str, files), "--output", str(tmp_path / "out")]
    code = (
        f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
        f"from pipeline.cli import main\nmain({arguments!r}, standalone_mode=False)"
    )
    done = python_process(code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/consortium.html").exists()
    assert "Federation helped" in done.stdout
