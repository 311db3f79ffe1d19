"""The documents' commands: each names existing commands and options, and "Running it for real" does run."""

import gzip
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.error import HTTPError

import pytest

from tests.pipeline.command_lines import command_of, parse, words_of
from tests.pipeline.tables import write_tables

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "secure/KEYS.md", "secure/THREAT_MODEL.md", "secure/FORMAT.md")
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


def blocks(text: str) -> Iterator[str]:
    """Content of every fenced code block that is not of another language than the shell's."""
    for found in re.finditer(r"^ *```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        if found[1] in ("", "sh", "bash", "console"):
            yield found[2]


def command_lines(text: str) -> list[str]:
    """The lines of code blocks that begin with hocket, in order; continued lines are joined."""
    joined = (block.replace("\\\n", " ") for block in blocks(text))
    return [line.strip() for block in joined for line in block.splitlines() if line.strip().startswith("hocket ")]


def spans(text: str) -> list[str]:
    """Commands within sentences: `hocket ...`."""
    without = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`(hocket\s[^`]+)`", without)]


def section(text: str, title: str) -> str:
    """A section of a document, without its heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def of_documents(find: object) -> list[str]:
    """All that a finder finds in the documents, each once."""
    assert callable(find)
    return list(dict.fromkeys(line for name in DOCUMENTS for line in find((ROOT / name).read_text())))


@pytest.mark.parametrize("line", of_documents(command_lines))
def test_a_command_line_of_a_document_is_one(line: str) -> None:
    """Command, options, choices and the number of arguments."""
    if "..." not in line:
        parse(line)
    command_of(line)


@pytest.mark.parametrize("span", of_documents(spans))
def test_a_command_in_a_sentence_is_one(span: str) -> None:
    """It may leave out arguments, not invent a command or an option."""
    command = command_of(span)
    known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
    assert {word for word in words_of(span) if word.startswith("-")} <= known


def test_the_extraction() -> None:
    """Blocks of the shell only, in order, continued lines joined; spans outside of blocks."""
    text = "`hocket\nui` and `make`\n```\nhocket a \\\n  b  # c\nls\n```\n```toml\nhocket = 1\n```\n"
    text += "  ```sh\n  hocket d\n  ```\n"
    assert command_lines(text) == ["hocket a    b  # c", "hocket d"]
    assert spans(text) == ["hocket ui"]
    assert section("## A\nx\n## B\ny\n", "A") == "x\n"


# ------------------------------------------------------------------------------------------- running it for real


class Shell:
    """Carries out the section's commands in a folder: what P01 does, the others do too, but for the deal and the UI."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        binary = folder / "bin"
        binary.mkdir()
        (binary / "hocket").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m pipeline.cli "$@"\n')
        (binary / "hocket").chmod(0o755)
        path = f"{binary}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def do(self, line: str) -> None:
        """Carry out a line, for every partner where it is one that each does."""
        names = words_of(line)
        alone = names[1] == "ui" or "deal" in names or "P02" in line or "P01" not in line
        for name in ("P01",) if alone else PARTNERS:
            self._do(line.replace("P01", name))
        if names[1:3] == ["init", "plan"]:
            make_small(self._folder / "plan.toml")

    def _do(self, line: str) -> None:
        names = words_of(line)
        if "run" in names[1:3]:
            self._running[line] = self._start(line)
        elif names[1] == "ui":
            self._look_at_ui(line)
        else:
            if names[1] in ("report", "verify", "inspect", "predict"):
                self._await_runs()
            done = subprocess.run(
                [BASH, "-c", line],
                cwd=self._folder,
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"

    def _start(self, line: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [BASH, "-c", f"exec {line}"],
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

    def _look_at_ui(self, line: str) -> None:
        """Serve on a free port until the page is there, which is not for us: the address is on its stdout."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._running["ui"] = process = self._start(f"{line.partition('#')[0]} --port {port}")
        until = time.monotonic() + PATIENCE_S
        while not refuses(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, line
            assert time.monotonic() < until, line
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
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
    """Every command of the section, in its order, with real processes; at the end each member is finished."""
    for number, name in enumerate(PARTNERS):
        write_tables(tmp_path / name, name, seed=number, n_compounds=280)
        for table in ("T0", "T1", "T2"):
            file = tmp_path / name / f"{table}.csv"
            file.with_suffix(".csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    (tmp_path / "new.smi").write_text("CCO ethanol\nCC(=O)Oc1ccccc1C(=O)O aspirin\n")
    lines = command_lines(section((ROOT / "README.md").read_text(), "Running it for real"))
    assert len(lines) > 10
    with Shell(tmp_path) as shell:
        for line in lines:
            shell.do(line)
    assert all((tmp_path / name / "home" / "finished.json").exists() for name in (*PARTNERS, "hub"))
    assert all((tmp_path / name / "home" / "report" / "report.json").exists() for name in PARTNERS)
