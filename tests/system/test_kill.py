"""kill -9 of any member at any moment, then starting it again, changes nothing of the result."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.plan.plan import read_plan
from pipeline.report.report import read_report
from tests.support.federation import AGGREGATOR, WITH_REGRESSION, Federation, measuring_federation, run_all
from tests.support.running_members import Running

LONGEST_S = 6.0  # between two kills: from before the first import to well into the rounds


@pytest.mark.slow
def test_twenty_kills_over_all_roles_end_with_the_same_trunk(tmp_path: Path) -> None:
    """Killed at 20 random moments over all roles, federations end with the undisturbed trunk and report."""
    killed = _kill_at_random(partial(Federation, n_rounds=4), tmp_path, n_kills=20)
    assert killed == {"P01", "P02", "P03", AGGREGATOR}


@pytest.mark.slow
def test_kills_change_nothing_where_partners_measure_values(tmp_path: Path) -> None:
    """With regression at two of three partners: the same trunk, heads' scores in original units and report."""
    killed = _kill_at_random(partial(measuring_federation, n_rounds=3), tmp_path, n_kills=8)
    assert killed & {*WITH_REGRESSION}


def _kill_at_random(make: Callable[[Path], Federation], folder: Path, n_kills: int) -> set[str]:
    """Who was killed; fails where any federation ends otherwise than the undisturbed one."""
    undisturbed = make(folder / "undisturbed")
    run_all(undisturbed.members())
    rng = random.Random(20)
    n_done, killed = 0, set[str]()
    while n_done < n_kills:
        federation = make(folder / f"killed-{n_done}")
        alive = [*federation.partners, AGGREGATOR]
        with Running(federation) as running:
            running.start(*alive)
            while n_done < n_kills and alive:
                name = rng.choice(alive)
                if running.ends_within(name, rng.uniform(0, LONGEST_S)):
                    alive.remove(name)
                else:
                    running.kill(name)
                    running.start(name)
                    n_done, killed = n_done + 1, killed | {name}
            running.finish()
        _assert_same(federation, undisturbed)
    return killed


def _assert_same(federation: Federation, undisturbed: Federation) -> None:
    for round_no in range(1, read_plan(undisturbed.plan_file).rounds.n_rounds + 1):
        assert federation.trunks(round_no) == undisturbed.trunks(round_no)
        assert len(federation.trunks(round_no)) == 1
    for name in federation.partners:
        found, expected = read_report(federation.home(name)), read_report(undisturbed.home(name))
        for key in ("trunk", "local", "federated", "summary", "tasks", "regression_tasks"):
            assert getattr(found, key) == getattr(expected, key), key
