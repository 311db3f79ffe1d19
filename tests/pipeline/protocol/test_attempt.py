"""The stages of an attempt at a partner: no message yet, a roster, its void or its sum."""

from pathlib import Path

import pytest

from partners.network.trunk import initial_trunk, trunk_digest
from pipeline.errors import Diverged, LeftBehind, NotYet
from pipeline.plan.member_configs import PartnerConfig
from pipeline.protocol.attempt import Attempt, Sum, Void
from pipeline.protocol.open_mailbox import open_partner_mailbox
from secure.encoding.roster import Roster
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation, step, until_waiting
from tests.support.signed_transcripts import NOW, body_of, digest_of, ready_of, say

ALL = ("P01", "P02", "P03", "P04")


def attempt_of(federation: Federation, name: str, number: int = 1, trunk: str | None = None) -> Attempt:
    """An attempt at the first round, in a new process of a partner."""
    mailbox = open_partner_mailbox(PartnerConfig.read(federation.config(name)))
    first = trunk_digest(initial_trunk(mailbox.plan.layout, mailbox.plan.federation.seed))
    return Attempt(mailbox, 1, number, trunk or first)


def test_before_the_roster_nothing_is_said(ready: Federation):
    """All are ready; the aggregator has not looked."""
    assert attempt_of(ready, "P01").stage() is None


def test_after_the_roster_it_is_the_stage(sealed: Federation):
    """The stage has the roster's members; a partner that has sealed for it never seals again."""
    attempt = attempt_of(sealed, "P01")
    stage = attempt.stage()
    assert isinstance(stage, Roster)
    assert stage.members == ALL
    assert attempt.is_sealed()


def test_a_roster_of_another_trunk_is_refused(sealed: Federation):
    """A roster of another trunk is refused, because an update is a change of one trunk."""
    with pytest.raises(Diverged, match="expected 000000000000"):
        attempt_of(sealed, "P01", trunk="0" * 64).stage()


def test_a_roster_with_a_ready_of_another_trunk_is_refused(ready: Federation, tmp_path: Path):
    """An aggregator that calls it all the same gets no update: a joiner, too, seals for the trunk of all only."""
    federation, other = ready.moved(tmp_path / "f"), ready_of("P02")
    attempt = attempt_of(federation, "P01")
    say(federation, other, body_of(federation, other) | {"trunk": "0" * 64})
    members = {name: digest_of(federation, ready_of(name)) for name in ALL}
    say(federation, attempt.theirs("roster"), {"members": members, "trunk": attempt.trunk}, time=NOW)
    roster = attempt.stage()
    assert isinstance(roster, Roster)
    with pytest.raises(Diverged, match=r"P02 has trunk 000000000000"):
        attempt.check_readies(roster, {})


def test_the_sum_ends_an_attempt(sealed: Federation, tmp_path: Path):
    """The stage has the sum's roster, and its payload can be fetched."""
    federation = sealed.moved(tmp_path / "f")
    step(federation.aggregator())
    attempt = attempt_of(federation, "P02")
    stage = attempt.stage()
    assert isinstance(stage, Sum)
    assert stage.roster.members == ALL
    assert attempt.fetch_sum(stage).exists()


def test_a_sum_without_its_payload_is_waited_for(sealed: Federation, tmp_path: Path):
    """NotYet, because a storage may show the manifest before the payload."""
    federation = sealed.moved(tmp_path / "f")
    step(federation.aggregator())
    federation.payload(MessageName("sum", 1, 1, AGGREGATOR)).unlink()
    attempt = attempt_of(federation, "P02")
    stage = attempt.stage()
    assert isinstance(stage, Sum)
    with pytest.raises(NotYet, match="payload of sum"):
        attempt.fetch_sum(stage)


def test_a_void_names_who_is_missing(voided: Federation):
    """The void's roster lists the missing members, none of which has delivered."""
    attempt = attempt_of(voided, "P01")
    stage = attempt.stage()
    assert isinstance(stage, Void)
    assert stage.missing == ("P03",)
    assert stage.roster.members == ALL
    assert attempt.delivered(stage) == []
    following = attempt_of(voided, "P01", 2).stage()
    assert isinstance(following, Sum)
    assert following.roster.members == ("P01", "P02", "P04")


def test_a_wait_is_in_vain_where_a_later_round_has_its_sum(sealed_again: Federation, tmp_path: Path):
    """LeftBehind if the first round's sum was removed and the second's is there; without the second's, NotYet."""
    federation = sealed_again.moved(tmp_path / "f")
    until_waiting(federation, [AGGREGATOR])
    first, second = (MessageName("sum", round_no, 1, AGGREGATOR) for round_no in (1, 2))
    for path in (federation.posted(first), federation.home("P03").inbox(first.manifest)):
        path.unlink()
    attempt = attempt_of(federation, "P03")
    assert isinstance(attempt.stage(), Roster)
    with pytest.raises(LeftBehind, match=r"^round 1: waiting, .*round 2 .*\bsum\b"):
        attempt.not_yet("round 1: waiting")
    for path in (federation.posted(second), federation.home("P03").inbox(second.manifest)):
        path.unlink()
    assert str(attempt.not_yet("round 1: waiting")) == "round 1: waiting"


def seed_of(federation: Federation, name: str) -> tuple[int, ...]:
    """The seed of a partner's round 1, in a process that has just prepared its data."""
    partner = federation.partner(name)
    while partner._own is None:
        step(partner)
    return partner._own.seed(1)


def test_the_seed_of_a_round_is_known_to_its_partner_only(ready: Federation, tmp_path: Path) -> None:
    """With settings that are the same for all, two partners have different seeds; a new start has the same one."""
    federation = ready.moved(tmp_path / "federation")
    assert seed_of(federation, "P01") == seed_of(federation, "P02") == (0, 0, 0)  # these tests want equal trunks
    for name in ("P01", "P02"):
        config = federation.config(name)
        config.write_text(config.read_text().replace("keyed_chance = false\n", ""))
    first, second = (seed_of(federation, name) for name in ("P01", "P02"))
    assert first[:3] == second[:3] == (0, 0, 0)
    assert first[3] != second[3]
    assert min(first[3], second[3]) > 1 << 128
    assert seed_of(federation, "P01") == first
