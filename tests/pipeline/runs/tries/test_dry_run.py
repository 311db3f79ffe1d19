"""`hocket try --partners N`: bytes are those of a real round, and what is measured is there; nothing stays behind."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.settings import Folds
from partners.settings import Training
from partners.training_data.prepared_data import training_set
from pipeline.errors import ExitCode
from pipeline.plan.plan import read_plan
from pipeline.runs.tries.mock_partner import part_of, shared_columns
from tests.support.cli_runner import refused
from tests.support.federation import Federation
from tests.support.partners.prepared_matrices import prepared_matrices
from tests.support.signed_transcripts import SUM, UPDATE

DATA = training_set(prepared_matrices(n_compounds=100), Folds(), Training(regression_weight=0.5))


def test_parts_are_the_whole():
    """Each compound with its labels and values in one part."""
    parts = [part_of(DATA, number, 3) for number in range(3)]
    assert sum(part.n_compounds for part in parts) == DATA.n_compounds
    for name in ("x", "y", "y_regr"):
        assert sum(getattr(part, name).nnz for part in parts) == getattr(DATA, name).nnz
        assert np.array_equal(getattr(parts[1], name).toarray(), getattr(DATA, name)[1::3].toarray())
    assert {part.n_tasks for part in parts} == {DATA.n_tasks}


def test_shared_columns_are_those_of_enough_parts(fresh: Federation):
    """As the counting round counts; without columns all are shared."""
    parts = [part_of(DATA, number, 3) for number in range(3)]
    plan = read_plan(fresh.plan_file)
    assert shared_columns(plan, parts) is None
    text = fresh.plan_file.read_text().replace("[columns]\nmin_partners = 0", "[columns]\nmin_partners = 3")
    fresh.plan_file.write_text(text)
    held = [set(part.x[part.training_rows].nonzero()[1].tolist()) for part in parts]
    assert shared_columns(read_plan(fresh.plan_file), parts) == len(set.intersection(*held))


def test_more_partners_than_the_plan_allows_are_refused(fresh: Federation):
    """Exit code 2, before anything is prepared."""
    most = read_plan(fresh.plan_file).seal.max_partners
    assert str(most) in refused(ExitCode.CONFIGURATION, "try", fresh.config("P01"), "--partners", most + 1)
    assert not fresh.home("P01").tries.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["P01", "P02"])
def test_a_dry_run_predicts_a_round(fresh: Federation, finished: Federation, name: str):
    """Bytes of update and sum as in the real federation (P02 has no group secret yet); all else is measured."""
    before = {path for path in fresh.folder.rglob("*") if "structures.cache" not in path.name}
    done = fresh.hocket("try", str(fresh.config(name)), "--partners", "3", "--json")
    assert done.returncode == ExitCode.DONE, done.stderr
    found = json.loads(done.stdout)
    for what, path in (("upload_bytes", UPDATE.payload), ("download_bytes", SUM.payload)):
        assert found[what] == pytest.approx((finished.exchange / path).stat().st_size, rel=0.001)
    assert found["n_parameters"] == read_plan(fresh.plan_file).layout.n_params
    assert set(found["seconds"]) == {"train", "validate", "seal", "add", "open"}
    assert min(found["seconds"].values()) > 0
    assert found["aggregator_bytes"] < found["partner_bytes"]
    left = {path for path in fresh.folder.rglob("*") if "structures.cache" not in path.name} - before
    assert not [path for path in left if path.suffix == ".arrow" or path.name.startswith(".dry-run")]
    assert not fresh.exchange.exists()


def test_the_peak_of_memory_is_this_process_s():
    """A fresh interpreter has had less than one that loaded numpy, whatever its parent had."""
    from pipeline.runtime.memory import most_memory  # noqa: PLC0415
    from tests.support.cli_runner import python_process  # noqa: PLC0415

    code = "import sys; from pipeline.runtime.memory import most_memory; {}print(most_memory())"
    small, large = (int(python_process(code.format(more)).stdout) for more in ("", "x = bytearray(300_000_000); "))
    assert 2_000_000 < small < 200_000_000
    assert large > small + 250_000_000
    assert most_memory() > small
    assert Path("/proc/self/status").exists()
