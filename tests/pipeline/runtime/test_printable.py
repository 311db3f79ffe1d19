"""Texts of others on a terminal: nothing in them commands it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.log import Log
from pipeline.runtime.printable import printable
from pipeline.runtime.progress import ProgressReporter
from tests.support.cli_runner import hocket

ESCAPE = "\x1b[31mred\x9b2J\u202e"


@given(st.text())
def test_everything_can_be_printed(text: str) -> None:
    """What is printable stays; the rest is written as Python writes it."""
    shown = printable(text)
    assert all(sign.isprintable() or sign in "\n\t" for sign in shown)
    assert printable(text, keep="").isprintable()
    assert not text.isprintable() or shown == text


def test_the_log_of_a_run_holds_no_escape(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines, warnings and progress of a run, in text."""
    reporter = ProgressReporter("P01", Log())
    reporter.report(f"compound {ESCAPE}")
    reporter.warn(f"assay {ESCAPE}")
    Log().write(f"file {ESCAPE}")
    lines = capsys.readouterr().err
    assert lines.count(r"\x1b[31mred\x9b2J\u202e") == 3
    assert "\x1b" not in lines


def test_an_error_holds_no_escape(tmp_path: Path) -> None:
    """A command that refuses a file shows what it found without its control characters."""
    config = tmp_path / "partner.toml"
    config.write_text('name = "P01"\nplan = "p"\nexchange = "e"\n"\\u001b[31mred" = 1\n')
    done = hocket("inspect", str(config))
    assert done.exit_code == 2
    assert r"\x1b[31mred" in done.stderr
    assert "\x1b" not in done.stderr
