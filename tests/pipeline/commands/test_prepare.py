"""`hocket prepare`: the check of tables, prepared folders, new structures."""

import json
import stat
from pathlib import Path

import pytest
from scipy import sparse

from pipeline.audit.describe_file import describe_file
from pipeline.errors import ExitCode
from tests.support.cli_runner import hocket, printed, refused
from tests.support.federation import Federation


def test_prepare_check_of_good_tables(fresh: Federation):
    """Exit code 0 with few rows lost: the forecast's tasks are the prepared ones, its labels near the prepared ones."""
    lines = printed("prepare", "--check", fresh.config("P01")).splitlines()
    checked = json.loads(hocket("prepare", "--check", "--json", fresh.config("P01")).stdout)
    assert lines[: len(checked["findings"])] == checked["findings"]
    assert (checked["usable"], checked["lost_assays"]) == (True, [])
    made = json.loads(hocket("prepare", "--json", fresh.config("P01")).stdout)
    assert checked["rejected_share"] == made["rejected_share"]
    for kind in ("classification", "regression"):
        assert [checked["forecast"][kind][n] for n in ("candidates", "trained")] == [
            made[kind][n] for n in ("candidates", "tasks")
        ]
    for name, of_fold in (("training_labels", "labels"), ("training_compounds", "compounds")):
        trained = sum(fold[of_fold] for fold in made["folds"] if fold["fold"] > 1)
        assert checked["forecast"][name] == pytest.approx(trained, rel=0.3)


def test_prepare_check_of_all_structures(fresh: Federation):
    """Exit code 3 if the structures leave out too much; all are looked at, and --all-structures needs --check."""
    table = fresh.folder / "P01" / "T2.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *(row.split(",")[0] + ",xxx" for row in rows)]))
    for options in (["--check"], ["--check", "--all-structures"]):
        done = hocket("prepare", *options, "--json", fresh.config("P01"))
        assert done.exit_code == ExitCode.DATA
        assert not json.loads(done.stdout)["usable"]
    assert "--check" in refused(ExitCode.CONFIGURATION, "prepare", "--all-structures", fresh.config("P01"))


def test_prepare_check_of_bad_tables(fresh: Federation):
    """Exit code 3; every problem on stdout, for it is the result; a list as JSON."""
    (fresh.folder / "P01" / "T0.csv").unlink()
    table = fresh.folder / "P01" / "T1.csv"
    table.write_text(table.read_text().replace(",=,", ",≈,", 1))
    done = hocket("prepare", "--check", fresh.config("P01"))
    assert done.exit_code == ExitCode.DATA
    lines = done.stdout.splitlines()
    assert any(line.startswith("T0: ") for line in lines)
    assert any(line.startswith("T1: ") for line in lines)
    as_json = hocket("prepare", "--check", "--json", fresh.config("P01"))
    assert as_json.exit_code == ExitCode.DATA
    assert json.loads(as_json.stdout)["findings"] == lines


def test_prepare_workers_and_cache(fresh: Federation):
    """The number of workers is an option, at least 1; structures are remembered for nobody but the owner."""
    assert hocket("prepare", "--workers", "0", fresh.config("P01")).exit_code == ExitCode.CONFIGURATION
    done = hocket("prepare", "--workers", "1", "--json", fresh.config("P01"))
    assert json.loads(done.stdout)["compounds"]["rows"] > 0
    assert stat.S_IMODE(fresh.home("P01").structures_cache.stat().st_mode) == 0o600


def test_prepare_with_descriptors(fresh: Federation):
    """With `descriptors = true` under [data], and only then, the prepared folder has them."""
    config = fresh.config("P01")
    plain = json.loads(hocket("prepare", "--json", config).stdout)
    config.write_text(config.read_text().replace("[data]\n", "[data]\ndescriptors = true\n"))
    described = json.loads(hocket("prepare", "--json", config).stdout)
    assert [(Path(made["folder"]) / "descriptors.npy").exists() for made in (plain, described)] == [False, True]
    assert described["consistency"] == plain["consistency"]


def test_prepare_of_unreadable_tables(fresh: Federation):
    """Exit code 3, the table named, and no prepared folder."""
    (fresh.folder / "P01" / "T1.csv").write_text("nothing,of,this\n1,2,3\n")
    assert "T1" in refused(ExitCode.DATA, "prepare", fresh.config("P01"))
    assert list(fresh.home("P01").prepared.glob("*/manifest.json")) == []


def test_prepare_waits_for_the_deal(fresh: Federation):
    """Folds are keyed: exit code 6 before the group secret is there."""
    assert "deal of P01" in refused(ExitCode.NOT_YET, "prepare", fresh.config("P02"))


def test_prepare_says_what_it_made(fresh: Federation):
    """Counts and folder, as tables of 80 columns or as JSON; the second time it is only read."""
    first = hocket("prepare", "--json", fresh.config("P01"))
    assert first.exit_code == ExitCode.DONE
    found = json.loads(first.stdout)
    assert (Path(found["folder"]) / "manifest.json").exists()
    assert found["classification"]["tasks"] == 6
    assert found["regression"]["tasks"] == 2
    shown = hocket("prepare", fresh.config("P01")).stdout
    *lines, last = shown.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert last == f"folder: {found['folder']}"
    assert "6 tasks" in shown


NEW = "input_compound_id,smiles\nN1,CCO\nN2,C(\nN1,c1ccccc1CN\n"


def test_prepare_of_new_structures(fresh: Federation, tmp_path: Path):
    """Folder, counts and consistency digest, in words or as JSON; what was refused is counted and listed."""
    (tmp_path / "new.csv").write_text(NEW)
    command = ["prepare", fresh.config("P01"), "--structures", tmp_path / "new.csv", "--output", tmp_path / "out"]
    first = hocket(*command, "--json")
    assert first.exit_code == ExitCode.DONE
    found = json.loads(first.stdout)
    digest = json.loads(hocket("prepare", "--json", fresh.config("P01")).stdout)["consistency"]
    assert found == {
        "folder": str(tmp_path / "out"),
        "rows": 3,
        "accepted": 2,
        "rejected": {"unparsable": 1},
        "consistency": digest,
    }
    assert sparse.load_npz(tmp_path / "out/x.npz").shape == (2, 512)
    lines = dict(line.split(": ", 1) for line in hocket(*command).stdout.splitlines())
    assert lines == {key: str(value) for key, value in found.items()}
    for file in (tmp_path / "out").iterdir():
        assert "(private)" in str(describe_file(file)["what"])


def test_prepare_of_new_structures_never_removes_what_is_no_output(fresh: Federation, tmp_path: Path):
    """Exit code 2 for an occupied folder, 3 for an unreadable table, 2 for one option without the other."""
    (tmp_path / "new.csv").write_text(NEW)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    prepare = ["prepare", fresh.config("P01")]
    new, out = ["--structures", tmp_path / "new.csv"], ["--output", tmp_path / "out"]
    assert str(tmp_path / "mine") in refused(ExitCode.CONFIGURATION, *prepare, *new, "--output", tmp_path / "mine")
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"
    assert "bad.csv" in refused(ExitCode.DATA, *prepare, "--structures", tmp_path / "bad.csv", *out)
    for half in (new, out, ["--check", *new, *out]):
        said = refused(ExitCode.CONFIGURATION, *prepare, *half)
        assert all(option in said for option in ("--structures", "--output"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "federation", "mine", "new.csv"]


def test_prepare_of_new_structures_waits_for_the_deal(fresh: Federation, tmp_path: Path):
    """Bits are keyed: exit code 6 before the group secret is there, and no output."""
    (tmp_path / "new.csv").write_text(NEW)
    options = ["--structures", tmp_path / "new.csv", "--output", tmp_path / "out"]
    assert "deal of P01" in refused(ExitCode.NOT_YET, "prepare", fresh.config("P02"), *options)
    assert not (tmp_path / "out").exists()
