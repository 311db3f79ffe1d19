"""Strongest local and take-home models: fitted once, kept in one file, compared on the held-out folds."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.settings import Activities, Preparation, Regression
from partners.assay_models.predictor import AssayPredictor
from partners.errors import CheckpointDamaged
from partners.models import take_home
from partners.models.compared import ComparedModels
from partners.models.held_out import EvaluatedModel, evaluate_outputs
from partners.models.take_home import FittedModels, compare_models, read_models
from partners.network.inference import Outputs
from partners.network.shared_head_rows import HolderCounts
from tests.support.partners.fitted_models import OWN, PREPARED, fit, network
from tests.support.partners.made_up_assays import FOLDS, LAYOUT, TRAINING, TRUNK, predictor_of

N_KNOWN = OWN.training_set.training_rows.size
PREPARATION = Preparation(
    folds=FOLDS,
    activities=replace(Activities(), evaluation_min_active=1, evaluation_min_inactive=1),
    regression=replace(Regression(), evaluation_min_exact=2),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of fitted models. For reading only."""
    file = tmp_path_factory.mktemp("kept") / "models.safetensors"
    fit(file)
    return file


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    file = tmp_path / "models.safetensors"
    file.write_bytes(kept.read_bytes())
    return file


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is called to choose and to fit, in order."""
    called: list[str] = []
    for name in ("choose_kinds", "fit_assay_models"):
        counted(monkeypatch, name, called)
    return called


def counted(monkeypatch: pytest.MonkeyPatch, name: str, called: list[str]) -> None:
    """Let a function of the module note that it was called."""
    real: Callable[..., Any] = getattr(take_home, name)

    def call(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 -- any function's
        called.append(name)
        return real(*arguments, **options)

    monkeypatch.setattr(take_home, name, call)


def bytes_of(models: FittedModels) -> list[dict[str, bytes]]:
    """Every array of both sides."""
    sides = (models.strongest, models.take_home)
    return [{name: array.tobytes() for name, array in side.arrays().items()} for side in sides]


def test_a_kept_file_is_read_and_nothing_fitted(kept: Path, copy: Path, fits: list[str]):
    """The same models to the bit; the file stays as it is."""
    found = fit(copy)
    assert fits == []
    assert bytes_of(found) == bytes_of(read_models(kept, LAYOUT, N_KNOWN))
    assert copy.read_bytes() == kept.read_bytes()


def test_fitting_again_writes_the_same_bytes(kept: Path, tmp_path: Path, fits: list[str]):
    """With another number of workers, too."""
    file = tmp_path / "again.safetensors"
    fit(file, own=replace(OWN, workers=1))
    assert fits == ["choose_kinds", "fit_assay_models", "fit_assay_models"]
    assert file.read_bytes() == kept.read_bytes()


@pytest.mark.parametrize("what", ["data", "prepared", "seed", "heads", "local", "federated"])
def test_with_anything_else_models_are_fitted_again(copy: Path, fits: list[str], what: str):
    """Other labels, matrices, seed, shared heads or networks; and then they are kept in turn."""
    before = copy.read_bytes()
    y = OWN.training_set.y.copy()
    y.data[0] *= -1
    changes: dict[str, dict[str, Any]] = {
        "data": {"own": replace(OWN, training_set=replace(OWN.training_set, y=y))},
        "prepared": {"prepared": replace(PREPARED, manifest=PREPARED.manifest | {"digest": "another"})},
        "seed": {"own": replace(OWN, training=replace(TRAINING, seed=9))},
        "heads": {"own": replace(OWN, held={0: (1,)}, counts=HolderCounts((3,), frozenset("abc"), 3))},
        "local": {"local": network(3)},
        "federated": {"federated": network(3)},
    }
    fit(copy, **changes[what])
    assert len(fits) == 3
    assert copy.read_bytes() != before
    fit(copy, **changes[what])
    assert len(fits) == 3


def test_neither_side_depends_on_the_others_network(kept: Path, tmp_path: Path):
    """The strongest local models do not know the federated trunk, nor the take-home models the local one."""
    strongest, mine = bytes_of(read_models(kept, LAYOUT, N_KNOWN))
    assert bytes_of(fit(tmp_path / "a", federated=network(3)))[0] == strongest
    assert bytes_of(fit(tmp_path / "b", local=network(3)))[1] == mine


def test_only_the_take_home_side_uses_the_trunk(kept: Path):
    """Both use the descriptors that the matrices have."""
    models = read_models(kept, LAYOUT, N_KNOWN)
    assert not models.strongest.uses_trunk
    assert models.take_home.uses_trunk
    assert models.strongest.uses_descriptors
    assert models.take_home.uses_descriptors


@pytest.mark.slow
def test_killed_while_writing_nothing_half_written_is_used(kept: Path, tmp_path: Path):
    """There is no such file; the next run fits and writes what an undisturbed one writes."""
    file = tmp_path / "models.safetensors"
    script = "import sys, pathlib; from tests.support.partners.fitted_models import fit_until_killed as fit; "
    killed = [sys.executable, "-c", script + "fit(pathlib.Path(sys.argv[1]))", file]
    assert subprocess.run(killed, cwd=Path(__file__).resolve().parents[3], check=False).returncode == -signal.SIGKILL
    assert not file.exists()
    fit(file)
    assert file.read_bytes() == kept.read_bytes()


def test_a_damaged_file_is_refused(copy: Path):
    """A flipped byte, or models for other compounds, are not used and not fitted over."""
    with pytest.raises(CheckpointDamaged):
        read_models(copy, LAYOUT, 3)
    sound = copy.read_bytes()
    copy.write_bytes(sound[:-3] + bytes([sound[-3] ^ 1]) + sound[-2:])
    with pytest.raises(CheckpointDamaged):
        fit(copy)
    with pytest.raises(FileNotFoundError):
        read_models(copy.with_name("none"), LAYOUT, N_KNOWN)


def test_every_task_has_its_kinds(kept: Path):
    """Those of its assay, the take-home model's on the trunk; an auxiliary task has the network's head."""
    models = read_models(kept, LAYOUT, N_KNOWN)
    tasks, regressions = models.kinds(PREPARED, OWN.training_set.n_regressions)
    assert [len(tasks), len(regressions)] == [len(PREPARED.tasks), len(PREPARED.regression_tasks)]
    choice = dict(zip(models.assays, models.choices, strict=True))
    for of_kind, kinds, numbers in (
        (PREPARED.tasks, tasks, models.strongest.of_task),
        (PREPARED.regression_tasks, regressions, models.strongest.of_regression),
    ):
        for task, kind, number in zip(of_kind, kinds, numbers, strict=True):  # type: ignore[call-overload]
            if task.is_auxiliary:
                assert (kind.strongest, kind.kept, number) == ("network", "network", -1)
            else:
                assert kind.strongest == choice[task.input_assay_id].kind
                assert kind.reason
                assert (kind.strongest == "network") == (number == -1)
    assert not models.kinds(PREPARED, 0)[1]
    assert {task.strongest for task in tasks} > {"network"}


def test_a_task_on_a_shared_row_names_its_head(kept: Path, tmp_path: Path):
    """Its kind has "and head" and the reason says so; not those of its assay's other tasks, and not a head alone."""
    few = next(task.task_id for task in PREPARED.tasks if task.input_assay_id == "FEW")
    own = replace(OWN, held={0: (1,), 1: (few,)}, counts=HolderCounts((3, 3), frozenset("abc"), 3))
    assert own.shared_tasks == {1, few}
    shared, models = fit(tmp_path / "models.safetensors", own=own), read_models(kept, LAYOUT, N_KNOWN)
    n_regressions = OWN.training_set.n_regressions
    (tasks, regressions), (plain, plain_regressions) = (
        each.kinds(PREPARED, n_regressions) for each in (shared, models)
    )
    assert regressions == plain_regressions
    assert [task for task, other in enumerate(plain) if tasks[task] != other] == [1]
    assert tasks[1].strongest == plain[1].strongest
    assert tasks[1].kept == f"{plain[1].kept} and head"
    assert "shared" in tasks[1].reason
    weights = shared.take_home.mixing.by_network
    assert [task for task in range(few) if weights[task] != 0] == [1]
    for kind in (*plain, *tasks):
        assert ("cross-validation" in kind.reason) == ("same kind" in kind.reason) == (kind.kept != "network")
    assert read_models(tmp_path / "models.safetensors", LAYOUT, N_KNOWN).kinds(PREPARED, n_regressions)[0] == tasks


def test_progress_names_the_steps(tmp_path: Path):
    """Choosing, then fitting either side; each counts all assays."""
    seen: list[tuple[int, int, str]] = []
    fit(tmp_path / "models.safetensors", progress=lambda *step: seen.append(step))
    steps = list(dict.fromkeys(name for _, _, name in seen))
    assert len(steps) == 3
    assert seen == [(done, 5, name) for name in steps for done in range(1, 6)]


@pytest.fixture(scope="module")
def compared(kept: Path) -> ComparedModels:
    """The four models of the kept file, scored."""
    models = read_models(kept, LAYOUT, N_KNOWN)
    return compare_models(PREPARED, OWN, PREPARATION, models, network(1), network(2), LAYOUT, TRUNK)


def assert_equal_scores(one: EvaluatedModel, other: EvaluatedModel) -> None:
    """Every score on both folds."""
    for fold in ("validation", "test"):
        for kind in ("tasks", "regression_tasks", "labels", "values"):
            mine, theirs = (getattr(getattr(model, fold), kind) for model in (one, other))
            for part in fields(mine):
                np.testing.assert_array_equal(getattr(mine, part.name), getattr(theirs, part.name))


@pytest.mark.parametrize(("side", "seed"), [("network_local", 1), ("network_federated", 2)])
def test_the_networks_are_scored_as_ever(compared: ComparedModels, side: str, seed: int):
    """By their own outputs, without any assay model."""
    predictor, data = predictor_of(network(seed)), OWN.training_set
    test, validation = (predictor(data.x[data.rows_of(fold)]) for fold in (data.test_fold, data.validation_fold))
    expected = evaluate_outputs(OWN, PREPARATION, test, validation)
    assert_equal_scores(getattr(compared, side), expected)


@pytest.mark.parametrize(("side", "seed"), [("strongest", 1), ("take_home", 2)])
def test_the_models_are_scored_by_their_predictions(compared: ComparedModels, kept: Path, side: str, seed: int):
    """Those that they give for the held-out compounds one after the other."""
    models, data = getattr(read_models(kept, LAYOUT, N_KNOWN), side), OWN.training_set
    predictor = AssayPredictor(predictor_of(network(seed)), models, data.x[data.training_rows])
    assert PREPARED.descriptors is not None

    def outputs(fold: int) -> Outputs:
        parts = [predictor(data.x[[row]], PREPARED.descriptors[[row]]) for row in data.rows_of(fold)]  # type: ignore[index]
        return Outputs(*(np.vstack([getattr(part, name) for part in parts]) for name in ("logits", "values")))

    expected = evaluate_outputs(OWN, PREPARATION, outputs(data.test_fold), outputs(data.validation_fold))
    assert_equal_scores(getattr(compared, side), expected)


def test_compared_models_name_the_kinds_of_every_task(compared: ComparedModels, kept: Path):
    """The report's tables say them."""
    models = read_models(kept, LAYOUT, N_KNOWN)
    assert (list(compared.tasks), list(compared.regression_tasks)) == models.kinds(
        PREPARED, OWN.training_set.n_regressions
    )
