"""The aggregator's image, built and run by Docker or Podman: its own user, a read-only root, no network."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cli_runner import finished_process

ROOT = Path(__file__).resolve().parents[3]
LIMITS = ("--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none")  # noqa: S108
NEEDED = "needs a container runtime"  # tests/conftest.py: no failure in CI


def answers(*command: str) -> bool:
    """Whether a command ends well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def runtime() -> str:
    """Podman or Docker, whichever works here."""
    found = next((name for name in ("podman", "docker") if shutil.which(name) and answers(name, "info")), None)
    if found is None:
        pytest.skip(f"{NEEDED}: neither podman nor docker with its daemon answers `info`")
    return found


@pytest.fixture(scope="module")
def image(runtime: str) -> str:
    """The aggregator's image; HOCKET_BASE and HOCKET_BUILD name another base, and more options of the build."""
    base = os.environ.get("HOCKET_BASE", "python:3.11-slim-bookworm")
    if not answers(runtime, "image", "inspect", base) and not answers(runtime, "pull", "--quiet", base):
        pytest.skip(f"{NEEDED} that can pull {base}, or has HOCKET_BASE")
    command = [runtime, "build", "--file", ROOT / "pipeline/container/Dockerfile", "--tag", "hocket-test-aggregator"]
    command += ["--build-arg", "EXTRAS=", "--build-arg", f"BASE={base}", *os.environ.get("HOCKET_BUILD", "").split()]
    built = finished_process([*command, ROOT])
    assert built.returncode == 0, built.stdout + built.stderr
    return "hocket-test-aggregator"


@pytest.mark.slow
def test_the_aggregators_image(runtime: str, image: str, tmp_path: Path) -> None:
    """It makes keys in a volume of its user, has no torch, and its root cannot be written."""
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 10001, 10001)
    run = (runtime, "run", *LIMITS, "--volume", f"{tmp_path}:/federation", image)
    made = finished_process([*run, "key", "new", "hub", "--home", "hub/home", "--role", "aggregator"])
    assert made.returncode == 0, made.stderr
    assert 'name = "hub"' in made.stdout
    assert (tmp_path / "hub" / "home" / "keys").stat().st_uid == 10001
    versions = finished_process([*run, "--version"]).stdout
    assert "not installed" in next(line for line in versions.splitlines() if line.startswith("torch"))
    python = (runtime, "run", *LIMITS, "--entrypoint", "python", image, "-c")
    assert finished_process([*python, "import os; print(os.getuid()); open('/opt/hocket/x', 'w')"]).stdout == "10001\n"
    assert finished_process([*python, "open('/opt/hocket/x', 'w')"]).returncode != 0
