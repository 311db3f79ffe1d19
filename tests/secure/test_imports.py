"""What the aggregator loads, and what it does not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import secure

FOLDER = Path(secure.__file__).parent
HEAVY = {
    "torch",
    "rdkit",
    "polars",
    "sklearn",
    "mlflow",
    "pandas",
    "data_prep",
    "partners",
    "pipeline",
    "click",
    "pydantic",
}
# modules that know a key, or the way to one
SECRET = {
    "keys.group",
    "keys.pairing",
    "keys.envelopes",
    "sealing.masks",
    "sealing.tags",
    "sealing.seal",
    "sealing.open_sum",
}


@pytest.mark.parametrize(
    "module",
    [
        "secure.sealing.add",
        "secure.messages.messages",
        "secure.sealing.open_sum",
        "secure.inspect",
        "secure.verify",
    ],
)
def test_no_heavy_imports(module):
    """Adding, talking and opening load nothing of the other folders, nor torch, rdkit or polars."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_messages_and_parameters_need_no_ciphertexts():
    """Reading a plan and verifying messages load neither tenseal nor pyarrow."""
    code = "import sys, secure.messages.messages, secure.ciphertexts.parameters; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tenseal", "pyarrow"} & set(loaded)


def imports_of(module):
    """Modules of secure that a module imports, directly or not; names below `secure`."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        tree = ast.parse(FOLDER.joinpath(*name.split(".")).with_suffix(".py").read_text())
        for node in ast.walk(tree):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            for imported in (n.removeprefix("secure.") for n in names if n and n.startswith("secure.")):
                if imported not in found:
                    found.add(imported)
                    todo.append(imported)
    return found


def test_what_is_secret_is_named_right():
    """A module that moves takes its name along."""
    assert all(FOLDER.joinpath(*name.split(".")).with_suffix(".py").exists() for name in SECRET)


def test_adding_knows_no_keys():
    """The code of adding cannot reach the group secret, pair keys, masks or tags: it does not import them."""
    found = imports_of("sealing.add")
    assert "sealing.container" in found
    assert not SECRET & found


def test_checking_sealed_files_knows_no_keys():
    """An auditor's check of sealed files and sums needs none: its code cannot reach them either."""
    found = imports_of("verify")
    assert "sealing.add" in found
    assert not SECRET & found


def test_no_folder_but_this():
    """The folder imports none of the other folders."""
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.split(".")[0] for name in names} & {"data_prep", "partners", "pipeline"}
