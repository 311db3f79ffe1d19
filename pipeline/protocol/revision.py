"""Check that a partner's home fits its plan: at the federation's beginning, or under a revision from a later round on.

A revision has its own digest, so its deal, pair keys, masks and tags have nothing in common with those of the plan
before; only the state at the start of its first round is carried over.
"""

import re
from collections.abc import Mapping

from pipeline.errors import ConfigError, Diverged, Equivocation, OutOfStep
from pipeline.exchange.storage import Exchange
from pipeline.home.catalogue_counts import known_layout
from pipeline.home.paths import Home
from pipeline.home.round_state import newest_start
from pipeline.plan.plan import Plan, round_name
from secure.errors import WrongPlan
from secure.messages.message_name import MessageName
from secure.messages.messages import parse_manifest

_RELEASE = re.compile(r"round-(?P<round>\d{4})/attempt-(?P<attempt>\d{2,})/release\.(?P<sender>[\w-]+)\.json", re.ASCII)


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
    start = newest_start(plan, home)
    under = start.under.plan if start.under else None
    if under not in (None, plan.digest, plan.continues and plan.continues.plan):
        error = WrongPlan(f"{start.path}: made under plan {under[:12]}..., expected {_expected(plan)}")
        error.add_note("a home goes on under its own plan, or under a revision whose continues.plan is that plan")
        raise error
    return under


def check_releases(plan: Plan, home: Home, exchange: Exchange) -> None:
    """Check that a revision holds no round again of which the sum may still be opened under a plan before.

    exchange : of all plans
    Where anybody has released, somebody of that roster must be in continues.unreleased, and must not have released.
    Raises Equivocation; only releases in this home are verified, for the plan before is not known here.
    """
    if plan.continues is None or check_chain(plan, home) == plan.digest:
        return
    listed = set(plan.continues.unreleased)
    for name, manifests in _earlier_releases(plan, home, exchange).items():
        where = f"{name.folder}: {name.sender} released for {round_name(name.round_no)} under the plan before"
        if name.sender in listed:
            raise Equivocation(f"{where}, but continues.unreleased lists it: that sum can be opened")
        if listed.isdisjoint(manifests):
            error = Equivocation(f"{where}, expected in continues.unreleased who of its roster has not")
            error.add_note(
                f"if all have released: open the sum under the plan before; then go on from round {name.round_no + 1}"
            )
            error.add_note("else ask each member outside the exchange: secure/KEYS.md, A revision of the plan")
            raise error


def _earlier_releases(plan: Plan, home: Home, exchange: Exchange) -> dict[MessageName, set[str]]:
    """Releases under plans before, for rounds that this plan holds, with the names on their rosters."""
    found: dict[MessageName, set[str]] = {}
    for earlier in home.of_every_plan():
        if earlier.revision >= plan.folder:
            continue
        boxes = (Exchange(f"file://{box('')}") for box in (earlier.inbox, earlier.outbox))
        files = {path: place for place in (exchange.below(earlier.revision), *boxes) for path in place.list_files()}
        for match in filter(None, map(_RELEASE.fullmatch, files)):
            name = MessageName("release", int(match["round"]), int(match["attempt"]), match["sender"])
            if plan.starts_with <= name.round_no <= plan.first_round:
                found[name] = _roster_of(name, files)
    return found


def _roster_of(release: MessageName, files: Mapping[str, Exchange]) -> set[str]:
    """Names on the roster of a release's attempt, empty if it is nowhere. files : where each is."""
    path = next((path for path in files if path.startswith(f"{release.folder}/roster.")), None)
    if path is None:
        return set()
    return set(parse_manifest(files[path].read(path) or b"", files[path].where(path)).named_digests("members"))


def check_vector(plan: Plan, home: Home) -> None:
    """Check that a home's state has the sizes of the plan's trunk, and places for the rows that were counted.

    Raises ConfigError: a federation keeps its catalogue and the sizes of its layers.
    """
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
    return error
