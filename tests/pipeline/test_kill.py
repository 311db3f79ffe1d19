"""kill -9 of any member at any moment, then starting it again, changes nothing of the result."""

import random
from pathlib import Path

import pytest

from pipeline.reporting import read_report
from tests.pipeline.federation import AGGREGATOR, Federation, run_all
from tests.pipeline.running import Running

N_KILLS = 20
N_ROUNDS = 4
LONGEST_S = 6.0  # between two kills: from before the first import to well into the rounds


@pytest.mark.slow
def test_twenty_kills_over_all_roles_end_with_the_same_trunk(tmp_path: Path) -> None:
    """Killed at 20 random moments over all roles, federations end with the undisturbed trunk and report."""
    undisturbed = Federation(tmp_path / "undisturbed", n_rounds=N_ROUNDS)
    run_all(undisturbed.members())
    rng = random.Random(20)
    n_kills, killed = 0, set[str]()
    while n_kills < N_KILLS:
        federation = Federation(tmp_path / f"killed-{n_kills}", n_rounds=N_ROUNDS)
        alive = [*federation.partners, AGGREGATOR]
        with Running(federation) as running:
            running.start(*alive)
            while n_kills < N_KILLS and alive:
                name = rng.choice(alive)
                if running.ends_within(name, rng.uniform(0, LONGEST_S)):
                    alive.remove(name)
                else:
                    running.kill(name)
                    running.start(name)
                    n_kills, killed = n_kills + 1, killed | {name}
            running.finish()
        _assert_same(federation, undisturbed)
    assert killed == {*undisturbed.partners, AGGREGATOR}


def _assert_same(federation: Federation, undisturbed: Federation) -> None:
    for round_no in range(1, N_ROUNDS + 1):
        assert federation.trunks(round_no) == undisturbed.trunks(round_no)
    for name in federation.partners:
        found, expected = read_report(federation.home(name)), read_report(undisturbed.home(name))
        for key in ("trunk", "local", "federated", "tasks"):
            assert found[key] == expected[key]
