"""Where a plan takes up a federation: at its beginning, or as a revision from a later round on.

A revision has its own digest, so its deal, pair keys, masks and tags have nothing in common with those of the plan
before; only the state at the start of its first round is carried over.
"""

from partners.files.checkpoint import trunk_length
from pipeline.errors import ConfigError, Diverged, OutOfStep
from pipeline.home.paths import Home
from pipeline.home.round_state import read_provenance
from pipeline.plan.plan import Plan
from secure.errors import WrongPlan


def check_place(plan: Plan, home: Home) -> None:
    """Make sure that a partner's home stands where the plan goes on.

    Raises OutOfStep for a home that is behind or beyond, secure.errors.WrongPlan for one that went another way.
    """
    at = max(home.rounds_started(), default=1)
    if check_chain(plan, home) != plan.digest and at != plan.first_round:
        raise _out_of_step(home, at, plan.first_round)


def check_chain(plan: Plan, home: Home) -> str | None:
    """Digest of the plan under which this home opened its last sum, None before the first: this plan or the one before.

    Raises secure.errors.WrongPlan where it is neither.
    """
    at = max(home.rounds_started(), default=0)
    under = read_provenance(home.start_file(at)).plan if at else None
    if under not in (None, plan.digest, plan.continues and plan.continues.plan):
        error = WrongPlan(f"{home.start_file(at)}: made under plan {under[:12]}..., expected {_expected(plan)}")
        error.add_note("a home goes on under the plan it has, or under a revision whose continues.plan is that plan")
        raise error
    return under


def check_vector(plan: Plan, home: Home) -> None:
    """Make sure that a home's state is of the plan's trunk and catalogue.

    Raises ConfigError: no row comes or goes in the middle, and no layer changes its size.
    """
    at = max(home.rounds_started(), default=0)
    found = trunk_length(home.start_file(at)) if at else plan.layout.n_params
    if found == plan.layout.n_params:
        return
    n_rows, rest = divmod(found - plan.layout.trunk.n_params, plan.layout.hidden[-1] + 1)  # weights and a bias each
    if rest == 0 and n_rows >= 0:
        what = f"with a catalogue of {n_rows} tasks, the plan has {plan.layout.n_rows}"
    else:
        what = f"with a vector of {found} values, the plan's trunk and catalogue have {plan.layout.n_params}"
    error = ConfigError(f"{home.start_file(at)}: made {what}: a federation keeps its trunk and catalogue to the end")
    error.add_note("give the plan the [trunk], fingerprint.n_bits and [catalogue] of the plan before")
    error.add_note("or begin a new federation, with a new id and new homes")
    raise error


def check_preparation(home: Home, preparation: str) -> None:
    """Make sure that a home goes on with the very bits and folds with which it began.

    Raises Diverged: a compound of the test fold that moves to the training folds would spoil every score.
    """
    at = max(home.rounds_started(), default=0)
    found = read_provenance(home.start_file(at)).preparation if at else preparation
    if found != preparation:
        error = Diverged(f"{home.start_file(at)}: preparation {found[:12]}..., the plan's is {preparation[:12]}...")
        error.add_note("a revision must keep the preparation's settings and the structure seed of the group secret")
        raise error


def _expected(plan: Plan) -> str:
    return f"{plan.digest[:12]}..." + (f" or, before it, {plan.continues.plan[:12]}..." if plan.continues else "")


def _out_of_step(home: Home, at: int, first: int) -> OutOfStep:
    if at > first:
        error = OutOfStep(f"{home.folder}: has opened the sum of round {at - 1} under the plan before already")
        error.add_note(f"the revision must go on from round {at}: no round is done twice")
    else:
        error = OutOfStep(f"{home.folder}: stands at the start of round {at}, the revision goes on from round {first}")
        error.add_note(f"run the plan before once more (--once) to open the sums of rounds {at} to {first - 1}")
    return error
