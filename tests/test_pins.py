"""The two lists of exact versions agree: constraints.txt and, with the digest of each file, requirements.hashed.txt."""

import re
from pathlib import Path

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


def test_the_documents_install_no_stranger() -> None:
    """No document or message tells to install a package called hocket from an index: none is ours."""
    told = re.compile(r"pip install '?hocket")
    texts = [*ROOT.glob("*.md"), *(path for path in ROOT.glob("*/**/*") if path.suffix in {".md", ".py", ".jinja"})]
    found = [path.name for path in texts if ".venv" not in path.parts and told.search(path.read_text())]
    assert found == []
