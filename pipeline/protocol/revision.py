"""Check that a partner's home fits its plan: at the federation's beginning, or under a revision from a later round on.

A revision has its own digest, so its deal, pair keys, masks and tags have nothing in common with those of the plan
before; only the state at the start of its first round is carried over.
"""

from pipeline.errors import ConfigError, Diverged, Equivocation, OutOfStep
from pipeline.exchange.mailbox import Mailbox
from pipeline.exchange.storage import Exchange
from pipeline.home.catalogue_counts import has_counted, known_holders, known_layout
from pipeline.home.paths import Home
from pipeline.home.round_state import newest_start
from pipeline.plan.plan import Plan
from pipeline.protocol.other_plans import OtherPlans, OtherRelease
from secure.errors import WrongPlan


def check_place(plan: Plan, home: Home, me: str) -> None:
    """Check that a partner's home is at the round from which the plan goes on.

    Raises OutOfStep for a home that is behind or ahead, or that has taken part though the plan lists it as a joiner;
    secure.errors.WrongPlan for one under another plan.
    """
    if me in plan.joiners:
        _check_new(home, me)
        if not home.rounds_started():
            return  # the sponsor hands the state over
    round_no = max(home.rounds_started(), default=1)
    if check_chain(plan, home) != plan.digest and round_no != plan.first_round:
        raise _out_of_step(home, round_no, plan.first_round)


def _check_new(home: Home, me: str) -> None:
    """Raise OutOfStep for a home that has released under a plan before."""
    for earlier in home.of_every_plan():
        released = earlier.outbox("").glob(f"round-*/*/release.{me}.json")
        if earlier.revision < home.revision and (found := next(released, None)):
            error = OutOfStep(f"{found}: {me} has taken part before, but continues.joiners lists it")
            error.add_note(f"a partner of before goes on from its own home: take {me} out of continues.joiners")
            raise error


def check_chain(plan: Plan, home: Home) -> str | None:
    """Digest of the plan under which this home opened its last sum, None before the first: this plan or the one before.

    Raises secure.errors.WrongPlan if it is neither.
    """
    start = newest_start(plan, home)
    under = start.under.plan if start.under else None
    if under not in (None, plan.digest, plan.continues and plan.continues.plan):
        error = WrongPlan(f"{start.path}: made under plan {under[:12]}..., expected {_expected(plan)}")
        error.add_note("a home goes on under its own plan, or under a revision whose continues.plan is that plan")
        raise error
    return under


def check_releases(mailbox: Mailbox, exchange: Exchange) -> None:
    """Check that this plan holds no round again of which the sum may still be opened under another plan.

    exchange : of all plans
    A revision: where anybody has released under a plan before, somebody of that roster must be in continues.unreleased,
    and must not have released. Any plan: this partner must not have released under a later revision.
    Raises Equivocation; only releases in this home are verified, for the other plans are not known here.
    """
    plan, home = mailbox.plan, mailbox.home
    others = OtherPlans(plan, home, exchange)
    _check_not_released_later(mailbox, others)
    if plan.continues is None or check_chain(plan, home) == plan.digest:
        return
    listed = set(plan.continues.unreleased)
    first = plan.first_round if has_counted(plan, home) else plan.starts_with  # that sum was opened, and is the same
    for release in others.releases(range(first, plan.first_round + 1)):
        if release.revision < plan.folder:
            _check_earlier(release, others.members_of(release), listed)


def _check_earlier(release: OtherRelease, members: set[str], listed: set[str]) -> None:
    where = f"{release} under a plan before"
    if release.name.sender in listed:
        raise Equivocation(f"{where}, but continues.unreleased lists it: that sum can be opened")
    if listed.isdisjoint(members):
        error = Equivocation(f"{where}, expected in continues.unreleased who of its roster has not")
        following = release.name.round_no + 1
        error.add_note(f"if all have released: open the sum under the plan before; then go on from round {following}")
        error.add_note("else ask each member outside the exchange: secure/KEYS.md, A revision of the plan")
        raise error


def _check_not_released_later(mailbox: Mailbox, others: OtherPlans) -> None:
    """Raise Equivocation if this partner has released under a later revision for a round still to be held.

    Raises secure.errors.SecureError for a file that is no release.
    """
    plan, home = mailbox.plan, mailbox.home
    current = max(home.rounds_started(), default=1)
    is_counting = plan.has_counting_round and known_holders(plan, home) is None
    first = plan.starts_with if is_counting else current
    for release in others.releases(range(first, plan.rounds.n_rounds + 1)):
        if release.revision > plan.folder and release.name.sender == mailbox.me:
            release.manifest()
            error = Equivocation(
                f"{release} under {release.revision}, "
                f"expected no release of a round that revision {plan.revision} still holds"
            )
            error.add_note("a member releases for one roster in a round: go on under the later plan")
            raise error


def check_vector(plan: Plan, home: Home) -> None:
    """Check that a home's state has the sizes of the plan's trunk, and places for the rows that were counted.

    Raises ConfigError: a federation keeps its catalogue and the sizes of its layers.
    """
    if not home.rounds_started() and plan.first_round > 1:
        return  # nothing is here yet: see `check_place`
    layout, start = known_layout(plan, home), newest_start(plan, home)
    if layout is None or not start.path.exists() or start.n_params == layout.n_params:
        return
    sizes = f"with a vector of {start.n_params} values, the plan's trunk and catalogue have {layout.n_params}"
    error = ConfigError(f"{start.path}: made {sizes}: a federation keeps its trunk and catalogue to the end")
    error.add_note("give the plan the [trunk], fingerprint.n_bits and [catalogue] of the plan before")
    error.add_note("or begin a new federation, with a new id and new homes")
    raise error


def check_preparation(plan: Plan, home: Home, preparation: str) -> None:
    """Check that a home goes on with the same fingerprint bits and folds as before.

    Raises Diverged: a compound of the test fold that moves to the training folds would spoil every score.
    """
    start = newest_start(plan, home)
    before = start.under.preparation if start.under else preparation
    if before != preparation:
        error = Diverged(f"{start.path}: preparation {before[:12]}..., the plan's is {preparation[:12]}...")
        error.add_note("a revision must keep the preparation's settings and the structure seed of the group secret")
        error.add_note(
            "if no setting was changed, hocket or RDKit was: go on with the versions that the home began with"
        )
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
        error.add_note("a partner that was not in the plan before must be listed in continues.joiners")
    return error
