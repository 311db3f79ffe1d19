"""Templates: every file is packaged, a missing value is an error, and HTML shows markup instead of obeying it."""

import tomllib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from pipeline.runtime.templates import filled

ROOT = Path(__file__).parents[3]


def test_a_missing_value_is_an_error():
    """A missing value is an error."""
    with pytest.raises(UndefinedError, match="member"):
        filled("pipeline.tracking", "aggregator_run.md.jinja", name="small")


def test_markdown_takes_values_as_they_are():
    """Values are escaped only in HTML."""
    assert "**A & B**" in filled("pipeline.tracking", "aggregator_run.md.jinja", name="small", member="A & B")


def test_every_template_is_packaged():
    """Each file of a package that is neither module nor document matches a pattern of pyproject.toml."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packages = [path.parent for path in ROOT.glob("pipeline/**/__init__.py")]
    packaged = {
        file
        for package in packages
        for pattern in patterns.get(".".join(package.relative_to(ROOT).parts), [])
        for file in package.glob(pattern)
    }
    others = {
        file
        for package in packages
        for file in package.iterdir()
        if file.is_file() and file.suffix not in {".py", ".pyc"} and file.name != "README.md"
    }
    assert {file.name for file in others} >= {"page.html", "page.css", "readme.md.jinja"}
    assert others == packaged
