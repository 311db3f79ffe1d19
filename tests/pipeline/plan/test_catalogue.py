"""The catalogue's file: what it gives the plan, and every file that is refused."""

import gzip
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.plan.catalogue import Catalogue, catalogue_text
from pipeline.plan.lengths import PossibleLengths
from pipeline.plan.plan import Plan, read_plan
from tests.support.federation import Federation

TEXT = "id,threshold\nC1,6.0\nC1,7\nC2,6.5\n"
TASKS = (("C1", 6.0), ("C1", 7.0), ("C2", 6.5))


def sha256(text: str | bytes) -> str:
    """SHA-256 of a file's text."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def pairs(plan: Plan) -> tuple[tuple[str, float], ...]:
    """The catalogue's tasks."""
    return tuple((task.id, task.threshold) for task in plan.catalogue.tasks)


@pytest.fixture
def folder(enrolled: Federation, tmp_path: Path) -> Path:
    """A folder with the small federation's plan."""
    (tmp_path / "plan.toml").write_text(enrolled.plan_file.read_text())
    return tmp_path


def put(folder: Path, content: str | bytes, name: str = "catalogue.csv", **catalogue: str) -> Path:
    """Write a catalogue's file, and a plan that names it; return the plan's file."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    said = {"file": name, "sha256": sha256(content)} | catalogue
    settings = "".join(f'{key} = "{value}"\n' for key, value in said.items() if value)
    plan = folder / "plan.toml"
    plan.write_text(f"{plan.read_text().split('[catalogue]')[0]}\n[catalogue]\n{settings}")
    return plan


def refused(plan: Path) -> tuple[str, str]:
    """What the refusal of a plan says, and what to do."""
    with pytest.raises(ConfigError) as caught:
        read_plan(plan)
    return str(caught.value), "\n".join(caught.value.__notes__)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace("\n", "\r\n"),
        "\ufeff" + TEXT,
        TEXT.replace(",", " \t, ").rstrip(),
        "\n" + TEXT.replace("\n", "\r").replace("\r", "\n\n", 1),
        TEXT + "\n\n",
        '"id","threshold"\n"C1",6\n"C1",0.7e1\n"C2",+6.50\n',
    ],
)
def test_the_rows_of_a_file_are_the_catalogue(folder: Path, text: str):
    """Rows in the file's order, whatever the line ends, quotes, empty lines, and blanks around a cell."""
    plan = read_plan(put(folder, text))
    assert pairs(plan) == TASKS
    assert plan.has_counting_round
    assert plan.possible_lengths(0) == PossibleLengths.one(3)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("\u00a0A\u3000", "\u00a0A\u3000"),
        ("A\x1f", "A\x1f"),
        ('"A,""B"""', 'A,"B"'),
        ('"A\r\nB"', "A\r\nB"),
        ('" A "', "A"),
        (' "A"', '"A"'),
        ('A"B', 'A"B'),
        ("e\u0301", "e\u0301"),
        ("\ufeffA", "\ufeffA"),
    ],
)
def test_an_id_is_read_as_the_format_says(folder: Path, cell: str, name: str):
    """Only spaces and tabs around a cell are left out, quotes count where they begin it, nothing is normalised."""
    assert pairs(read_plan(put(folder, f"id,threshold\n{cell},6\n"))) == ((name, 6.0),)


def test_a_packed_file_is_the_same_catalogue(folder: Path):
    """The SHA-256 is that of the text, so packing it, and how, changes nothing."""
    plain = read_plan(put(folder, TEXT)).digest
    for mtime in (0, 1):
        packed = gzip.compress(TEXT.encode(), mtime=mtime)
        plan = read_plan(put(folder, packed, "catalogue.csv.gz", sha256=sha256(TEXT)))
        assert (pairs(plan), plan.digest) == (TASKS, plain)


def test_the_plans_digest_binds_the_file(folder: Path):
    """Another text is another plan; the file's place is not part of it."""
    plan = read_plan(put(folder, TEXT))
    (folder / "lists").mkdir()
    assert read_plan(put(folder, TEXT, "lists/public.csv")).digest == plan.digest
    assert read_plan(put(folder, TEXT.replace("7", "8"))).digest != plan.digest
    in_plan = folder / "inline.toml"
    listed = ", ".join(f'{{id = "{name}", threshold = {threshold}}}' for name, threshold in TASKS)
    in_plan.write_text(f"{(folder / 'plan.toml').read_text().split('[catalogue]')[0]}\n[catalogue]\ntasks = [{listed}]")
    assert read_plan(in_plan).digest != plan.digest
    assert read_plan(in_plan).catalogue.tasks == plan.catalogue.tasks


WORDS = st.text(st.characters(exclude_categories=["C"]), min_size=1)


@given(st.lists(st.tuples(WORDS, st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, tasks: list[tuple[str, float]]):
    """Ids without blanks around them and every finite threshold come back exactly."""
    wanted = {(name.strip(" "), threshold) for name, threshold in tasks if name.strip(" ")}
    if not wanted:
        return
    file = tmp_path_factory.mktemp("catalogue") / "catalogue.csv"
    file.write_bytes(catalogue_text(wanted).encode())
    catalogue = Catalogue(file=file.name, sha256=sha256(file.read_bytes()))
    read = catalogue.with_file(file.parent / "plan.toml").tasks
    assert {(task.id, task.threshold) for task in read} == wanted


def test_a_public_list_of_all_targets_is_a_catalogue(folder: Path):
    """Ten thousand rows are read, checked and bound into the digest."""
    text = catalogue_text((f"CHEMBL{i // 4}", 5.0 + i % 4) for i in range(10_000))
    plan = read_plan(put(folder, text))
    assert len(plan.catalogue.tasks) == 10_000
    assert plan.digest != read_plan(put(folder, text.replace("CHEMBL7,", "CHEMBL2500,", 1))).digest


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1: found nothing, expected the columns id, threshold"),
        ("\n", "line 1: found nothing, expected the columns id, threshold"),
        ("id,threshold\n", "found no task, expected at least one"),
        ("id\nC1\n", "line 1: found id, expected the columns id, threshold"),
        ("threshold,id\n6,C1\n", "line 1: found threshold, id, expected"),
        ("id,threshold,target\nC1,6,T\n", "line 1: found id, threshold, target, expected"),
        ("C1,6.0\nC2,6.0\n", "line 1: found C1, 6.0, expected"),
        ("id;threshold\nC1;6\n", "line 1: found id;threshold, expected"),
        (TEXT + "C2\n", "line 5: found 1 columns, expected 2"),
        (TEXT + "C2,6,7\n", "line 5: found 3 columns, expected 2"),
        (TEXT + ",6\n", "line 5: found id '', expected a text"),
        (TEXT + "\0,6\n", r"line 5: found id '\\x00', expected a text"),
        (TEXT + "C1,6.00\n", "line 5: found 'C1' at 6 again, after line 2, expected it once"),
        ("id,threshold\nC1,0\nC1,-0.0\n", "line 3: found 'C1' at -0 again, after line 2"),
        (TEXT + "C3,\n", "line 5: found threshold '', expected a finite number"),
        (TEXT + "C3,nan\n", "line 5: found threshold 'nan', expected a finite number"),
        (TEXT + "C3,inf\n", "line 5: found threshold 'inf', expected a finite number"),
        (TEXT + "C3,1e999\n", "line 5: found threshold '1e999', expected a finite number"),
        (TEXT + "C3,6_0\n", "line 5: found threshold '6_0', expected a finite number"),
        (TEXT + "C3,six\n", "line 5: found threshold 'six', expected a finite number"),
        (TEXT + '"C3,6\n', "cannot be read as CSV in UTF-8"),
        (TEXT + '"C3" ,6\n', "cannot be read as CSV in UTF-8"),
        (TEXT + "C" * 131_073 + ",6\n", "cannot be read as CSV in UTF-8"),
        (TEXT + " \n", "line 5: found 1 columns, expected 2"),
        (TEXT + "C3,\u00a06\n", "line 5: found threshold '\\xa06', expected a finite number"),
        (TEXT + "C3,.5\n", "line 5: found threshold '.5', expected a finite number"),
        ("\ufeff\ufeff" + TEXT, "line 1: found \ufeffid, threshold, expected"),
        (TEXT.encode() + b"\xff,6\n", "cannot be read as CSV in UTF-8"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "cannot be read: "),
        (b"\x1f\x8b" + TEXT.encode(), "cannot be read: "),
    ],
)
def test_a_file_that_is_no_list_of_tasks_is_refused(folder: Path, content: str | bytes, said: str):
    """Every refusal names the file and the line, what was found and expected, and what to do."""
    message, advice = refused(put(folder, content))
    assert message.startswith(f"{folder / 'catalogue.csv'}: ")
    assert said.replace("\\\\", "\\") in message
    assert "`id,threshold`" in advice


def test_a_file_that_cannot_be_read_is_refused(folder: Path):
    """A file that is not there, a folder, a pipe that nobody writes to, and an endless file."""
    plan, file = put(folder, TEXT), folder / "catalogue.csv"
    file.unlink()
    assert "No such file" in refused(plan)[0]
    file.mkdir()
    assert "cannot be read: " in refused(plan)[0]
    file.rmdir()
    os.mkfifo(file)
    assert "no plain file" in refused(plan)[0]
    file.unlink()
    file.symlink_to("/dev/zero")
    assert "no plain file" in refused(plan)[0]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_text_without_end_is_refused(folder: Path, pack):
    """Packed, it may be a small file: no more of it is unpacked than is allowed."""
    message, _ = refused(put(folder, pack(b"id,threshold\n" + b"C" * (1 << 25))))
    assert "33,554,432 bytes" in message


def test_another_text_than_the_plans_is_refused(folder: Path):
    """A changed file names both digests; a plan without one says which to write, if all agree."""
    plan = put(folder, TEXT)
    changed = TEXT.replace("7", "8")
    (folder / "catalogue.csv").write_text(changed)
    message, advice = refused(plan)
    assert f"found SHA-256 {sha256(changed)} of its text, {plan} expects {sha256(TEXT)}" in message
    assert "take it from the member" in advice
    message, advice = refused(put(folder, TEXT, sha256=""))
    assert f"{plan} expects none" in message
    assert f'write sha256 = "{sha256(TEXT)}" under [catalogue] in the plan' in advice


@pytest.mark.parametrize("content", [TEXT.replace("7", "seven"), "no list\n", b"\xff"])
def test_another_file_is_not_even_parsed(folder: Path, content: str | bytes):
    """Whatever is wrong in it, it is said not to be the plan's; without a SHA-256 in the plan it is parsed."""
    message, _ = refused(put(folder, content, sha256=sha256(TEXT)))
    assert f"found SHA-256 {sha256(content)} of its text" in message
    assert "SHA-256" not in refused(put(folder, content, sha256=""))[0]


def test_a_list_has_an_end(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Of a million tasks, here of three; the line of the first one too many is named."""
    monkeypatch.setattr("pipeline.plan.catalogue._MOST_TASKS", 3)
    assert pairs(read_plan(put(folder, TEXT))) == TASKS
    message, _ = refused(put(folder, TEXT + "C3,1\n"))
    assert "line 5: found more than 3 tasks" in message


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('file = "a.csv"\ntasks = [{id = "C1", threshold = 6.0}]', "found tasks and a file, expected one of them"),
        (f'sha256 = "{"0" * 64}"', "found sha256 without a file"),
        ('file = "a.csv"\nsha256 = "0"', "catalogue.sha256: "),
        ('file = ["a.csv"]', "catalogue.file: "),
    ],
)
def test_a_plan_has_one_list(folder: Path, table: str, said: str):
    """Tasks in the plan or in a file, and the SHA-256 only of a file."""
    plan = folder / "plan.toml"
    plan.write_text(f"{plan.read_text()}\n[catalogue]\n{table}\n")
    with pytest.raises(ConfigError, match=said):
        read_plan(plan)
