"""A finished federation goes on under a revision: from its trunk, server state and heads, also with other tables."""

from pathlib import Path

import numpy as np
import pytest

from partners.files.round_checkpoint import RoundStart
from partners.network.state import HEAD_WEIGHT
from partners.training.baseline import read_baseline
from pipeline.home.round_files import TRAINED_FILE
from pipeline.plan.plan import read_plan
from pipeline.report.report import read_report
from pipeline.setup.keys import deal
from tests.support.federation import Federation, run_all, run_to, step
from tests.support.partner_tables import write_tables

ALL = ("P01", "P02", "P03")
GROWN = "P02"


def start_of(federation: Federation, name: str, round_no: int) -> RoundStart:
    """A partner's state at the start of a round."""
    return RoundStart.read(federation.home(name).start_file(round_no), read_plan(federation.plan_file).layout)


@pytest.fixture(scope="module")
def gone_on(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Two more rounds after the end; P02 has more compounds and another assay. For reading only."""
    federation = finished.moved(tmp_path_factory.mktemp("gone_on") / "f")
    write_tables(federation.folder / GROWN, GROWN, seed=1, n_compounds=150, catalogue=["NEW"])
    federation.revise(3, n_rounds=4)
    deal(federation.plan_file, federation.home("P01").folder, None)
    run_all(federation.members())
    return federation


def test_all_end_with_one_trunk_and_a_report_of_all_rounds(finished: Federation, gone_on: Federation) -> None:
    """The rounds before are those of the plan before; each report is of the revision, over its four rounds."""
    plan = read_plan(gone_on.plan_file)
    for round_no in (1, 2, 3, 4):
        assert len(gone_on.trunks(round_no)) == 1
    for round_no in (1, 2):
        assert gone_on.trunks(round_no) == finished.trunks(round_no)
    for name in ALL:
        report = read_report(gone_on.home(name))
        assert (report.plan, report.n_rounds) == (plan.digest, 4)
        assert {report.trunk} == gone_on.trunks(4)


def test_the_local_network_goes_on_too(finished: Federation, gone_on: Federation) -> None:
    """With the same tables it trains two more rounds; with other tables all four, on these."""
    for name in ALL:
        histories = [
            read_baseline(at.home(name).baseline / "local.safetensors", read_plan(at.plan_file).layout)[0].history
            for at in (finished, gone_on)
        ]
        assert [len(history) for history in histories] == [2, 4]
        assert (histories[1][:2] == histories[0]) == (name != GROWN)


def test_a_new_task_has_a_fresh_head_and_the_others_keep_theirs(finished: Federation, gone_on: Federation) -> None:
    """The head of each task of before is nearer to where it was than to any other task's."""
    before, after = start_of(finished, GROWN, 3), start_of(gone_on, GROWN, 5)
    assert before.tasks
    assert after.tasks
    new = set(after.tasks.classification) - set(before.tasks.classification)
    assert ["P02-NEW" in key for key in new] == [True] * len(new)
    assert new
    old_heads, heads = (start.private.heads[HEAD_WEIGHT] for start in (before, after) if start.private)
    kept = [key for key in before.tasks.classification if key in after.tasks.classification]
    assert kept
    for key in kept:
        at = old_heads[before.tasks.classification.index(key)]
        nearest = np.linalg.norm(heads - at, axis=1).argmin()
        assert after.tasks.classification[nearest] == key


def test_compounds_keep_their_folds(finished: Federation, gone_on: Federation) -> None:
    """No compound of the grown tables is in another fold than before."""
    import polars as pl  # noqa: PLC0415

    folds = []
    for federation in (finished, gone_on):
        home = federation.home(GROWN)
        data = {path.parent for path in home.prepared.glob("*/compounds.parquet")}
        newest = max(data, key=lambda folder: folder.stat().st_mtime_ns)
        table = pl.read_parquet(newest / "compounds.parquet")
        folding = np.load(newest / "folding.npy")
        rows = [column for column in table.columns if table[column].dtype.is_integer()]
        folds.append(
            {row["input_compound_id"]: folding[row[rows[0]]] for row in table.to_dicts() if row[rows[0]] is not None}
        )
    both = folds[0].keys() & folds[1].keys()
    assert len(both) > 50
    assert {key: folds[0][key] for key in both} == {key: folds[1][key] for key in both}


@pytest.mark.slow
def test_tables_that_change_between_training_and_opening(finished: Federation, tmp_path: Path) -> None:
    """The heads of round 3 are not taken for those of the tables of today."""
    federation = finished.moved(tmp_path / "f")
    federation.revise(3, n_rounds=3)
    deal(federation.plan_file, federation.home("P01").folder, None)
    before, machines = start_of(federation, GROWN, 3), federation.members()
    for _ in range(60):
        if (federation.home(GROWN).training(3) / TRAINED_FILE).exists():
            break
        for machine in machines.values():
            step(machine)
    assert (federation.home(GROWN).training(3) / TRAINED_FILE).exists()
    assert max(federation.home(GROWN).rounds_started()) == 3
    write_tables(federation.folder / GROWN, GROWN, seed=1, n_compounds=150, catalogue=["NEW"])
    run_to(federation, 4)
    after = start_of(federation, GROWN, 4)
    assert before.tasks
    assert after.tasks
    assert after.private
    assert before.tasks != after.tasks
    assert after.private.heads[HEAD_WEIGHT].shape[0] == len(after.tasks.classification)
