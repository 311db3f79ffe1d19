"""A hostile aggregator: each attack is refused by a partner, or ends as a correct void."""

import contextlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.errors import Diverged, Equivocation, LeftBehind, NotYet
from pipeline.home.round_files import RoundFiles
from pipeline.home.round_state import stored_start
from pipeline.plan.plan import read_plan
from secure.ciphertexts.parameters import seal_parameters
from secure.errors import (
    BadRoster,
    PayloadMismatch,
    RosterTooSmall,
    SumIncomplete,
    TagMismatch,
    UpdateOutOfRange,
    WrongAttempt,
    WrongRoster,
    WrongRound,
)
from secure.keys.group import GroupSecret
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import payload_digest
from secure.sealing.masks import released
from secure.sealing.open_sum import check_sum
from secure.sealing.release import ReleaseSeed
from tests.support.federation import AGGREGATOR, Federation, until_waiting
from tests.support.hostile.aggregator import (
    ALL,
    ROSTER,
    SUM,
    VOID,
    add,
    drive,
    has_sealed,
    post_sum,
    refuses,
    release_of,
    roster_of,
)
from tests.support.hostile_members import OTHER, call_roster, post, ready_digests
from tests.support.signed_transcripts import digest_of, rewrite, say, update_of


@pytest.fixture
def called(ready: Federation, tmp_path: Path) -> Federation:
    """All are ready for round 1; the aggregator has called no roster."""
    return ready.moved(tmp_path / "federation")


@pytest.fixture
def later(sealed_again: Federation, tmp_path: Path) -> Federation:
    """All updates of round 2 are posted."""
    return sealed_again.moved(tmp_path / "federation")


# ------------------------------------------------------------------------------------------------------- rosters


def test_a_roster_of_two_is_refused(called: Federation):
    """RosterTooSmall: of two, each would learn the other's update; nothing is sealed."""
    call_roster(called, ready_digests(called, "P01", "P02"))
    refuses(called, "P01", RosterTooSmall)
    assert not has_sealed(called, "P01")


def test_a_roster_below_the_plans_minimum_is_refused(tmp_path: Path):
    """RosterTooSmall: three are too few if the plan says four; nothing is sealed."""
    strict = Federation(tmp_path / "strict", n_partners=4, min_partners=4)
    for name in (*ALL, "P01"):
        with contextlib.suppress(NotYet):
            strict.partner(name).advance()  # enrols
    drive(strict, "P01")
    call_roster(strict, ready_digests(strict, "P01") | dict.fromkeys(("P02", "P03"), OTHER))
    refuses(strict, "P01", RosterTooSmall)
    assert not has_sealed(strict, "P01")


@pytest.mark.parametrize("stranger", ["P09", AGGREGATOR])
def test_a_roster_with_a_stranger_is_refused(called: Federation, stranger: str):
    """BadRoster: a made-up member would give the aggregator a mask of its own; nothing is sealed."""
    call_roster(called, ready_digests(called, *ALL) | {stranger: OTHER})
    refuses(called, "P01", BadRoster, stranger)
    assert not has_sealed(called, "P01")


def test_a_roster_that_lists_a_ready_never_said_is_refused(called: Federation):
    """Equivocation: a partner seals only for a roster that lists the `ready` it signed."""
    call_roster(called, ready_digests(called, "P01", "P02", "P03") | {"P04": OTHER})
    refuses(called, "P04", Equivocation, "one it signed")
    called.home("P04").outbox(MessageName("ready", 1, 1, "P04").manifest).unlink()
    refuses(called, "P04", Equivocation, "posted no ready")
    assert not has_sealed(called, "P04")


@pytest.mark.parametrize("roster", [ALL, ("P01", "P02", "P03")], ids=["the same roster", "another roster"])
def test_a_restored_home_does_not_seal_again(called: Federation, tmp_path: Path, roster: tuple[str, ...]):
    """Equivocation: a home from before the sealing has the same update, but the exchange shows that it was sealed."""
    called.exchange.joinpath(ROSTER.manifest).unlink(missing_ok=True)
    shutil.copytree(called.home("P01").folder, tmp_path / "backup")
    call_roster(called, ready_digests(called, *ALL))
    drive(called, "P01")
    posted = called.payload(update_of("P01")).read_bytes()
    shutil.rmtree(called.home("P01").folder)
    shutil.copytree(tmp_path / "backup", called.home("P01").folder)
    call_roster(called, ready_digests(called, *roster))
    refuses(called, "P01", Equivocation, "lacks its own")
    assert called.payload(update_of("P01")).read_bytes() == posted
    assert not called.home("P01").outbox(update_of("P01").payload).exists()


def test_a_partner_that_delivers_nothing_opens_nothing(called: Federation, tmp_path: Path):
    """The others' updates and its own, which it never posts, make a sum with the right tag, hidden by their seeds."""
    call_roster(called, ready_digests(called, *ALL))
    for name in ("P01", "P02", "P03"):
        drive(called, name)
    shadow = called.moved(tmp_path / "shadow")
    drive(shadow, "P04")
    total = add(shadow, ROSTER, {name: shadow.payload(update_of(name)) for name in ALL})
    assert not called.posted(update_of("P04")).exists()
    plan, home, roster = read_plan(called.plan_file), shadow.home("P04"), roster_of(called)
    parameters, keys = seal_parameters(plan.seal), load_private_keys(home.keys)
    group = GroupSecret.load(home.group_secret, parameters, keys)
    n_params = plan.layout.n_params
    checked = check_sum(total, roster=roster, group=group, parameters=parameters, n_params=n_params)
    own = ReleaseSeed.load(home.release_seed(1, 1), roster, keys)
    slots = checked.slots[: parameters.n_value_slots(n_params)].copy()
    released([own], parameters.t).add_to(slots, 0)
    assert stats.kstest(slots / parameters.t, "uniform").pvalue > 1e-6
    seeds = [own, *(ReleaseSeed(bytes(32), roster, name) for name in ALL[:3])]
    places = [tensor.place for tensor in plan.layout.tensors]
    with pytest.raises(UpdateOutOfRange):
        checked.open(seeds, slices=places, bounds=stored_start(plan, home, 1).bounds)


def test_a_roster_on_another_trunk_is_refused(called: Federation):
    """Diverged: an update is a change of one trunk, and adds to nothing else."""
    say(called, ROSTER, {"members": ready_digests(called, *ALL), "trunk": OTHER})
    refuses(called, "P01", Diverged)
    assert not has_sealed(called, "P01")


def test_a_second_roster_for_the_attempt_is_never_used(called: Federation):
    """The inbox keeps the first version accepted: no second sealing; a sum of the second roster is refused."""
    call_roster(called, ready_digests(called, *ALL))
    drive(called, "P01")
    first = called.payload(update_of("P01")).read_bytes()
    call_roster(called, ready_digests(called, "P01", "P02", "P03"))
    drive(called, "P01")
    assert called.payload(update_of("P01")).read_bytes() == first
    updates = dict.fromkeys(("P01", "P02", "P03"), OTHER)
    post(called, SUM, {"roster": digest_of(called, ROSTER), "updates": updates}, called.payload(update_of("P01")))
    refuses(called, "P01", Equivocation, "sum of another")


def test_different_rosters_for_different_partners_give_nothing_to_add(called: Federation):
    """WrongRoster if it is added; if headers are forged, Equivocation at the partners, who see the manifest."""
    shown = {"P01": ALL, "P02": ALL, "P03": ("P01", "P03", "P04"), "P04": ALL}
    for name, members in shown.items():
        call_roster(called, ready_digests(called, *members))
        drive(called, name)
    files = {name: called.payload(update_of(name)) for name in ALL}
    with pytest.raises(WrongRoster, match=r"update\.P03"):
        add(called, ROSTER, files)
    at = digest_of(called, ROSTER)
    rewrite(called, update_of("P03"), lambda header: replace(header, roster=at))
    post_sum(called, add(called, ROSTER, files))
    refuses(called, "P01", Equivocation, rf"P03 has roster .* roster {at}")
    refuses(called, "P03", Equivocation, "sum of another")
    assert not any(called.posted(release_of(name)).exists() for name in ALL)


# ---------------------------------------------------------------------------------------------------------- voids


def test_a_void_after_receiving_everything_ends_honestly(delivered: Federation, capsys: pytest.CaptureFixture[str]):
    """Every partner warns that the update is posted, deletes its seed, and seals the same for the next roster."""
    home, layout = delivered.home("P01"), read_plan(delivered.plan_file).layout
    change, residual = RoundFiles(home.training(1), layout).read_change(), home.training(1) / "leftover.safetensors"
    rounded = residual.read_bytes()
    assert home.release_seed(1, 1).exists()
    say(delivered, VOID, {"roster": digest_of(delivered, ROSTER), "missing": ["P02"]})
    drive(delivered, "P01")
    assert re.search(r"\bupdate of P02, .*\bexchange\b", capsys.readouterr().err)
    assert not delivered.home("P01").outbox(update_of("P01").payload).exists()
    assert not home.release_seed(1, 1).exists()
    for name in ALL[1:]:
        drive(delivered, name)
    call_roster(delivered, ready_digests(delivered, *ALL, attempt=2), attempt=2)
    drive(delivered, "P01")
    np.testing.assert_array_equal(RoundFiles(home.training(1), layout).read_change(), change)
    assert residual.read_bytes() == rounded  # the same integers were sealed
    assert has_sealed(delivered, "P01", attempt=2)


def test_an_honest_void_accuses_nobody(called: Federation, capsys: pytest.CaptureFixture[str]):
    """A missing update, or one that is not correct for the roster, gives no warning."""
    roster = call_roster(called, ready_digests(called, *ALL))
    drive(called, "P01")
    post(called, update_of("P02"), {"roster": OTHER, "release_commitment": OTHER}, called.payload(update_of("P01")))
    called.posted(update_of("P03")).write_bytes(b"{}")
    say(called, VOID, {"roster": roster, "missing": ["P02", "P03", "P04"]})
    drive(called, "P01")
    log = capsys.readouterr().err
    assert re.search(r"\bvoid, .*misses P02, P03, P04\b", log)
    assert not re.search(r"warning: .*aggregator", log)


def test_a_void_of_another_roster_is_refused(delivered: Federation):
    """Equivocation: a void must be of the attempt's roster."""
    say(delivered, VOID, {"roster": OTHER, "missing": ["P02"]})
    refuses(delivered, "P01", Equivocation, "void of another")
    assert has_sealed(delivered, "P01")


def test_a_void_may_only_miss_members_of_the_roster(delivered: Federation):
    """Equivocation: a void must miss members of its roster."""
    say(delivered, VOID, {"roster": digest_of(delivered, ROSTER), "missing": ["P09"]})
    refuses(delivered, "P01", Equivocation, "misses P09")


def test_a_void_beside_a_sum_is_refused(delivered: Federation):
    """Equivocation: some partners would go on and others begin another attempt."""
    files = {name: delivered.payload(update_of(name)) for name in ALL}
    post_sum(delivered, add(delivered, ROSTER, files))
    say(delivered, VOID, {"roster": digest_of(delivered, ROSTER), "missing": ["P02"]})
    refuses(delivered, "P01", Equivocation, "void and a sum")


def test_a_smaller_roster_after_a_void_keeps_to_the_minimum(delivered: Federation):
    """RosterTooSmall: voids never bring a roster below the plan's minimum."""
    say(delivered, VOID, {"roster": digest_of(delivered, ROSTER), "missing": ["P02"]})
    for name in ALL:
        drive(delivered, name)
    call_roster(delivered, ready_digests(delivered, "P03", "P04", attempt=2), attempt=2)
    refuses(delivered, "P03", RosterTooSmall)
    assert not has_sealed(delivered, "P03", attempt=2)


# ----------------------------------------------------------------------------------------------------------- sums


def test_a_sum_that_lists_another_update_of_mine_is_refused(delivered: Federation):
    """Equivocation at the partner whose update it is not, though the sum itself is the roster's."""
    total = add(delivered, ROSTER, {name: delivered.payload(update_of(name)) for name in ALL})
    post_sum(delivered, total, P02=OTHER)
    refuses(delivered, "P02", Equivocation, "one it sealed")


@pytest.mark.parametrize("listed", [{"P01", "P02", "P03"}, {*ALL, "P09"}], ids=["dropped", "added"])
def test_a_sum_that_lists_other_members_is_refused(delivered: Federation, listed: set[str]):
    """SumIncomplete: the list is the roster, each member once."""
    total = add(delivered, ROSTER, {name: delivered.payload(update_of(name)) for name in ALL})
    body: dict[str, object] = {
        "roster": digest_of(delivered, ROSTER),
        "updates": {name: body_digest(delivered, name) for name in listed},
    }
    post(delivered, SUM, body, total)
    refuses(delivered, "P01", SumIncomplete)


def body_digest(federation: Federation, name: str) -> str:
    """Digest of a partner's posted update; anything for a stranger."""
    path = federation.payload(update_of(name))
    return payload_digest(path).sha256 if path.exists() else OTHER


def test_a_sum_with_an_update_never_sealed_is_refused(called: Federation):
    """Equivocation: a partner that has sealed nothing cannot be part of a sum."""
    roster = call_roster(called, ready_digests(called, *ALL))
    drive(called, "P01")
    body: dict[str, object] = {"roster": roster, "updates": dict.fromkeys(ALL, OTHER)}
    post(called, SUM, body, called.payload(update_of("P01")))
    refuses(called, "P02", Equivocation, "sealed none")


def test_a_sum_whose_payload_is_replaced_is_refused(delivered: Federation):
    """PayloadMismatch: the manifest commits to one file."""
    total = add(delivered, ROSTER, {name: delivered.payload(update_of(name)) for name in ALL})
    post_sum(delivered, total)
    shutil.copyfile(delivered.payload(update_of("P01")), delivered.payload(SUM))
    refuses(delivered, "P01", PayloadMismatch)


@pytest.mark.parametrize("decoys", [(), ("round-9998", "round-9999", "round-0003")], ids=["", "empty folders"])
def test_a_sum_kept_from_a_partner_is_noticed(later: Federation, decoys: tuple[str, ...]):
    """LeftBehind as soon as a later round has its sum: a withheld message is not awaited."""
    for decoy in decoys:
        (later.exchange / decoy).mkdir()
    until_waiting(later, [AGGREGATOR, "P01", "P02", "P03"])
    for name in ("sum", "roster"):
        later.posted(MessageName(name, 1, 1, AGGREGATOR)).unlink()
    fresh = later.home("P04")
    shutil.rmtree(fresh.folder / "rounds")
    shutil.rmtree(fresh.folder / "inbox" / "round-0001")
    refuses(later, "P04", LeftBehind)


# ------------------------------------------------------------------------------------------------------- replays


@pytest.mark.parametrize("kind", ["roster", "sum", "void"])
def test_a_message_of_last_round_is_refused(later: Federation, kind: str):
    """WrongRound: every signature is bound to its round."""
    name, old = MessageName(kind, 2, 1, AGGREGATOR), MessageName(kind, 1, 1, AGGREGATOR)
    later.home("P01").inbox(name.manifest).unlink(missing_ok=True)
    if kind == "void":
        say(later, old, {"roster": digest_of(later, ROSTER), "missing": ["P02"]})
    shutil.copyfile(later.posted(old), later.posted(name))
    refuses(later, "P01", WrongRound, name.manifest)


def test_a_message_of_the_last_attempt_is_refused(delivered: Federation):
    """WrongAttempt: and to its attempt."""
    say(delivered, VOID, {"roster": digest_of(delivered, ROSTER), "missing": ["P02"]})
    drive(delivered, "P01")
    name = MessageName("roster", 1, 2, AGGREGATOR)
    shutil.copyfile(delivered.posted(ROSTER), delivered.posted(name))
    refuses(delivered, "P01", WrongAttempt, name.manifest)


def test_last_rounds_sum_signed_anew_is_refused(later: Federation):
    """WrongRound by the header of the sealed file; TagMismatch if the header is forged."""
    name, roster = MessageName("sum", 2, 1, AGGREGATOR), MessageName("roster", 2, 1, AGGREGATOR)
    updates = {member: payload_digest(later.payload(update_of(member, 2))).sha256 for member in ALL}
    body: dict[str, object] = {"roster": digest_of(later, roster), "updates": updates}
    post(later, name, body, later.payload(SUM))
    refuses(later, "P01", WrongRound)
    at = digest_of(later, roster)
    rewrite(later, name, lambda header: replace(header, round_no=2, roster=at))
    say(later, name, body)
    refuses(later, "P02", TagMismatch)


def test_last_rounds_update_in_a_sum_is_refused(later: Federation):
    """TagMismatch: an update's masks and tag are of one round."""
    name, roster = MessageName("sum", 2, 1, AGGREGATOR), MessageName("roster", 2, 1, AGGREGATOR)
    at = digest_of(later, roster)
    files = {member: later.payload(update_of(member, 2)) for member in ALL}
    updates = {member: payload_digest(file).sha256 for member, file in files.items()}
    files["P02"] = later.payload(update_of("P02"))
    rewrite(later, update_of("P02"), lambda header: replace(header, round_no=2, roster=at))
    post(later, name, {"roster": at, "updates": updates}, add(later, roster, files))
    refuses(later, "P01", TagMismatch)
