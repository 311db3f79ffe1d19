"""What a skipped test means: a word on a person's machine, a failure in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LACKING = """\
import pytest
{mark}
def test_that_needs_something({fixture}):
    {body}
"""
SKIPS = {
    "as it begins": LACKING.format(mark="", fixture="", body="pytest.skip('no mount')"),
    "by a mark": LACKING.format(mark="@pytest.mark.skipif(True, reason='no mount')", fixture="", body="pass"),
    "golden files": LACKING.format(mark="", fixture="shared", body="pass"),
    "expected to fail": LACKING.format(mark="@pytest.mark.xfail(reason='no mount')", fixture="", body="assert False"),
}


def outcome(code: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a test module of its own under the hooks of all tests."""
    (folder / "test_it.py").write_text(code)
    (folder / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-ra", "test_it.py"]
    given = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    given |= {"PYTHONPATH": str(ROOT), "HOCKET_SHARED": str(folder / "nowhere")} | environment
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", SKIPS)
def test_a_skip_says_why(how: str, tmp_path: Path):
    """On a machine of one's own nothing fails for what the machine lacks."""
    done = outcome(SKIPS[how], tmp_path)
    assert done.returncode == 0, done.stdout
    assert "needs the golden files" in done.stdout if how == "golden files" else "no mount" in done.stdout


@pytest.mark.parametrize("how", ["as it begins", "by a mark"])
def test_a_skip_is_a_failure_in_ci(how: str, tmp_path: Path):
    """With the reason, which says what to install."""
    done = outcome(SKIPS[how], tmp_path, CI="true")
    assert done.returncode == 1, done.stdout
    assert "skipped, which is a failure in CI: no mount" in done.stdout


@pytest.mark.parametrize("how", ["golden files", "expected to fail"])
def test_what_may_stay_undone_in_ci(how: str, tmp_path: Path):
    """Files that are no part of the repository; and a test that did run is none that was skipped."""
    assert outcome(SKIPS[how], tmp_path, CI="true").returncode == 0
