"""The house rules: who may import whom, and what an aggregator's process may hold."""

import ast
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import data_prep.atomic
import secure.files

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("data_prep", "partners", "secure", "pipeline")
MAY_IMPORT = {
    "data_prep": set(),
    "secure": set(),
    "partners": {"data_prep", "secure"},
    "pipeline": {"data_prep", "partners", "secure"},
}
HOMES = {
    "rdkit": "data_prep",
    "polars": "data_prep",
    "dask": "data_prep",
    "distributed": "data_prep",
    "torch": "partners",
    "sklearn": "partners",
    "safetensors": "partners",
    "crepes": "partners",
    "tenseal": "secure",
    "cryptography": "secure",
    "pyarrow": "secure",
    "click": "pipeline",
    "pydantic": "pipeline",
    "fsspec": "pipeline",
    "rich": "pipeline",
    "matplotlib": "pipeline",
    "jinja2": "pipeline",
    "mlflow": "pipeline",
    "nvflare": "pipeline",
}
ONLY_IN = {
    "dask": ("data_prep/structures/cluster.py",),
    "distributed": ("data_prep/structures/cluster.py",),
    "click": ("pipeline/cli.py", "pipeline/commands/"),
    "nvflare": ("pipeline/transport/nvflare/",),
    "mlflow": (
        "pipeline/tracking/sync.py",
        "pipeline/tracking/process.py",
        "pipeline/tracking/mlflow_model.py",
        "pipeline/tracking/ui_pages.py",
    ),
}
MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    """A module imports other folders only downwards, and libraries only in their home."""
    folder = path.relative_to(ROOT).parts[0]
    names = imported(path)
    assert names & set(FOLDERS) <= MAY_IMPORT[folder] | {folder}
    assert {HOMES[name] for name in names & set(HOMES)} <= {folder}
    for library, places in ONLY_IN.items():
        assert library not in names or str(path.relative_to(ROOT)).startswith(places)


def test_package_inits_are_empty() -> None:
    """Importing a folder imports nothing else."""
    assert all((ROOT / folder / "__init__.py").read_text() == "" for folder in FOLDERS)


def test_the_four_names_are_ours() -> None:
    """PyPI has an unrelated `secure`; each of the four names belongs to this distribution only."""
    owners = packages_distributions()
    assert {name: set(owners[name]) for name in FOLDERS} == {name: {"hocket"} for name in FOLDERS}


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_aggregator_needs_no_torch_rdkit_polars_or_mlflow() -> None:
    """The aggregator's code path imports with these libraries made unimportable, so its host needs none."""
    blocked = ["torch", "rdkit", "polars", "sklearn", "safetensors", "mlflow"]
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
    code += "import pipeline.protocol.aggregator, pipeline.runs.jobs"
    run_python(code)


def test_the_aggregator_knows_of_data_prep_its_settings_alone() -> None:
    """They are part of the plan, which every member reads."""
    code = (
        "import sys, pipeline.protocol.aggregator, pipeline.runs.jobs\n"
        "print(sorted(name for name in sys.modules if name.startswith('data_prep.')))"
    )
    assert run_python(code) == "['data_prep.settings']\n"


def test_temporary_files_have_one_suffix() -> None:
    """data_prep writes by itself, all others by secure.files; both call a temporary file alike."""
    assert data_prep.atomic.PART == secure.files.PART == ".part"


def test_help_imports_nothing_heavy() -> None:
    """`hocket --help` answers without loading numpy, torch, rdkit, polars, pydantic, mlflow or rich."""
    code = (
        "import sys, pipeline.cli\n"
        "try: pipeline.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({name.split('.')[0] for name in sys.modules}"
        " & {'numpy', 'torch', 'rdkit', 'polars', 'pydantic', 'mlflow', 'rich', 'tenseal', 'fsspec'}))"
    )
    assert "HEAVY []" in run_python(code)


def test_no_pickle_crosses_a_border() -> None:
    """No module unpickles: torch loads weights only, and numpy pickles only where the user said so, in one place."""
    for path in MODULES:
        text, tree = path.read_text(), ast.parse(path.read_text())
        assert not {"dill", "cloudpickle"} & imported(path), path
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert "pickle" not in {alias.name for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom) and node.module == "pickle":
                assert {alias.name for alias in node.names} == {"UnpicklingError"}, path
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("torch.load"):
                assert {key.arg: ast.unparse(key.value) for key in node.keywords}["weights_only"] == "True", path
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                trusted = path.name == "sparsechem_files.py" and ast.unparse(node.value) == "trust_pickle"
                assert trusted or ast.unparse(node.value) == "False", path
        assert "allow_pickle=True" not in text, path
