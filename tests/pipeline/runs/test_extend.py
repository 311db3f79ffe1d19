"""`hocket extend`: assays that were not in the federation, in the partner's finished model."""

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

import partners.new_assays.fit
import pipeline.model.extensions
from data_prep.prediction.structure_files import StructureRecord
from partners.assay_models.forest import fit_forest
from partners.assay_models.gaussian_process import fit_gaussian_process
from partners.assay_models.inputs import Inputs, kernel
from partners.network.trunk import trunk_layout
from partners.new_assays.extension import Extension
from partners.new_assays.kept_model import KeptModel
from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.model.description import Description
from pipeline.model.folder import OpenModel
from pipeline.model.structure_batches import prepare_batch
from secure.messages.provenance import PROVENANCE_FILE
from tests.support.cli_runner import hocket
from tests.support.data_prep.new_assay_tables import NewTableFiles, write_new_assays
from tests.support.federation import Federation
from tests.support.full_disk import fill
from tests.support.partner_tables import SMILES

SIZES = {"X1": 60, "X, 2": 40, "small": 15, "constant": 40, "P01-A1": 40}
OF_FEDERATION = ("federated.safetensors", "local.safetensors", "compounds.safetensors", "README.md")


@pytest.fixture(scope="module", autouse=True)
def few_trees(finished: Federation) -> Iterator[None]:  # noqa: ARG001 -- which has its hundred, for other tests
    """Forests are no better understood with a hundred."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_forest, "__defaults__", (10,))
        yield


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> NewTableFiles:
    """Two assays that can be tried, and three that cannot."""
    return write_new_assays(tmp_path_factory.mktemp("new"), SIZES)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Structures to predict for."""
    path = tmp_path_factory.mktemp("structures") / "new.smi"
    path.write_text("".join(f"{smiles} n{i}\n" for i, smiles in enumerate(SMILES[:60])))
    return path


@pytest.fixture(scope="module")
def extended(
    finished: Federation, tables: NewTableFiles, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Federation, str]:
    """A federation with P01's model extended, and what the command printed. For reading only."""
    federation = finished.moved(tmp_path_factory.mktemp("extended") / "federation")
    done = hocket("extend", federation.config("P01"), *tables.options)
    assert done.exit_code == 0, done.output
    return federation, done.stdout


def predicted(federation: Federation, new: Path, output: Path, *options: object) -> pl.DataFrame:
    """The wide table of `hocket predict`."""
    result = hocket("predict", federation.config("P01"), new, "--output", output, "--format", "wide", *options)
    assert result.exit_code == 0, result.stderr
    return pl.read_parquet(output)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_assay_is_added_or_refused_with_its_reason(extended: tuple[Federation, str]) -> None:
    """Two tables on standard output, and the same in the report."""
    federation, printed = extended
    home = federation.home("P01")
    report = json.loads((home.extensions / "added.json").read_text())
    assert [one["input_assay_id"] for one in report["added"]] == ["X, 2", "X1"]
    reasons = {one["input_assay_id"]: one["reason"] for one in report["refused"]}
    assert {*reasons} == {"small", "constant", "P01-A1"}
    assert "expected at least 20" in reasons["small"]
    assert "equal" in reasons["constant"]
    assert "federation" in reasons["P01-A1"]
    for assay in SIZES:
        assert assay in printed
    for one in report["added"]:
        (task,) = one["tasks"]
        assert task["threshold"] == 6.0
        assert 20 <= task["n_labels"] == one["n_compounds"]
        if task["n_labels"] >= 50:  # with fewer the trunk stays unless it is clearly worse
            assert task["kept"] >= task["without_trunk"]
        assert f"{task['kept']:.4f}" in printed


def test_the_federations_models_do_not_change(
    extended: tuple[Federation, str], finished: Federation, new: Path, tmp_path: Path
) -> None:
    """Their files byte for byte, and each of their predictions."""
    federation, _ = extended
    before, after = finished.home("P01").model, federation.home("P01").model
    for name in OF_FEDERATION:
        assert (before / name).read_bytes() == (after / name).read_bytes()
    old, now = Description.read(before), Description.read(after)
    assert now.without_added() == old
    assert [task.input_assay_id for task in now.tasks[len(old.tasks) :]] == ["X, 2", "X1"]
    untouched = finished.moved(tmp_path / "before")
    for which in ("federated", "local"):
        wide = [
            predicted(one, new, tmp_path / f"{which}{i}.parquet", "--model", which)
            for i, one in enumerate((untouched, federation))
        ]
        assert wide[1].select(wide[0].columns).equals(wide[0])


def test_new_assays_are_predicted(extended: tuple[Federation, str], new: Path, tmp_path: Path) -> None:
    """By both models, alone or with all others: probability, p-values, value, interval and domain."""
    federation, _ = extended
    truth = ["N" in smiles[4:] for smiles in SMILES[:60]]
    for which in ("federated", "local"):
        wide = predicted(federation, new, tmp_path / f"{which}.parquet", "--model", which, "--tasks", "X1")
        known = [truth[int(name.removeprefix("n"))] for name in wide["input_compound_id"]]
        assert roc_auc_score(known, wide["X1@6.probability"].to_numpy()) > 0.8
        for column in ("X1@6.conformal_p_active", "X1@6.conformal_p_inactive", "X1.value", "X1.low", "X1.high"):
            assert np.isfinite(wide[column].to_numpy()).all()
        assert wide["X1@6.in_domain"].any()
        assert not [name for name in wide.columns if name.startswith(("P01", "X, 2"))]
    both = predicted(federation, new, tmp_path / "both.parquet", "--tasks", "X1", "--tasks", "X, 2@6")
    assert {name.split(".")[0] for name in both.columns} >= {"X1@6", "X, 2@6", "X1"}


def test_a_compound_gets_the_same_bits_alone(extended: tuple[Federation, str]) -> None:
    """In a batch of any size."""
    model = OpenModel(extended[0].home("P01").model)
    batch = prepare_batch(model, [StructureRecord(i, str(i), smiles, None) for i, smiles in enumerate(SMILES[:9])])
    together = model.predictor.predict(batch.x, batch.descriptors)
    for i in (0, 4):
        alone = model.predictor.predict(batch.x[[i]])
        np.testing.assert_array_equal(alone.probability[0], together.probability[i])
        np.testing.assert_array_equal(alone.value[0], together.value[i])
    outputs = model.predictor.outputs(batch.x, batch.descriptors)  # without p-values and similarity
    np.testing.assert_array_equal(outputs.probabilities, together.probability)
    np.testing.assert_array_equal(outputs.values, together.value)


def test_the_local_model_has_the_best_without_the_trunk(extended: tuple[Federation, str]) -> None:
    """And the federated one what is kept, as model.json says."""
    folder = extended[0].home("P01").model
    description = Description.read(folder)
    for extension in pipeline.model.extensions.read_added(folder, description):
        (task,) = (one for one in description.tasks if one.input_assay_id == extension.facts["assay"])
        assert task.kept == extension.facts["result"]["kept"]
        assert task.strongest == extension.facts["result"]["without_trunk"]
        assert (extension.on_trunk is not None) == task.kept.endswith("on the trunk")


def test_on_the_trunk_it_is_a_model_of_what_embed_gives(
    finished: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Gaussian process by hand on fingerprints and the hidden layer of `hocket embed` says the same."""
    federation = finished.moved(tmp_path / "federation")
    home, config = federation.home("P01"), federation.config("P01")
    tables = write_new_assays(tmp_path / "new", {"X1": 60})
    forced = KeptModel("gaussian process", "gaussian process", keeps_trunk=True, reason="for a test")
    monkeypatch.setattr(partners.new_assays.fit, "choose_new", lambda *_: forced)
    description = json.loads((home.model / "model.json").read_text())
    write_json(home.model / "model.json", description | {"kept": "local"})
    (home.model / PROVENANCE_FILE).unlink()  # it is signed for the other choice
    done = hocket("extend", config, *tables.options)
    assert done.exit_code == 0, done.output
    assert "--model federated" in done.stderr
    known = pl.read_csv(tables.activities).join(pl.read_csv(tables.structures), on="input_compound_id")
    known.select("input_compound_id", "smiles").write_csv(tmp_path / "known.csv")
    assert hocket("embed", config, tmp_path / "known.csv", "--output", tmp_path / "known.npz").exit_code == 0
    with np.load(tmp_path / "known.npz") as arrays:
        hidden, ids = arrays["hidden"], arrays["ids"].tolist()
    records = [StructureRecord(i, name, dict(known.select("input_compound_id", "smiles").iter_rows())[name], None)
               for i, name in enumerate(ids)]  # fmt: skip
    x = prepare_batch(OpenModel(home.model), records).x
    measured = dict(known.select("input_compound_id", "standard_value").iter_rows())
    similarity = kernel(Inputs.of(x, hidden), Inputs.of(x, hidden))
    values = np.array([measured[name] for name in ids])
    expected = fit_gaussian_process(similarity, values.astype(np.float32).astype(float), 2).predict(similarity)
    found = predicted(federation, tmp_path / "known.csv", tmp_path / "out.parquet", "--model", "federated")
    np.testing.assert_allclose(found["X1.value"].to_numpy(), expected, atol=1e-4)
    without = predicted(federation, tmp_path / "known.csv", tmp_path / "local.parquet", "--tasks", "X1")
    assert np.abs(without["X1.value"].to_numpy() - expected).max() > 0.01


@pytest.mark.slow
def test_the_same_tables_give_the_same_bytes(
    extended: tuple[Federation, str], tables: NewTableFiles, tmp_path: Path
) -> None:
    """Again in the same home, and in another; with other workers too."""
    federation, printed = extended
    again = federation.moved(tmp_path / "federation")
    home = again.home("P01")
    before = bytes_of(home.model), bytes_of(home.extensions)
    with again.config("P01").open() as file:
        lines = file.read()
    again.config("P01").write_text(f"workers = 1\n{lines}")
    done = hocket("extend", again.config("P01"), *tables.options)
    assert (bytes_of(home.model), bytes_of(home.extensions)) == before
    assert done.stdout.splitlines()[:-1] == printed.splitlines()[:-1]  # the last line names a file


@pytest.mark.slow
def test_more_assays_are_added_and_others_replaced(
    extended: tuple[Federation, str], finished: Federation, tables: NewTableFiles, tmp_path: Path
) -> None:
    """X1 is fitted to its new values, "X, 2" stays; the order of the commands does not matter."""
    more = write_new_assays(tmp_path / "more", {"X1": 50, "X3": 45}, seed=8, in_regression=False)
    federation = extended[0].moved(tmp_path / "federation")
    home = federation.home("P01")
    kept = bytes_of(home.model)
    assert hocket("extend", federation.config("P01"), *more.options).exit_code == 0
    now = bytes_of(home.model)
    assert [one.input_assay_id for one in Description.read(home.model).added] == ["X, 2", "X1", "X3"]
    changed = {name for name in kept if now[name] != kept[name]}
    assert changed == {"model.json", pipeline.model.extensions.extension_file("X1")}
    assert [task.input_assay_id for task in Description.read(home.model).regression_tasks] == ["X, 2"]
    other = finished.moved(tmp_path / "other")
    for files in (more, tables, more):
        assert hocket("extend", other.config("P01"), *files.options).exit_code == 0
    assert bytes_of(other.home("P01").model) == now


def test_a_removed_model_is_made_again_with_its_new_assays(
    extended: tuple[Federation, str], new: Path, tmp_path: Path
) -> None:
    """The same bytes; new assays are kept in the home, not in the model's folder alone."""
    federation = extended[0].moved(tmp_path / "federation")
    folder = federation.home("P01").model
    before = bytes_of(folder)
    shutil.rmtree(folder)
    predicted(federation, new, tmp_path / "out.parquet", "--tasks", "X1")
    assert bytes_of(folder) == before


def test_assays_of_another_trunk_are_left_out(extended: tuple[Federation, str], new: Path, tmp_path: Path) -> None:
    """They are no part of a model that is made again, which is told."""
    federation = extended[0].moved(tmp_path / "federation")
    home = federation.home("P01")
    file = home.extensions / pipeline.model.extensions.extension_file("X1")
    description = Description.read(home.model)
    one = Extension.read(file, trunk_layout(description.fingerprint.n_bits, description.trunk.hidden))
    replace(one, facts={**one.facts, "trunk": "another trunk's digest"}).write(file)
    shutil.rmtree(home.model)
    result = hocket("predict", federation.config("P01"), new, "--tasks", "X1")
    assert result.exit_code == 2
    assert "fitted on another trunk" in result.stderr
    assert [added.input_assay_id for added in Description.read(home.model).added] == ["X, 2"]


def test_if_all_are_refused_nothing_is_written(finished: Federation, tmp_path: Path) -> None:
    """Exit code 3, and the reasons."""
    federation = finished.moved(tmp_path / "federation")
    home = federation.home("P01")
    before = bytes_of(home.model)
    few = write_new_assays(tmp_path / "few", {"small": 19})
    done = hocket("extend", federation.config("P01"), *few.options)
    assert done.exit_code == 3
    assert "expected at least 20" in done.stdout
    assert bytes_of(home.model) == before
    assert [path.name for path in home.extensions.iterdir()] == ["prepared"]


def test_one_class_alone_is_refused(finished: Federation, tmp_path: Path) -> None:
    """A threshold above every value."""
    federation = finished.moved(tmp_path / "federation")
    files = write_new_assays(tmp_path / "high", {"X1": 40}, threshold=9.5)
    done = hocket("extend", federation.config("P01"), *files.options)
    assert done.exit_code == 3
    assert "2 actives and 2 inactives" in done.stdout


def test_without_a_threshold_one_is_found(finished: Federation, tmp_path: Path) -> None:
    """As in a federation's preparation, with fewer labels of each class."""
    federation = finished.moved(tmp_path / "federation")
    files = write_new_assays(tmp_path / "free", {"X1": 40}, threshold=None)
    assert hocket("extend", federation.config("P01"), *files.options).exit_code == 0
    (task,) = (one for one in Description.read(federation.home("P01").model).tasks if one.input_assay_id == "X1")
    assert task.threshold in (8.0, 7.0, 6.0, 5.0)


@pytest.mark.parametrize("broken", ["T0", "T1", "T2"])
def test_tables_that_are_none_are_refused(finished: Federation, tmp_path: Path, broken: str) -> None:
    """Exit code 3 with the file's name; the model stays."""
    federation = finished.moved(tmp_path / "federation")
    files = write_new_assays(tmp_path / "bad", {"X1": 40})
    (tmp_path / "bad" / f"{broken}.csv").write_text("nothing,of,this\n1,2,3\n")
    before = bytes_of(federation.home("P01").model)
    done = hocket("extend", federation.config("P01"), *files.options)
    assert done.exit_code == 3
    assert f"{broken}.csv" in done.stderr
    assert done.stdout == ""
    assert bytes_of(federation.home("P01").model) == before


def test_rows_that_are_left_out_are_told(finished: Federation, tmp_path: Path) -> None:
    """With reasons, and the file that lists them; the configuration's structures are the default."""
    federation = finished.moved(tmp_path / "federation")
    files = write_new_assays(tmp_path / "rows", {"X1": 60})
    shutil.copy(files.structures, federation.folder / "P01" / "T2.csv")
    with files.activities.open("a") as file:
        file.write("N0,unknown,=,5.0\nN1,X1,?,5.0\n")
    done = hocket("extend", federation.config("P01"), "--assays", files.assays, "--activities", files.activities)
    assert done.exit_code == 0, done.output
    assert "unknown_assay 1" in done.stderr
    (listed,) = federation.home("P01").extensions.glob("prepared/*/rejected.parquet")
    assert {"unknown_assay"} <= set(pl.read_parquet(listed)["reason"])


def test_before_the_end_there_is_nothing_to_extend(fresh: Federation, tables: NewTableFiles) -> None:
    """Exit code 6; nothing is made in the home."""
    done = hocket("extend", fresh.config("P01"), *tables.options)
    assert done.exit_code == 6
    assert not fresh.home("P01").extensions.exists()


def test_inspect_knows_its_files(extended: tuple[Federation, str]) -> None:
    """Without a key, and without any assay's id."""
    home = extended[0].home("P01")
    for path in (home.extensions / "added.json", *home.extensions.glob("assay-*"), *home.model.glob("assay-*")):
        done = hocket("inspect", path)
        assert done.exit_code == 0, done.output
        assert "(private)" in done.stdout
        assert "X1" not in done.stdout


def test_what_is_written_is_private(extended: tuple[Federation, str]) -> None:
    """For the owner alone; no structure and no compound's id is in the models or in the report."""
    home = extended[0].home("P01")
    files = [*home.model.iterdir(), *(path for path in home.extensions.iterdir() if path.is_file())]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    everything = b"".join(file.read_bytes() for file in files)
    assert b"N17" not in everything
    assert not any(smiles.encode() in everything for smiles in SMILES)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["pipeline.runs.extend.extend_folder", "pipeline.model.extensions._digest"])
def test_a_kill_leaves_the_old_model_whole(
    extended: tuple[Federation, str],
    finished: Federation,
    tables: NewTableFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Before or in the midst of writing the model's folder; the same command then ends as if undisturbed."""
    federation = finished.moved(tmp_path / "federation")
    home = federation.home("P01")
    before = bytes_of(home.model)

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step, kill)
        assert hocket("extend", federation.config("P01"), *tables.options).exit_code == 6
    assert bytes_of(home.model) == before
    assert hocket("extend", federation.config("P01"), *tables.options).exit_code == 0
    assert bytes_of(home.model) == bytes_of(extended[0].home("P01").model)
    assert not list(home.folder.glob(".model*"))


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_model_whole(
    finished: Federation, tables: NewTableFiles, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the new assay's models are written; exit code 2, and with space it is done."""
    federation = finished.moved(tmp_path / "federation")
    monkeypatch.setattr(Home, "extensions", property(lambda _: small_disk))
    before = bytes_of(federation.home("P01").model)
    ballast = fill(small_disk)
    done = hocket("extend", federation.config("P01"), *tables.options)
    assert done.exit_code == 2
    assert os.strerror(errno.ENOSPC) in done.stderr
    ballast.unlink()
    assert hocket("extend", federation.config("P01"), *tables.options).exit_code == 0
    names = {path.name for path in small_disk.iterdir()}
    for name in names - {"prepared"}:
        (small_disk / name).unlink()
    assert before != bytes_of(federation.home("P01").model)
    extended = bytes_of(federation.home("P01").model)
    ballast = fill(small_disk)
    done = hocket("extend", federation.config("P01"), *tables.options)
    assert done.exit_code == 2
    assert os.strerror(errno.ENOSPC) in done.stderr
    assert bytes_of(federation.home("P01").model) == extended
    assert not list(small_disk.glob("*.safetensors"))
    ballast.unlink()


def test_a_damaged_file_of_a_new_assay_is_refused(extended: tuple[Federation, str], new: Path, tmp_path: Path) -> None:
    """A changed byte, another assay's file, a missing file: no prediction."""
    federation = extended[0].moved(tmp_path / "federation")
    folder = federation.home("P01").model
    one, other = (folder / added.file for added in Description.read(folder).added)
    sound = one.read_bytes()
    for content, code in ((sound[:-5] + b"x" + sound[-4:], 5), (other.read_bytes(), 5), (None, 2)):
        one.unlink()
        if content is not None:
            one.write_bytes(content)
        result = hocket("predict", federation.config("P01"), new, "--output", tmp_path / "out.csv")
        assert result.exit_code == code
        assert not (tmp_path / "out.csv").exists()
        one.touch()
