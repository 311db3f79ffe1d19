"""A finished federation goes on through the commands, in real processes that are killed."""

import random
import re
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from pipeline.plan.plan import read_plan
from pipeline.report.report import read_report
from tests.support.federation import AGGREGATOR, Federation
from tests.support.partner_tables import write_tables
from tests.support.running_members import Running

SEED, LONGEST_S, N_KILLS = 19, 5.0, 4


@pytest.mark.slow
def test_more_rounds_after_the_end_through_kills(finished: Federation, tmp_path: Path) -> None:
    """Revision, deal, runs with kills, with other tables at one partner; then verify, report and model are of it."""
    federation = finished.moved(tmp_path / "f")
    write_tables(federation.folder / "P02", "P02", seed=1, n_compounds=150, catalogue=["NEW"])
    assert federation.hocket("init", "revision", str(federation.plan_file), "--rounds", "+2").returncode == 0
    federation.use_plan(federation.folder / "plan-2.toml")
    home = str(federation.home("P01").folder)
    assert federation.hocket("key", "deal", str(federation.plan_file), "--home", home).returncode == 0
    rng, alive = random.Random(SEED), [*federation.partners, AGGREGATOR]
    with Running(federation) as running:
        running.start(*alive)
        for _ in range(N_KILLS):
            name = rng.choice(alive)
            if not running.ends_within(name, rng.uniform(0, LONGEST_S)):
                running.kill(name)
                running.start(name)
        running.finish()
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
