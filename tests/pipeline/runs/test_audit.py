"""`hocket audit` on a finished partner: what it writes, what it goes on from, and where its figures are shown."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import pipeline.runs.shadow_models
from partners.audit.shadows import ShadowTask
from partners.files.round_checkpoint import RoundStart
from partners.network.trunk import trunk_digest
from pipeline.audit.describe_file import describe_file
from pipeline.errors import ConfigError, DamagedReport, NotYet
from pipeline.home.canaries import canaries_file, read_canaries
from pipeline.home.trunk_history import TrunkHistory
from pipeline.pages.consortium_page import consortium_page
from pipeline.pages.private_page import private_page
from pipeline.plan.plan import read_plan
from pipeline.report.audit.schema import AUDIT, Audit
from pipeline.report.consortium import merge
from pipeline.report.report import read_report
from pipeline.report.shareable import shareable
from pipeline.runs.audit import run_audit
from pipeline.runs.audit_subject import read_subject
from pipeline.tracking.report_metrics import audit as audit_metrics
from tests.support.cli_runner import hocket
from tests.support.federation import Federation, run_all, run_rounds, run_to, step

N_CANARIES = 30


def with_canaries(federation: Federation, name: str = "P01", n: int = N_CANARIES) -> None:
    """Let a partner have canaries."""
    config = federation.config(name)  # a worker is a process that loads torch
    text = config.read_text().replace("[data]", "workers = 1\n[data]")
    config.write_text(f"{text}[audit]\ncanaries = {n}\n")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Federation, Audit]:
    """A federation in which P01 has canaries, and P01's audit with four shadows. For reading only."""
    federation = Federation(tmp_path_factory.mktemp("audited") / "federation")
    with_canaries(federation)
    run_rounds(federation)
    run_all({"P01": federation.partner("P01")})
    return federation, run_audit(federation.config("P01"), quick=False, n_shadows=4)


def test_every_view_is_measured(audited: tuple[Federation, Audit]):
    """Five views and the canaries, each with a control, and nothing but holders of columns is missing."""
    federation, audit = audited
    names = ["trunk", "model", "sums", "shadow trunk", "shadow model", "canaries"]
    assert [view.name for view in audit.views] == names
    assert audit.n_shadows == 4
    assert [text.split(":")[0] for text in audit.missing] == ["holders of input columns"]
    assert audit.view("trunk").untrained is not None
    assert [attack.name for attack in audit.view("model").attacks][:3] == ["LiRA online", "LiRA offline", "RMIA"]
    assert {attack.name for attack in audit.view("canaries").attacks} >= {"confidence", "agreement with the steps"}
    assert all(0 <= attack.epsilon.epsilon < attack.epsilon.largest for attack in audit.view("canaries").attacks)
    assert Audit.read(federation.home("P01")) == audit


def test_small_numbers_give_no_rates(audited: tuple[Federation, Audit]):
    """A TPR at FPR 1 % is never given for fewer than 1,000 others."""
    _, audit = audited
    for view in audit.views:
        for rates in (
            view.permuted,
            *(attack.rates for attack in view.attacks),
            *(group.rates for group in view.groups),
        ):
            measured = [rate.true_positive_rate is not None for rate in rates.at]
            assert measured == [rates.n_others >= least for least in (100, 1000, 10_000)]


def test_left_out_canaries_were_trained_on_by_nothing(audited: tuple[Federation, Audit]):
    """The audit's members are the training rows, and these lack exactly the canaries that are no members."""
    federation, audit = audited
    subject = read_subject(federation.config("P01"))
    canaries = read_canaries(federation.home("P01"))
    n_out = sum(not canary.is_member for canary in canaries)
    missing = set(subject.whole.training_rows) - set(subject.trained.training_rows)
    assert len(canaries) == N_CANARIES
    assert len(missing) >= n_out > 0  # twins of a fingerprint are left out too
    rates = audit.view("canaries").main.rates
    assert (rates.n_members, rates.n_others) == (N_CANARIES - n_out, n_out)
    assert audit.columns.n_compounds == subject.trained.training_rows.size
    assert read_canaries(federation.home("P02")) == []


def test_canaries_are_drawn_before_round_1_or_not_at_all(audited: tuple[Federation, Audit], done: Federation):
    """Another number, and canaries for a home that has trained, are refused; nothing is drawn."""
    with_canaries(done)
    with pytest.raises(ConfigError, match="found 30, expected 0"):
        run_all({"P01": done.partner("P01")})
    assert not canaries_file(done.home("P01")).exists()
    other = audited[0].moved(done.folder.parent / "other")
    text = other.config("P01").read_text()
    other.config("P01").write_text(text.replace(f"canaries = {N_CANARIES}", "canaries = 7"))
    with pytest.raises(ConfigError, match="found 7, expected 30"):
        run_all({"P01": other.partner("P01")})


def test_the_trunks_of_all_rounds_are_those_of_the_records(audited: tuple[Federation, Audit]):
    """Each kept vector has the digest of its round, and no round was warned of."""
    federation, audit = audited
    history, layout = TrunkHistory(federation.home("P01"), 2, 1.0), read_plan(federation.plan_file).layout
    assert history.kept() == [2, 3]
    for round_no, vector in zip([2, 3], history.vectors([2, 3], layout), strict=True):
        assert {trunk_digest(vector)} == federation.trunks(round_no - 1)
    assert [look.round_no for look, _ in history.looks()] == [1, 2]
    assert audit.incoming.warnings == []
    small = TrunkHistory(federation.home("P03"), 2, 1e-9)
    small.keep(3, np.zeros(8, np.float32))
    assert small.kept() == []


def test_an_audit_goes_on_from_the_shadows_of_an_interrupted_one(
    audited: tuple[Federation, Audit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Only the lost one is trained again, to the same figures; a quick one trains none and keeps the others."""
    federation, audit = audited
    twin = federation.moved(tmp_path / "twin")
    home, trained = twin.home("P01"), []
    (lost,) = home.audit.glob("shadows/*/shadow-002.safetensors")
    lost.unlink()
    monkeypatch.setattr(pipeline.runs.shadow_models, "_trainer", lambda task: _counting(task, trained))
    assert run_audit(twin.config("P01"), quick=False, n_shadows=4) == audit
    assert trained == [2]
    assert run_audit(twin.config("P01"), quick=True, n_shadows=4) == audit
    (home.report / AUDIT).unlink()
    quick = run_audit(twin.config("P01"), quick=True, n_shadows=4)
    assert [view.name for view in quick.views] == ["canaries"]
    assert (trained, quick.reconstruction, quick.columns) == ([2], None, audit.columns)


@pytest.mark.slow
def test_shadows_do_not_depend_on_the_number_of_processes(audited: tuple[Federation, Audit], tmp_path: Path):
    """All are trained again, in two processes."""
    federation, audit = audited
    twin = federation.moved(tmp_path / "twin")
    shutil.rmtree(twin.home("P01").audit / "shadows")
    twin.config("P01").write_text(twin.config("P01").read_text().replace("workers = 1", "workers = 2"))
    assert run_audit(twin.config("P01"), quick=False, n_shadows=4) == audit


@pytest.mark.slow
def test_columns_of_too_few_holders_are_attacked_as_others_know_them(tmp_path: Path):
    """In the released trunk they are as in the first; shared ones have holders enough; all views are measured."""
    federation = Federation(tmp_path / "federation", columns="min_partners = 3")
    run_rounds(federation)
    run_all({"P01": federation.partner("P01")})
    subject = read_subject(federation.config("P01"))
    shared = subject.columns.shared
    assert shared is not None
    assert 0 < shared.size < 512
    released, own, first = (
        subject.layout.views(trunk)["trunk.0.weight"]
        for trunk in (subject.trunk, subject.own_trunk, subject.first_trunk)
    )
    others = np.setdiff1d(np.arange(512), shared)
    assert np.array_equal(released[others], first[others])
    assert np.array_equal(released[shared], own[shared])
    assert not np.array_equal(own[others], first[others])
    audit = run_audit(federation.config("P01"), quick=False, n_shadows=2)
    assert (audit.columns.n_alone, audit.columns.n_exposed) == (0, 0)
    assert [view.name for view in audit.views] == ["trunk", "model", "sums", "shadow trunk", "shadow model"]
    assert [text.split(":")[0] for text in audit.missing] == ["canaries"]


def _counting(task: ShadowTask, trained: list[int]):  # noqa: ANN202
    def train(shadow: int):  # noqa: ANN202
        trained.append(shadow)
        return task.train(shadow)

    return train


def test_the_figures_stand_on_the_pages_and_in_the_metrics(audited: tuple[Federation, Audit]):
    """The private page names all attacks; the shareable summary has rates and no count; the consortium's page both."""
    federation, audit = audited
    report = read_report(federation.home("P01"))
    assert report.audit == audit
    (section,) = (section for section in private_page(report).sections if section.title.startswith("What the result"))
    assert {row[1] for row in section.tables[0].rows} >= {"LiRA offline", "permuted memberships", "the first trunk"}
    summary = shareable(report)
    assert summary.audit is not None
    shared = json.dumps(summary.audit.model_dump(mode="json"))
    assert not re.search(r'"n_(members|others|canaries|recovered|bits|compounds|guesses)"', shared)
    other = summary.model_copy(update={"partner": "P02", "audit": None})
    assert "Who was trained on" in str(consortium_page(merge([summary, other])).sections)
    metrics = audit_metrics(report)
    assert metrics["audit/trunk_auc"] == audit.view("trunk").strongest.rates.auc
    assert "audit/canaries_epsilon_at_least" in metrics
    assert audit_metrics(report.model_copy(update={"audit": None})) == {}


def test_an_audit_of_another_trunk_is_not_shown(done: Federation):
    """It is of an earlier model; a damaged one is refused by name."""
    home = done.home("P01")
    audit = run_audit(done.config("P01"), quick=True, n_shadows=0)
    assert read_report(home).audit == audit
    audit.model_copy(update={"trunk": "0" * 64}).write(home)
    assert read_report(home).audit is None
    (home.report / AUDIT).write_text('{"format": 1}')
    with pytest.raises(DamagedReport, match=AUDIT):
        read_report(home)


def test_inspect_knows_the_files_of_an_audit(audited: tuple[Federation, Audit]):
    """Without private values."""
    federation, _ = audited
    home = federation.home("P01")
    files = [*home.audit.rglob("*.json"), *home.audit.rglob("*.safetensors"), home.report / AUDIT]
    described = {path.name: describe_file(path)["what"] for path in files}
    assert len(described) == 2 + 2 + 4 + 1
    assert "state of a partner (private)" not in described.values()


def test_before_the_end_there_is_nothing_to_audit(fresh: Federation):
    """Exit code 6, and nothing is written."""
    with pytest.raises(NotYet):
        run_audit(fresh.config("P01"), quick=True, n_shadows=0)
    assert hocket("audit", str(fresh.config("P01"))).exit_code == 6
    assert not fresh.home("P01").report.exists()


def test_a_trap_is_warned_of_before_it_is_trained_on(fresh: Federation, capsys: pytest.CaptureFixture[str]):
    """Somebody plants huge weights on single hidden units; the partner's log says so when the round begins."""
    run_to(fresh, 2)
    home, layout = fresh.home("P01"), read_plan(fresh.plan_file).layout
    assert "trap" not in capsys.readouterr().err
    start = RoundStart.read(home.start_file(2), layout)
    layout.views(start.vector)["trunk.0.weight"][:, :2] *= 200
    start.write(home.start_file(2))
    step(fresh.partner("P01"))
    partner = fresh.partner("P01")
    while step(partner) == "on":
        pass
    assert "round 2: the trunk" in capsys.readouterr().err
    looks = TrunkHistory(home, 2, 1.0).looks()
    assert [bool(texts) for _, texts in looks] == [False, True]
