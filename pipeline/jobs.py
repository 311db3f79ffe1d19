"""The jobs behind the commands: a member's run under its lock, with tracking beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.aggregator import AggregatorRun
from pipeline.configs import AggregatorConfig, MemberConfig, PartnerConfig
from pipeline.console import Narrator
from pipeline.errors import ConfigError, OutOfStep
from pipeline.home import Home, write_json
from pipeline.opening import open_aggregator_mail, open_partner_mail
from pipeline.plan import read_plan
from pipeline.tracking import QUIET, Member, Tracker
from pipeline.waiting import Machine, drive


def run_partner(config_file: Path, *, once: bool) -> None:
    """Take part in the federation until the report is written (or, with once, as far as others allow)."""
    config = PartnerConfig.read(config_file)
    narrator = Narrator(config.name)
    if Home(config.home_folder).tracked.exists() and _is_finished(config, narrator):
        return
    with Home(config.home_folder).alone(), _tracker(config, config_file, "partner", narrator) as tracker:
        if not _is_finished(config, narrator):
            mail = open_partner_mail(config)
            from pipeline.partner import PartnerRun  # noqa: PLC0415 -- torch, rdkit: after all refusals
            from pipeline.report_job import WithPage  # noqa: PLC0415 -- an aggregator needs none of it

            run = WithPage(PartnerRun(config, mail, narrator), mail.home)
            _run(run, config, tracker, narrator, once=once)


def run_aggregator(config_file: Path, *, once: bool) -> None:
    """Add sealed updates until the plan's last round (or, with once, as far as partners allow)."""
    config = AggregatorConfig.read(config_file)
    narrator = Narrator(config.name)
    if Home(config.home_folder).tracked.exists() and _is_finished(config, narrator):
        return
    with Home(config.home_folder).alone(), _tracker(config, config_file, "aggregator", narrator) as tracker:
        if not _is_finished(config, narrator):
            machine = AggregatorRun(open_aggregator_mail(config), narrator, workers=config.n_workers)
            _run(machine, config, tracker, narrator, once=once)


def _run(machine: Machine, config: MemberConfig, tracker: Tracker, narrator: Narrator, *, once: bool) -> None:
    tracker.start()
    drive(machine, narrator, once=once, poll_s=config.poll_s, idle=tracker.poke)
    write_json(Home(config.home_folder).finished, {"plan": read_plan(config.plan_file).digest})
    narrator.say("finished")


@contextmanager
def _tracker(config: MemberConfig, config_file: Path, role: str, narrator: Narrator) -> Iterator[Tracker]:
    """Tracking beside the run; where an earlier run could not log everything, it is tried again."""
    home = Home(config.home_folder)
    with Tracker(config_file, role, home.folder / "tracking.log") as tracker:
        if home.finished.exists() and not home.tracked.exists():
            tracker.start()
        yield tracker
    if tracker.failed:
        narrator.say(f"MLflow could not be reached; the records are kept for the next start, see {tracker.log_file}")


def _is_finished(config: MemberConfig, narrator: Narrator) -> bool:
    """Whether this plan's last round and report are done, so that nothing heavy need be loaded.

    Raises OutOfStep where another plan's are: there is no round left to go on with.
    """
    file = Home(config.home_folder).finished
    if not file.exists():
        return False
    try:
        ended = str(json.loads(file.read_text())["plan"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: is damaged; remove it, and the run looks for itself what is left to do") from error
    if ended != (expected := read_plan(config.plan_file).digest):
        raise OutOfStep(f"{file}: the federation ended here under plan {ended[:12]}..., not {expected[:12]}...")
    narrator.say("the federation is finished, nothing is left to do")
    return True


def serve_ui(config_file: Path, port: int) -> None:
    """Serve MLflow's UI for a member's store on 127.0.0.1 until interrupted."""
    role = "partner" if _is_partner(config_file) else "aggregator"
    from pipeline.tracking import read_member  # noqa: PLC0415 -- not needed by a member's run

    member: Member = read_member(config_file, role)
    if member.store.startswith("http"):
        raise ConfigError(f"{config_file}: the store is a server already, open {member.store}")
    command = [sys.executable, "-P", "-m", "mlflow", "ui", "--backend-store-uri", member.store]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    ended = subprocess.run(command, env=os.environ | QUIET, check=False)
    if ended.returncode:
        raise ConfigError(f"mlflow ui ended with exit code {ended.returncode}")


def _is_partner(config_file: Path) -> bool:
    import tomllib  # noqa: PLC0415

    try:
        return "data" in tomllib.loads(config_file.read_text())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{config_file}: cannot be read as TOML: {error}") from error
