"""What a release installs: the wheel without the checkout, and an aggregator's without what could read an update."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import polars as pl
import pytest

from tests.support.cli_runner import finished_process, hocket_command
from tests.support.federation import AGGREGATOR, Federation
from tests.support.partner_tables import write_tables

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("hocket", "data_prep", "partners", "secure", "pipeline")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image's recipe copies of the repository."""
    folder = tmp_path_factory.mktemp("sources") / "hocket"
    files = ("Makefile", "pyproject.toml", "constraints.txt", "requirements.hashed.txt", "README.md", "LICENSE")
    for name in NAMES[1:]:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*files, "hocket.py"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def aggregators(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an aggregator's installation in a new environment; its packages come from pip's index."""
    folder = tmp_path_factory.mktemp("release") / "aggregator"
    variables = ("EXTRAS=", f"RELEASE={folder}", f"PYTHON={sys.executable}")
    made = finished_process(["make", "-C", sources, "release", *variables], environment=clean())
    assert made.returncode == 0, made.stderr
    return folder


def clean() -> dict[str, str]:
    """The environment without paths to this checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.mark.slow
def test_an_aggregator_runs_without_what_could_read_an_update(aggregators: Path, enrolled: Federation, tmp_path: Path):
    """To the end of a federation whose partners have all libraries; verify and doctor work too, predictions do not."""
    federation = enrolled.moved(tmp_path / "federation")
    python, program = aggregators / "bin" / "python", aggregators / "bin" / "hocket"
    readers = ("torch", "rdkit", "polars", "sklearn", "scipy", "mlflow", "safetensors")
    found = finished_process([python, "-c", f"from importlib.util import find_spec as f; print([*map(f, {readers})])"])
    assert found.stdout == f"{[None] * len(readers)}\n"
    commands = [[program, "aggregator", "run", federation.config(AGGREGATOR)]]
    commands += [hocket_command("partner", "run", federation.config(name)) for name in federation.partners]
    runs = [subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) for command in commands]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, "\n".join(said)
    assert said[0].count("MLflow is not installed") == 1
    checked = finished_process([program, "verify", federation.plan_file, federation.exchange])
    assert checked.returncode == 0, checked.stderr
    assert finished_process([program, "doctor", federation.config(AGGREGATOR)]).returncode == 0
    (tmp_path / "new.smi").write_text("CCO\n")
    refused = finished_process([program, "predict", federation.config("P01"), tmp_path / "new.smi"])
    assert (refused.returncode, refused.stdout) == (2, "")


@pytest.mark.slow
def test_the_wheel_needs_no_checkout(aggregators: Path, tmp_path: Path):
    """In a new environment with this one's libraries: a demo, predictions and `import hocket`, with all data files."""
    python = tmp_path / "env" / "bin" / "python"
    assert finished_process([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"]).returncode == 0
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (wheel,) = (aggregators / "wheel").glob("*.whl")
    shutil.unpack_archive(wheel, site, "zip")
    libraries = {str(Path(pl.__file__).parents[1]), sysconfig.get_path("purelib")}
    (site / "libraries.pth").write_text("\n".join(sorted(libraries)))  # the wheel's folder is before them
    for number, name in enumerate(("a", "b", "c")):
        write_tables(tmp_path / "tables" / name, name, seed=number, n_compounds=280)
    demo = ("demo", "demo", "--data", "tables", "--rounds", "1")
    done = finished_process([python, "-P", "-m", "pipeline.cli", *demo], folder=tmp_path, environment=clean())
    assert done.returncode == 0, done.stderr
    code = f"import hocket, {', '.join(NAMES[1:])}, sys\n"
    code += f"assert all(m.__file__.startswith({str(site)!r}) for m in ({', '.join(NAMES)})), hocket.__file__\n"
    code += "print(hocket.open_model('demo/P01/partner.toml').predict(['CCO']).height)"
    asked = finished_process([python, "-P", "-c", code], folder=tmp_path, environment=clean())
    assert asked.stdout == "1\n", asked.stderr
    (tmp_path / "new.smi").write_text("CCO ethanol\n")
    words = ("predict", "demo/P01/partner.toml", "new.smi", "--output", "out.csv")
    ended = finished_process([python, "-P", "-m", "pipeline.cli", *words], folder=tmp_path, environment=clean())
    assert ended.returncode == 0, ended.stderr
    assert pl.read_csv(tmp_path / "out.csv")["input_compound_id"].unique().to_list() == ["ethanol"]
