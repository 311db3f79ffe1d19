"""What a skipped test means: a word on a person's machine, a failure in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LACKING = """\
import pytest
def test_begun():
    pytest.skip("no mount")
@pytest.mark.skipif(True, reason="no browser")
def test_marked():
    pass
def test_golden(shared):
    pass
@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""


def outcome(folder: Path, **environment: str) -> list[str]:
    """Run these tests under the hooks of all tests; what pytest says of those that did not pass."""
    (folder / "test_it.py").write_text(LACKING)
    (folder / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-ra", "-q", "--tb=line", "test_it.py"]
    given = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    given |= {"PYTHONPATH": str(ROOT), "HOCKET_SHARED": str(folder / "nowhere")} | environment
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if environment else 0), done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_skip_says_why(tmp_path: Path):
    """On a machine of one's own nothing fails for what the machine lacks."""
    told = outcome(tmp_path)
    assert "SKIPPED [1] test_it.py:3: no mount" in told
    assert "SKIPPED [1] test_it.py:4: no browser" in told
    assert told[-1].startswith("3 skipped, 1 xfailed")


@pytest.mark.slow
def test_a_skip_is_a_failure_in_ci(tmp_path: Path):
    """With its reason; but for files that are no part of the repository, and a test that did run was not skipped."""
    told = outcome(tmp_path, CI="true")
    assert "skipped, which is a failure in CI: no mount" in told
    assert "skipped, which is a failure in CI: no browser" in told
    assert told[-1].startswith("1 failed, 1 skipped, 1 xfailed, 1 error")  # an error: before the test began
