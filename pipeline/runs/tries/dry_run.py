"""`hocket try --partners N`: what a round would cost, measured with one's own tables cut into mock partners.

Training, sealing, adding and opening are done once with the real code, with keys that are thrown away, and files in a
temporary folder of the home. A partner's and the aggregator's part run in a process each, whose largest memory is read.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.errors import ConfigError, ExitCode, RunFailed
from pipeline.home.paths import Home
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.runs.tries.matrices import matrices_of
from pipeline.runtime.log import Log
from pipeline.runtime.progress import ProgressReporter

_MB, _GB = 1e6, 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Cost of a round, as measured on this machine under its present load."""

    plan: Plan
    n_partners: int
    n_compounds: int  # of a mock partner, in the training folds
    n_parameters: int  # of an update
    n_columns: int | None  # shared input columns; None: all
    steps_measured: int
    seconds: dict[str, float]  # train, validate, seal and open of a partner, add of the aggregator
    upload_bytes: int  # of a partner
    download_bytes: int
    partner_bytes: int  # most memory of the partner's process
    aggregator_bytes: int

    @property
    def round_seconds(self) -> float:
        """What a round takes if all partners are as large and compute at once, without the time of the transfers."""
        return sum(self.seconds.values())

    def to_json(self) -> dict[str, Any]:
        """All numbers, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "plan"}
        return values | {"n_rounds": self.plan.rounds.n_rounds, "round_seconds": self.round_seconds}


def dry_run(config_file: Path, n_partners: int, log: Log | None = None) -> DryRun:
    """Measure a round of this plan with so many mock partners. Raises ConfigError for more than the plan allows."""
    config = PartnerConfig.read(config_file)
    plan, home = read_plan(config.plan_file), Home(config.home_folder)
    if n_partners > plan.seal.max_partners:
        most = plan.seal.max_partners
        raise ConfigError(f"--partners: found {n_partners}, expected at most {most}, the plan's seal.max_partners")
    reporter = ProgressReporter(config.name, log)
    with home.alone():
        _, folder, is_of_group = matrices_of(config, plan, home, reporter)
        reporter.report(
            f"{n_partners} mock partners, each with one of {n_partners} compounds; "
            f"folds of the {'federation' if is_of_group else 'partner alone'}"
        )
        home.tries.mkdir(mode=0o700, exist_ok=True)
        with TemporaryDirectory(prefix=".dry-run-", dir=home.tries) as scratch:
            measured = _measured(config_file.resolve(), folder, n_partners, Path(scratch))
    return DryRun(plan=plan, n_partners=n_partners, **measured)


def _measured(config_file: Path, matrices: Path, n_partners: int, scratch: Path) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "pipeline.runs.tries.mock_partner"]
    command += [str(config_file), str(matrices), str(n_partners), str(scratch)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise RunFailed(f"the mock partner ended with {done.returncode}, expected 0; see above", ExitCode.TRAINING)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def print_dry_run(run: DryRun, console: Console) -> None:
    """Print the cost of a round and of all, and what is not in it."""
    rounds = run.plan.rounds
    columns = "" if run.n_columns is None else f", {run.n_columns:,} shared input columns"
    console.print(
        f"{run.n_partners} mock partners of {run.n_compounds:,} training compounds, updates of {run.n_parameters:,} "
        f"parameters{columns}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(title=f"A round of {rounds.local_steps:,} steps, and all {rounds.n_rounds:,} rounds of the plan")
    for column in ("", "a round", f"{rounds.n_rounds:,} rounds"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in run.seconds.items():
        who = "aggregator" if name == "add" else "partner"
        table.add_row(f"{who}: {name}, s", *_times(value, rounds.n_rounds))
    table.add_row("all, at once and without transfers, s", *_times(run.round_seconds, rounds.n_rounds))
    for name, size in (("sends", run.upload_bytes), ("receives", run.download_bytes)):
        table.add_row(f"partner {name}, MB", *(f"{size * n / _MB:,.1f}" for n in (1, rounds.n_rounds)))
    received = run.upload_bytes * run.n_partners
    table.add_row("aggregator receives, MB", *(f"{received * n / _MB:,.1f}" for n in (1, rounds.n_rounds)))
    for name, size in (("partner", run.partner_bytes), ("aggregator", run.aggregator_bytes)):
        table.add_row(f"{name}: most memory, GB", f"{size / _GB:.2f}", f"{size / _GB:.2f}")
    console.print(table)
    console.print(
        f"Measured with {run.steps_measured} training steps on this machine under its present load. Not in it: "
        "preparation, transfers and waiting, the counting round, rows of a catalogue; after the last round the local "
        "network, which costs as much as all training, and the models of single assays.",
        highlight=False,
        soft_wrap=True,
    )


def _times(seconds: float, n_rounds: int) -> tuple[str, str]:
    return f"{seconds:,.2f}", f"{seconds * n_rounds:,.0f}"
