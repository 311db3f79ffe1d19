"""Federations with a catalogue: the counting round, what is sealed of the heads, and what becomes of a row."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partners.training.local_round
import pipeline.protocol.round_seal
import pipeline.runs.partner_run
from partners.network.state import PartnerState
from partners.network.trunk import initial_trunk, trunk_digest
from partners.training.baseline import Baseline
from partners.training.training import RoundResult, TrainedInPlace
from pipeline.audit.describe_file import describe_file
from pipeline.errors import ExitCode
from pipeline.home.catalogue_counts import counted_digest, known_holders
from pipeline.home.round_metrics import read_records
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import COUNTING_ROUND, read_plan
from pipeline.protocol.counted_keys import named_in_ready
from pipeline.protocol.enrolment import enrol
from pipeline.protocol.open_mailbox import open_partner_mailbox
from pipeline.protocol.round_seal import RoundSeal
from pipeline.report.report import read_report
from secure.ciphertexts.parameters import seal_parameters
from secure.keys.group import GroupSecret
from secure.messages.message_name import MessageName
from secure.sealing.open_sum import CheckedSum, OpenedSum
from tests.support.federation import AGGREGATOR, Federation, run_all, step, until_waiting
from tests.support.protocol.counted_rows import (
    ALL,
    CATALOGUE,
    COUNTS,
    HOLDERS,
    SUM,
    TRAVELLING,
    catalogue_of,
    counts_in,
    final,
    layout_of,
    make,
    rows_of,
    tasks_of,
)
from tests.support.signed_transcripts import body_of, refusal, remove, run_audit


class Witness:
    """Records what is trained, sealed and opened, by wrapping the real functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained: list[RoundResult] = []
        self.sealed: dict[int, dict[str, tuple[np.ndarray, RoundResult | None]]] = {}
        self.opened: dict[int, list[OpenedSum]] = {}
        self.local: dict[str, tuple[np.ndarray, PartnerState]] = {}  # first trunk and state of each local-only model
        self._baseline = pipeline.runs.partner_run.train_baseline
        monkeypatch.setattr(pipeline.runs.partner_run, "train_baseline", self.baseline)
        self._train = partners.training.local_round.train_in_place
        monkeypatch.setattr(partners.training.local_round, "train_in_place", self.train)
        self._seal, witnessed = pipeline.protocol.round_seal.seal_update, RoundSeal.open

        def watched(seal: RoundSeal, checked: CheckedSum, seeds: Any, bounds: Any) -> OpenedSum:  # noqa: ANN401 -- handed on
            return self.open(checked, witnessed(seal, checked, seeds, bounds))

        monkeypatch.setattr(pipeline.protocol.round_seal, "seal_update", self.seal)
        monkeypatch.setattr(RoundSeal, "open", watched)

    def train(self, *given: Any, **named: Any) -> TrainedInPlace:  # noqa: ANN401 -- handed on as it is
        """Train and record; heads as a copy, because the next round changes them in place."""
        before = given[1].copy()
        found = self._train(*given, **named)
        kept = found.state.copied()
        self.trained.append(RoundResult(given[1] - before, kept, found.losses, found.n_compounds_seen))
        return found

    def baseline(self, *given: Any, **named: Any) -> Baseline:  # noqa: ANN401 -- handed on as it is
        """Record the first state of a partner's local model, by its home."""
        self.local[given[6].parents[2].name] = (given[1].copy(), named["first_state"])
        return self._baseline(*given, **named)

    def seal(self, change: np.ndarray, **given: Any) -> object:  # noqa: ANN401 -- handed on as it is
        """Record the vector to be sealed and its training."""
        n_trunk = self.trained[0].trunk_change.size if self.trained else 0
        source = [result for result in self.trained if np.array_equal(result.trunk_change, change[:n_trunk])]
        at = self.sealed.setdefault(given["roster"].round_no, {})
        at[given["me"]] = (change.copy(), source[0] if source else None)
        return self._seal(change, **given)

    def open(self, checked: CheckedSum, found: OpenedSum) -> OpenedSum:
        """Record what was opened."""
        self.opened.setdefault(checked.roster.round_no, []).append(found)
        return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Federation, Witness]]:
    """A federation from start to report, and its recorder. For reading only."""
    with pytest.MonkeyPatch.context() as patch:
        witness = Witness(patch)
        federation = make(tmp_path_factory.mktemp("catalogue") / "f")
        run_all(federation.members())
        yield federation, witness


# --------------------------------------------------------------------------------------------------- an honest run


def test_all_learn_how_many_hold_each_row(watched: tuple[Federation, Witness]):
    """The exact sum of flags that are 0 or 1, each partner's own; nothing else is sealed in the counting round."""
    federation, witness = watched
    for name in ALL:
        flags, _ = witness.sealed[COUNTING_ROUND][name]
        np.testing.assert_array_equal(flags, [float(name in names) for names in HOLDERS.values()])
        assert counts_in(federation, name) == COUNTS
    assert len(witness.opened[COUNTING_ROUND]) == len(ALL)
    for opened in witness.opened[COUNTING_ROUND]:
        assert opened.total.tolist() == COUNTS
        assert opened.weight_total == len(ALL)


def test_what_is_sealed_is_the_trunks_change_and_the_rows_that_travel(watched: tuple[Federation, Witness]):
    """Private heads never leave: every other number of every sealed vector is exactly zero."""
    federation, witness = watched
    plan = read_plan(federation.plan_file)
    n_trunk = plan.layout.n_params
    assert sorted(witness.sealed) == [COUNTING_ROUND, 1, 2]
    for round_no, before in ((1, initial_trunk(layout_of(plan), plan.federation.seed)), (2, None)):
        for name in ALL:
            change, result = witness.sealed[round_no][name]
            assert result is not None, "the trunk's part is the change of one training"
            assert change.shape == (layout_of(plan).n_params,)
            np.testing.assert_array_equal(change[:n_trunk], result.trunk_change)
            held = {row: tasks for row, tasks in tasks_of(federation, plan, name).items() if row in TRAVELLING}
            assert list(held) == [row for row in TRAVELLING if name in list(HOLDERS.values())[row]]
            rows = rows_of(plan, change)
            for place, row in enumerate(TRAVELLING):
                if row not in held:
                    assert not rows[place].any()
                    continue
                assert rows[place].any()
                for task in held[row] if before is not None else ():
                    weight = result.state.heads["classification.weight"][task]
                    bias = result.state.heads["classification.bias"][task]
                    np.testing.assert_array_equal(rows[place], np.append(weight, bias) - rows_of(plan, before)[place])


def test_a_row_moves_by_the_mean_over_its_holders(watched: tuple[Federation, Witness]):
    """Plain numpy: the first rows of the plan's seed, plus the rate times the sum of what was sent by the count."""
    federation, witness = watched
    plan = read_plan(federation.plan_file)
    expected = rows_of(plan, initial_trunk(layout_of(plan), plan.federation.seed)).astype(np.float64)
    for round_no in (1, 2):
        opened = witness.opened[round_no][0]
        weight_step, bias_step = opened.grid.steps[-2:].astype(np.float64)
        sums = rows_of(plan, opened.total).astype(np.float64) * np.append(np.full(16, weight_step), bias_step)
        for place, row in enumerate(TRAVELLING):
            expected[place] += plan.server.learning_rate * sums[place] / COUNTS[row]
    vector = final(federation, plan, "P01", 2).vector
    np.testing.assert_allclose(rows_of(plan, vector), expected, atol=2e-7)


def test_the_sum_of_a_row_is_that_of_its_holders_changes(watched: tuple[Federation, Witness]):
    """The opened mean is that of the holders' changes alone, within rounding."""
    federation, witness = watched
    plan = read_plan(federation.plan_file)
    opened = witness.opened[1][0]
    sent = [rows_of(plan, witness.sealed[1][name][0]) for name in ALL]
    total = rows_of(plan, opened.total).astype(np.float64) * float(opened.grid.steps[-1])
    np.testing.assert_allclose(total, np.sum(sent, axis=0), atol=len(ALL) * float(opened.grid.steps[-1]))


def test_holders_end_with_equal_rows_and_their_own_private_heads(watched: tuple[Federation, Witness]):
    """A shared row is equal at every holder; a row with only two holders differs between them."""
    federation, _ = watched
    plan = read_plan(federation.plan_file)
    states = {name: final(federation, plan, name, 2) for name in ALL}
    assert len({trunk_digest(state.vector) for state in states.values()}) == 1
    rows = rows_of(plan, states["P01"].vector)
    private: dict[int, list[np.ndarray]] = {}
    for name, state in states.items():
        by_task = {task: row for row, tasks in tasks_of(federation, plan, name).items() for task in tasks}
        assert len(by_task) == sum(list(names).count(name) for names in HOLDERS.values())
        for task, row in by_task.items():
            assert state.private is not None
            weight, bias = (state.private.heads[f"classification.{part}"][task] for part in ("weight", "bias"))
            if row in TRAVELLING:
                np.testing.assert_array_equal(np.append(weight, bias), rows[TRAVELLING.index(row)])
            else:
                private.setdefault(row, []).append(np.append(weight, bias))
    assert sorted(private) == [0, 1]
    assert not np.array_equal(*private[1])


def test_the_transcript_is_as_it_must_be(watched: tuple[Federation, Witness]):
    """`hocket verify` adds the counting round's sum again, but does not count it as a training round."""
    federation, _ = watched
    trail = run_audit(federation)
    assert [(found.round_no, found.outcome) for found in trail.attempts] == [(0, "sum"), (1, "sum"), (2, "sum")]
    assert (trail.n_sums, trail.n_rounds, trail.n_recomputed) == (3, 2, 3)
    assert not trail.warnings


def test_only_partners_are_told_how_many_rows_travel(watched: tuple[Federation, Witness]):
    """The aggregator's records hold no count; a partner's say how many rows were in each round."""
    federation, _ = watched
    for name in ALL:
        found = {
            record.step: record.metrics.get("catalogue_rows") for record in read_records(federation.home(name).metrics)
        }
        assert found == {0: None, 1: 2, 2: 2}
    for record in read_records(federation.home(AGGREGATOR).metrics):
        assert not any("catalogue" in key for key in (*record.metrics, *record.facts))
    assert not federation.home(AGGREGATOR).catalogue.exists()


def test_the_report_judges_both_models(watched: tuple[Federation, Witness]):
    """The local model begins with the same rows, and the report has its scores and the federated ones."""
    federation, _ = watched
    reports = [read_report(federation.home(name)) for name in ALL]
    assert len({report.trunk for report in reports}) == 1
    judged = [[task for task in report.tasks if not task.is_auxiliary] for report in reports]
    assert [len(tasks) for tasks in judged] == [6, 6, 4, 3]
    assert all(side.roc_auc is not None for tasks in judged for task in tasks for side in (task.local, task.federated))


def test_the_local_model_begins_with_the_same_rows(watched: tuple[Federation, Witness]):
    """The local model begins with the same trunk and rows as the federation."""
    federation, witness = watched
    plan = read_plan(federation.plan_file)
    first = initial_trunk(layout_of(plan), plan.federation.seed)
    assert len(witness.local) == len(ALL)
    for name in ALL:
        held = tasks_of(federation, plan, name)
        trunk, state = witness.local[name]
        np.testing.assert_array_equal(trunk, first[: plan.layout.n_params])
        for row, task in [(at, task) for at in TRAVELLING for task in held.get(at, ())]:
            weight, bias = (state.heads[f"classification.{part}"][task] for part in ("weight", "bias"))
            np.testing.assert_array_equal(np.append(weight, bias), rows_of(plan, first)[TRAVELLING.index(row)])


def test_inspect_knows_the_files(watched: tuple[Federation, Witness]):
    """The plan's catalogue, the counts in a home, and the sealed files of the counting round."""
    federation, _ = watched
    assert describe_file(federation.plan_file)["catalogue"] == {"tasks": 5, "min_partners": 3}
    assert "catalogue" in describe_file(federation.home("P01").catalogue)["what"]
    assert describe_file(federation.payload(SUM))["round"] == COUNTING_ROUND


# ------------------------------------------------------------------------------------------------------ interruptions


@pytest.mark.slow
def test_a_restart_after_every_step_changes_nothing(watched: tuple[Federation, Witness], tmp_path: Path):
    """Members opened again before each step, in the counting round too, end with the vector of an undisturbed run."""
    undisturbed, _ = watched
    restless = make(tmp_path / "f")
    done: set[str] = set()
    while len(done) < len(ALL):
        until_waiting(restless, [AGGREGATOR])
        for name in ALL:
            machine = restless.partner(name)
            if [step(machine) for _ in range(4)][-1] == "done":  # enrol, prepare, counting round or begin, one step
                done.add(name)
    assert restless.trunks(2) == undisturbed.trunks(2)
    for name in ALL:
        before, after = (read_report(one.home(name)) for one in (undisturbed, restless))
        assert (before.local, before.federated, before.tasks) == (after.local, after.federated, after.tasks)


def test_what_ready_names_shows_no_counts(watched: tuple[Federation, Witness]):
    """Only who has the group secret can compute it; homes keep the preparation without it, and flags came before it."""
    federation, plan = watched[0], read_plan(watched[0].plan_file)
    named = [body_of(federation, MessageName("ready", round_no, 1, "P01"))["preparation"] for round_no in (0, 1, 2)]
    assert named[0] != named[1] == named[2]
    under = final(federation, plan, "P01", 2).under
    assert under is not None
    assert under.preparation == named[0]
    counts = known_holders(plan, federation.home("P01"))
    assert counts is not None
    enrolment = enrol(open_partner_mailbox(PartnerConfig.read(federation.config("P01"))), seal_parameters(plan.seal))
    assert named[1] == named_in_ready(str(named[0]), enrolment.group, counted_digest(plan, counts))
    other = GroupSecret.generate(seal_parameters(plan.seal))
    assert named[1] != named_in_ready(str(named[0]), other, counted_digest(plan, counts))


def test_the_first_trunk_tells_only_the_number_of_places(watched: tuple[Federation, Witness]):
    """Anyone can compute it, so it must not depend on which rows travel; that of the counting round has none."""
    federation, plan = watched[0], read_plan(watched[0].plan_file)
    trunk = body_of(federation, MessageName("ready", 1, 1, "P01"))["trunk"]
    assert trunk == trunk_digest(initial_trunk(plan.layout_with(2), plan.federation.seed))
    assert body_of(federation, MessageName("ready", 0, 1, "P01"))["trunk"] == trunk_digest(
        initial_trunk(plan.layout, plan.federation.seed)
    )


def test_rounds_without_the_counting_round_are_out_of_order(watched: tuple[Federation, Witness], tmp_path: Path):
    """A plan with a catalogue must begin with the counting round, whatever messages follow."""
    from pipeline.errors import BrokenTranscript  # noqa: PLC0415

    copy = watched[0].moved(tmp_path / "f")
    for kind, senders in (
        ("ready", ALL),
        ("update", ALL),
        ("release", ALL),
        ("roster", [AGGREGATOR]),
        ("sum", [AGGREGATOR]),
    ):
        remove(copy.exchange, *(MessageName(kind, COUNTING_ROUND, 1, sender) for sender in senders))
    refusal(copy, BrokenTranscript, "round 1, attempt 1 is", "counting round, attempt 1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ([], r"start\.safetensors: .*\b8242 values.*\b8208\b"),
        (["ONE"], r"catalogue\.json: .*\bcounts\b"),
        (list("ABCDE"), r"catalogue\.json: .*\bcounts\b"),
    ],
)
def test_a_revision_cannot_change_the_catalogue(
    watched: tuple[Federation, Witness], tmp_path: Path, tasks: list[str], reason: str
):
    """After round 2 a missing, shorter or other catalogue is refused with what was found and what to do."""
    federation = watched[0].moved(tmp_path / "f")
    federation.revise(3, n_rounds=3)
    changed = catalogue_of(*tasks) if tasks else ""
    federation.plan_file.write_text(federation.plan_file.read_text().replace(CATALOGUE, changed))
    run = federation.hocket("partner", "run", str(federation.config("P01")), "--once")
    assert run.returncode == ExitCode.CONFIGURATION
    assert re.search(reason, run.stderr)
    assert "[catalogue]" in run.stderr
    assert "Traceback" not in run.stderr
