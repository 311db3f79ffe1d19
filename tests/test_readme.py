"""The documents: every command, script, link and example in them is one, and the front page's six steps do run."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self
from urllib.error import HTTPError

import pytest

from data_prep.settings import ASSAY_TYPES
from pipeline.errors import ExitCode
from tests.support.cli_runner import finished_process, hocket, hocket_command, write_script
from tests.support.command_lines import command_of, parse, words_of
from tests.support.partner_tables import write_tables
from tests.support.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("data_prep", "partners", "pipeline", "secure", "tests")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md"))])
MOST_LINES = 150  # of the front page
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the machine has
PARTNERS = ("P01", "P02", "P03")
# A reader may edit the plan before it is dealt; here it is made small enough for small tables and a quick run.
SMALL = {
    "n_rounds": "2",
    "local_steps": "4",
    "tautomers": '"keep"',
    "n_bits": "1024",
    "hidden": "[16]",
    "training_min_active": "5",
    "training_min_inactive": "5",
    "evaluation_min_active": "1",
    "evaluation_min_inactive": "1",
}
PATIENCE_S = 1200.0  # for a condition; MLflow's server takes long on a busy machine
BASH = shutil.which("bash") or "/bin/bash"
_FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_SHELL = ("", "sh", "bash", "console")
_NO_COMMANDS = ("mermaid", "json", "csv")
_COMMENT, _WITHIN = re.compile(r"(^|\s)#.*"), re.compile(r"(?<=[ \"'/`(])hocket [a-z].*")
_INDENTED = re.compile(r"^ {4,}(?:hocket|pip|make|python|pytest) .*", re.MULTILINE)
_REDIRECTION = re.compile(r"\s\d?>.*")


def blocks(text: str, languages: Iterable[str] = _SHELL) -> list[str]:
    """Content of every fenced code block of these languages; continued lines are joined."""
    return [found[2].replace("\\\n", " ") for found in _FENCE.finditer(text) if found[1] in languages]


def command_lines(text: str) -> list[str]:
    """The lines of the shell's code blocks that begin with hocket, in order."""
    return [line.strip() for block in blocks(text) for line in block.splitlines() if line.strip().startswith("hocket ")]


def commands_within(text: str) -> list[str]:
    """Commands that a line of any code block holds behind something else: a script's, a unit's, a crontab's."""
    languages = {match[1] for match in _FENCE.finditer(text)} - {*_NO_COMMANDS}
    without = [_COMMENT.sub("", line.strip()) for block in blocks(text, languages) for line in block.splitlines()]
    inner = [found[0] for found in map(_WITHIN.search, without) if found]
    return [re.split(r"[\"'`)]", _REDIRECTION.sub("", line))[0].strip() for line in inner]


def spans(text: str) -> list[str]:
    """Code within sentences, in one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", _FENCE.sub("", text))]


def command_spans(text: str) -> list[str]:
    """Commands within sentences: `hocket ...`."""
    return [span for span in spans(text) if span.startswith("hocket ")]


def code(text: str) -> str:
    """All code, of blocks and sentences."""
    return "\n".join([*blocks(text, {match[1] for match in _FENCE.finditer(text)}), *spans(text)])


def scripts(text: str) -> list[str]:
    """Calls of the benchmarks' scripts with their options, in blocks and sentences."""
    return re.findall(r"(?:python )?(tests/benchmarks/[\w/]+\.py[^\n]*)", code(text))


def section(text: str, title: str) -> str:
    """A section of a document, without its heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def anchors(text: str) -> set[str]:
    """What a link into a document may name: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def of_documents(find: Callable[[str], Iterable[str]]) -> list[str]:
    """All that a finder finds in the documents, each once."""
    return list(dict.fromkeys(line for file in DOCUMENTS for line in find(file.read_text())))


@pytest.mark.parametrize("line", of_documents(command_lines))
def test_a_command_line_of_a_document_is_one(line: str) -> None:
    """Command, options, choices and the number of arguments."""
    if "..." not in line:
        parse(line)
    command_of(line)


@pytest.mark.parametrize("line", of_documents(commands_within))
def test_a_command_within_a_script_is_one(line: str) -> None:
    """The same of crontabs, units, Slurm's scripts and Airflow's tasks."""
    parse(line)


@pytest.mark.parametrize("span", of_documents(command_spans))
def test_a_command_in_a_sentence_is_one(span: str) -> None:
    """It may leave out arguments, not invent a command or an option."""
    command = command_of(span)
    known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
    assert {word for word in words_of(span) if word.startswith("-")} <= known


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_command_hides_from_these_tests(file: Path) -> None:
    """Code stands between fences, where it is found."""
    assert _INDENTED.findall(_FENCE.sub("", file.read_text())) == []


@pytest.mark.parametrize("call", of_documents(scripts))
def test_a_script_is_there_and_has_its_options(call: str) -> None:
    """Of the benchmarks, beside whose calls the figures stand."""
    name, *words = words_of(call)
    source = (ROOT / name).read_text()
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []


def test_every_target_extra_and_place_is_there() -> None:
    """`make X`, `'.[X]'`, and what is named in a folder of the repository."""
    all_code = "\n".join(of_documents(lambda text: [code(text)]))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", all_code, re.MULTILINE)) <= targets
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"'\.\[(\w+)\]'", all_code)) <= set(extras)
    places = set(re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./]*\w", all_code))
    assert {place for place in places if not (ROOT / place).exists()} == set()


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    """To files of the repository and to headings in them."""
    for place, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", _FENCE.sub("", file.read_text())):
        goal = (file.parent / place).resolve() if place else file
        assert goal.is_file(), place
        assert not anchor or anchor in anchors(goal.read_text()), f"{place}#{anchor}"


def test_the_reading_order_leaves_nothing_out() -> None:
    """A reviewer who follows it has read every module of the folder."""
    told = spans(section((ROOT / "secure" / "README.md").read_text(), "Reading order"))
    modules = {file.stem for file in (ROOT / "secure").rglob("*.py")} - {"__init__"}
    assert modules - set(told) == set()


def test_the_front_page_is_short() -> None:
    """What one reader needs stands in the document of that reader's folder."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


def test_the_sample_tables_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hocket init tables` writes README's rows and more, of which a task is scored; README explains the types."""
    text = (ROOT / "data_prep" / "README.md").read_text()
    assert {kind for kind in ASSAY_TYPES if f"`{kind}`" not in section(text, "The assay types")} == set()
    monkeypatch.chdir(tmp_path)
    assert hocket("init", "tables").stdout.split() == ["T0.csv", "T1.csv", "T2.csv"]
    for name, first_rows in zip(("T0", "T1", "T2"), blocks(text, ["csv"]), strict=True):
        assert Path(f"{name}.csv").read_text().startswith(first_rows)
    for name in (*PARTNERS, "hub"):
        role = "aggregator" if name == "hub" else "partner"
        card = hocket("key", "new", name, "--home", f"{name}/home", "--role", role)
        assert card.exit_code == ExitCode.DONE, card.stderr
        Path(f"{name}.card").write_text(card.stdout)
    cards = [f"{name}.card" for name in (*PARTNERS, "hub")]
    assert hocket("init", "plan", *cards, "--name", "example", "--custodian", "P01").exit_code == ExitCode.DONE
    tables = ["--assays", "T0.csv", "--activities", "T1.csv", "--structures", "T2.csv"]
    assert hocket("init", "partner", "P01", "--exchange", "exchange", *tables).exit_code == ExitCode.DONE
    checked = hocket("prepare", "P01/partner.toml", "--check")
    assert checked.exit_code == ExitCode.DONE, checked.output
    share, _, classification = checked.stdout.splitlines()[:3]
    assert share.startswith("T1: 0 % of 208 rows are left out")
    n_scored = re.search(r"-> about (\d+) scored", classification)
    assert n_scored, classification
    assert int(n_scored[1]) >= 1


def test_the_extraction() -> None:
    """Blocks of the shell only, in order, continued lines joined; what other blocks and sentences hold is found too."""
    text = "`hocket\nui` and `make`\n```\nhocket a \\\n  b  # c\nls && hocket x 2>> log\n```\n"
    text += "```toml\nhocket = 1\n```\n  ```sh\n  hocket d\n  ```\n```ini\nExecStart=/bin/hocket e --f\n```\n"
    text += '```python\nBash("hocket g")\n```\n`python tests/benchmarks/scale.py --full` and\n## A-b: C\n'
    assert command_lines(text) == ["hocket a    b  # c", "hocket d"]
    assert sorted(commands_within(text)) == ["hocket e --f", "hocket g", "hocket x"]
    assert command_spans(text) == ["hocket ui"]
    assert scripts(text) == ["tests/benchmarks/scale.py --full"]
    assert anchors(text) == {"a-b-c"}
    assert section("## A\nx\n## B\ny\n", "A") == "x\n"


# ------------------------------------------------------------------------------------------------- the six steps


class Shell:
    """Carries out commands in a folder: what P01 does, the others do too, but for the deal and the UI."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        binary = folder / "bin"
        binary.mkdir()
        write_script(binary / "hocket", hocket_command())
        path = os.pathsep.join((str(binary), str(Path(sys.executable).parent), os.environ["PATH"]))
        self._environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._environment |= dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def do(self, line: str) -> None:
        """Carry out a line, for every partner where it says so."""
        for name in PARTNERS if "# each partner" in line else ("P01",):
            self._do(line.replace("P01", name))
        if words_of(line)[1:3] == ["init", "plan"]:
            make_small(self._folder / "plan.toml")

    def answer(self, start: str, question: str) -> str:
        """What a server that the lines of `start` begin says to a question."""
        self._running["server"] = process = self._start(start.strip())
        asked: list[subprocess.CompletedProcess[str]] = []

        def is_answered() -> bool:
            assert process.poll() is None, start
            asked.append(self._run(f"{question.strip()} --silent --fail"))
            return asked[-1].returncode == 0

        wait_until(is_answered, lambda: asked[-1].stderr, patience_s=PATIENCE_S, pause_s=1)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)
        del self._running["server"]
        return asked[-1].stdout

    def _do(self, line: str) -> None:
        names = words_of(line)
        if "run" in names[1:3]:
            self._running[line] = self._start(line)
        elif names[1] == "ui":
            self._look_at_ui(line)
        else:
            if names[1] in ("report", "verify", "inspect", "predict"):
                self._await_runs()
            elif names[1] == "status":
                self._await_deal()
            done = self._run(line)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"

    def _run(self, line: str) -> "subprocess.CompletedProcess[str]":
        return finished_process([BASH, "-c", line], folder=self._folder, environment=self._environment)

    def _start(self, lines: str) -> "subprocess.Popen[bytes]":
        *before, last = lines.splitlines()
        return subprocess.Popen(
            [BASH, "-c", "\n".join((*before, f"exec env {last}"))],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / f"{len(self._running)}.log").open("wb"),
            start_new_session=True,
        )

    def _await_runs(self) -> None:
        for line, process in self._running.items():
            logs = "\n".join(log.read_text() for log in sorted(self._folder.glob("*.log")))
            assert process.wait(timeout=PATIENCE_S) == 0, f"{line}\n{logs}"
        self._running.clear()

    def _await_deal(self) -> None:
        """Until the custodian's run, which goes on beside the next line, has posted the first message."""

        def is_dealt() -> list[Path]:
            assert all(process.poll() is None for process in self._running.values())
            return list(self._folder.glob("exchange/enrol/deal.*.json"))

        wait_until(is_dealt, patience_s=PATIENCE_S)

    def _look_at_ui(self, line: str) -> None:
        """Serve on a free port until the page is there, which is not for us: the address is on its stdout."""
        port = free_port()
        self._running["ui"] = process = self._start(f"{line.partition('#')[0]} --port {port}")

        def is_served() -> bool:
            assert process.poll() is None, line
            return refuses(f"http://127.0.0.1:{port}/health")

        wait_until(is_served, lambda: line, patience_s=PATIENCE_S)
        os.killpg(process.pid, signal.SIGTERM)  # a shell's background job ignores SIGINT, and so would it
        process.wait(timeout=PATIENCE_S)
        del self._running["ui"]


def refuses(url: str) -> bool:
    """Whether a server is there, and shows nothing."""
    try:
        LOCAL.open(url, timeout=5).close()
    except HTTPError as refused:
        return refused.code == 403
    except OSError:
        return False
    return False


def make_small(plan: Path) -> None:
    """Set what takes long, or needs large tables, in the plan that `hocket init` wrote."""
    text = plan.read_text()
    for key, value in SMALL.items():
        text, n_found = re.subn(rf"^{key} = [^#\n]*", f"{key} = {value}  ", text, count=1, flags=re.MULTILINE)
        assert n_found == 1, key
    plan.write_text(text)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # more than PATIENCE_S, which says more when it ends
def test_running_it_for_real(tmp_path: Path) -> None:
    """Every command of the front page's run, in its order, with real processes; then the model is served and asked."""
    for number, name in enumerate(PARTNERS):
        write_tables(tmp_path / name, name, seed=number, n_compounds=280)
        for table in ("T0", "T1", "T2"):
            file = tmp_path / name / f"{table}.csv"
            file.with_suffix(".csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    (tmp_path / "new.smi").write_text("CCO ethanol\nCC(=O)Oc1ccccc1C(=O)O aspirin\n")
    page, of_models = ((ROOT / name).read_text() for name in ("README.md", "partners/README.md"))
    lines = command_lines(section(page, "A whole run in six steps") + section(page, "Look and predict"))
    assert len(lines) > 15
    with Shell(tmp_path) as shell:
        for line in lines:
            shell.do(line)
        answer = json.loads(shell.answer(*blocks(section(of_models, "Serving a model"))))
    assert all((tmp_path / name / "home" / "finished.json").exists() for name in (*PARTNERS, "hub"))
    assert all((tmp_path / name / "home" / "report" / "report.json").exists() for name in PARTNERS)
    assert (tmp_path / "P01" / "predictions.parquet").exists()
    assert (tmp_path / "consortium" / "consortium.html").exists()
    assert answer["predictions"][0]["reason"] is None
