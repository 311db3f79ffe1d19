"""Fixtures that every part of the tests may use."""

import faulthandler
import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.federation_fixtures"]

_ROOT = Path(__file__).resolve().parents[1]
_TEARDOWN_S = 600.0
_STDERR = pytest.StashKey[int]()
# Modules that take longest, the longest first, so that no worker is left with one at the end. Measured by adding up the
# lines of each module that `pytest -n 2 --dist loadfile --durations=0 -vv` prints; all others take less than these.
_LONGEST = (
    "tests/pipeline/model/test_predict.py",
    "tests/pipeline/model/test_predict_refusals.py",
    "tests/pipeline/pages/test_pages.py",
    "tests/pipeline/protocol/test_counting_round.py",
    "tests/pipeline/protocol/test_counting_round_refusals.py",
    "tests/system/test_federation.py",
    "tests/pipeline/runs/test_extend.py",
    "tests/pipeline/report/test_consortium.py",
    "tests/pipeline/tracking/test_sync.py",
    "tests/data_prep/folds/test_folds.py",
    "tests/pipeline/test_cli.py",
    "tests/partners/network/test_dense_oracle.py",
    "tests/pipeline/transport/test_sync.py",
    "tests/pipeline/report/test_shareable.py",
    "tests/data_prep/preparation/test_prepare.py",
    "tests/pipeline/audit/test_verify.py",
    "tests/pipeline/audit/test_verify_refusals.py",
    "tests/pipeline/audit/test_payloads.py",
    "tests/pipeline/protocol/test_revision.py",
    "tests/data_prep/structures/test_watchdog.py",
    "tests/pipeline/commands/test_transcripts.py",
    "tests/pipeline/setup/test_doctor.py",
    "tests/partners/models/test_take_home.py",
    "tests/system/test_dropouts.py",
    "tests/secure/sealing/test_hostile_partner.py",
    "tests/system/test_hostile_partner.py",
    "tests/pipeline/audit/test_status.py",
    "tests/pipeline/tracking/test_process.py",
    "tests/pipeline/runs/test_attendance.py",
    "tests/data_prep/test_prepared.py",
    "tests/secure/sealing/test_round.py",
    "tests/secure/test_fuzz.py",
    "tests/system/test_hostile_aggregator.py",
    "tests/pipeline/runtime/test_signals.py",
    "tests/secure/sealing/test_stolen_updates.py",
    "tests/secure/test_imports.py",
    "tests/pipeline/tracking/test_mlflow_model.py",
    "tests/pipeline/runs/test_report.py",
    "tests/data_prep/tables/test_table_files.py",
    "tests/pipeline/commands/test_report.py",
    "tests/partners/assay_models/test_fitting.py",
    "tests/secure/test_format.py",
)
_MAY_SKIP_IN_CI = (
    "needs the golden files and data",  # they are no part of the repository
    "needs a container runtime",  # nor is the image that ours begins from
)

# Here and not in a folder below: a test takes the settings that are the default when its module is imported.
settings.register_profile("hocket", deadline=None)  # a busy machine is no failure
settings.load_profile("hocket")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Wording of the commands is agreed to by a flag."""
    parser.addoption(
        "--update-transcripts",
        action="store_true",
        help="Rewrite the transcripts of hocket's commands instead of comparing with them.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr, as tests are run with another."""
    config.stash[_STDERR] = os.dup(2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules; workers take modules in this order with --no-loadscope-reorder."""
    first = {_ROOT / module: place for place, module in enumerate(_LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """End the process where a teardown hangs, with what it does: a failed test has used up pytest-timeout's timer."""
    faulthandler.dump_traceback_later(_TEARDOWN_S, exit=True, file=item.config.stash[_STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI what the machine lacks is a failure: a test that is skipped there has tested nothing anywhere."""
    report = yield
    if report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(_MAY_SKIP_IN_CI):
            report.outcome, report.longrepr = "failed", f"skipped, which is a failure in CI: {reason}"
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the peers' golden values and real data; beside the checkout, or where HOCKET_SHARED says."""
    folder = Path(os.environ.get("HOCKET_SHARED", _ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the golden files and data of {folder}, which is not here (set HOCKET_SHARED)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _structure_processes() -> Iterator[None]:
    """Processes that standardise structures outlive a test: each costs half a second to start."""
    from data_prep.structures.watchdog import worker_pool  # noqa: PLC0415 -- not before a test runs

    with worker_pool():
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["/usr/bin/mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["/usr/bin/umount", "--lazy", str(place)], check=True)
