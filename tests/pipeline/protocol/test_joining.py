"""A partner joins a federation later: with the state of a sponsor, which all others have checked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pipeline.protocol.handover
from partners.files.round_checkpoint import RoundStart, SharedState
from pipeline.audit.verify import audit
from pipeline.errors import BrokenTranscript, Diverged, OutOfStep, WrongTrunk
from pipeline.exchange.storage import Exchange
from pipeline.home.catalogue_counts import known_holders, read_counted
from pipeline.home.paths import Home
from pipeline.home.round_metrics import read_records
from pipeline.plan.plan import read_plan
from pipeline.protocol.handover import shared_state
from pipeline.runtime.retry import Machine
from pipeline.setup.keys import deal, new_keys
from pipeline.setup.revision_plan import Changes, revised
from secure.ciphertexts.parameters import seal_parameters
from secure.errors import SecureError, WrongSender
from secure.keys.group import GroupSecret
from secure.keys.keys import load_private_keys, parse_card
from secure.messages.message_name import MessageName
from tests.support.federation import PARTNER, Federation, run_rounds, run_to, step
from tests.support.partner_tables import write_tables

pytestmark = pytest.mark.slow  # two federations and more; tests/system has one in processes that are killed
OLD, JOINER, SPONSOR = ("P01", "P02", "P03"), "P04", "P02"
HANDOVER = MessageName("handover", 0, 0, SPONSOR)
CATALOGUE = '[catalogue]\ntasks = [{id = "C1", threshold = 6.0}, {id = "C2", threshold = 6.0}]\n'


def add_joiner(federation: Federation, *, sponsor: str = SPONSOR, rounds: str = "+1", first_round: int = 2) -> None:
    """Keys, tables and configuration of a fourth partner, and the revision with its card; nothing is dealt yet."""
    folder = federation.folder / JOINER
    card = parse_card(new_keys(JOINER, "partner", folder / "home", None), JOINER)
    write_tables(folder, JOINER, seed=7, catalogue=["C1", "C2"])
    (folder / "partner.toml").write_text(PARTNER.format(name=JOINER))
    output = federation.folder / "plan-2.toml"
    changes = Changes(rounds=rounds, first_round=first_round, cards=[card], sponsor=sponsor)
    output.write_text(revised(federation.plan_file, changes, output).text)
    federation.partners = [*OLD, JOINER]
    federation.use_plan(output)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Three partners after round 1 of 1, with counted columns, a catalogue, and a momentum. For reading only.

    C1 is held by all three, C2 by one.
    """
    federation = Federation(
        tmp_path_factory.mktemp("before") / "f",
        n_rounds=1,
        columns="min_partners = 2",
        extra=CATALOGUE + '[server]\nmethod = "momentum"\n[seal]\nmax_partners = 3\n',
        holders={"C1": OLD, "C2": ["P01"]},
    )
    run_to(federation, 2)
    return federation


@pytest.fixture
def federation(before: Federation, tmp_path: Path) -> Federation:
    """A copy that a test may change, with P04's card in the revision, and dealt."""
    federation = before.moved(tmp_path / "f")
    add_joiner(federation)
    deal(federation.plan_file, federation.home("P01").folder, None)
    return federation


@pytest.fixture(scope="module")
def joined(before: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """The same after round 2, in which P04 took part. For reading only."""
    federation = before.moved(tmp_path_factory.mktemp("joined") / "f")
    add_joiner(federation)
    deal(federation.plan_file, federation.home("P01").folder, None)
    run_rounds(federation)
    return federation


def group_of(federation: Federation, name: str, plan_file: Path) -> GroupSecret:
    """The group secret that a partner holds for a plan."""
    plan = read_plan(plan_file)
    home = Home(federation.home(name).folder, plan.folder)
    return GroupSecret.load(home.group_secret, seal_parameters(plan.seal), load_private_keys(home.keys))


# -------------------------------------------------------------------------------------------------------- it works


def test_a_joiner_ends_with_the_trunk_of_all(joined: Federation) -> None:
    """It was on the roster of round 2, whose sum all opened to one trunk; its heads are trained."""
    assert len(joined.trunks(2)) == 1
    plan = read_plan(joined.plan_file)
    (record,) = [record for record in read_records(joined.home(JOINER).metrics) if record.step == 2]
    assert record.facts["roster"] == [*OLD, JOINER]
    holders = known_holders(plan, joined.home(JOINER))
    assert holders
    starts = [RoundStart.read(joined.home(n).start_file(3), holders.layout(plan)) for n in (*OLD, JOINER)]
    assert len({start.digest for start in starts}) == 1
    assert all(start.private for start in starts)


def test_a_joiner_learns_which_rows_and_columns_travel_and_no_more(before: Federation, joined: Federation) -> None:
    """Counts of old partners stay exact at home; the joiner's, and those that all use, are 0 or the minimum."""
    exact, lists = read_counted(joined.home("P01")), read_counted(joined.home(JOINER))
    assert exact == read_counted(before.home("P01"))
    assert exact
    assert lists
    assert exact.columns
    assert lists.columns
    assert (exact.counts, lists.counts) == ((3, 1), (3, 0))
    assert set(exact.columns.counts) == {0, 1, 2, 3}
    assert set(lists.columns.counts) == {0, 2}
    plan = read_plan(joined.plan_file)
    assert known_holders(plan, joined.home("P01")) == known_holders(plan, joined.home(JOINER))


def test_all_secrets_but_the_structure_seed_are_new(before: Federation, joined: Federation) -> None:
    """Old sums stay closed to the joiner: another BFV key, for more partners, and tag seed."""
    old, new = group_of(before, "P01", before.plan_file), group_of(joined, JOINER, joined.plan_file)
    assert old.structure_seed == new.structure_seed
    assert old.bfv_key != new.bfv_key
    assert old.tag_seed != new.tag_seed
    assert not (joined.home(JOINER).folder / "group.secret").exists()


def test_the_state_in_the_clear_does_not_stay(joined: Federation) -> None:
    """Neither at the sponsor nor at the joiner."""
    for name in (*OLD, JOINER):
        assert not joined.home(name).handed_over.exists()


def test_an_auditor_sees_the_handover(joined: Federation, tmp_path: Path) -> None:
    """Verified without a key; without it the transcript is broken; nobody else has signed it."""
    federation = joined.moved(tmp_path / "f")
    plan, url = read_plan(joined.plan_file), f"file://{federation.exchange}"
    assert audit(plan, Exchange(url), now=2e9).n_rounds == 1
    posted = federation.exchange / plan.folder / HANDOVER.manifest
    other = posted.with_name("handover.P03.json")
    posted.rename(other)
    with pytest.raises(WrongSender):
        audit(plan, Exchange(url), now=2e9)
    other.unlink()
    posted.with_suffix(".envelopes").unlink()
    with pytest.raises(BrokenTranscript, match="handover"):
        audit(plan, Exchange(url), now=2e9)


def test_the_next_revision_needs_no_handover(joined: Federation, tmp_path: Path) -> None:
    """The joiner is a member like the others; counts stay capped."""
    output = tmp_path / "plan-3.toml"
    output.write_text(revised(joined.plan_file, Changes(rounds="+1"), output).text)
    plan = read_plan(output)
    assert (plan.joiners, plan.spare_holders) == ((), 0)


# ------------------------------------------------------------------------------------------------------- it is refused


def test_a_sponsor_that_hands_another_state_over_is_named(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others compare it with their own before they train; the joiner's trunk is in no roster of theirs."""
    real = shared_state

    def another(plan: object, home: Home) -> SharedState:
        state = real(plan, home)  # type: ignore[arg-type]
        if home.folder.parent.name == SPONSOR:
            state.vector[5] += 1
        return state

    monkeypatch.setattr(pipeline.protocol.handover, "shared_state", another)
    with pytest.raises(Diverged, match=f"{SPONSOR} hands state"):
        run_rounds(federation)
    assert not list(federation.exchange.glob("revision-02/round-*/*/ready.P01.json"))


def test_a_state_that_is_not_what_was_signed_is_refused(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The joiner stops with exit code 4 before it keeps anything."""
    real = SharedState.write

    def write(state: SharedState, path: Path) -> None:
        state.vector[5] += 1
        real(state, path)
        state.vector[5] -= 1

    monkeypatch.setattr(SharedState, "write", write)
    enrol_until_handed(federation)
    joiner = federation.partner(JOINER)
    with pytest.raises(WrongTrunk, match="as its sender signed"):
        go_as_far(joiner)
    assert not federation.home(JOINER).rounds_started()


@pytest.mark.parametrize("bound", [np.inf, np.nan, 0.0])
def test_bounds_that_are_none_are_refused(
    federation: Federation, monkeypatch: pytest.MonkeyPatch, bound: float
) -> None:
    """The joiner would seal with them; the trunk of its `ready` does not show them to the others."""
    real = shared_state

    def another(plan: object, home: Home) -> SharedState:
        state = real(plan, home)  # type: ignore[arg-type]
        return replace(state, bounds=np.full_like(state.bounds, bound))

    monkeypatch.setattr(pipeline.protocol.handover, "shared_state", another)
    enrol_until_handed(federation)
    with pytest.raises(WrongTrunk):
        go_as_far(federation.partner(JOINER))
    assert not federation.home(JOINER).rounds_started()


def test_what_a_kill_left_in_the_clear_is_removed(joined: Federation, tmp_path: Path) -> None:
    """Killed when the start was written and the state not yet removed, the joiner removes it at the next start."""
    federation = joined.moved(tmp_path / "f")
    left = federation.home(JOINER).handed_over
    left.write_bytes(b"state")
    go_as_far(federation.partner(JOINER))
    assert not left.exists()


def go_as_far(machine: Machine) -> None:
    """Advance until others are awaited."""
    while step(machine) == "on":
        pass


def enrol_until_handed(federation: Federation) -> None:
    """Drive the old partners until the sponsor's handover is on the exchange."""
    plan, machines = read_plan(federation.plan_file), {}
    for name in (*OLD, JOINER):
        machines[name] = federation.partner(name)
        step(machines[name])
    while not (federation.exchange / plan.folder / HANDOVER.manifest).exists():
        for name in OLD:
            step(machines[name])


def test_a_joiner_with_another_preparation_is_refused(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its versions of hocket or RDKit prepare compounds in another way: it stops before it is ready."""
    enrol_until_handed(federation)
    monkeypatch.setattr("data_prep.folds.consistency.CODE_VERSION", 99)
    joiner = federation.partner(JOINER)
    with pytest.raises(Diverged, match="preparation"):
        go_as_far(joiner)
    assert not list(federation.exchange.glob(f"revision-02/round-*/*/ready.{JOINER}.json"))


def test_who_is_no_joiner_in_the_plan_gets_nothing(before: Federation, tmp_path: Path) -> None:
    """A new partner that poses as one of before has no state; one of before is no joiner."""
    federation = before.moved(tmp_path / "f")
    add_joiner(federation)
    text = federation.plan_file.read_text()
    federation.plan_file.write_text(
        text.replace(f'joiners = ["{JOINER}"]', "joiners = []").replace(f'sponsor = "{SPONSOR}"', 'sponsor = ""')
    )
    with pytest.raises(OutOfStep, match="round 1") as caught:
        federation.partner(JOINER)
    assert any("continues.joiners" in note for note in caught.value.__notes__)
    federation.plan_file.write_text(text.replace(f'joiners = ["{JOINER}"]', f'joiners = ["P03", "{JOINER}"]'))
    with pytest.raises(OutOfStep, match="taken part before"):
        federation.partner("P03")


def test_a_joiner_signs_with_its_own_name_only(federation: Federation) -> None:
    """Its ready in the place of an old member's is refused: the card is another."""
    enrol_until_handed(federation)
    plan = read_plan(federation.plan_file)
    folder = federation.exchange / plan.folder / "enrol"
    (folder / "pairing.P03.json").write_bytes((folder / f"pairing.{JOINER}.json").read_bytes())
    assert json.loads((folder / "pairing.P03.json").read_bytes())["sender"] == JOINER
    exchange = Exchange(f"file://{federation.exchange}")
    with pytest.raises(SecureError, match=r"pairing\.P03\.json"):
        audit(plan, exchange, now=2e9)


def test_a_killed_handover_goes_on(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the sponsor before it signs, at the joiner before its start is written: the next start ends with the same."""

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.protocol.handover.seal_handover", kill)
        with pytest.raises(Killed):
            enrol_until_handed(federation)
    enrol_until_handed(federation)
    with monkeypatch.context() as patch:
        patch.setattr(RoundStart, "write", kill)
        joiner = federation.partner(JOINER)
        with pytest.raises(Killed):
            go_as_far(joiner)
    assert not federation.home(JOINER).rounds_started()
    run_rounds(federation)
    assert len(federation.trunks(2)) == 1
