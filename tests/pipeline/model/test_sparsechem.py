"""Export to SparseChem and the check of its data files, as commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from partners.files.round_checkpoint import RoundStart
from partners.files.sparsechem_model import read_sparsechem
from partners.network.inference import predict
from partners.network.input_columns import InputColumns
from pipeline.errors import ExitCode
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan
from tests.support.cli_runner import hocket, refused
from tests.support.federation import Federation
from tests.support.partners.synthetic import hybrid_set


def test_the_exported_model_is_the_federated_one(done: Federation, tmp_path: Path):
    """What SparseChem gets predicts for the partner's compounds what its own model predicts, to the bit."""
    model_file = tmp_path / "model.pt"
    said = hocket("export", "sparsechem", done.config("P02"), model_file)
    assert said.exit_code == ExitCode.DONE, said.output
    assert f"model: {model_file}" in said.stdout.splitlines()
    plan, home = read_plan(done.plan_file), done.home("P02")
    start = RoundStart.read(home.start_file(plan.rounds.n_rounds + 1), plan.layout)
    model = read_sparsechem(model_file, model_file.with_suffix(".json"))
    x = sparse.load_npz(next(home.prepared.glob("*/x.npz")))
    training = PartnerConfig.read(done.config("P02")).training
    expected = predict(x, *start.model(InputColumns()), plan.layout, plan.trunk, training)
    found = predict(x, model.trunk, model.state, model.layout, model.trunk_settings, model.training)
    np.testing.assert_array_equal(found.logits, expected.logits)
    assert f"classification_tasks: {start.private.n_tasks}" in said.stdout.splitlines()


def test_export_names_the_settings_file_and_overwrites_nothing(done: Federation, tmp_path: Path):
    """--json says where the settings go; an existing file is refused and stays as it is."""
    model_file, settings_file = tmp_path / "model.pt", tmp_path / "conf.json"
    arguments = ("export", "sparsechem", done.config("P01"), model_file, "--json", settings_file)
    assert hocket(*arguments).exit_code == ExitCode.DONE
    assert json.loads(settings_file.read_text())["conf"]["class_output_size"] > 0
    before = model_file.read_bytes()
    assert "exists already" in refused(ExitCode.CONFIGURATION, *arguments)
    assert model_file.read_bytes() == before


def test_export_before_the_first_round(enrolled: Federation, tmp_path: Path):
    """Without a model the command says so, with the code for waiting, and writes nothing."""
    said = refused(ExitCode.NOT_YET, "export", "sparsechem", enrolled.config("P01"), tmp_path / "model.pt")
    assert "no model yet" in said
    assert list(tmp_path.iterdir()) == []


def _golden(shared: Path) -> list[object]:
    folder = shared / "golden" / "sparsechem"
    names = {"x": "x.npz", "y-class": "y_class.npz", "y-regr": "y_regr.npz", "y-censor": "y_censor.npz"}
    names |= {"folding": "folding.npy", "weights-class": "cls_weights.csv", "weights-regr": "reg_weights.csv"}
    return [argument for name, file in names.items() for argument in (f"--{name}", folder / file)]


def test_matrices_of_a_sparsechem_user_are_counted(shared: Path):
    """Compounds, tasks, labels, values and folds of SparseChem's own golden data, in words and as JSON."""
    found = json.loads(hocket("check-matrices", *_golden(shared), "--json").stdout)
    assert {key: found[key] for key in ("compounds", "features", "classification_tasks", "labels")} == {
        "compounds": 240,
        "features": 512,
        "classification_tasks": 12,
        "labels": 725,
    }
    assert (found["regression_tasks"], found["values"]) == (5, 339)
    assert 0 < found["censored_values"] < 339
    assert sum(found["labels_by_fold"].values()) == 725 + 339
    assert "labels: 725" in hocket("check-matrices", *_golden(shared)).stdout.splitlines()


def test_matrices_are_compared_with_a_plan(shared: Path, enrolled: Federation, tmp_path: Path):
    """A plan's number of features and its folds count; others are refused with the code for data."""
    arguments = _golden(shared)
    found = json.loads(hocket("check-matrices", *arguments, "--plan", enrolled.plan_file, "--json").stdout)
    assert (found["test_fold"], found["validation_fold"]) == (0, 1)
    narrow = tmp_path / "x.npz"
    sparse.save_npz(narrow, sparse.load_npz(arguments[1])[:, :500])
    said = refused(ExitCode.DATA, "check-matrices", *arguments, "--x", narrow, "--plan", enrolled.plan_file)
    assert "found 500 features, expected 512" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fold-va", "0"], r"\bboth 0\b"),
        (["--y-censor", "y.npz"], r"y_censor: .*\(120, 7\), .*\(240, 5\)"),
        (["--y-class", "y.npz"], r"cls_weights\.csv: .*\b12 task ids.*\b0 to 6\b"),
        (["--x", "x.npy"], r"x\.npy: .*pickle"),
    ],
)
def test_bad_matrices_are_refused(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
):
    """One sentence on stderr, the code for data, nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    sparse.save_npz("y.npz", hybrid_set().y)
    np.save("x.npy", hybrid_set().x)
    assert re.search(words, refused(ExitCode.DATA, "check-matrices", *_golden(shared), *options))


def test_a_trusted_pickle_is_read(shared: Path, tmp_path: Path):
    """With --trust-pickle the user's own .npy counts like the .npz."""
    arguments = _golden(shared)
    np.save(tmp_path / "x.npy", sparse.load_npz(arguments[1]))
    done = hocket("check-matrices", *arguments, "--x", tmp_path / "x.npy", "--trust-pickle")
    assert done.stdout == hocket("check-matrices", *arguments).stdout
