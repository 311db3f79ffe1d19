"""Batch systems with `--once`: cron's line, Slurm's script and a second start, as plain shell commands."""

import os
import re
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from secure.messages.message_name import MessageName
from tests.support.cli_runner import finished_process, write_script
from tests.support.federation import AGGREGATOR, Federation
from tests.support.marked_process import marked

# The same lines stand in the README.
CRON = (
    "*/10 * * * * hocket partner run --once --timeout 300 --log-format json /srv/hocket/partner.toml 2>>/srv/hocket/log"
)
SLURM = """\
#!/bin/bash
#SBATCH --job-name=hocket --cpus-per-task=8 --mem=32G --time=12:00:00 --signal=TERM@120
hocket partner run --once --timeout 600 /srv/hocket/partner.toml
code=$?
if [ $code -eq 6 ]; then sbatch --begin=now+10minutes "$0"; exit 0; fi
exit $code
"""


@pytest.fixture
def environment(tmp_path: Path, fresh: Federation) -> dict[str, str]:
    """A PATH with hocket, and with an sbatch that writes down how it was called."""
    (tmp_path / "bin").mkdir()
    write_script(tmp_path / "bin" / "hocket", fresh.command())
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "sbatch.log"}\n')
    sbatch.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_cron_line(fresh: Federation, tmp_path: Path, environment: dict[str, str]):
    """Cron's command: exit code 6 while others are awaited, and all output in the log."""
    command = CRON.split("* * * * ")[1].replace("/srv/hocket/partner.toml", str(fresh.config("P01")))
    command = command.replace("/srv/hocket/log", str(tmp_path / "run.log"))
    done = finished_process(["/bin/sh", "-c", command], environment=environment)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.NOT_YET, "", "")
    assert re.search(r'"message": "[^"]*\bP02\b', (tmp_path / "run.log").read_text())
    assert fresh.posted(MessageName("pairing", 0, 0, "P01")).exists()


@pytest.mark.slow
def test_slurm_script(fresh: Federation, tmp_path: Path, environment: dict[str, str]):
    """While others are awaited the job ends well and is queued for later; an error is the job's own."""
    script = tmp_path / "hocket.sh"
    script.write_text(SLURM.replace("/srv/hocket/partner.toml", str(fresh.config("P01"))))
    done = finished_process(["/bin/bash", script], environment=environment)
    assert done.returncode == 0, done.stderr
    assert "P02" in done.stderr
    assert (tmp_path / "sbatch.log").read_text() == f"--begin=now+10minutes {script}\n"
    fresh.config("P01").write_text("nonsense")
    done = finished_process(["/bin/bash", script], environment=environment)
    assert done.returncode == ExitCode.CONFIGURATION
    assert len((tmp_path / "sbatch.log").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_second_start_says_who_is_at_work(fresh: Federation):
    """Cron does not wait for the last run: the second ends with 6; after kill -9 the next goes on."""
    command = fresh.command("aggregator", "run", str(fresh.config(AGGREGATOR)))
    first = marked(command)
    assert first.popen.stderr is not None
    assert "waiting for" in first.popen.stderr.readline()
    second = fresh.hocket("aggregator", "run", "--once", str(fresh.config(AGGREGATOR)))
    assert second.returncode == ExitCode.NOT_YET
    assert f"process {first.popen.pid} on " in second.stderr
    first.popen.kill()
    first.popen.communicate()
    third = fresh.hocket("aggregator", "run", "--once", str(fresh.config(AGGREGATOR)))
    assert third.returncode == ExitCode.NOT_YET
    assert f"process {first.popen.pid} on " in third.stderr
    assert "was killed" in third.stderr
    assert "waiting for" in third.stderr.split("was killed")[1]
