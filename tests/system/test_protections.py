"""The benchmark of what protections cost: imitated large partners, gains in seconds, and its table as a whole."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from partners.assay_models.gaussian_process import fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from tests.benchmarks import privacy
from tests.benchmarks.gain.assay_models import assay_data
from tests.benchmarks.gain.partners import Partner, load_partners
from tests.benchmarks.gain.processes import scores_of_processes
from tests.support.partner_tables import write_tables
from tests.support.partners.synthetic import small_set


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of three partners, with the truth that the benchmark reads."""
    folder = tmp_path_factory.mktemp("shared")
    for number in (1, 2, 3):
        write_tables(folder / "small" / f"P{number:02d}", f"P{number:02d}", seed=number)
    truth = [f"P{n:02d},P{n:02d}-A{a},CHEMBL{a},Ki" for n in (1, 2, 3) for a in (1, 2)]
    (folder / "small" / "truth.csv").write_text("\n".join(["partner,input_assay_id,target,endpoint", *truth]) + "\n")
    return folder


@pytest.fixture(scope="module")
def partner(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Partner:
    """One of them, prepared."""
    return load_partners(tables / "small", 256, tmp_path_factory.mktemp("work"), lambda _: None)["P01"]


def test_copies_are_of_training_compounds_alone():
    """So many of each, with its labels; held-out folds stay as they are, so scores mean the same."""
    data = small_set()
    many = privacy.copied_compounds(data, 4)
    assert many.n_training_labels == 4 * data.n_training_labels
    assert many.training_rows.size == 4 * data.training_rows.size
    for fold in (0, 1):
        rows = many.rows_of(fold)
        np.testing.assert_array_equal(rows, data.rows_of(fold))
        np.testing.assert_array_equal(many.x[rows].toarray(), data.x[rows].toarray())
    fourth = many.training_rows[-data.training_rows.size :]
    np.testing.assert_array_equal(many.y[fourth].toarray(), data.y[data.training_rows].toarray())


@pytest.mark.parametrize("with_trunk", [False, True])
def test_a_task_is_scored_by_its_assays_own_process(partner: Partner, with_trunk: bool):  # noqa: FBT001
    """Average precision by scikit-learn, of one process fitted here to the training folds' values."""
    own, rng = assay_data(partner), np.random.default_rng(0)
    weight = rng.normal(size=(256, 8)).astype(np.float32)
    found = scores_of_processes({"P01": partner}, {"P01": lambda x: x @ weight} if with_trunk else None, "test")
    x = own.data.x
    inputs = Inputs.of(x, x @ weight if with_trunk else None)
    for assay in own.assays:
        known = own.training_part(assay)
        similarity = kernel(inputs[known.rows], inputs[known.rows])
        process = fit_gaussian_process(similarity, known.values, 2 if with_trunk else 1)
        for task, sign in zip(assay.tasks, assay.signs, strict=True):
            rows = np.intersect1d(own.data.rows_of(0), own.data.y.tocsc()[:, task].indices)
            predicted = sign * process.predict(kernel(inputs[rows], inputs[known.rows]))
            is_active = own.data.y[rows, task].toarray().ravel() > 0
            score = found.of("P01", "test", "average_precision")[task]
            assert score == pytest.approx(average_precision_score(is_active, predicted))


def test_the_table_has_gain_epsilon_and_what_is_told(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The first trunk tells nothing of a compound; noise has an epsilon; of copies nothing is told."""
    asked = "--data small --models processes --bits 256 --hidden 8 --rounds 2 --steps 2 --batch 20 --shadows 2"
    only = ["--only", "untrained", "dropout", "noise 1", "64 x noise 1"]
    monkeypatch.setattr(sys, "argv", ["", *asked.split(), *only, "--shared", str(tables), "--work", str(tmp_path)])
    monkeypatch.setattr(privacy, "FEWEST_LABELS", 1)
    privacy.main()
    printed = capsys.readouterr().out
    cells = {line.split("│")[1].strip(): line.split("│")[2:] for line in printed.splitlines() if line.startswith("│")}
    assert list(cells) == ["untrained", "dropout", "noise 1", "64 x noise 1"]
    assert cells["untrained"][1].strip() == cells["dropout"][1].strip() == "none"
    of_few, of_many = (np.array(cells[name][1].split(), float) for name in ("noise 1", "64 x noise 1"))
    assert of_few.size == of_many.size == 3
    assert (of_many < of_few).all()
    assert cells["64 x noise 1"][-2].strip() == "not measured"
    assert len(re.findall(r"^dropout, P0\d: all: ", printed, re.MULTILINE)) == 3


def test_epsilon_falls_with_size_and_noise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The table that needs no data: a row for each number of compounds, a column for each noise."""
    monkeypatch.setattr(sys, "argv", ["", "--epsilon", "--sizes", "20000", "200000", "--rounds", "2"])
    privacy.main()
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    epsilons = np.array([[float(cell) for cell in row[1:]] for row in rows])
    assert epsilons.shape == (2, 3)
    assert (np.diff(epsilons, axis=0) < 0).all()
    assert (np.diff(epsilons, axis=1) < 0).all()
