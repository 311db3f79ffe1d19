"""A partner's state at the start of a round: from its file in the home, or for the first round from the plan."""

from partners.files.round_checkpoint import FirstRound, StoredStart
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan
from secure.sealing.fixed_point import first_bounds


def stored_start(plan: Plan, home: Home, round_no: int, n_places: int = 0) -> StoredStart:
    """The start of a round in the home; without a file it is that of the first round, made from the plan.

    n_places : for rows of the catalogue in the vector, `HolderCounts.n_places`; only its arrays depend on them
    """
    layout = plan.layout_with(n_places)
    bounds = first_bounds(len(layout.tensors), plan.seal)
    return StoredStart(home.start_file(round_no), FirstRound(layout, plan.federation.seed, plan.server, bounds))


def newest_start(plan: Plan, home: Home) -> StoredStart:
    """The start of the round that the home is at."""
    return stored_start(plan, home, max(home.rounds_started(), default=1))
