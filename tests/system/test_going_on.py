"""A finished federation goes on through the commands, in real processes that are killed."""

import random
import re
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from pipeline.plan.plan import read_plan
from pipeline.report.report import read_report
from tests.support.federation import AGGREGATOR, PARTNER, Federation
from tests.support.partner_tables import write_tables
from tests.support.running_members import Running

SEED, LONGEST_S, N_KILLS = 19, 4.0, 3


def run_through_kills(federation: Federation, killed: list[str]) -> None:
    """Run all members to their end, with kill -9 at random moments of some of them."""
    rng = random.Random(SEED)
    with Running(federation) as running:
        running.start(*federation.partners, AGGREGATOR)
        for _ in range(N_KILLS):
            name = rng.choice(killed)
            if not running.ends_within(name, rng.uniform(0, LONGEST_S)):
                running.kill(name)
                running.start(name)
        running.finish()


@pytest.mark.slow
def test_more_rounds_after_the_end_through_kills(finished: Federation, tmp_path: Path) -> None:
    """Revision, deal, runs with kills, with other tables at one partner; then verify, report and model are of it."""
    federation = finished.moved(tmp_path / "f")
    write_tables(federation.folder / "P02", "P02", seed=1, n_compounds=150, catalogue=["NEW"])
    assert federation.hocket("init", "revision", str(federation.plan_file), "--rounds", "+2").returncode == 0
    federation.use_plan(federation.folder / "plan-2.toml")
    home = str(federation.home("P01").folder)
    assert federation.hocket("key", "deal", str(federation.plan_file), "--home", home).returncode == 0
    run_through_kills(federation, [*federation.partners, AGGREGATOR])
    plan = read_plan(federation.plan_file)
    assert [len(federation.trunks(round_no)) for round_no in (1, 2, 3, 4)] == [1, 1, 1, 1]
    for name in federation.partners:
        assert read_report(federation.home(name)).plan == plan.digest
    verified = federation.hocket("verify", str(federation.plan_file), str(federation.exchange))
    assert re.match(r"2 of 2 rounds from round 3", verified.stdout.splitlines()[-1])
    tasks = federation.hocket("predict", str(federation.config("P02")), "--list-tasks").stdout
    assert "P02-NEW" in tasks
    again = federation.hocket("partner", "run", str(federation.config("P02")), "--once")
    assert again.returncode == ExitCode.DONE
    federation.use_plan(federation.folder / "plan.toml")
    before = federation.hocket("partner", "run", str(federation.config("P02")), "--once")
    assert before.returncode == ExitCode.CONFIGURATION


@pytest.mark.slow
def test_a_partner_joins_through_kills(finished: Federation, tmp_path: Path) -> None:
    """Its card in the revision, deal, handover and one more round; sponsor and joiner are killed; verify and report."""
    federation = finished.moved(tmp_path / "f")
    folder = federation.folder / "P04"
    write_tables(folder, "P04", seed=7)
    (folder / "partner.toml").write_text(PARTNER.format(name="P04"))
    card = federation.hocket("key", "new", "P04", "--home", str(folder / "home")).stdout
    (federation.folder / "P04.card").write_text(card)
    options = ("--rounds", "+1", "--card", str(federation.folder / "P04.card"), "--sponsor", "P02")
    assert federation.hocket("init", "revision", str(federation.plan_file), *options).returncode == 0
    federation.partners = [*federation.partners, "P04"]
    federation.use_plan(federation.folder / "plan-2.toml")
    home = str(federation.home("P01").folder)
    assert federation.hocket("key", "deal", str(federation.plan_file), "--home", home).returncode == 0
    run_through_kills(federation, ["P02", "P04"])
    assert len(federation.trunks(3)) == 1
    assert read_report(federation.home("P04")).partner == "P04"
    verified = federation.hocket("verify", str(federation.plan_file), str(federation.exchange))
    assert "P04 joined, with the state of P02" in verified.stdout
    assert re.match(r"1 of 1 rounds from round 3", verified.stdout.splitlines()[-1])
