"""The house rules: who may import whom, and what an aggregator's process may hold."""

import ast
import tomllib
from collections import Counter
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import data_prep.atomic
import secure.files
from pipeline.cli import PARTNERS_LIBRARIES
from tests.support.cli_runner import python_process

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
    "fastexcel": "data_prep",
    "dask": "data_prep",
    "distributed": "data_prep",
    "torch": "partners",
    "sklearn": "partners",
    "safetensors": "partners",
    "crepes": "partners",
    "dp_accounting": "partners",
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
    "dp_accounting": ("partners/privacy/accounting.py",),
    "dask": ("data_prep/structures/cluster.py",),
    "distributed": ("data_prep/structures/cluster.py",),
    "click": ("pipeline/cli.py", "pipeline/commands/"),
    "nvflare": ("pipeline/transport/nvflare/",),
    "mlflow": (
        "pipeline/runs/tries/mlflow_runs.py",
        "pipeline/tracking/sync.py",
        "pipeline/tracking/process.py",
        "pipeline/tracking/local_run.py",
        "pipeline/tracking/mlflow_model.py",
        "pipeline/tracking/model_server.py",
        "pipeline/tracking/parameters.py",
        "pipeline/tracking/report_sync.py",
        "pipeline/tracking/ui_pages.py",
    ),
}
# Inside each folder, top floor first: a room or module imports only from floors below its own.
FLOORS = {
    "pipeline": [
        {"cli"},
        {"commands"},
        {"runs"},
        {"tracking", "demo"},
        {"pages", "setup", "model"},
        {"report", "protocol", "transport", "audit"},
        {"exchange"},
        {"home"},
        {"plan"},
        {"runtime"},
        {"errors"},
    ],
    "partners": [
        {"new_assays", "audit"},
        {"models"},
        {"target_models"},
        {"assay_models"},
        {"training"},
        {"files", "privacy"},
        {"network"},
        {"training_data", "scores"},
        {"settings"},
        {"errors"},
    ],
    "data_prep": [
        {"preparation", "prediction", "samples"},
        {"folds"},
        {"structures", "labels", "prepared"},
        {"tables", "descriptors"},
        {"columns", "atomic"},
        {"settings", "errors", "version"},
    ],
    "secure": [
        {"inspect", "verify"},
        {"sealing"},
        {"messages"},
        {"keys"},
        {"ciphertexts"},
        {"encoding"},
        {"files"},
        {"errors"},
    ],
}
TOP = ROOT / "hocket.py"  # what notebooks import; above all folders
MOST_MODULES = 20  # in one folder: more names than that are not read, but searched
MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a module's syntax tree; several rules look at each module."""
    return tuple(ast.walk(ast.parse(path.read_text())))


@cache
def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports, anywhere in it."""
    names: set[str] = set()
    for node in nodes(path):
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


def test_one_module_is_above_the_folders() -> None:
    """What notebooks import; no folder imports it, and it has neither click nor a print."""
    assert sorted(ROOT.glob("*.py")) == [TOP]
    assert imported(TOP) & set(HOMES) == {"polars"}
    assert [path for path in MODULES if "hocket" in imported(path)] == []
    calls = {node.func.id for node in nodes(TOP) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {"print", "open"}


def imported_modules(path: Path) -> set[tuple[str, ...]]:
    """Full names, in parts, of everything a module imports, anywhere in it."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {tuple(name.split(".")) for name in names}


def parts_of(path: Path) -> tuple[str, ...]:
    """A module's full name, in parts."""
    return path.relative_to(ROOT).with_suffix("").parts


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_room_has_one_floor(folder: str) -> None:
    """The floors list each room and each module on top exactly once, and nothing that is gone."""
    listed = sorted(room for floor in FLOORS[folder] for room in floor)
    there = {parts_of(path)[1] for path in MODULES if parts_of(path)[0] == folder} - {"__init__"}
    assert listed == sorted(there)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_inside_a_folder_run_down(path: Path) -> None:
    """A module imports other rooms of its folder only from floors below its own."""
    folder, room = parts_of(path)[:2]
    if room == "__init__":
        return
    floor_of = {name: number for number, floor in enumerate(FLOORS[folder]) for name in floor}
    rooms = {name[1] for name in imported_modules(path) if name[0] == folder and len(name) > 1} - {room}
    assert {other for other in rooms if floor_of[other] <= floor_of[room]} == set()


def test_no_circle_of_imports() -> None:
    """No module imports itself by way of others."""
    names = {parts_of(path) for path in MODULES}
    below = {
        parts_of(path): {name[:n] for name in imported_modules(path) for n in (len(name), len(name) - 1)} & names
        for path in MODULES
    }
    while leaves := [name for name, needs in below.items() if not needs & below.keys()]:
        for name in leaves:
            del below[name]
    assert sorted(below) == []


def test_no_folder_is_a_long_list() -> None:
    """No folder of the project, tests included, holds more modules than a reader takes in."""
    tests = sorted((ROOT / "tests").rglob("*.py"))
    n_modules = Counter(path.parent for path in (*MODULES, *tests) if path.name != "__init__.py")
    assert {str(folder): n for folder, n in n_modules.items() if n > MOST_MODULES} == {}


def test_package_inits_are_empty() -> None:
    """Importing a folder or a room imports nothing else."""
    assert all(path.read_text() == "" for path in MODULES if path.name == "__init__.py")
    assert all((path.parent / "__init__.py").exists() for path in MODULES)


def test_our_names_are_ours() -> None:
    """PyPI has an unrelated `secure`; each of the five names belongs to this distribution only."""
    owners = packages_distributions()
    names = (*FOLDERS, TOP.stem)
    assert {name: set(owners[name]) for name in names} == {name: {"hocket"} for name in names}


def test_an_aggregators_installation_lacks_what_could_read_an_update() -> None:
    """The extra `partner` has all libraries of data_prep and partners, and the command line knows them by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    always, partner = (
        {Requirement(line).name for line in lines}
        for lines in (project["dependencies"], project["optional-dependencies"]["partner"])
    )
    of = {name: set(owners) for name, owners in packages_distributions().items()}
    assert {name for name in of if of[name] & partner and name in PARTNERS_LIBRARIES} == PARTNERS_LIBRARIES
    assert {owner for name in PARTNERS_LIBRARIES for owner in of[name]} >= partner
    readers = {name for name, home in HOMES.items() if home in {"data_prep", "partners"}} - {"dask", "distributed"}
    assert readers <= PARTNERS_LIBRARIES
    assert not {owner for name in readers for owner in of[name]} & always


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = python_process(code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_aggregator_needs_no_torch_rdkit_polars_or_mlflow() -> None:
    """The aggregator's code path imports with these libraries made unimportable, so its host needs none."""
    blocked = ["torch", "rdkit", "polars", "sklearn", "safetensors", "mlflow"]
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
    code += "import pipeline.protocol.aggregator, pipeline.runs.jobs"
    run_python(code)


def test_the_aggregator_knows_of_data_prep_settings_and_names_of_columns_alone() -> None:
    """Settings are part of the plan, which every member reads; the configurations of all members are in one module."""
    code = (
        "import sys, pipeline.protocol.aggregator, pipeline.runs.jobs\n"
        "print(sorted(name for name in sys.modules if name.startswith('data_prep.')))"
    )
    assert run_python(code) == "['data_prep.columns', 'data_prep.settings']\n"


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


def test_import_hocket_loads_nothing_heavy() -> None:
    """A notebook's first cell answers at once."""
    code = (
        "import sys, hocket; print('HEAVY', sorted({'numpy', 'torch', 'rdkit', 'polars', 'click'} & set(sys.modules)))"
    )
    assert "HEAVY []" in run_python(code)


def test_no_pickle_crosses_a_border() -> None:
    """No module unpickles: torch loads weights only, and numpy pickles only where the user said so, in one place."""
    for path in (*MODULES, TOP):
        text = path.read_text()
        assert not {"dill", "cloudpickle"} & imported(path), path
        for node in nodes(path):
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
