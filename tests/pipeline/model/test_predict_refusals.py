"""What `hocket predict` refuses, and that a refusal leaves no file."""

import errno
import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from partners.files.checkpoint import load_checkpoint, save_checkpoint
from pipeline.errors import NotYet
from pipeline.home.json_files import write_json
from pipeline.model import rebuild
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan
from tests.support.cli_runner import hocket, python_process
from tests.support.federation import Federation
from tests.support.full_disk import fill
from tests.support.model.predicted import run, said
from tests.support.partner_tables import SMILES


def test_columns_that_are_not_there_are_refused(finished: Federation, new: Path, tmp_path: Path) -> None:
    """Exit code 3 with the name that was asked for, and no output; a SMILES file has no columns."""
    smiles_file = tmp_path / "new.smi"
    smiles_file.write_text("CCO a\n")
    for file, option, message in (
        (new, "--id-column", "missing column input_compound_id (named Nr)"),
        (new, "--smiles-column", "missing column smiles (named Nr)"),
        (smiles_file, "--smiles-column", "new.smi: found a .smi file, which has no named columns"),
    ):
        result = run(finished, file, option, "Nr", "--output", tmp_path / "out.csv")
        assert (result.exit_code, message in result.stderr) == (3, True), result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["new.smi"]


def test_without_structures_there_is_nothing_to_predict(finished: Federation) -> None:
    """INPUT may lack only with --list-tasks."""
    result = run(finished)
    assert result.exit_code == 2
    assert "INPUT" in result.stderr


def test_the_request_is_checked_before_torch_is_loaded() -> None:
    """A wrong header, an unknown task or a missing folder is told in a second."""
    code = "import sys, pipeline.model.predict_request\nsys.exit(str({'torch', 'sklearn', 'crepes'} & {*sys.modules}))"
    done = python_process(code)
    assert done.stderr == "set()\n"


@pytest.mark.parametrize("command", ["predict", "embed"])
def test_input_and_output_are_checked_before_a_model_is_loaded(
    finished: Federation, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A folder that is missing, a folder in the file's place, a table without structures: no model is opened."""
    monkeypatch.setattr("pipeline.model.folder.OpenModel.__init__", None)
    (tmp_path / "folder.parquet").mkdir()
    for structures, output, code in (
        (new, tmp_path / "nosuch" / "out.parquet", 2),
        (new, tmp_path / "folder.parquet", 2),
        (finished.folder / "P01" / "T1.csv", tmp_path / "out.parquet", 3),
        (finished.plan_file, tmp_path / "out.parquet", 3),
    ):
        result = hocket(command, finished.config("P01"), structures, "--output", output)
        assert result.exit_code == code, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["folder.parquet"]


@pytest.mark.parametrize(
    "lost",
    [
        "baseline/local.safetensors",
        "baseline/assay_models.safetensors",
        "rounds/round-0003/start.safetensors",
        "prepared",
    ],
)
def test_a_model_cannot_be_made_of_nothing(done: Federation, new: Path, tmp_path: Path, lost: str) -> None:
    """The message names the missing file; nothing is written."""
    home = done.home("P01").folder
    shutil.rmtree(home / "model")
    shutil.rmtree(home / lost) if lost == "prepared" else (home / lost).unlink()
    result = run(done, new, "--output", tmp_path / "out.csv")
    assert result.exit_code == 2
    assert lost.rsplit("/", maxsplit=1)[-1] in result.stderr
    assert not (home / "model").exists()
    assert list(tmp_path.glob("*out*")) == []


@pytest.mark.parametrize(
    ("fact", "words"), [("prepared", "no such matrices"), ("data", "other data"), ("networks", "other networks")]
)
def test_models_of_assays_of_another_run_are_refused(
    done: Federation, new: Path, tmp_path: Path, fact: str, words: str
) -> None:
    """Those that were fitted on other matrices, labels or networks: exit code 2, which, and no model."""
    home = done.home("P01")
    stored = load_checkpoint(home.assay_models, read_plan(done.plan_file).layout.trunk)
    facts = dict(stored.facts) | {fact: ["0" * 64] * 2 if fact == "networks" else "0" * 64}
    save_checkpoint(home.assay_models, replace(stored, facts=facts))
    shutil.rmtree(home.model)
    result = run(done, new, "--output", tmp_path / "out.csv")
    assert result.exit_code == 2
    assert words in result.stderr
    assert not home.model.exists()


def test_before_the_end_there_is_nothing_to_predict_with(fresh: Federation, new: Path, tmp_path: Path) -> None:
    """Exit code 6, and no output."""
    result = run(fresh, new, "--output", tmp_path / "out.csv")
    assert result.exit_code == 6
    assert "report.json" in result.stderr
    assert list(tmp_path.glob("*out*")) == []
    with pytest.raises(NotYet):
        rebuild.rebuild_final_model(PartnerConfig.read(fresh.config("P01")))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--tasks", "P01-A9"], 2, "P01-A9"),
        (["--tasks", " , "], 2, "--tasks"),
        (["--output", "out.xlsx"], 2, "out.xlsx: "),
        (["--model", "global"], 2, "global"),
        (["--format", "tall"], 2, "tall"),
    ],
)
def test_what_cannot_be_done_is_refused(
    finished: Federation,
    new: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    code: int,
    words: str,
) -> None:
    """One message, the family's exit code, no output."""
    monkeypatch.chdir(tmp_path)
    result = run(finished, new, *(options if "--output" in options else ["--output", "out.csv", *options]))
    assert result.exit_code == code
    assert words in result.stderr
    assert list(tmp_path.glob("*out*")) == []


def test_the_input_is_never_overwritten(finished: Federation, new: Path, tmp_path: Path) -> None:
    """Neither by the output nor by the list of rejected rows."""
    for name, output in {"new.csv": "new.csv", "out.rejected.csv": "out.parquet"}.items():
        path = Path(shutil.copy(new, tmp_path / name))
        result = run(finished, path, "--output", tmp_path / output)
        assert result.exit_code == 2
        assert path.read_bytes() == new.read_bytes()


def test_a_damaged_input_leaves_nothing(finished: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions from before the damage are not left behind as if they were all."""
    monkeypatch.setattr("pipeline.model.predictions._MOST_ROWS", 128)
    lines = "".join(f"{smiles} {i}\n" for i, smiles in enumerate(SMILES))
    path = tmp_path / "cut.smi.gz"
    path.write_bytes(gzip.compress((lines * 40).encode())[:-9])
    result = run(finished, path, "--output", tmp_path / "out.parquet")
    assert result.exit_code == 3
    assert [file.name for file in tmp_path.iterdir()] == ["cut.smi.gz"]


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".parquet"])
def test_a_full_disk_leaves_nothing(finished: Federation, tmp_path: Path, small_disk: Path, kind: str) -> None:
    """Exit code 2 and why; neither predictions nor rejected rows are there, and with space it is done."""
    many = tmp_path / "many.smi"
    many.write_text("".join(f"{smiles} {i}\n" for i in range(500) for smiles in (*SMILES[:9], "C1CC")))
    output = small_disk / f"out{kind}"
    ballast = fill(small_disk)
    result = run(finished, many, "--output", output)
    assert result.exit_code == 2
    assert f"{os.strerror(errno.ENOSPC)}: '{output}'" in result.stderr
    assert list(small_disk.iterdir()) == [ballast]
    ballast.unlink()
    few = tmp_path / "few.smi"
    few.write_text("CCO a\nC1CC b\n")
    said(finished, few, output)
    assert sorted(file.name for file in small_disk.iterdir()) == [f"out{kind}", "out.rejected.csv"]


def test_an_empty_file_gives_an_empty_table(finished: Federation, tmp_path: Path) -> None:
    """Header and no rows, in either file."""
    (tmp_path / "new.smi").write_text("")
    table = said(finished, tmp_path / "new.smi", tmp_path / "out.csv")
    assert table.height == 0
    assert "probability" in table.columns
    assert (tmp_path / "out.rejected.csv").read_text() == "input_row,input_compound_id,reason\n"


def test_a_damaged_model_is_refused(done: Federation, new: Path, tmp_path: Path) -> None:
    """A changed byte of the weights, a description that is none, a missing file: no prediction."""
    folder = done.home("P01").model
    for name, code in {"model.json": 2, "compounds.safetensors": 5, "federated.safetensors": 5}.items():
        sound = (folder / name).read_bytes()
        (folder / name).write_bytes(sound[:-5] + b"x" + sound[-4:])
        assert run(done, new, "--output", tmp_path / "out.csv").exit_code == code
        (folder / name).unlink()
        assert run(done, new, "--output", tmp_path / "out.csv").exit_code == 2
        (folder / name).write_bytes(sound)
    assert list(tmp_path.glob("*out*")) == []


def test_descriptors_of_another_version_are_refused(done: Federation, new: Path, tmp_path: Path) -> None:
    """A model that needs other descriptors than this program computes: exit code 2, which ones, and no output."""
    file = done.home("P01").model / "model.json"
    write_json(file, json.loads(file.read_text()) | {"descriptors": 999})
    result = run(done, new, "--output", tmp_path / "out.csv")
    assert result.exit_code == 2
    assert "999" in result.stderr
    assert list(tmp_path.glob("*out*")) == []
