"""`hocket report` and its options: what is written where, what is printed, what is refused."""

import json
from pathlib import Path

import pytest

from pipeline.audit.describe_file import describe_file
from pipeline.errors import ExitCode
from tests.support.cli_runner import hocket
from tests.support.federation import Federation
from tests.support.full_disk import fill


@pytest.fixture(scope="module")
def reported(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A finished federation of which every partner has shared its summary. For reading only."""
    federation = finished.moved(tmp_path_factory.mktemp("reported") / "federation")
    for name in federation.partners:
        done = hocket("report", federation.config(name), "--shareable")
        assert done.exit_code == 0, done.output
        assert name in done.stdout
        assert str(federation.home(name).report / "shareable" / "report.html") in done.stdout
    return federation


def test_every_written_file_says_what_it_is(reported: Federation):
    """Pages, figures, summary: `hocket inspect` knows them, and refuses them when they are cut."""
    folder = reported.home("P01").report
    files = [path for path in folder.rglob("*") if path.is_file()]
    kinds = {path.suffix: describe_file(path)["what"] for path in files}
    assert kinds[".html"].startswith("page ")
    assert kinds[".svg"] == kinds[".png"]
    assert kinds[".svg"].startswith("figure ")
    assert all("private" in kinds[suffix] for suffix in (".html", ".svg"))
    assert {"report.html", "report.json", "summary.json", "shareable"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["report.html", "figures/folds.svg", "figures/folds.png"])
def test_a_cut_page_or_figure_is_refused(reported: Federation, tmp_path: Path, name: str):
    """As any other file of ours."""
    content = (reported.home("P01").report / name).read_bytes()
    cut = tmp_path / Path(name).name
    cut.write_bytes(content[: len(content) // 2])
    done = hocket("inspect", cut)
    assert done.exit_code == ExitCode.CONFIGURATION
    assert cut.name in done.stderr


def test_shareable_to_a_folder_and_as_json(reported: Federation, tmp_path: Path):
    """--output says where; --json prints summary.json and nothing else."""
    done = hocket("report", reported.config("P02"), "--shareable", "--output", tmp_path / "out", "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out/summary.json").read_text())
    assert (tmp_path / "out/report.html").exists()


def test_merge_prints_every_partner_and_where_the_page_is(reported: Federation, tmp_path: Path):
    """From the files as the partners wrote them; --json prints consortium.json."""
    files = [reported.home(name).report / "shareable" / "summary.json" for name in reported.partners]
    done = hocket("report", "--merge", *files, "--output", tmp_path)
    assert done.exit_code == 0
    assert all(name in done.stdout for name in reported.partners)
    assert str(tmp_path / "consortium.html") in done.stdout
    again = hocket("report", "--merge", *files, "--output", tmp_path, "--json")
    assert json.loads(again.stdout) == json.loads((tmp_path / "consortium.json").read_text())
    assert describe_file(tmp_path / "consortium.json")["what"].endswith("summaries, merged")


def test_private_reports_are_not_merged(reported: Federation, tmp_path: Path):
    """Exit code, the file's name, and no page."""
    files = [reported.home(name).report / "report.json" for name in reported.partners]
    done = hocket("report", "--merge", *files, "--output", tmp_path / "out")
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "private" in done.stderr
    assert "P01-A" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_merge_without_space_leaves_no_folder(reported: Federation, small_disk: Path):
    """Neither page nor figures in a new folder; the message has the folder and the reason."""
    files = [reported.home(name).report / "shareable" / "summary.json" for name in reported.partners]
    ballast = fill(small_disk)
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size - 8_192)  # for a small figure
    done = hocket("report", "--merge", *files, "--output", small_disk / "out")
    assert done.exit_code == ExitCode.CONFIGURATION
    assert f"{small_disk / 'out'}: cannot be written: No space left on device" in done.stderr
    assert list(small_disk.iterdir()) == [ballast]


@pytest.mark.parametrize(
    "options",
    [
        ["--output", "OUT"],
        ["--merge"],
        ["--merge", "--shareable", "--output", "OUT"],
        ["CONFIG"],
    ],
)
def test_options_that_do_not_go_together(reported: Federation, tmp_path: Path, options: list[str]):
    """--output needs something to put there, --merge a folder, and a report is of one partner."""
    config, out = reported.config("P01"), tmp_path / "out"
    done = hocket("report", config, *({"CONFIG": config, "OUT": out}.get(option, option) for option in options))
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "Usage" in done.stderr
    assert not out.exists()
