"""Members that drop out: voids, returns, and a crash between sealing and posting, mostly with real processes."""

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import AttemptsUsedUp, ConfigError, ExitCode, LeftBehind, NotYet
from pipeline.report.report import read_report
from pipeline.runtime.retry import Machine
from secure.errors import BadKeyFile
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation, age, step, until_waiting
from tests.support.running_members import Running
from tests.support.signed_transcripts import body_of, digest_of, ready_of, say, update_of

ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
VOID = MessageName("void", 1, 1, AGGREGATOR)
SUM = MessageName("sum", 1, 1, AGGREGATOR)


def all_posted(federation: Federation, names: list[MessageName]) -> Callable[[], bool]:
    """Whether all these messages are in the exchange."""
    return lambda: all(federation.posted(name).exists() for name in names)


def all_seen(federation: Federation, names: list[MessageName]) -> Callable[[], bool]:
    """Whether the aggregator has all these messages."""
    home = federation.home(AGGREGATOR)
    return lambda: all(home.inbox(name.manifest).exists() for name in names)


def sums_of(federation: Federation, round_no: int) -> list[list[str]]:
    """Members of the sums posted in a round."""
    attempts = [MessageName("sum", round_no, attempt, AGGREGATOR) for attempt in range(1, 21)]
    return [sorted(body_of(federation, name)["updates"]) for name in attempts if federation.posted(name).exists()]


def vanish_after_roster(federation: Federation, running: Running, lost: str) -> None:
    """All partners are on the roster; then one is killed before it delivers, and stays away beyond the deadline."""
    others = [name for name in federation.partners if name != lost]
    running.start(*federation.partners)
    running.wait_for(all_posted(federation, [ready_of(lost)]))
    running.freeze(lost)
    running.wait_for(all_posted(federation, [ready_of(name) for name in others]))
    once = federation.hocket("aggregator", "run", "--once", str(federation.config(AGGREGATOR)))
    assert once.returncode == ExitCode.NOT_YET, once.stderr
    assert sorted(body_of(federation, ROSTER)["members"]) == federation.partners
    running.kill(lost)
    running.wait_for(all_posted(federation, [update_of(name) for name in others]))
    assert not federation.posted(update_of(lost)).exists()
    age(federation, ROSTER, 3601)  # deadlines are an hour, so that none is past because the machine is busy


@pytest.mark.slow
def test_a_partner_vanishes_and_returns_in_a_later_round(tmp_path: Path):
    """The attempt is void, the next roster is without it; later it opens the missed sum, and all trunks agree."""
    federation = Federation(tmp_path / "f", n_partners=4, n_rounds=3)
    with Running(federation) as running:
        vanish_after_roster(federation, running, "P03")
        running.start(AGGREGATOR)
        readies = [ready_of(name, 1, 2) for name in federation.partners if name != "P03"]
        running.wait_for(all_seen(federation, readies))
        running.kill(AGGREGATOR)
        for ready in readies:
            age(federation, ready, 3601)
        running.start(AGGREGATOR)
        running.wait_for(lambda: bool(sums_of(federation, 1)))
        running.start("P03")
        running.finish()
    assert body_of(federation, VOID)["missing"] == ["P03"]
    assert sums_of(federation, 1) == [["P01", "P02", "P04"]]
    assert sums_of(federation, 2) == [federation.partners]
    assert [len(federation.trunks(round_no)) for round_no in (1, 2, 3)] == [1, 1, 1]
    assert len({read_report(federation.home(name)).trunk for name in federation.partners}) == 1


@pytest.mark.slow
def test_a_roster_at_the_minimum_waits_for_the_one_that_vanished(tmp_path: Path):
    """If all three are needed, the others wait; the third returns, and the federation completes."""
    federation = Federation(tmp_path / "f")
    with Running(federation) as running:
        vanish_after_roster(federation, running, "P02")
        running.start(AGGREGATOR)
        readies = [ready_of(name, 1, 2) for name in ("P01", "P03")]
        running.wait_for(all_seen(federation, readies))
        running.kill(AGGREGATOR)
        for ready in readies:
            age(federation, ready, 3601)
        once = federation.hocket("aggregator", "run", "--once", str(federation.config(AGGREGATOR)))
        assert once.returncode == ExitCode.NOT_YET
        assert "waiting for P02" in once.stderr
        assert not federation.posted(MessageName("roster", 1, 2, AGGREGATOR)).exists()
        running.start("P02", AGGREGATOR)
        running.finish()
    assert body_of(federation, VOID)["missing"] == ["P02"]
    assert sums_of(federation, 1) == [federation.partners]
    assert [len(federation.trunks(round_no)) for round_no in (1, 2)] == [1, 1]


@pytest.mark.slow
def test_a_partner_killed_between_sealing_and_posting_posts_the_same_bytes(sealed: Federation, tmp_path: Path):
    """The next process posts the sealed file in the outbox of a killed one, byte for byte."""
    federation = sealed.moved(tmp_path / "federation")
    home, update = federation.home("P01"), update_of("P01")
    for path in (federation.posted(update), federation.payload(update), home.outbox(update.manifest)):
        path.unlink()
    home.outbox(update.payload).unlink()
    federation.payload(update).mkdir()  # nothing can be posted under this name
    with Running(federation) as running:
        running.start("P01")
        running.wait_for(home.outbox(update.payload).exists)
        running.kill("P01")
        before = hashlib.sha256(home.outbox(update.payload).read_bytes()).hexdigest()
        assert not federation.posted(update).exists()
        federation.payload(update).rmdir()
        running.start("P01")
        running.wait_for(federation.posted(update).exists)
        running.kill("P01")
    assert hashlib.sha256(federation.payload(update).read_bytes()).hexdigest() == before
    step(federation.aggregator())
    until_waiting(federation, federation.partners)
    assert len(federation.trunks(1)) == 1


# --------------------------------------------------------------------------------------- a return that is not possible


@pytest.fixture(scope="module")
def missed(sealed: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """P04 was away since it released in round 1; the others have ended. For reading only."""
    federation = sealed.moved(tmp_path_factory.mktemp("missed") / "federation")
    others = ["P01", "P02", "P03"]
    step(federation.aggregator())
    assert come_back(federation) == "waiting"  # it has released, but seen no other's release
    until_waiting(federation, [*others, AGGREGATOR])
    for name in others:
        age(federation, ready_of(name, 2), 3601)
    until_waiting(federation, [*others, AGGREGATOR])
    assert sorted(body_of(federation, MessageName("sum", 2, 1, AGGREGATOR))["updates"]) == others
    return federation


@pytest.fixture
def returning(missed: Federation, tmp_path: Path) -> Federation:
    """A copy in which P04 may return."""
    return missed.moved(tmp_path / "federation")


def come_back(federation: Federation, name: str = "P04") -> str:
    """Let the returning partner advance until it waits or ends."""
    partner = federation.partner(name)
    while (state := step(partner)) == "on":
        pass
    return state


def test_a_partner_opens_all_sums_that_it_missed(returning: Federation):
    """The others have ended; it ends with their trunk."""
    assert come_back(returning) == "done"
    assert len({read_report(returning.home(name)).trunk for name in returning.partners}) == 1


def advance_all(machine: Machine) -> None:
    """Advance until an error, and return it."""
    while machine.advance():
        pass


def remove(*paths: str) -> Callable[[Federation], None]:
    """Remove files or folders of the exchange, and the copies of files that P04 has."""

    def damage(federation: Federation) -> None:
        for path in paths:
            if "." in path:
                federation.home("P04").inbox(path).unlink(missing_ok=True)
            found = federation.exchange / path
            shutil.rmtree(found) if found.is_dir() else found.unlink()

    return damage


@pytest.mark.parametrize(
    "damage",
    [remove(SUM.payload), remove(SUM.payload, SUM.manifest), remove("round-0001")],
    ids=["payload", "sum", "round"],
)
def test_a_missed_sum_that_was_removed_is_not_awaited(returning: Federation, damage: Callable[[Federation], None]):
    """A later sum proves the removal: the partner's error names the missing message, and it does not train."""
    damage(returning)
    with pytest.raises(LeftBehind, match=r"round 2 .*removed .*exchange") as caught:
        come_back(returning)
    assert re.search(r"sum of agg .*round 1\b|round 1: waiting\b", str(caught.value))
    assert SUM.folder in caught.value.__notes__[0]
    assert not returning.posted(ready_of("P04", 2)).exists()


def test_a_sum_that_may_still_come_is_awaited(returning: Federation):
    """Without a later sum nothing proves a removal: NotYet names the awaited message."""
    remove("round-0002", SUM.payload)(returning)
    with pytest.raises(NotYet, match=r"payload .*sum of agg .*round 1, attempt 1"):
        advance_all(returning.partner("P04"))


def test_a_forged_later_sum_proves_nothing(returning: Federation):
    """Folders alone prove nothing: anyone with access to the exchange can make them, but no signed sum."""
    remove("round-0002", SUM.payload)(returning)
    (returning.exchange / "round-0007" / "attempt-01").mkdir(parents=True)
    (returning.exchange / "round-x").mkdir()
    assert come_back(returning) == "waiting"


@pytest.mark.slow
def test_the_command_says_that_a_sum_was_removed(returning: Federation):
    """A real partner process: exit code 4, what is missing, what to do, no traceback."""
    remove(SUM.payload)(returning)
    refused = returning.hocket("partner", "run", str(returning.config("P04")))
    assert refused.returncode == ExitCode.SECURITY
    assert re.search(r"payload .*sum of agg .*round 1, attempt 1, .*round 2\b", refused.stderr)
    assert "start again" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_lost_group_secret_comes_from_the_deal_again(returning: Federation):
    """The custodian's deal is still for this partner's card."""
    returning.home("P04").group_secret.unlink()
    assert come_back(returning) == "done"


def test_lost_pair_seeds_are_not_made_anew(returning: Federation):
    """Lost pair seeds are not made again: the others have the posted ones, and no sum would open."""
    returning.home("P04").pair_seeds.unlink()
    with pytest.raises(BadKeyFile, match=r"pair\.seeds: is missing") as caught:
        come_back(returning)
    assert "KEYS.md" in caught.value.__notes__[0]
    assert not returning.home("P04").pair_seeds.exists()


def test_a_home_without_its_rounds_is_refused(returning: Federation):
    """A home with messages but without their training is refused."""
    shutil.rmtree(returning.home("P04").folder / "rounds")
    with pytest.raises(ConfigError, match=r"trained\.safetensors: is missing") as caught:
        come_back(returning)
    assert "whole" in caught.value.__notes__[0]


# -------------------------------------------------------------------------------------------------- the last attempt


@pytest.fixture
def last_attempt(tmp_path: Path) -> Federation:
    """The plan allows one attempt; P02 is on the roster and has not delivered at the deadline."""
    federation = Federation(tmp_path / "f", max_attempts=1)
    until_waiting(federation, federation.partners)
    step(federation.aggregator())
    until_waiting(federation, ["P01", "P03"])
    age(federation, ROSTER, 3601)
    return federation


def test_the_last_attempt_is_not_declared_void(last_attempt: Federation):
    """The aggregator stops instead and names the missing partner; with the late update it goes on."""
    with pytest.raises(AttemptsUsedUp, match=r"\bP02 .*attempt 1, .*last") as caught:
        step(last_attempt.aggregator())
    assert caught.value.exit_code == ExitCode.SECURITY
    assert not last_attempt.posted(VOID).exists()
    until_waiting(last_attempt, ["P02"])
    step(last_attempt.aggregator())
    assert last_attempt.posted(SUM).exists()


def test_a_partner_takes_part_in_no_attempt_beyond_the_last(last_attempt: Federation):
    """After the last attempt a partner neither seals nor posts `ready`, even after a restart."""
    say(last_attempt, VOID, {"roster": digest_of(last_attempt, ROSTER), "missing": ["P02"]})
    for _ in range(2):
        with pytest.raises(AttemptsUsedUp, match="1 attempts are void") as caught:
            come_back(last_attempt, "P01")
        assert "rounds.max_attempts" in caught.value.__notes__[0]
    assert not last_attempt.posted(ready_of("P01", 1, 2)).exists()
    assert not list(last_attempt.home("P01").folder.rglob("release.seed"))
