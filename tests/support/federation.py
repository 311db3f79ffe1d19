"""A small federation on disk, driven in this process or through real processes."""

import copy
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pipeline.errors import NotYet
from pipeline.home.paths import Home
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.plan.plan import read_plan
from pipeline.protocol.aggregator import AggregatorRun
from pipeline.protocol.open_mailbox import open_aggregator_mailbox, open_partner_mailbox
from pipeline.runs.partner_run import PartnerRun
from pipeline.runtime.progress import ProgressReporter
from pipeline.runtime.retry import Machine
from pipeline.setup.keys import deal, new_keys
from secure.messages.message_name import MessageName
from tests.support.cli_runner import hocket_command, hocket_process
from tests.support.partner_tables import write_tables

AGGREGATOR = "agg"
PLAN = """\
format = 1
[federation]
name = "small"
id = "{id}"
custodian = "P01"
seed = 3
[rounds]
n_rounds = {n_rounds}
local_steps = 4
min_partners = {min_partners}
ready_deadline_s = {deadline_s}
update_deadline_s = {deadline_s}
max_attempts = {max_attempts}
[preparation.chemistry]
tautomers = "keep"
[preparation.fingerprint]
n_bits = 512
[preparation.activities]
training_min_active = 5
training_min_inactive = 5
evaluation_min_active = 1
evaluation_min_inactive = 1
catalogue_min_labels = 20
catalogue_min_fold_active = 0
catalogue_min_fold_inactive = 0
[trunk]
hidden = [16]
dropout = 0.2
{trunk}
[columns]
{columns}
{extra}
"""
PARTNER = """\
name = "{name}"
plan = "../plan.toml"
exchange = "../exchange"
poll_s = 0.02
[data]
assays = "T0.csv"
activities = "T1.csv"
structures = "T2.csv"
[training]
batch_size = 40
keyed_chance = false
"""
MEASURING = """\
[preparation.regression]
evaluation_min_exact = 5
evaluation_min_std = 0.0
"""
WITH_REGRESSION = ("P01", "P02")


class Federation:
    """Folders, keys, plan, configurations and the dealt secret of a small federation."""

    def __init__(  # noqa: PLR0913 -- what a test may want otherwise, by name
        self,
        folder: Path,
        *,
        n_partners: int = 3,
        n_rounds: int = 2,
        deadline_s: float = 3600.0,
        max_attempts: int = 5,
        min_partners: int = 3,
        columns: str = "min_partners = 0",
        extra: str = "",
        trunk: str = "",
        federation_id: str = "ab" * 16,
        holders: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.partners = [f"P{i:02d}" for i in range(1, n_partners + 1)]
        self.exchange = folder / "exchange"
        self.plan_file = folder / "plan.toml"
        cards = [new_keys(name, "partner", self.home(name).folder, None) for name in self.partners]
        cards.append(new_keys(AGGREGATOR, "aggregator", self.home(AGGREGATOR).folder, None))
        plan = PLAN.format(
            id=federation_id,
            n_rounds=n_rounds,
            deadline_s=deadline_s,
            max_attempts=max_attempts,
            min_partners=min_partners,
            columns=columns,
            extra=extra,
            trunk=trunk,
        )
        self.plan_file.write_text(plan + "\n".join(f"[[card]]\n{card}" for card in cards))
        for number, name in enumerate(self.partners):
            held = [shared for shared, names in holders.items() for _ in range(list(names).count(name))]
            write_tables(folder / name, name, seed=number, catalogue=held)
            (folder / name / "partner.toml").write_text(PARTNER.format(name=name))
        lines = PARTNER.format(name=AGGREGATOR).split("[data]")[0]
        (folder / AGGREGATOR / "aggregator.toml").write_text(lines)
        seed = hashlib.sha256(b"small federation").digest()
        deal(self.plan_file, self.home("P01").folder, None, structure_seed=seed)

    def revise(self, round_no: int, *, revision: int = 2, n_rounds: int = 4, custodian: str = "P01") -> None:
        """Let all go on under a revision of the plan, with the cards now in the homes; nothing is dealt yet."""
        before = read_plan(self.plan_file)
        settings = self.plan_file.read_text().split("[[card]]")[0].split("[continues]")[0]
        settings = re.sub(r"n_rounds = \d+", f"n_rounds = {n_rounds}", settings)
        settings = re.sub(r"custodian = .*", f'custodian = "{custodian}"', settings)
        settings += f'[continues]\nplan = "{before.digest}"\nrevision = {revision}\nround = {round_no}\n'
        cards = [(self.home(name).keys / "card.toml").read_text() for name in (*self.partners, AGGREGATOR)]
        self.use_plan(self.folder / f"plan-{revision}.toml")
        self.plan_file.write_text(settings + "\n".join(f"[[card]]\n{card}" for card in cards))

    def use_plan(self, plan_file: Path) -> None:
        """Point every configuration to a plan."""
        self.plan_file = plan_file
        for name in (*self.partners, AGGREGATOR):
            config = re.sub(r"plan = .*", f'plan = "../{plan_file.name}"', self.config(name).read_text())
            self.config(name).write_text(config)

    def renew_keys(self, name: str) -> None:
        """A partner that lost its keys makes new ones."""
        keys = self.home(name).keys
        keys.rename(keys.with_name(f"keys-lost-{len(list(keys.parent.glob('keys*')))}"))
        new_keys(name, "partner", keys.parent, None)

    def home(self, name: str) -> Home:
        """A member's home."""
        return Home(self.folder / name / "home")

    def config(self, name: str) -> Path:
        """A member's configuration file."""
        return self.folder / name / ("aggregator.toml" if name == AGGREGATOR else "partner.toml")

    def partner(self, name: str) -> PartnerRun:
        """A partner as a fresh process would open it."""
        config = PartnerConfig.read(self.config(name))
        return PartnerRun(config, open_partner_mailbox(config), ProgressReporter(name))

    def aggregator(self) -> AggregatorRun:
        """The aggregator as a fresh process would open it."""
        mailbox = open_aggregator_mailbox(AggregatorConfig.read(self.config(AGGREGATOR)))
        return AggregatorRun(mailbox, ProgressReporter(AGGREGATOR))

    def moved(self, folder: Path) -> "Federation":
        """A copy in another folder: every path in it is relative."""
        shutil.copytree(self.folder, folder)
        twin = copy.copy(self)
        twin.folder, twin.exchange, twin.plan_file = folder, folder / "exchange", folder / "plan.toml"
        return twin

    def posted(self, name: MessageName) -> Path:
        """A message's manifest in the exchange, whether it is there or not."""
        return self.exchange / name.manifest

    def payload(self, name: MessageName) -> Path:
        """A message's payload in the exchange, whether it is there or not."""
        return self.exchange / name.payload

    def members(self) -> dict[str, Machine]:
        """All members, opened afresh."""
        return {name: self.partner(name) for name in self.partners} | {AGGREGATOR: self.aggregator()}

    def trunks(self, round_no: int) -> set[str]:
        """Trunk digests that the partners recorded after a round."""
        from pipeline.home.round_metrics import read_records  # noqa: PLC0415

        records = [record for name in self.partners for record in read_records(self.home(name).metrics)]
        return {record.facts["trunk"] for record in records if record.step == round_no}

    def hocket(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the command in a process of its own."""
        return hocket_process(*arguments)

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The command line of a hocket process."""
        return hocket_command(*arguments)


def measuring_federation(folder: Path, *, n_rounds: int = 2) -> Federation:
    """Three partners with measured values, some of them bounds; two give regression a weight."""
    federation = Federation(folder, n_rounds=n_rounds, extra=MEASURING)
    for name in federation.partners:
        table = folder / name / "T1.csv"
        lines = table.read_text().splitlines()
        lines[1::9] = [line.replace(",=,", ",>,") for line in lines[1::9]]
        table.write_text("\n".join(lines) + "\n")
    for name in WITH_REGRESSION:
        with federation.config(name).open("a") as config:
            config.write("regression_weight = 0.4\n")
    return federation


def step(machine: Machine) -> str:
    """One step: "on", "waiting" or "done"."""
    try:
        return "on" if machine.advance() else "done"
    except NotYet:
        return "waiting"


def run_all(machines: dict[str, Machine]) -> None:
    """Drive all members in turn until all are done; fails if none can go on."""
    while True:
        states = {name: step(machine) for name, machine in machines.items()}
        if all(state == "done" for state in states.values()):
            return
        assert "on" in states.values() or _moved(machines), f"nobody can go on: {states}"


def run_to(federation: Federation, round_no: int) -> None:
    """Drive all members until every partner stands at the start of a round, and no further."""
    machines = federation.members()
    while late := [name for name in federation.partners if round_no not in federation.home(name).rounds_started()]:
        states = {step(machines[name]) for name in (*late, AGGREGATOR)}
        assert states != {"done"}


def run_rounds(federation: Federation) -> None:
    """Drive all members through all rounds of the plan, and no further: local models and reports are not made."""
    run_to(federation, read_plan(federation.plan_file).rounds.n_rounds + 1)


def _moved(machines: dict[str, Machine]) -> bool:
    """Whether a second look gets somewhere: the first may have posted what another awaited."""
    return any(step(machine) == "on" for machine in machines.values())


def until_waiting(federation: Federation, names: list[str]) -> None:
    """Drive only these members, opened afresh, until none of them can go on alone."""
    machines = {name: federation.aggregator() if name == AGGREGATOR else federation.partner(name) for name in names}
    idle = 0
    while idle < 2:
        idle = idle + 1 if {step(machine) for machine in machines.values()} <= {"waiting", "done"} else 0


def age(federation: Federation, name: MessageName, seconds: float) -> None:
    """Let a message be older for the aggregator's deadlines than it is."""
    home = federation.home(AGGREGATOR)
    for path in (home.inbox(name.manifest), home.outbox(name.manifest)):
        if path.exists():
            then = path.stat().st_mtime - seconds
            os.utime(path, (then, then))
