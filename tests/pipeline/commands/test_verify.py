"""`hocket verify` and `hocket status`: what they print, exit codes, and refused arguments."""

import json
import re
import time
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from tests.support.cli_runner import hocket, refused
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import SUM, flip, say_again


def test_verify_prints_the_audit_trail(finished: Federation, monkeypatch: pytest.MonkeyPatch):
    """A round in three lines, the conclusion in the last, from any folder."""
    done = hocket("verify", finished.plan_file, finished.exchange)
    assert done.exit_code == ExitCode.DONE
    assert "warning" not in done.stderr  # progress may stand there, where a machine is slow
    lines = done.stdout.splitlines()
    rounds = [line for line in lines if line.startswith("round")]
    assert [line.split(",")[0] for line in rounds] == ["round 1", "round 2"]
    assert all(name in line for line in rounds for name in finished.partners)
    assert "2 sums" in lines[-1]
    monkeypatch.chdir(finished.folder)
    assert hocket("verify", "plan.toml", "exchange").stdout == done.stdout
    assert "0 sums" in hocket("verify", "--quick", "plan.toml", "exchange").stdout.splitlines()[-1]


def test_verify_as_json(finished: Federation):
    """For a program; the sums are added again unless asked otherwise."""
    for options, n_recomputed in (((), 2), (("--quick",), 0)):
        found = json.loads(hocket("verify", "--json", *options, finished.plan_file, finished.exchange).stdout)
        assert [(at["round_no"], at["outcome"]) for at in found["attempts"]] == [(1, "sum"), (2, "sum")]
        assert found["n_recomputed"] == n_recomputed


def test_verify_of_a_wrong_sum(done: Federation):
    """Signed by the aggregator and laid out as it must be, but not the sum of the updates: exit code 4."""
    flip(done.exchange / SUM.payload, -1000)
    say_again(done, SUM)
    folder = str((done.exchange / SUM.payload).parent)
    assert f"{folder}:" in refused(ExitCode.SECURITY, "verify", done.plan_file, done.exchange)
    assert hocket("verify", "--quick", done.plan_file, done.exchange).exit_code == ExitCode.DONE


def test_warnings_are_no_failure(voided: Federation, monkeypatch: pytest.MonkeyPatch):
    """Exit code 0, the warning and the conclusion on stdout."""
    monkeypatch.setattr(time, "time", lambda: 1e9)
    done = hocket("verify", voided.plan_file, voided.exchange)
    assert done.exit_code == ExitCode.DONE
    assert re.search(rf"^warning: .*\b{AGGREGATOR}\b", done.stdout, re.MULTILINE)


def test_verify_of_a_damaged_transcript(done: Federation):
    """Exit code 4, the file named, nothing on stdout."""
    path = done.exchange / "round-0002" / "attempt-01" / "sum.agg.arrow"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "sum.agg.arrow" in refused(ExitCode.SECURITY, "verify", done.plan_file, done.exchange)


@pytest.mark.parametrize("command", ["status", "verify"])
@pytest.mark.parametrize("exchange", ["exchange", "s3://bucket/example"])
def test_plan_and_exchange_swapped(
    finished: Federation, monkeypatch: pytest.MonkeyPatch, command: str, exchange: str
) -> None:
    """Exit code 2, and the order in which they are expected; nothing is asked over a network."""
    monkeypatch.chdir(finished.folder)
    message = refused(ExitCode.CONFIGURATION, command, exchange, "plan.toml")
    assert message.index("PLAN (") < message.index("EXCHANGE second")


def test_verify_of_nothing(finished: Federation, tmp_path: Path):
    """A mistyped folder is not a sound transcript."""
    assert str(tmp_path / "typo") in refused(ExitCode.CONFIGURATION, "verify", finished.plan_file, tmp_path / "typo")


def test_a_real_process_refuses_without_traceback(finished: Federation):
    """The installed module end to end: one line on stderr, the code for the shell."""
    done = finished.hocket("verify", str(finished.plan_file), str(finished.folder / "typo"))
    assert done.returncode == ExitCode.CONFIGURATION
    assert done.stdout == ""
    assert done.stderr.startswith("hocket: ")
    assert "Traceback" not in done.stderr
