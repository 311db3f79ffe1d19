"""Progress on stderr, as text and as bars."""

import re

import pytest
from rich.console import Console

import pipeline.runtime.progress
from pipeline.runtime.progress import ProgressReporter


class _Clock:
    """A clock that moves one second at each call."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """The clock's seconds."""
        self.now += 1
        return self.now

    def strftime(self, _format: str) -> str:
        """Always noon."""
        return "12:00:00"


def test_without_a_terminal_lines_tell_how_far_with_what_and_how_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Every ten seconds a line with the count, the loss and scores if any, and the seconds left at this pace."""
    clock = _Clock()
    monkeypatch.setattr(pipeline.runtime.progress, "time", clock)
    with ProgressReporter("P01", clock=clock.monotonic).progress("round 3: training") as progress:
        for step in range(1, 41):
            progress(step, 40, f"loss {1 / step:.4f}, validation loss 0.5000")
    with ProgressReporter("P01", clock=clock.monotonic).progress("sealing") as progress:
        for chunk in range(1, 15):
            progress(chunk, 14)
    lines = capsys.readouterr().err.splitlines()
    prefix, note = "12:00:00 P01: round 3: training: ", "validation loss 0.5000"
    assert lines[0].removeprefix(prefix).split(", ") == ["10 of 40", "loss 0.1000", note, "30 s left"]
    assert lines[1].removeprefix(prefix).split(", ") == ["20 of 40", "loss 0.0500", note, "20 s left"]
    assert [line for line in lines if re.match(r"12:00:00 P01: sealing: 10 of 14, 4 s\b", line)]
    assert sum("done in" in line for line in lines) == 2


def test_what_a_step_took_to_start_is_not_in_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A minute of start-up, then a step a second: the first line has no time left, the second that of the pace."""
    clock = _Clock()
    monkeypatch.setattr(pipeline.runtime.progress, "time", clock)
    with ProgressReporter("P01", clock=clock.monotonic).progress("round 1: training") as progress:
        clock.now += 60
        for step in range(1, 31):
            progress(step, 100)
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "12:00:00 P01: round 1: training: 1 of 100"
    assert second.startswith("12:00:00 P01: round 1: training: 11 of 100, 89 s ")


def test_what_was_done_before_is_not_in_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Work of an earlier start does not count, and each part of a step has its own pace."""
    clock = _Clock()
    monkeypatch.setattr(pipeline.runtime.progress, "time", clock)
    with ProgressReporter("P01", clock=clock.monotonic).progress("preparing compounds") as progress:
        for done in range(9000, 9011):
            progress(done, 10_000)
        for done in range(20):
            progress(done, 60, "a part")
    lines = capsys.readouterr().err.splitlines()
    prefix = "12:00:00 P01: preparing compounds: "
    assert lines[0].removeprefix(prefix).split(", ") == ["9009 of 10000", "991 s left"]
    assert lines[1].removeprefix(prefix).split(", ")[:3] == ["8 of 60", "a part", "52 s left"]


def test_on_a_terminal_a_bar_shows_the_note(capsys: pytest.CaptureFixture[str]):
    """Bar, count, time left and the note; a note's brackets are no markup."""
    reporter = ProgressReporter("P01")
    reporter._console = Console(stderr=True, force_terminal=True, width=120)
    with reporter.progress("training") as progress:
        progress(3, 9, "loss 0.1234 [red]")
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "3/9" in shown
    assert "loss 0.1234 [red]" in shown
