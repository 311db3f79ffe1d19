"""`import hocket`: the same results as the commands, for lists of SMILES, without printing or writing anything."""

import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import hocket
from pipeline.errors import ConfigError, ExchangeError, NotYet
from secure.errors import SecureError
from tests.support import cli_runner
from tests.support.federation import Federation
from tests.support.partner_tables import SMILES, write_structures

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(finished: Federation) -> hocket.Model:
    """The model that the gate of P01 keeps."""
    return hocket.open_model(finished.config("P01"), workers=1)


def contents(folder: Path) -> dict[Path, tuple[int, int]]:
    """Time and size of every file below a folder."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def run_as_notebook(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> dict[str, Any]:
    """The names that a file of code has at its end."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [code, *map(str, arguments)])
    return runpy.run_path(code)


def test_the_notebook(finished: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """From plan to hidden layer, a row for each structure; no file of the federation changes."""
    before = contents(finished.folder)
    names = run_as_notebook(str(ROOT / "tests" / "notebook.py"), ROOT, monkeypatch, finished.folder)
    assert contents(finished.folder) == before
    assert names["status"].is_finished
    assert names["trail"].n_recomputed == names["plan"].rounds.n_rounds == 2
    assert names["scores"].height == len(names["report"].tasks)
    assert names["table"]["smiles"].to_list() == names["smiles"]
    assert [reason is None for reason in names["table"]["reason"]] == [True, False, False, True]
    assert type(names["frame"]).__module__.startswith("pandas")
    assert np.isnan(names["hidden"]).all(axis=1).tolist() == [False, True, True, False]


def test_the_ten_lines_of_readme(finished: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run as they stand in the folder of a federation."""
    page = (ROOT / "partners" / "README.md").read_text()
    (tmp_path / "lines.py").write_text(
        *re.findall(r"^```python\n(import hocket\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    )
    names = run_as_notebook(str(tmp_path / "lines.py"), finished.folder, monkeypatch)
    assert names["table"].height == len(names["hidden"]) == 2


@pytest.mark.parametrize("table_format", ["wide", "long"])
def test_predictions_are_those_of_the_command(
    done: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table_format: str
) -> None:
    """Bit for bit, in batches of any size; what the command lists as rejected is here, with the same reason."""
    file = write_structures(tmp_path / "new.csv", 12, 3, "bad,C1CC", ",")
    config, output = done.config("P01"), tmp_path / "out.parquet"
    result = cli_runner.hocket("predict", config, file, "--output", output, "--format", table_format)
    assert result.exit_code == 0, result.stderr
    monkeypatch.setattr(hocket, "_ROWS", 5)
    smiles = [*SMILES[:3], "C1CC", None, *SMILES[3:12]]
    table = hocket.open_model(config).predict(smiles, table_format=table_format)
    expected, rejected = pl.read_parquet(output), pl.read_csv(tmp_path / "out.rejected.csv")
    usable = table.filter(pl.col("reason").is_null())
    assert usable.drop("smiles", "reason").equals(expected.drop("input_compound_id"))
    refused = table.filter(pl.col("reason").is_not_null())
    assert refused.select("input_row", "reason").rows() == rejected.select("input_row", "reason").rows()
    assert refused.drop("input_row", "smiles", "reason").null_count().row(0) == (2,) * (table.width - 3)
    assert table["input_row"].is_sorted()


def test_hidden_layers_are_those_of_the_command(
    done: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the federated trunk, whichever model is open."""
    file = write_structures(tmp_path / "new.csv", 12, 3)
    assert cli_runner.hocket("embed", done.config("P01"), file, "--output", tmp_path / "h.npz").exit_code == 0
    monkeypatch.setattr(hocket, "_ROWS", 5)
    with np.load(tmp_path / "h.npz", allow_pickle=False) as arrays:
        for which in ("federated", "local"):
            opened = hocket.open_model(done.home("P01").model, which, workers=1)
            assert opened.which == which
            np.testing.assert_array_equal(opened.embed(SMILES[:12]), arrays["hidden"])


def test_an_empty_list_gives_empty_results(model: hocket.Model) -> None:
    """With all columns."""
    assert model.predict([]).columns == model.predict(["CCO"]).columns
    assert model.predict([], table_format="long").height == 0
    assert model.embed([]).shape == (0, 16)


def test_columns_of_data_frames_are_lists_too(model: hocket.Model) -> None:
    """A missing text is None in Polars and NaN in pandas."""
    column = pl.DataFrame({"smiles": ["CCO", None]})["smiles"]
    expected = model.predict(["CCO", None])
    assert model.predict(column).equals(expected)
    assert model.predict(column.to_pandas()).equals(expected)


def test_what_is_refused(finished: Federation, fresh: Federation, model: hocket.Model, tmp_path: Path) -> None:
    """With the commands' types of errors."""
    with pytest.raises(TypeError):
        model.predict("CCO")
    with pytest.raises(ConfigError):
        model.predict(["CCO"], ["no such task"])
    for read in (hocket.open_model, hocket.read_report):
        with pytest.raises(NotYet):
            read(fresh.config("P01"))
    with pytest.raises(ConfigError):
        hocket.open_model(tmp_path)
    with pytest.raises(ConfigError):
        hocket.read_plan(tmp_path / "none.toml")
    with pytest.raises(ExchangeError):
        hocket.read_status(hocket.read_plan(finished.plan_file), tmp_path)


def test_a_forged_exchange_is_refused(done: Federation) -> None:
    """As by `hocket verify`."""
    plan = hocket.read_plan(done.plan_file)
    assert hocket.verify(plan, done.exchange, recompute=False).n_recomputed == 0
    total = next(done.exchange.glob("round-0002/*/sum.*.arrow"))
    content = total.read_bytes()
    total.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SecureError):
        hocket.verify(plan, done.exchange, recompute=False)


def test_a_removed_model_is_not_made_again(done: Federation) -> None:
    """Nothing is written; the error names the command that does."""
    shutil.rmtree(done.home("P01").model)
    before = contents(done.folder)
    with pytest.raises(ConfigError) as caught:
        hocket.open_model(done.config("P01"))
    assert caught.value.__notes__
    assert contents(done.folder) == before
