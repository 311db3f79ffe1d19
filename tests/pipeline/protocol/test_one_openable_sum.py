"""Of all sums of a round that share an honest member at most one roster's can be opened, whatever members are shown.

The claim of THREAT_MODEL.md, "The release", against an adversary that is the aggregator with up to n - 2 partners, and
may restore a partner's home or hide its own messages from it, but not both.
"""

import shutil
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.errors import Equivocation
from pipeline.exchange.mailbox import Mailbox, Outbox
from pipeline.protocol.attempt import Attempt
from secure.encoding.roster import Roster
from secure.messages.message_name import MessageName
from secure.sealing.release import ReleaseSeed
from tests.support.protocol.hostile_round import PARTNERS, VALUES, Adversary

NAMES = st.sampled_from(PARTNERS)


class HostileRound(RuleBasedStateMachine):
    """Everything that the adversary may do in one round, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hostile"))
        self.restored: set[str] = set()
        self.hidden: set[str] = set()

    @initialize(n_colluders=st.integers(0, 2))
    def begin(self, n_colluders: int) -> None:
        """Everybody honest is ready, and has sealed for a roster of all."""
        self.adversary = Adversary(self.folder, PARTNERS[4 - n_colluders :])
        for name in self.adversary.honest:
            self.adversary.advance(name)
        self.call(set(PARTNERS), 1)
        for name in self.adversary.honest:
            self.lead(name, 0, "without releases")

    def teardown(self) -> None:
        """What can be opened is the sum of its members' numbers, and partners have opened the same."""
        for roster in self.adversary.openable():
            check_is_sum(self.adversary, roster)
        shutil.rmtree(self.folder)

    @rule(members=st.sets(NAMES, min_size=3), attempt=st.sampled_from((1, 1, 1, 2, 2, 3)))
    def call(self, members: set[str], attempt: int) -> None:
        """Sign a roster, also a second one for an attempt."""
        self.adversary.call(tuple(sorted(members)), attempt)

    @rule(name=NAMES, pick=st.integers(0, 99), how=st.sampled_from(("without releases", "with releases")))
    def lead(self, name: str, pick: int, how: str) -> None:
        """Show a partner all there is of a roster, and let it go on."""
        if name in self.adversary.honest:
            self.adversary.lead(name, self.any_roster(pick), with_releases=how == "with releases")
            self.adversary.advance(name)

    @rule(pick=st.integers(0, 99))
    def lead_all(self, pick: int) -> None:
        """Show a roster to all its members, as an honest aggregator does."""
        roster = self.any_roster(pick)
        for with_releases in (False, True):
            for name in sorted(set(roster.members) & set(self.adversary.honest)):
                self.adversary.lead(name, roster, with_releases=with_releases)
                self.adversary.advance(name)

    @rule(names=st.sets(NAMES, min_size=1), pick=st.integers(0, 99))
    def void(self, names: set[str], pick: int) -> None:
        """Show some partners that an attempt is void."""
        for name in sorted(names & set(self.adversary.honest)):
            self.adversary.void(name, self.any_roster(pick))
            self.adversary.advance(name)

    @rule(name=NAMES, pick=st.integers(0, 99))
    def restore(self, name: str, pick: int) -> None:
        """Restore a partner's home as it was before some step; its own messages stay where it sees them."""
        member = self.adversary.honest.get(name)
        if member and name not in self.hidden:
            self.restored.add(name)
            member.opened = None
            member.restore(pick % len(member.snapshots))
            self.adversary.advance(name)

    @precondition(lambda self: self.adversary.releases)
    @rule(pick=st.integers(0, 99))
    def turn(self, pick: int) -> None:
        """Restore partners to before their release, or hide it from them; then lead them to another roster."""
        at, _ = sorted(self.adversary.releases)[pick % len(self.adversary.releases)]
        released = self.adversary.rosters[at]
        for name, member in self.adversary.honest.items():
            if name in self.hidden:
                for kind in ("update", "release"):
                    self.hide(name, kind, released.attempt)
            else:
                self.restored.add(name)
                member.opened = None
                member.restore(member.before_release)
            self.adversary.void(name, released)
            self.adversary.advance(name)
        ready = [each for each in PARTNERS if self.adversary.ready(each, released.attempt + 1)]
        following = self.adversary.call(tuple(ready), released.attempt + 1)
        if following is not None:
            for with_releases in (False, True):
                for each in sorted(set(following.members) & set(self.adversary.honest)):
                    self.adversary.lead(each, following, with_releases=with_releases)
                    self.adversary.advance(each)

    @rule(name=NAMES, kind=st.sampled_from(("update", "release")), attempt=st.integers(1, 3))
    def hide(self, name: str, kind: str, attempt: int) -> None:
        """Hide a partner's own message from it; its home stays as it is."""
        if name in self.adversary.honest and name not in self.restored:
            self.hidden.add(name)
            self.adversary.hide(name, kind, attempt)

    @rule(name=NAMES)
    def restart(self, name: str) -> None:
        """Kill a partner and start it again."""
        if name in self.adversary.honest:
            self.adversary.honest[name].restart()
            self.adversary.advance(name)

    @invariant()
    def no_two_openable_sums_share_an_honest_member(self) -> None:
        """The claim, and what it rests on: each honest partner has released for one roster at most."""
        honest = set(self.adversary.honest)
        for name in honest:
            assert len({roster for roster, sender in self.adversary.releases if sender == name}) <= 1
        for one, other in combinations(self.adversary.openable(), 2):
            assert not set(one.members) & set(other.members) & honest

    def any_roster(self, pick: int) -> Roster:
        """One of the signed rosters."""
        rosters = list(self.adversary.rosters.values())
        return rosters[pick % len(rosters)]


def check_is_sum(adversary: Adversary, roster: Roster) -> None:
    """The opened sum is that of the members' numbers, at the adversary and at the partners."""
    mean = np.mean([VALUES[name] for name in roster.members])
    opened = adversary.open(roster)
    np.testing.assert_allclose(opened.mean, mean, atol=1e-5)
    for member in adversary.honest.values():
        if member.opened is not None:
            assert member.name not in roster.members or np.array_equal(member.opened.total, opened.total)


_QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much)


def run(n_examples: int, n_steps: int) -> None:
    """Let the adversary play so many rounds."""
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415

    options = settings(
        max_examples=n_examples, stateful_step_count=n_steps, deadline=None, suppress_health_check=_QUIET, database=None
    )
    run_state_machine_as_test(HostileRound, settings=options)


def test_no_two_openable_sums_share_an_honest_member():
    """A few rounds, with the invariant above after every step."""
    run(4, 12)


@pytest.mark.slow
def test_no_two_openable_sums_share_an_honest_member_in_many_rounds():
    """The same, longer."""
    run(40, 30)


# ----------------------------------------------------------------------------- the way through, and what is excluded


@pytest.fixture
def adversary(tmp_path: Path) -> Iterator[Adversary]:
    """The aggregator with P03 and P04; P01 and P02 are ready."""
    adversary = Adversary(tmp_path, ("P03", "P04"))
    for name in adversary.honest:
        adversary.advance(name)
    return adversary


def lead_to_release(adversary: Adversary, roster: Roster, *names: str) -> None:
    """Show these partners everything of a roster until they have released, or refuse."""
    for _ in range(3):
        for name in names:
            adversary.lead(name, roster)
            adversary.advance(name)


def called(adversary: Adversary, *members: str, attempt: int = 1) -> Roster:
    """Sign a roster of members that are ready."""
    roster = adversary.call(members, attempt)
    assert roster is not None
    return roster


def test_an_undisturbed_round_opens(adversary: Adversary):
    """The machine above is not idle: led by an honest hand, everybody releases and opens the sum."""
    roster = called(adversary, *PARTNERS)
    lead_to_release(adversary, roster, "P01", "P02")
    assert adversary.openable() == [roster]
    check_is_sum(adversary, roster)
    assert all(member.opened is not None for member in adversary.honest.values())


def test_before_the_release_another_roster_is_served(adversary: Adversary):
    """After a void partners seal the same numbers for the next roster; the void one's sum stays closed."""
    first = called(adversary, *PARTNERS)
    for name in adversary.honest:
        adversary.lead(name, first, with_releases=False)
        adversary.advance(name)
        adversary.void(name, first)
        adversary.advance(name)
    second = called(adversary, *PARTNERS, attempt=2)
    lead_to_release(adversary, second, "P01", "P02")
    assert adversary.openable() == [second]
    assert all((first.digest, name) in adversary.updates for name in PARTNERS)
    check_is_sum(adversary, second)


class Killed(BaseException):
    """The process is gone: nothing of the code under test catches this."""


def kill_once(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, when: str, kind: str) -> list[str]:
    """Kill a process once, before or after a call of this method, on messages of this kind; what was killed."""
    real, killed = getattr(owner, method), list[str]()

    def watched(self: object, *given: Any, **named: Any) -> object:  # noqa: ANN401 -- handed on as it is
        message = next((each for each in given if isinstance(each, MessageName)), None)
        is_due = not killed and (message is None or message.kind == kind)
        if is_due and when == "before":
            killed.append(method)
            raise Killed
        found = real(self, *given, **named)
        if is_due:
            killed.append(method)
            raise Killed
        return found

    monkeypatch.setattr(owner, method, watched)
    return killed


KILLS = {
    "the seed is kept, nothing sealed": (ReleaseSeed, "save", "after", ""),
    "sealed, not in the outbox": (Attempt, "keep_sealed", "before", ""),
    "in the outbox, not signed": (Attempt, "keep_sealed", "after", ""),
    "update signed, not posted": (Outbox, "sign", "after", "update"),
    "update posted": (Mailbox, "post", "after", "update"),
    "tag checked, release not signed": (Mailbox, "post", "before", "release"),
    "release signed, not posted": (Outbox, "sign", "after", "release"),
    "release posted": (Mailbox, "post", "after", "release"),
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_kill_at_any_step_changes_nothing(
    adversary: Adversary, monkeypatch: pytest.MonkeyPatch, kill: tuple[type, str, str, str]
):
    """Started again, the partner goes on: one update, one release, and the sum that all open is the same."""
    roster = called(adversary, *PARTNERS)
    killed = kill_once(monkeypatch, *kill)
    for _ in range(4):
        for name in adversary.honest:
            adversary.lead(name, roster)
            try:
                adversary.advance(name)
            except Killed:
                adversary.honest[name].restart()
                adversary.harvest()
    assert killed
    assert adversary.openable() == [roster]
    check_is_sum(adversary, roster)
    assert all(member.opened is not None for member in adversary.honest.values())


def test_a_kill_in_a_void_opens_nothing(adversary: Adversary, monkeypatch: pytest.MonkeyPatch):
    """Killed right after the seed of a void attempt is deleted: the next start finishes the void, and seals again."""
    first = called(adversary, *PARTNERS)
    member = adversary.honest["P01"]
    adversary.lead("P01", first, with_releases=False)
    adversary.advance("P01")
    adversary.void("P01", first)
    killed = kill_once(monkeypatch, Attempt, "delivered", "after", "")
    with pytest.raises(Killed):
        adversary.advance("P01")
    member.home.release_seed(1, 1).unlink()
    member.restart()
    assert killed
    assert adversary.advance("P01") is None
    adversary.lead("P02", first, with_releases=False)
    adversary.advance("P02")
    adversary.void("P02", first)
    adversary.advance("P02")
    second = called(adversary, *PARTNERS, attempt=2)
    lead_to_release(adversary, second, "P01", "P02")
    assert adversary.openable() == [second]


def test_a_home_that_is_restored_refuses_a_second_roster(adversary: Adversary):
    """Equivocation at P01, restored to before its release: its own release stands in the exchange."""
    release_for_two(adversary, hides=False)
    assert len(adversary.openable()) == 1


def test_a_home_restored_before_an_exchange_that_hides_its_release_is_deceived(adversary: Adversary):
    """The excluded combination: P01 releases for two rosters, and the difference of the sums is P02's update."""
    release_for_two(adversary, hides=True)
    first, second = adversary.openable()
    difference = adversary.open(first).total - adversary.open(second).total
    np.testing.assert_allclose(difference * (0.1 / 32767), VALUES["P02"], atol=1e-5)


def release_for_two(adversary: Adversary, *, hides: bool) -> None:
    """Let P01 and P02 release for a roster of all; then restore P01, and show it a void and a roster without P02."""
    first = called(adversary, *PARTNERS)
    victim = adversary.honest["P01"]
    lead_to_release(adversary, first, "P01", "P02")
    assert adversary.openable() == [first]
    victim.opened = None
    victim.restore(1)  # the first advance made it ready
    if hides:
        for kind in ("update", "release"):
            adversary.hide("P01", kind, 1)
        for path in victim.exchange.glob("round-0001/attempt-01/release.*"):
            path.unlink()
    adversary.void("P01", first)
    error = adversary.advance("P01")
    if not hides:
        assert isinstance(error, Equivocation)
        return
    second = called(adversary, "P01", "P03", "P04", attempt=2)
    lead_to_release(adversary, second, "P01")
