"""Check that a partner's home fits its plan: at the federation's beginning, or under a revision from a later round on.

A revision has its own digest, so its deal, pair keys, masks and tags have nothing in common with those of the plan
before; only the state at the start of its first round is carried over.
"""

from partners.files.checkpoint import trunk_length
from pipeline.errors import ConfigError, Diverged, OutOfStep
from pipeline.home.catalogue_counts import known_layout
from pipeline.home.paths import Home
from pipeline.home.round_state import read_provenance
from pipeline.plan.plan import Plan
from secure.errors import WrongPlan


def check_place(plan: Plan, home: Home) -> None:
    """Check that a partner's home is at the round from which the plan goes on.

    Raises OutOfStep for a home that is behind or ahead, secure.errors.WrongPlan for one under another plan.
    """
    round_no = max(home.rounds_started(), default=1)
    if check_chain(plan, home) != plan.digest and round_no != plan.first_round:
        raise _out_of_step(home, round_no, plan.first_round)


def check_chain(plan: Plan, home: Home) -> str | None:
    """Digest of the plan under which this home opened its last sum, None before the first: this plan or the one before.

    Raises secure.errors.WrongPlan if it is neither.
    """
    round_no = max(home.rounds_started(), default=0)
    under = read_provenance(home.start_file(round_no)).plan if round_no else None
    if under not in (None, plan.digest, plan.continues and plan.continues.plan):
        error = WrongPlan(f"{home.start_file(round_no)}: made under plan {under[:12]}..., expected {_expected(plan)}")
        error.add_note("a home goes on under its own plan, or under a revision whose continues.plan is that plan")
        raise error
    return under


def check_vector(plan: Plan, home: Home) -> None:
    """Check that a home's state has the sizes of the plan's trunk, and places for the rows that were counted.

    Raises ConfigError: a federation keeps its catalogue and the sizes of its layers.
    """
    layout, round_no = known_layout(plan, home), max(home.rounds_started(), default=0)
    n_values = trunk_length(home.start_file(round_no)) if round_no and layout else None
    if layout is None or n_values in (None, layout.n_params):
        return
    file = home.start_file(round_no)
    sizes = f"with a vector of {n_values} values, the plan's trunk and catalogue have {layout.n_params}"
    error = ConfigError(f"{file}: made {sizes}: a federation keeps its trunk and catalogue to the end")
    error.add_note("give the plan the [trunk], fingerprint.n_bits and [catalogue] of the plan before")
    error.add_note("or begin a new federation, with a new id and new homes")
    raise error


def check_preparation(home: Home, preparation: str) -> None:
    """Check that a home goes on with the same fingerprint bits and folds as before.

    Raises Diverged: a compound of the test fold that moves to the training folds would spoil every score.
    """
    round_no = max(home.rounds_started(), default=0)
    before = read_provenance(home.start_file(round_no)).preparation if round_no else preparation
    if before != preparation:
        file = home.start_file(round_no)
        error = Diverged(f"{file}: preparation {before[:12]}..., the plan's is {preparation[:12]}...")
        error.add_note("a revision must keep the preparation's settings and the structure seed of the group secret")
        raise error


def _expected(plan: Plan) -> str:
    return f"{plan.digest[:12]}..." + (f" or, before it, {plan.continues.plan[:12]}..." if plan.continues else "")


def _out_of_step(home: Home, round_no: int, first: int) -> OutOfStep:
    if round_no > first:
        error = OutOfStep(f"{home.folder}: has opened the sum of round {round_no - 1} under the plan before already")
        error.add_note(f"the revision must go on from round {round_no}: no round is done twice")
    else:
        error = OutOfStep(
            f"{home.folder}: is at the start of round {round_no}, the revision goes on from round {first}"
        )
        error.add_note(f"run the plan before once more (--once) to open the sums of rounds {round_no} to {first - 1}")
    return error
