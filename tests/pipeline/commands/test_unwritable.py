"""Folders that are full, read-only or no folders: exit code 2, path, reason and advice, and nothing is left."""

import subprocess
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from tests.support.cli_runner import hocket, refused
from tests.support.full_disk import fill


@pytest.fixture
def cards(tmp_path: Path) -> list[Path]:
    """The cards of three partners and an aggregator."""
    files = []
    for name in ("P01", "P02", "P03", "hub"):
        role = "aggregator" if name == "hub" else "partner"
        card = hocket("key", "new", name, "--home", tmp_path / "homes" / name, "--role", role)
        files.append(tmp_path / f"{name}.card")
        files[-1].write_text(card.stdout)
    return files


def commands(folder: Path, cards: list[Path]) -> list[tuple[str, list[object]]]:
    """Commands that write into the folder, each with the path that it is to name."""
    home = folder / "new" / "home"
    return [
        (f"{home}/keys", ["key", "new", "P01", "--home", home]),
        (f"{folder}/new/T0.csv", ["init", "tables", folder / "new"]),
        (
            f"{folder}/new/plan.toml",
            ["init", "plan", *cards, "--name", "x", "--custodian", "P01", "--output", folder / "new/plan.toml"],
        ),
        (
            f"{folder}/new/partner.toml",
            ["init", "partner", folder / "new", "--name", "P01", "--exchange", "x", "--plan", "plan.toml"],
        ),
        (
            f"{folder}/new/aggregator.toml",
            ["init", "aggregator", folder / "new", "--name", "hub", "--exchange", "x", "--plan", "plan.toml"],
        ),
    ]


def expect_refusals(folder: Path, cards: list[Path], reason: str, advice: str) -> None:
    """Each command ends with exit code 2, says why, and leaves the folder as it was."""
    before = sorted(folder.rglob("*")) if folder.is_dir() else folder.read_bytes()
    for path, command in commands(folder, cards):
        message = refused(ExitCode.CONFIGURATION, *command)
        assert f"{path}: cannot be written: {reason}" in message
        assert advice in message
        assert "Errno" not in message
        assert (sorted(folder.rglob("*")) if folder.is_dir() else folder.read_bytes()) == before


def test_a_full_disk(small_disk: Path, cards: list[Path]):
    """The advice is to free space."""
    fill(small_disk)
    expect_refusals(small_disk, cards, "No space left on device", "free some space")


def test_a_read_only_disk(small_disk: Path, cards: list[Path]):
    """The advice is to choose another folder."""
    subprocess.run(["/usr/bin/mount", "-o", "remount,ro", str(small_disk)], check=True)
    expect_refusals(small_disk, cards, "Read-only file system", "choose a folder")


def test_a_file_instead_of_a_folder(tmp_path: Path, cards: list[Path]):
    """A file on the way to the folder is named too."""
    (tmp_path / "file").touch()
    expect_refusals(tmp_path / "file", cards, "Not a directory", "another place")


def test_some_sample_tables_are_none(small_disk: Path):
    """If the last table has no space, the first two are removed again."""
    ballast = fill(small_disk)
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size - 12_288)  # one page for T0, two for T1
    assert f"{small_disk}/T2.csv: cannot be written" in refused(ExitCode.CONFIGURATION, "init", "tables", small_disk)
    assert list(small_disk.iterdir()) == [ballast]
