"""The jobs behind the commands: a member's run under its lock, with tracking beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline.aggregator import AggregatorRun
from pipeline.configs import AggregatorConfig, MemberConfig, PartnerConfig
from pipeline.console import Narrator
from pipeline.errors import ConfigError
from pipeline.home import Home, write_json
from pipeline.opening import open_aggregator_mail, open_partner_mail
from pipeline.plan import read_plan
from pipeline.tracking import QUIET, Member, Tracker
from pipeline.waiting import Machine, drive


def run_partner(config_file: Path, *, once: bool) -> None:
    """Take part in the federation until the report is written (or, with once, as far as others allow)."""
    config = PartnerConfig.read(config_file)
    narrator = Narrator(config.name)
    if _is_finished(config, narrator):
        return
    with Home(config.home_folder).alone():
        mail = open_partner_mail(config)
        from pipeline.partner import PartnerRun  # noqa: PLC0415 -- torch, rdkit: after all that can be refused without

        _run(PartnerRun(config, mail, narrator), config, config_file, "partner", narrator, once=once)


def run_aggregator(config_file: Path, *, once: bool) -> None:
    """Add sealed updates until the plan's last round (or, with once, as far as partners allow)."""
    config = AggregatorConfig.read(config_file)
    narrator = Narrator(config.name)
    if _is_finished(config, narrator):
        return
    with Home(config.home_folder).alone():
        machine = AggregatorRun(open_aggregator_mail(config), narrator)
        _run(machine, config, config_file, "aggregator", narrator, once=once)


def _run(
    machine: Machine, config: MemberConfig, config_file: Path, role: str, narrator: Narrator, *, once: bool
) -> None:
    home = Home(config.home_folder)
    with Tracker(config_file, role, home.folder / "tracking.log") as tracker:
        drive(machine, narrator, once=once, poll_s=config.poll_s, idle=tracker.poke)
        write_json(home.finished, {"plan": read_plan(config.plan_file).digest})
    narrator.say("finished")
    if tracker.failed:
        narrator.say(f"MLflow could not be reached; the records are kept, see {home.folder / 'tracking.log'}")


def _is_finished(config: MemberConfig, narrator: Narrator) -> bool:
    """Whether this plan's last round and report are done, so that nothing heavy need be loaded."""
    file = Home(config.home_folder).finished
    if not file.exists() or json.loads(file.read_text())["plan"] != read_plan(config.plan_file).digest:
        return False
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config_file}: cannot be read as TOML: {error}") from error
