"""`hocket predict`: its predictions, what it refuses, and that every row is predicted or rejected."""

import gzip
import io
import json
import shutil
import stat
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rich.console import Console

from data_prep.descriptors.listed import DESCRIPTORS, DESCRIPTORS_VERSION
from data_prep.prediction.atom_bits import atom_bits
from data_prep.prepared import DESCRIPTORS_FILE, Prepared, manifest_of, read_prepared
from partners.assay_models.predictor import AssayPredictor
from partners.files.checkpoint import load_checkpoint
from partners.files.round_checkpoint import RoundStart
from partners.models.occlusion import without_atoms
from partners.models.take_home import read_models
from partners.network.inference import Predictor
from partners.network.input_columns import InputColumns
from partners.network.state import PartnerState
from partners.training_data.prepared_data import training_set
from pipeline.home.json_files import write_json
from pipeline.model import predictions
from pipeline.model.description import CLASS_COLUMNS, REGR_COLUMNS, Description
from pipeline.model.folder import OpenModel
from pipeline.model.structure_batches import prepare_batch
from pipeline.model.task_table import listed_tasks, print_tasks
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan
from secure.messages.provenance import PROVENANCE_FILE
from tests.support.federation import Federation, run_all
from tests.support.model.predicted import compounds_of, run, said
from tests.support.partner_tables import SMILES

EXTRA = """\
[preparation.regression]
evaluation_min_exact = 5
evaluation_min_std = 0.0
"""


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A finished federation whose partners have regression tasks too. For reading only."""
    federation = Federation(tmp_path_factory.mktemp("hybrid") / "f", n_rounds=1, extra=EXTRA)
    for name in federation.partners:
        with federation.config(name).open("a") as config:
            config.write("regression_weight = 0.4\n")
    run_all(federation.members())
    return federation


def prepared_of(federation: Federation, name: str) -> Prepared:
    """The partner's matrices."""
    (folder,) = (path.parent for path in federation.home(name).prepared.glob("*/manifest.json"))
    return read_prepared(folder)


@pytest.mark.parametrize("which", ["federated", "local"])
def test_known_compounds_get_what_the_models_say_of_their_row(hybrid: Federation, tmp_path: Path, which: str) -> None:
    """From SMILES to probability and value: the bits that network and assay models give for the compound's row of x."""
    plan, config = read_plan(hybrid.plan_file), PartnerConfig.read(hybrid.config("P01"))
    prepared, rows = prepared_of(hybrid, "P01"), compounds_of(hybrid, "P01")
    new = tmp_path / "known.csv"
    rows.select(input_compound_id=pl.col("row"), smiles="canonical_smiles").write_csv(new)
    found = said(hybrid, new, tmp_path / "out.parquet", "--model", which)
    home = hybrid.home("P01")
    if which == "federated":
        start = RoundStart.read(home.start_file(plan.rounds.n_rounds + 1), plan.layout)
        trunk, state = start.model(InputColumns())
    else:
        stored = load_checkpoint(home.baseline / "local.safetensors", plan.layout)
        trunk, state = stored.trunk, stored.partner
    assert trunk is not None
    assert isinstance(state, PartnerState)
    data = training_set(prepared, plan.preparation.folds, config.training)
    fitted = read_models(home.assay_models, plan.layout.trunk, data.training_rows.size)
    assay_models = fitted.take_home if which == "federated" else fitted.strongest
    assert assay_models.models
    network = Predictor(trunk, state, plan.layout.trunk, plan.trunk, config.training)
    plain = AssayPredictor(network, assay_models, data.x[data.training_rows])(prepared.x, prepared.descriptors)
    n_tasks = 0
    for values, tasks, column in (
        (plain.probabilities, prepared.tasks, "probability"),
        (plain.values, prepared.regression_tasks, "value"),
    ):
        for task in tasks:
            of_task = pl.col("input_assay_id") == task.input_assay_id
            if column == "probability":
                of_task &= pl.col("threshold") == task.threshold  # type: ignore[union-attr]
            told = found.filter(of_task & pl.col(column).is_not_null())
            if not task.is_auxiliary:
                n_tasks += 1
                np.testing.assert_array_equal(told[column].to_numpy(), values[:, task.task_id])
    assert found.height == n_tasks * rows.height
    assert n_tasks >= 4


def test_the_description_names_the_kind_of_every_task(hybrid: Federation) -> None:
    """Those that were fitted, and why; without descriptors none are needed."""
    home, plan = hybrid.home("P01"), read_plan(hybrid.plan_file)
    prepared, description = prepared_of(hybrid, "P01"), Description.read(home.model)
    data = training_set(prepared, plan.preparation.folds, PartnerConfig.read(hybrid.config("P01")).training)
    fitted = read_models(home.assay_models, plan.layout.trunk, data.training_rows.size)
    kinds = fitted.kinds(prepared, data.n_regressions)
    for found, expected in zip((description.tasks, description.regression_tasks), kinds, strict=True):
        told = [(task.strongest, task.kept, task.reason) for task in found]
        assert told == [(kind.strongest, kind.kept, kind.reason) for kind in expected]
        assert {kind for kind, _, _ in told} - {"network"}
    assert description.descriptors is None


def test_similarity_is_rdkits_to_the_nearest_training_compound(finished: Federation, new: Path, tmp_path: Path) -> None:
    """The largest Tanimoto to a compound of the training folds, on fingerprints that RDKit makes without any key."""
    plan, rows = read_plan(finished.plan_file), compounds_of(finished, "P01")
    folds, morgan = plan.preparation.folds, plan.preparation.fingerprint
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=morgan.radius, fpSize=morgan.n_bits)
    labelled = np.diff(prepared_of(finished, "P01").y.indptr) > 0
    known = [
        generator.GetFingerprint(Chem.MolFromSmiles(smiles))
        for row, smiles, fold in rows.select("row", "canonical_smiles", "fold").iter_rows()
        if fold not in (folds.test, folds.validation) and labelled[row]
    ]
    found = said(finished, new, tmp_path / "out.parquet").unique("input_row").sort("input_row")
    named = found.filter(pl.col("input_compound_id").str.starts_with("n"))
    for compound, similarity in named.select("input_compound_id", "similarity").iter_rows():
        mol = Chem.MolFromSmiles(SMILES[int(compound.removeprefix("n"))])
        nearest = max(DataStructs.BulkTanimotoSimilarity(generator.GetFingerprint(mol), known))
        assert similarity == pytest.approx(nearest, rel=1e-6)


def test_no_row_is_lost(finished: Federation, new: Path, tmp_path: Path) -> None:
    """Every row is either predicted or listed with its reason; stderr has counts and no structure."""
    result = run(finished, new, "--output", tmp_path / "out.csv")
    rejected = pl.read_csv(tmp_path / "out.rejected.csv")
    assert rejected.rows() == [(6, "bad", "unparsable"), (8, "empty", "empty")]
    predicted = dict(pl.read_csv(tmp_path / "out.csv").select("input_row", "input_compound_id").iter_rows())
    assert predicted.keys() == set(range(1, 44)) - {6, 8}
    assert predicted[7] == "7"  # it has no id
    assert "41 of 43 structures predicted" in result.stderr
    assert "empty 1, unparsable 1" in result.stderr
    assert result.stdout == ""
    assert "C1CC" not in result.stderr


def test_columns_of_other_names_and_formats(finished: Federation, new: Path, tmp_path: Path) -> None:
    """Excel with other names, or the partner's own names for its tables, gives the same predictions and refusals."""
    table = pl.read_csv(new, infer_schema=False).rename({"input_compound_id": "Compound", "smiles": "Structure"})
    table.write_excel(tmp_path / "new.xlsx")
    table.write_csv(tmp_path / "new.csv", separator=";")
    expected = said(finished, new, tmp_path / "a.parquet")
    names = ["--id-column", "compound", "--smiles-column", "STRUCTURE"]
    assert said(finished, tmp_path / "new.xlsx", tmp_path / "b.parquet", *names).equals(expected)
    assert (tmp_path / "b.rejected.csv").read_bytes() == (tmp_path / "a.rejected.csv").read_bytes()
    config = finished.config("P01")
    before = config.read_text()
    columns = 'columns = {input_compound_id = "Compound", smiles = "Structure"}'
    config.write_text(before.replace("[data]", f"[data]\n{columns}"))
    assert said(finished, tmp_path / "new.csv", tmp_path / "c.parquet").equals(expected)
    config.write_text(before)


def test_without_output_it_prints_csv(finished: Federation, new: Path, tmp_path: Path) -> None:
    """Standard output holds the very table, standard error which rows were rejected."""
    done = finished.hocket("predict", str(finished.config("P01")), str(new))
    said(finished, new, tmp_path / "out.csv")
    assert done.stdout == (tmp_path / "out.csv").read_text()
    assert "row 6, bad: unparsable" in done.stderr
    assert "row 8, empty: empty" in done.stderr


def test_ids_for_spreadsheets_are_no_formulas(finished: Federation, tmp_path: Path) -> None:
    """With --spreadsheet an id that begins as a formula gets an apostrophe, also among the rejected rows."""
    file = tmp_path / "new.csv"
    ids = ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "plain"]
    rows = [f'"{name}",{smiles}' for name, smiles in zip(ids, SMILES, strict=False)]
    file.write_text("input_compound_id,smiles\n" + "\n".join([*rows, "=bad,C1CC"]) + "\n")
    exact = said(finished, file, tmp_path / "exact.csv", "--format", "wide")
    assert exact["input_compound_id"].to_list() == ids  # a program gets what it gave
    safe = said(finished, file, tmp_path / "safe.csv", "--format", "wide", "--spreadsheet")
    assert safe["input_compound_id"].to_list() == [*(f"'{name}" for name in ids[:-1]), "plain"]
    assert pl.read_csv(tmp_path / "safe.rejected.csv")["input_compound_id"].to_list() == ["'=bad"]
    assert safe.drop("input_compound_id").equals(exact.drop("input_compound_id"))


def test_long_and_wide_say_the_same(hybrid: Federation, new: Path, tmp_path: Path) -> None:
    """Every number of the long table stands in the wide one under the task's name."""
    long = said(hybrid, new, tmp_path / "long.parquet")
    wide = said(hybrid, new, tmp_path / "wide.parquet", "--format", "wide")
    assert wide["input_row"].to_list() == long["input_row"].unique(maintain_order=True).to_list()
    names = set(wide.columns) - {"input_row", "input_compound_id", "similarity"}
    for assay, threshold in long.select("input_assay_id", "threshold").unique().iter_rows():
        same = pl.col("threshold").is_null() if threshold is None else pl.col("threshold") == threshold
        part = long.filter((pl.col("input_assay_id") == assay) & same)
        task = assay if threshold is None else f"{assay}@{threshold:.10g}"
        for column in REGR_COLUMNS if threshold is None else CLASS_COLUMNS:
            assert wide[f"{task}.{column}"].to_list() == part[column].to_list()
            names.remove(f"{task}.{column}")
        assert wide["similarity"].to_list() == part["similarity"].to_list()
    assert not names


def test_a_regression_task_is_explained_in_its_units(hybrid: Federation, new: Path, tmp_path: Path) -> None:
    """An atom's contribution is the value less the value without the atom's bits."""
    said(hybrid, new, tmp_path / "out.csv", "--explain", 1, "--tasks", "P01-A1")
    table = pl.read_csv(tmp_path / "out.explained" / "atoms.csv").filter(pl.col("threshold").is_null())
    model = OpenModel(hybrid.home("P01").model)
    batch = prepare_batch(model, [predictions.StructureRecord(1, "x", SMILES[0], None)])
    (atoms,) = atom_bits(batch.smiles, model.description.fingerprint, model.places)
    assert atoms is not None
    assert table["symbol"].to_list() == atoms.symbols
    (task,) = (i for i, task in enumerate(model.description.regression_tasks) if task.input_assay_id == "P01-A1")
    whole = model.predictor.predict(batch.x).value[0, task]
    for atom, contribution in enumerate(table["contribution"]):
        left = without_atoms(batch.x, atoms.counts[[atom]])
        assert contribution == pytest.approx(whole - model.predictor.predict(left).value[0, task], abs=1e-5)


def test_one_by_one_equals_in_bulk(
    hybrid: Federation, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bits for a structure alone, in batches of any size and in a file."""
    bulk = said(hybrid, new, tmp_path / "bulk.parquet")
    model = OpenModel(hybrid.home("P01").model)
    for i in (0, 3, 17):
        alone = predictions.predict_batch(model, [predictions.StructureRecord(1, "x", SMILES[i], None)])
        rows = bulk.filter(pl.col("input_compound_id") == f"n{i}")
        kept = [j for j, task in enumerate(model.description.tasks) if not task.is_auxiliary]
        of_classes = rows.filter(pl.col("probability").is_not_null())
        np.testing.assert_array_equal(of_classes["probability"].to_numpy(), alone.prediction.probability[0, kept])
        np.testing.assert_array_equal(
            of_classes["conformal_p_active"].fill_null(np.nan).to_numpy(), alone.prediction.p_values.active[0, kept]
        )
        assert rows["similarity"][0] == alone.prediction.similarity[0]
    monkeypatch.setattr("pipeline.model.predictions._MOST_ROWS", 128)
    monkeypatch.setattr("pipeline.model.predictions._MOST_CELLS", 1)
    many = tmp_path / "many.csv"
    lines = new.read_text().splitlines()
    many.write_text("\n".join([lines[0], *(lines[1:] * 7)]) + "\n")
    again = said(hybrid, many, tmp_path / "many.parquet")
    assert again.height == 7 * bulk.height
    assert again[: bulk.height].equals(bulk)
    numbers = ("input_row", "input_compound_id")  # a structure without an id takes its row number
    assert again[-bulk.height :].drop(numbers).equals(bulk.drop(numbers))


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".parquet"])
def test_the_same_input_gives_the_same_bytes(finished: Federation, new: Path, tmp_path: Path, kind: str) -> None:
    """In every kind of file; and gzip holds what the plain file holds."""
    for name in ("a", "b"):
        assert run(finished, new, "--output", tmp_path / f"{name}{kind}").exit_code == 0
    assert (tmp_path / f"a{kind}").read_bytes() == (tmp_path / f"b{kind}").read_bytes()
    if kind == ".csv.gz":
        run(finished, new, "--output", tmp_path / "c.csv")
        assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == (tmp_path / "c.csv").read_bytes()


def test_tasks_are_chosen_by_assay_or_by_assay_and_threshold(finished: Federation, new: Path, tmp_path: Path) -> None:
    """An assay means all its thresholds, auxiliary ones too; without the option these are left out."""
    tasks = Description.read(finished.home("P01").model).tasks
    everything = said(finished, new, tmp_path / "a.parquet")
    told = set(everything.select("input_assay_id", "threshold").unique().iter_rows())
    assert told == {(task.input_assay_id, task.threshold) for task in tasks if not task.is_auxiliary}
    assay = said(finished, new, tmp_path / "b.parquet", "--tasks", "P01-A1")
    assert set(assay["threshold"]) == {task.threshold for task in tasks if task.input_assay_id == "P01-A1"}
    assert len(set(assay["threshold"])) == 3
    both = said(finished, new, tmp_path / "c.parquet", "--tasks", "P01-A1@6, P01-A2@6")
    assert set(both.select("input_assay_id", "threshold").unique().iter_rows()) == {("P01-A1", 6.0), ("P01-A2", 6.0)}
    repeated = said(finished, new, tmp_path / "d.parquet", "--tasks", "P01-A1@6", "--tasks", "P01-A2@6")
    assert repeated.equals(both)


def test_an_unknown_task_names_the_nearest(finished: Federation, new: Path, tmp_path: Path) -> None:
    """In any case; and where all of them are listed."""
    result = run(finished, new, "--output", tmp_path / "out.csv", "--tasks", "p01-a1@6,nothing-like-it")
    assert result.exit_code == 2
    (nearest,) = (line for line in result.stderr.splitlines() if "nearest" in line)
    assert "P01-A1@6" in nearest
    assert "nothing-like-it" not in nearest
    assert "--list-tasks" in result.stderr


@pytest.mark.parametrize("which", [None, "federated", "local"])
def test_the_tasks_are_listed(hybrid: Federation, which: str | None) -> None:
    """As CSV, with the labels of the training folds and the kind of model; --tasks chooses."""
    options = ["--model", which] if which else []
    result = run(hybrid, "--list-tasks", *options)
    assert result.exit_code == 0, result.stderr
    table = pl.read_csv(io.StringIO(result.stdout))
    plan, prepared = read_plan(hybrid.plan_file), prepared_of(hybrid, "P01")
    description = Description.read(hybrid.home("P01").model)
    every = [*description.tasks, *description.regression_tasks]
    is_local = which == "local" or (which is None and description.kept == "local")
    assert table["task"].to_list() == [task.name for task in every]
    assert table["model"].to_list() == [task.strongest if is_local else task.kept for task in every]
    folds = plan.preparation.folds
    rows = ~np.isin(prepared.folding, (folds.test, folds.validation))
    y, values = prepared.y[rows], prepared.y_regr[rows]
    n_values = [values[:, [i]].nnz for i in range(len(description.regression_tasks))]
    assert table["n_active"].drop_nulls().to_list() == [int((y[:, [i]] > 0).sum()) for i in range(y.shape[1])]
    assert table["n_inactive"].drop_nulls().to_list() == [int((y[:, [i]] < 0).sum()) for i in range(y.shape[1])]
    assert table["n_values"].drop_nulls().to_list() == n_values
    chosen = run(hybrid, "--list-tasks", "--tasks", "P01-A2", *options).stdout
    assert pl.read_csv(io.StringIO(chosen)).equals(table.filter(pl.col("input_assay_id") == "P01-A2"))


def test_the_tasks_on_a_terminal(hybrid: Federation) -> None:
    """A line each, on 80 columns; what is auxiliary says so."""
    description = Description.read(hybrid.home("P01").model)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    print_tasks(listed_tasks(description, None, None), console)
    assert isinstance(console.file, io.StringIO)
    _, *lines = console.file.getvalue().splitlines()
    every = [*description.tasks, *description.regression_tasks]
    assert [line.split()[0] for line in lines] == [task.name for task in every]
    assert ["auxiliary" in line for line in lines] == [task.is_auxiliary for task in every]


def test_a_description_of_an_earlier_version_has_no_labels(finished: Federation) -> None:
    """It is still read, and its tasks are listed with empty numbers."""
    fields = json.loads((finished.home("P01").model / "model.json").read_text())
    for task in fields["tasks"]:
        del task["n_active"], task["n_inactive"]
    rows = list(listed_tasks(Description.model_validate_json(json.dumps(fields)), None, None))
    assert {row["n_active"] for row in rows} == {""}


def test_the_gates_choice_is_the_default(done: Federation, new: Path, tmp_path: Path) -> None:
    """Without --model it is the model that the gate keeps."""
    assert json.loads((done.home("P01").report / "report.json").read_text())["gate"]["kept"] == "federated"
    local, federated = (
        said(done, new, tmp_path / f"{which}.parquet", "--model", which) for which in ("local", "federated")
    )
    assert not local.equals(federated)
    assert said(done, new, tmp_path / "a.parquet").equals(federated)
    file = done.home("P01").model / "model.json"
    write_json(file, json.loads(file.read_text()) | {"kept": "local"})
    file.with_name(PROVENANCE_FILE).unlink()  # it is signed for the other choice
    assert said(done, new, tmp_path / "b.parquet").equals(local)


def test_a_removed_model_is_made_anew_without_training(
    done: Federation, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files bit for bit, whatever partner.toml says since and without the tables."""
    before = said(done, new, tmp_path / "a.parquet")
    folder = done.home("P01").model
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    shutil.rmtree(folder)
    for table in ("T0.csv", "T1.csv", "T2.csv"):
        (done.folder / "P01" / table).unlink()
    with done.config("P01").open("a") as config:
        config.write("learning_rate = 0.5\n")
    for step in ("partners.training.training.train_round", "partners.models.take_home.fit_assay_models"):
        monkeypatch.setattr(step, None)
    assert said(done, new, tmp_path / "b.parquet").equals(before)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files


def test_other_matrices_beside_the_models_own_change_nothing(done: Federation, new: Path, tmp_path: Path) -> None:
    """A folder of the same compounds with descriptors, and one whose descriptors are of an older version."""
    before = said(done, new, tmp_path / "a.parquet")
    home = done.home("P01")
    description = (home.model / "model.json").read_bytes()
    (folder,) = (path.parent for path in home.prepared.glob("*/manifest.json"))
    for name, version in (("0" * 64, DESCRIPTORS_VERSION), ("1" * 64, DESCRIPTORS_VERSION - 1)):
        other = home.prepared / name
        shutil.copytree(folder, other)
        n_compounds = read_prepared(folder).x.shape[0]
        np.save(other / DESCRIPTORS_FILE, np.zeros((n_compounds, len(DESCRIPTORS)), np.float32))
        manifest = json.loads((other / "manifest.json").read_text())
        facts = {key: fact for key, fact in manifest.items() if key not in {"kind", "format", "files"}}
        (other / "manifest.json").write_bytes(manifest_of(other, facts | {"digest": name, "descriptors": version}))
    assert read_prepared(home.prepared / ("0" * 64)).descriptors is not None
    shutil.rmtree(home.model)
    assert said(done, new, tmp_path / "b.parquet").equals(before)
    assert (home.model / "model.json").read_bytes() == description


def test_the_model_is_private(finished: Federation) -> None:
    """The folder has mode 0700 and its files 0600; no structure and no compound's name is in it."""
    folder = finished.home("P01").model
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    everything = b"".join(file.read_bytes() for file in folder.iterdir())
    rows = compounds_of(finished, "P01")
    assert not any(smiles.encode() in everything for smiles in rows["canonical_smiles"])
    assert not any(str(name).encode() in everything for name in rows["input_compound_id"])
    assert "PRIVATE" in (folder / "README.md").read_text()
