"""`hocket predict --explain`: contributions of the kept model, whatever kind it is, and the files that hold them."""

import re
import stat
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest
from click.testing import Result
from rdkit import Chem
from rdkit.Chem.Draw import SimilarityMaps
from scipy import sparse
from scipy.special import logit

from data_prep.prediction.atom_bits import AtomBits, atom_bits
from pipeline.model.description import Description
from pipeline.model.folder import OpenModel
from tests.support.cli_runner import hocket
from tests.support.federation import Federation
from tests.support.partner_tables import SMILES, write_structures

COLUMNS = ["input_row", "input_compound_id", "input_assay_id", "threshold", "atom", "symbol", "contribution", "smiles"]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Structures of the partners' kind; the second cannot be used."""
    return write_structures(tmp_path_factory.mktemp("new") / "new.csv", 6, 1, "bad,C1CC")


def run(federation: Federation, *arguments: object) -> Result:
    """`hocket predict` for P01, in this process."""
    return hocket("predict", federation.config("P01"), *arguments)


def explained(federation: Federation, new: Path, output: Path, *options: object) -> pl.DataFrame:
    """The table of atoms that it writes."""
    result = run(federation, new, "--output", output, *options)
    assert result.exit_code == 0, result.stderr
    return pl.read_csv(output.with_name(f"{output.name.partition('.')[0]}.explained") / "atoms.csv")


def without_atom(mol: Chem.Mol, atom: int, model: OpenModel) -> sparse.csr_matrix:
    """The fingerprint without the bits that RDKit's similarity maps remove for an atom; -1: the whole one."""
    morgan = model.description.fingerprint
    bits = SimilarityMaps.GetMorganFingerprint(mol, atom, radius=morgan.radius, nBits=morgan.n_bits).GetOnBits()
    row = np.zeros((1, morgan.n_bits), np.float32)
    row[0, model.places[list(bits)]] = 1
    return sparse.csr_matrix(row)


@pytest.mark.parametrize("which", ["federated", "local"])
def test_contributions_are_changes_of_the_log_odds(finished: Federation, new: Path, tmp_path: Path, which: str) -> None:
    """Of a network, a Gaussian process and a mean with a forest, each atom asked alone, by RDKit's own map of bits."""
    tasks = Description.read(finished.home("P01").model).tasks
    kinds = {task.kept.removesuffix(" on the trunk") for task in tasks}
    assert {"network", "gaussian process", "mean"} <= kinds
    every = ",".join(task.name for task in tasks)
    table = explained(finished, new, tmp_path / "a.csv", "--model", which, "--explain", 1, "--tasks", every)
    model = OpenModel(finished.home("P01").model, "federated" if which == "federated" else "local")
    mol = Chem.MolFromSmiles(table["smiles"][0])
    assert table.height == len(tasks) * mol.GetNumAtoms()
    assert table["symbol"].to_list() == [atom.GetSymbol() for atom in mol.GetAtoms()] * len(tasks)
    whole, *parts = (
        logit(model.predictor.predict(without_atom(mol, atom, model)).probability[0].astype(np.float64))
        for atom in range(-1, mol.GetNumAtoms())
    )
    expected = np.array([whole - part for part in parts]).T.ravel()
    np.testing.assert_allclose(table["contribution"].to_numpy(), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.01


def test_the_first_compounds_that_can_be_used_are_explained(finished: Federation, new: Path, tmp_path: Path) -> None:
    """A table of their atoms and a drawing per compound and task; the predictions are those without the option."""
    table = explained(finished, new, tmp_path / "a.csv", "--explain", 2, "--tasks", "P01-A1@6,P01-A2@6")
    assert table.columns == COLUMNS
    keys = table.select(COLUMNS[:4]).unique(maintain_order=True).rows()
    assert keys == [(row, name, assay, 6.0) for row, name in ((1, "n0"), (3, "n1")) for assay in ("P01-A1", "P01-A2")]
    folder = tmp_path / "a.explained"
    pictures = sorted(path.name for path in folder.glob("*.svg"))
    assert pictures == [f"{row:05d}_00{i}_P01-A{i}@6.svg" for row in (1, 3) for i in (1, 2)]
    assert {ET.parse(folder / name).getroot().tag for name in pictures} == {"{http://www.w3.org/2000/svg}svg"}  # noqa: S314 -- ours
    assert len(list(folder.iterdir())) == 5
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run(finished, new, "--output", tmp_path / "b.csv", "--tasks", "P01-A1@6,P01-A2@6").exit_code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert not (tmp_path / "b.explained").exists()


def test_more_compounds_than_there_are(finished: Federation, new: Path, tmp_path: Path) -> None:
    """All are explained, and again with the same bytes in place of the earlier files; none of an empty file."""
    options = ("--explain", 50, "--tasks", "P01-A1@6")
    table = explained(finished, new, tmp_path / "a.parquet", *options)
    assert table["input_row"].unique(maintain_order=True).to_list() == [1, 3, 4, 5, 6, 7]
    folder = tmp_path / "a.explained"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    explained(finished, new, tmp_path / "a.parquet", *options)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    (tmp_path / "empty.smi").write_text("")
    assert run(finished, tmp_path / "empty.smi", "--output", tmp_path / "b.csv", *options).exit_code == 0
    assert [path.name for path in (tmp_path / "b.explained").iterdir()] == ["atoms.csv"]
    assert pl.read_csv(tmp_path / "b.explained" / "atoms.csv").columns == COLUMNS


def test_what_rdkit_cannot_do_in_time_is_counted(
    finished: Federation, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compound without atoms has no rows, one without drawing has; the predictions are there for both."""
    monkeypatch.setattr("pipeline.model.explain.draw_atoms", lambda pictures, **_: [None] * len(pictures))
    plain = atom_bits

    def all_but_the_first(smiles: list[str], *others: Any, **named: Any) -> list[AtomBits | None]:  # noqa: ANN401
        return [None, *plain(smiles, *others, **named)[1:]]

    monkeypatch.setattr("pipeline.model.explain.atom_bits", all_but_the_first)
    result = run(finished, new, "--output", tmp_path / "a.csv", "--explain", 3, "--tasks", "P01-A1@6")
    assert result.exit_code == 0
    assert re.search(r" 2 compounds .*\b1 compounds and 2 drawings ", result.stderr)
    assert pl.read_csv(tmp_path / "a.explained" / "atoms.csv")["input_row"].unique().sort().to_list() == [3, 4]
    assert pl.read_csv(tmp_path / "a.csv").height == 6


def test_a_folder_of_others_is_not_replaced(finished: Federation, new: Path, tmp_path: Path) -> None:
    """Exit code 2; neither the folder nor a prediction is written."""
    mine = tmp_path / "a.explained" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    result = run(finished, new, "--output", tmp_path / "a.csv", "--explain", 1)
    assert result.exit_code == 2
    assert "a.explained" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.explained"]
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(("options", "words"), [(["--explain", 1], "--output"), (["--explain", 501], "1002 pictures")])
def test_what_cannot_be_explained_is_refused(
    finished: Federation, new: Path, tmp_path: Path, options: list[object], words: str
) -> None:
    """Without a place for the files, and more drawings than anybody looks at: exit code 2."""
    output = ["--output", tmp_path / "a.csv"] if "pictures" in words else []
    result = run(finished, new, *options, *output)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_no_explanation(finished: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is damaged after the compounds that were explained."""
    monkeypatch.setattr("pipeline.model.predictions._MOST_ROWS", 128)
    path = tmp_path / "new.smi"
    lines = "".join(f"{SMILES[i % 9]} n{i}\n" for i in range(200))
    path.write_bytes(lines.encode() + b"C" * (1 << 20) + b" long\n")
    result = run(finished, path, "--output", tmp_path / "a.csv", "--explain", 1, "--tasks", "P01-A1@6")
    assert result.exit_code == 3
    assert [file.name for file in tmp_path.iterdir()] == ["new.smi"]
