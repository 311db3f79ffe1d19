"""A partner's state at the start of a round: from its file in the home, or for the first round from the plan."""

from partners.files.round_checkpoint import FirstRound, StoredStart
from partners.network.input_columns import InputColumns
from pipeline.home.catalogue_counts import Holders
from pipeline.home.first_trunk import started_trunk
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan
from secure.sealing.fixed_point import first_bounds

_NOTHING = Holders()


def stored_start(plan: Plan, home: Home, round_no: int, holders: Holders = _NOTHING) -> StoredStart:
    """The start of a round in the home; without a file it is that of the first round, made from the plan.

    holders : what was counted; only the arrays of the start depend on it
    """
    layout, columns = holders.layout(plan), InputColumns(holders.columns).shared
    bounds = first_bounds(len(layout.tensors), plan.seal)
    first = FirstRound(layout, plan.federation.seed, plan.server, bounds, columns, started_trunk(plan, home))
    return StoredStart(home.start_file(round_no), first)


def newest_start(plan: Plan, home: Home) -> StoredStart:
    """The start of the round that the home is at."""
    return stored_start(plan, home, max(home.rounds_started(), default=1))
