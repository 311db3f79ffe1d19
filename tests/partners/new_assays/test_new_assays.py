"""Models of assays that were not in the federation: what is tried, what is kept, and what the file gives back."""

from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import average_precision_score

from data_prep.prepared import MeasuredAssay, Task
from data_prep.settings import Preparation
from partners.assay_models.assays import Assay
from partners.assay_models.forest import fit_forest
from partners.assay_models.inputs import Inputs
from partners.assay_models.out_of_fold import predicted_out_of_fold
from partners.assay_models.yardstick import Yardstick
from partners.errors import CheckpointDamaged
from partners.files.checkpoint import Checkpoint, save_checkpoint
from partners.network.trunk import trunk_layout
from partners.new_assays.extension import Extension, extension_facts
from partners.new_assays.fit import FitJob, fit_extension, fit_extensions
from partners.new_assays.folds import cross_validation_folds
from partners.new_assays.kept_model import choose_new
from partners.new_assays.new_assay import NewAssay, for_few_labels, new_assays
from tests.support.partners.prepared_matrices import prepared_matrices

N_BITS = 64


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forests are no better understood with a hundred."""
    for function in (fit_forest, predicted_out_of_fold):
        monkeypatch.setattr(function, "__defaults__", (10,))


def made_up(n: int = 40, seed: int = 0, *, regression: bool = True, counts: bool = False) -> NewAssay:
    """An assay whose values follow from the first eight bits, with two thresholds and some bounds."""
    rng = np.random.default_rng(seed)
    x = sparse.random(n, N_BITS, 0.25, format="csr", rng=rng, dtype=np.float32)
    x.data[:] = rng.integers(1, 4, x.nnz) if counts else 1
    values = 6 + x[:, :8].toarray().sum(axis=1) * 0.5 + rng.normal(0, 0.2, n)
    thresholds = np.quantile(values, [0.4, 0.6])
    labels = np.where(values[:, None] > thresholds, 1.0, -1.0).astype(np.float32)
    labels[rng.random(labels.shape) < 0.1] = 0
    prepared = prepared_matrices()
    return NewAssay(
        assay=Assay(
            "X1",
            np.arange(n),
            values,
            rng.choice(np.array([0, 0, 0, 1], np.int8), n),
            (0, 1),
            (1, 1),
            0 if regression else None,
        ),
        tasks=tuple(
            replace(prepared.tasks[i], n_active=int((labels[:, i] > 0).sum()), n_inactive=int((labels[:, i] < 0).sum()))
            for i in range(2)
        ),
        regression_task=prepared.regression_tasks[0] if regression else None,
        x=x,
        descriptors=None,
        y=sparse.csr_matrix(labels),
        folding=np.arange(n) % 5,
    )


def inputs_of(new: NewAssay, *, knows: bool = False) -> Inputs:
    """Its inputs with a hidden layer of noise, or one that knows the values."""
    rng = np.random.default_rng(1)
    hidden = rng.random((new.n_compounds, 6)).astype(np.float32)
    if knows:
        hidden = np.repeat((new.assay.values[:, None] - new.assay.values.min()).astype(np.float32), 6, axis=1)
    return Inputs.of(new.x, hidden)


# ---------------------------------------------------------------------------------------------------- what can be tried


def counts(name: str = "A0", **other: object) -> MeasuredAssay:
    """An assay that can be tried."""
    base = MeasuredAssay(
        input_assay_id=name,
        assay_type="OTHER",
        n_values=50,
        n_candidates=2,
        n_tasks=2,
        in_regression=True,
        near_constant=False,
    )
    return replace(base, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (counts(n_values=19), "19 measured compounds, expected at least 20"),
        (counts(near_constant=True), "equal"),
        (counts(assay_type="AUX_HTS"), "AUX_HTS"),
        (counts(n_tasks=0), "no threshold has at least 2 actives and 2 inactives"),
        (counts(n_tasks=0, n_candidates=0, in_regression=False), "no threshold"),
    ],
)
def test_what_cannot_be_learned_is_refused_with_its_reason(found: MeasuredAssay, reason: str) -> None:
    """Each assay stands in one of the two lists."""
    accepted, (refused,) = new_assays(prepared_matrices(), [found], ())
    assert accepted == []
    assert reason in refused.reason
    assert (refused.input_assay_id, refused.n_compounds) == ("A0", found.n_values)


def test_an_assay_of_the_federation_is_refused() -> None:
    """The others go on."""
    accepted, (refused,) = new_assays(prepared_matrices(), [counts("A1"), counts("A0")], {"A1"})
    assert [new.assay.input_assay_id for new in accepted] == ["A0"]
    assert "federation" in refused.reason


def test_a_new_assay_has_the_rows_of_its_compounds() -> None:
    """Matrices cut to the measured compounds, tasks and regression numbered anew."""
    prepared = prepared_matrices()
    (new,), _ = new_assays(prepared, [counts("A0")], ())
    rows = np.flatnonzero(np.diff(prepared.y_regr[:, [0]].indptr))
    np.testing.assert_array_equal(new.x.toarray(), prepared.x[rows].toarray())
    np.testing.assert_array_equal(new.y.toarray(), prepared.y[rows][:, [0, 1]].toarray())
    np.testing.assert_array_equal(new.y_regr.toarray(), prepared.y_regr[rows][:, [0]].toarray())
    np.testing.assert_array_equal(new.y_censor.toarray(), prepared.y_censor[rows][:, [0]].toarray())
    assert (new.assay.tasks, new.assay.regression) == ((0, 1), 0)
    assert [task.threshold for task in new.tasks] == [6.0, 7.0]


def test_quorums_alone_are_lowered() -> None:
    """Compounds, fingerprints and folds are prepared as the plan says."""
    plan = Preparation()
    ours = for_few_labels(plan)
    assert (ours.chemistry, ours.fingerprint, ours.folds) == (plan.chemistry, plan.fingerprint, plan.folds)
    assert ours.regression.training_min_values == 20
    assert not ours.activities.auxiliary_tasks


# --------------------------------------------------------------------------------------------------------- out of fold


@pytest.mark.parametrize("on_trunk", [False, True])
def test_a_prediction_knows_no_value_of_its_own_fold(on_trunk: bool) -> None:  # noqa: FBT001 -- pytest's
    """If the values of a fold change, its predictions do not, and others do."""
    new = made_up()
    inputs = inputs_of(new) if on_trunk else inputs_of(new).without_hidden()
    fold = new.folding == 2
    before = predicted_out_of_fold(new.assay, inputs, new.folding, 0)
    changed = replace(new.assay, values=np.where(fold, 9.0, new.assay.values))
    after = predicted_out_of_fold(changed, inputs, new.folding, 0)
    assert {*before} == {"gaussian process", "forest", "mean"}
    for kind, predicted in before.items():
        np.testing.assert_array_equal(predicted[fold], after[kind][fold])
        assert (predicted[~fold] != after[kind][~fold]).any()
    np.testing.assert_allclose(before["mean"], (before["gaussian process"] + before["forest"]) / 2)


def test_many_compounds_leave_the_forest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of them would take too much memory."""
    monkeypatch.setattr("partners.assay_models.out_of_fold.MOST_ROWS", 30)
    new = made_up()
    assert {*predicted_out_of_fold(new.assay, inputs_of(new), new.folding, 0)} == {"forest"}
    kept = fit_extension(new, inputs_of(new), {}).facts["result"]["kept"]
    assert kept.startswith("forest")


@given(st.lists(st.integers(0, 6), min_size=20, max_size=60), st.integers(0, 9))
def test_every_fold_leaves_enough_to_fit_to(folding: list[int], seed: int) -> None:
    """The prepared folds, or if one holds nearly everything, shuffled ones; the seed decides alone."""
    given_folds = np.array(folding)
    folds, words = cross_validation_folds(given_folds, seed)
    sizes = np.bincount(folds)
    assert folds.size - sizes.max() >= 10
    assert np.array_equal(folds, given_folds) == (words == "prepared folds")
    np.testing.assert_array_equal(folds, cross_validation_folds(given_folds, seed)[0])


# ------------------------------------------------------------------------------------------------------ what is chosen


def test_scores_are_scikit_learns() -> None:
    """Average precision of each task over any sample of compounds."""
    new, rng = made_up(), np.random.default_rng(3)
    rows, predicted = rng.integers(40, size=(9, 40)), rng.normal(size=40)
    found = Yardstick.of(new.assay, new.y).average_precision(predicted, rows)
    for sample, drawn in enumerate(rows):
        for task in range(2):
            labels = new.y.toarray()[drawn, task]
            known = labels != 0
            expected = average_precision_score(labels[known] > 0, predicted[drawn][known])
            assert found[sample, task] == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_trunk_must_gain_to_be_kept(seed: int) -> None:
    """Equal predictions keep the model without it; perfect ones against noise keep the trunk; noise never does."""
    new, rng = made_up(seed=seed), np.random.default_rng(seed)
    yardstick, noise = Yardstick.of(new.assay, new.y), rng.normal(size=40)
    assert not choose_new(yardstick, {"mean": noise}, {"mean": noise}, "", 0).keeps_trunk
    assert choose_new(yardstick, {"mean": noise}, {"mean": new.assay.values}, "", 0).keeps_trunk
    assert not choose_new(yardstick, {"mean": new.assay.values}, {"mean": noise}, "", 0).keeps_trunk


def test_the_mean_is_kept_unless_another_is_clearly_better() -> None:
    """By more than a standard error."""
    new, rng = made_up(), np.random.default_rng(0)
    yardstick, truth, noise = Yardstick.of(new.assay, new.y), made_up().assay.values, rng.normal(size=40)
    alike = {"gaussian process": truth, "forest": truth, "mean": truth}
    assert choose_new(yardstick, alike, alike, "", 0).alone == "mean"  # type: ignore[arg-type]
    apart = {"gaussian process": noise, "forest": truth, "mean": noise}
    assert choose_new(yardstick, apart, alike, "", 0).alone == "forest"  # type: ignore[arg-type]


def test_without_thresholds_the_correlation_decides() -> None:
    """With exact values only."""
    new = made_up()
    bare = replace(
        new, y=new.y[:, :0], tasks=(), assay=replace(new.assay, tasks=(), signs=(), marks=np.zeros(40, np.int8))
    )
    kept = choose_new(Yardstick.of(bare.assay, bare.y), {"mean": -new.assay.values}, {"mean": new.assay.values}, "", 0)
    assert kept.keeps_trunk
    assert "correlation +2.000" in kept.reason
    assert fit_extension(bare, inputs_of(bare), {}).n_tasks == 0


# -------------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("with_counts", [False, True])
def test_a_file_gives_back_what_was_written(tmp_path: Path, regression: bool, with_counts: bool) -> None:  # noqa: FBT001
    """Models, calibration, compounds and facts; the same models give the same bytes, in any number of threads."""
    new = made_up(regression=regression, counts=with_counts)
    job = FitJob(new, lambda: inputs_of(new, knows=True), {"assay": "X1"})
    for name, workers in (("a", 1), ("b", 2)):
        _, extension = fit_extensions([job, job], workers=workers)
        extension.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = Extension.read(tmp_path / "a", trunk_layout(N_BITS, (6,)))
    np.testing.assert_array_equal(found.known.toarray(), new.x.toarray())
    assert found.facts == extension_facts(tmp_path / "a")
    assert found.facts["result"]["kept"].endswith("on the trunk")
    assert (found.n_tasks, found.n_regressions) == (2, int(regression))
    for mine, theirs in ((extension.alone, found.alone), (extension.on_trunk, found.on_trunk)):
        assert mine
        assert theirs
        for name, array in mine.arrays().items():
            np.testing.assert_array_equal(array, theirs.arrays()[name])


@pytest.mark.parametrize("workers", [1, 3])
def test_inputs_are_made_when_an_assay_is_fitted(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Not those of all assays before the first fit, and never two at a time: they set torch's number of threads."""
    new, steps, making = made_up(), [], Lock()

    def inputs() -> Inputs:
        assert making.acquire(blocking=False)
        steps.append("inputs")
        making.release()
        return inputs_of(new)

    monkeypatch.setattr("partners.new_assays.fit.fit_extension", lambda *_: steps.append("fit"))
    fit_extensions([FitJob(new, inputs, {})] * 4, workers=workers)
    assert sorted(steps) == ["fit"] * 4 + ["inputs"] * 4
    assert workers > 1 or steps == ["inputs", "fit"] * 4


def test_calibration_has_every_label_once() -> None:
    """As the predictions are out of fold, no label was used to predict itself."""
    new = made_up()
    calibration = fit_extension(new, inputs_of(new), {}).alone.calibration
    assert calibration.active.numbers.size == (new.y.data > 0).sum()
    assert calibration.inactive.numbers.size == (new.y.data < 0).sum()
    assert calibration.residual.numbers.size == (new.assay.marks == 0).sum()


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A checkpoint of another kind, and one that lacks arrays."""
    save_checkpoint(tmp_path / "other", Checkpoint(facts={"kind": "assay models"}))
    extension = fit_extension(made_up(), inputs_of(made_up()), {})
    extension.write(tmp_path / "sound")
    damaged = (tmp_path / "sound").read_bytes()
    (tmp_path / "damaged").write_bytes(damaged[:-4] + b"\x00\x00\x01\x00")
    for name in ("other", "damaged"):
        with pytest.raises(CheckpointDamaged):
            Extension.read(tmp_path / name, trunk_layout(N_BITS, (6,)))
    with pytest.raises(CheckpointDamaged):
        Extension.read(tmp_path / "sound", trunk_layout(16, (6,)))  # fewer bits
    with pytest.raises(CheckpointDamaged):
        extension_facts(tmp_path / "other")


def test_results_are_of_the_kept_and_the_best_without() -> None:
    """With a trunk that knows everything the gain is large; each threshold has its own row."""
    new = made_up()
    result = fit_extension(new, inputs_of(new, knows=True), {}).facts["result"]
    assert [row["threshold"] for row in result["tasks"]] == [task.threshold for task in new.tasks]
    assert all(row["kept"] > row["without_trunk"] for row in result["tasks"])
    task: Task = new.tasks[0]
    assert result["tasks"][0]["n_labels"] == task.n_active + task.n_inactive
    noisy = fit_extension(new, inputs_of(new), {})
    if noisy.on_trunk is None:
        assert all(row["kept"] == row["without_trunk"] for row in noisy.facts["result"]["tasks"])
