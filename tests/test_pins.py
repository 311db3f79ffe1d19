"""The two lists of exact versions agree: constraints.txt and, with the digest of each file, requirements.hashed.txt."""

import re
import shutil
import tomllib
from pathlib import Path

from tests.support.cli_runner import finished_process, write_script

ROOT = Path(__file__).resolve().parents[1]
BUILDERS = {"pip", "setuptools"}  # not among the tested versions; they install


def pins(name: str) -> list[str]:
    """The lines of a list without its comments."""
    return [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]


def test_every_pin_has_one_file() -> None:
    """Each version that is tested has one SHA-256, and no other version has."""
    hashed = [re.fullmatch(r"(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in pins("requirements.hashed.txt")]
    assert all(hashed)
    versions = [match[1] for match in hashed if match]
    assert len({version.split("==")[0].lower() for version in versions}) == len(versions)
    assert {pin for pin in versions if pin.split("==")[0] not in BUILDERS} == set(pins("constraints.txt"))
    assert {pin.split("==")[0] for pin in versions} >= BUILDERS


def test_the_pythons_are_told_alike() -> None:
    """The front page and pip's limits name those that the tests ran on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = [line.rpartition(" ")[2] for line in project["classifiers"] if ":: Python ::" in line]
    newest = int(told[-1].removeprefix("3."))
    assert told == [f"3.{minor}" for minor in range(11, newest + 1)]
    assert project["requires-python"] == f">={told[0]},<3.{newest + 1}"
    assert f"Python {', '.join(told[:-1])} or {told[-1]}" in (ROOT / "README.md").read_text()


def test_another_python_does_not_take_the_folder_of_one(tmp_path: Path) -> None:
    """`make test PYTHON=...` runs on that Python or says why not."""
    pythons = [tmp_path / ".venv" / "bin" / "python", tmp_path / "other"]
    pythons[0].parent.mkdir(parents=True)
    for version, python in zip(("3.11", "3.13"), pythons, strict=True):
        write_script(python, ["echo", version])
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "requirements.hashed.txt"):
        shutil.copy(ROOT / name, tmp_path)
    make = ("make", "-n", "test", f"PYTHON={pythons[1]}")
    refused = finished_process(make, folder=tmp_path)
    assert refused.returncode == 2
    assert "3.11" in refused.stderr
    assert finished_process([*make, "VENV=elsewhere"], folder=tmp_path).returncode == 0
    assert finished_process(make[:3], folder=tmp_path).returncode == 0


def test_the_documents_install_no_stranger() -> None:
    """No document or message tells to install a package called hocket from an index: none is ours."""
    told = re.compile(r"pip install '?hocket")
    texts = [*ROOT.glob("*.md"), *(path for path in ROOT.glob("*/**/*") if path.suffix in {".md", ".py", ".jinja"})]
    found = [path.name for path in texts if ".venv" not in path.parts and told.search(path.read_text())]
    assert found == []
