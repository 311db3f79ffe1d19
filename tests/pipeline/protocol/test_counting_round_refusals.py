"""The counting round among absent, void, wrong and hostile messages: who waits, and what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.protocol.round_seal
import pipeline.runs.partner_run
from partners.network.shared_head_rows import HolderCounts
from partners.network.trunk import initial_trunk, trunk_digest
from pipeline.errors import ConfigError, Diverged, Equivocation
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import COUNTING_ROUND, read_plan
from pipeline.protocol.aggregator import AggregatorRun
from pipeline.protocol.open_mailbox import open_partner_mailbox
from secure.errors import BadContainer, RosterTooSmall, TagMismatch, UpdateOutOfRange, WrongKey, WrongRoster
from secure.messages.message_name import MessageName
from secure.messages.messages import payload_digest
from tests.support.federation import AGGREGATOR, Federation, age, run_rounds, step, until_waiting
from tests.support.protocol.counted_rows import (
    ALL,
    COUNTS,
    HOLDERS,
    ROSTER,
    SUM,
    VOID,
    counts_in,
    final,
    layout_of,
    make,
    rows_of,
    tasks_of,
)
from tests.support.signed_transcripts import body_of, digest_of, refusal, rewrite, run_audit, say, say_again


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """All have posted `ready` for the counting round; the aggregator has not run since. For reading only."""
    federation = make(tmp_path_factory.mktemp("catalogue") / "f", n_rounds=1)
    until_waiting(federation, list(ALL))
    return federation


@pytest.fixture
def federation(ready: Federation, tmp_path: Path) -> Federation:
    """A copy that a test may change."""
    return ready.moved(tmp_path / "f")


def drive(federation: Federation, *names: str) -> None:
    """Let newly opened partners advance until they wait."""
    for name in names:
        partner = federation.partner(name)
        while step(partner) == "on":
            pass


def test_the_counting_round_waits_for_every_partner(tmp_path: Path):
    """No deadline closes the roster with fewer, because two rosters would reveal the flags of the difference."""
    federation = make(tmp_path / "f", n_rounds=1)
    for _ in range(2):  # all must have enrolled
        for name in ALL:
            step(federation.partner(name))
    until_waiting(federation, list(ALL[:3]))
    federation.aggregator().mailbox.receive(MessageName("ready", COUNTING_ROUND, 1, "P01"))
    age(federation, MessageName("ready", COUNTING_ROUND, 1, "P01"), 3601)
    until_waiting(federation, [*ALL[:3], AGGREGATOR])
    assert not federation.posted(ROSTER).exists()
    until_waiting(federation, ["P04"])
    until_waiting(federation, [AGGREGATOR])
    assert sorted(body_of(federation, ROSTER)["members"]) == list(ALL)


def test_a_void_counting_round_is_held_again_with_all(federation: Federation, capsys: pytest.CaptureFixture[str]):
    """P03 is late: the attempt is void, the next one has the same flags and partners, and the counts are right.

    Everybody calls it the counting round, also `verify`: nobody has to know its number.
    """
    until_waiting(federation, [AGGREGATOR])
    until_waiting(federation, ["P01", "P02", "P04", AGGREGATOR])
    age(federation, ROSTER, 3601)
    until_waiting(federation, [AGGREGATOR, "P01", "P02", "P04"])
    assert body_of(federation, VOID)["missing"] == ["P03"]
    run_rounds(federation)
    again = MessageName("sum", COUNTING_ROUND, 2, AGGREGATOR)
    assert sorted(body_of(federation, again)["updates"]) == list(ALL)
    assert [counts_in(federation, name) for name in ALL] == [COUNTS] * 4
    assert run_audit(federation).n_rounds == 1
    log = capsys.readouterr().err
    for line in (
        r"P01: counting round, attempt 1: void\b.* P03$",
        r"agg: counting round, attempt 2: .*P01, P02, P03, P04\b",
        r"agg: counting round: .*\b4 updates",
    ):
        assert re.search(line, log, re.MULTILINE), line
    shown = federation.hocket("verify", str(federation.plan_file), str(federation.exchange)).stdout
    assert re.search(r"counting round, attempt 1: void .*P01, P02, P03, P04, .*P03\b", shown)
    assert re.search(r"counting round, attempt 2: sum .*P01, P02, P03, P04\b", shown)
    assert "round 0" not in log + shown


@pytest.mark.slow
def test_rows_stay_where_holders_may_be_absent(federation: Federation):
    """Without P03 row THREE has two holders on the roster and does not change; FOUR does, and P03 takes it over."""
    run_to_training(federation)
    rest = [name for name in ALL if name != "P03"]
    for name in rest:
        age(federation, MessageName("ready", 1, 1, name), 3601)
    until_waiting(federation, [AGGREGATOR, *rest])
    assert sorted(body_of(federation, MessageName("roster", 1, 1, AGGREGATOR))["members"]) == rest
    drive(federation, *ALL)
    plan = read_plan(federation.plan_file)
    first = rows_of(plan, initial_trunk(layout_of(plan), plan.federation.seed))
    states = {name: final(federation, plan, name, 1) for name in ALL}
    assert len({trunk_digest(state.vector) for state in states.values()}) == 1
    for name, state in states.items():
        rows = rows_of(plan, state.vector)
        np.testing.assert_array_equal(rows[0], first[0])
        assert not np.array_equal(rows[1], first[1])
        assert state.private is not None
        for task in tasks_of(federation, plan, name)[4]:
            np.testing.assert_array_equal(state.private.heads["classification.weight"][task], rows[1][:-1])


def run_to_training(federation: Federation) -> None:
    """After the counting round, with all but P03 ready for round 1, as the aggregator knows."""
    until_waiting(federation, [AGGREGATOR])
    drive(federation, *ALL)
    until_waiting(federation, [AGGREGATOR])
    drive(federation, *ALL)  # all release
    drive(federation, *(name for name in ALL if name != "P03"))
    until_waiting(federation, [AGGREGATOR])


def test_a_catalogue_roster_without_a_partner_is_refused(federation: Federation):
    """RosterTooSmall, though the plan's min_partners is three; nothing is sealed. `hocket verify` refuses it too."""
    ready = {name: digest_of(federation, MessageName("ready", COUNTING_ROUND, 1, name)) for name in ALL[:3]}
    trunk = body_of(federation, MessageName("ready", COUNTING_ROUND, 1, "P01"))["trunk"]
    say(federation, ROSTER, {"members": ready, "trunk": trunk})
    with pytest.raises(RosterTooSmall, match=r"\b3 members.*\b4\b"):
        drive(federation, "P01")
    assert not federation.payload(MessageName("update", COUNTING_ROUND, 1, "P01")).exists()
    refusal(federation, WrongRoster, "too few")


def test_a_wrong_sum_of_flags_is_caught(federation: Federation):
    """If the aggregator posts another sum than that of the flags: TagMismatch, no counts, no training."""
    until_waiting(federation, [AGGREGATOR])
    drive(federation, *ALL)
    until_waiting(federation, [AGGREGATOR])
    data = bytearray(federation.payload(SUM).read_bytes())
    data[len(data) // 2] ^= 1  # a coefficient of the ciphertext
    federation.payload(SUM).write_bytes(data)
    assert payload_digest(federation.payload(SUM)).size == len(data)
    say(federation, SUM, body_of(federation, SUM))
    with pytest.raises(TagMismatch):
        drive(federation, "P01")
    assert not federation.home("P01").catalogue.exists()
    assert not federation.posted(MessageName("ready", 1, 1, "P01")).exists()


def test_more_holders_than_partners_are_noticed(federation: Federation, monkeypatch: pytest.MonkeyPatch):
    """A partner that sends seven for a flag makes an impossible count: all partners stop."""
    real = pipeline.protocol.round_seal.seal_update

    def sealed(change: np.ndarray, **given: Any) -> object:  # noqa: ANN401 -- handed on as it is
        return real(change * 7 if given["me"] == "P04" else change, **given)

    monkeypatch.setattr(pipeline.protocol.round_seal, "seal_update", sealed)
    until_waiting(federation, [AGGREGATOR])
    drive(federation, *ALL)
    until_waiting(federation, [AGGREGATOR])
    drive(federation, *ALL[:3])
    for name in ("P04", "P01"):
        with pytest.raises(UpdateOutOfRange, match=r"\b10 of 4 .*row 4"):
            drive(federation, name)
    assert not federation.home("P01").catalogue.exists()


def until_sealed(federation: Federation) -> MessageName:
    """After the counting round, with every update of round 1 posted; the name of P03's."""
    for _ in range(4):
        drive(federation, *ALL)
        until_waiting(federation, [AGGREGATOR])
    drive(federation, *ALL)
    return MessageName("update", 1, 1, "P03")


def test_a_revision_from_round_1_follows_a_complete_counting_round(federation: Federation):
    """All have counted the same tasks, so releases of that round stop nobody; one without its counts is refused."""
    until_sealed(federation)
    federation.revise(1, n_rounds=1)
    for name in ALL:
        federation.partner(name)
    federation.home("P02").catalogue.unlink()
    with pytest.raises(Equivocation, match="released for counting round"):
        federation.partner("P02")
    text = federation.plan_file.read_text()
    cards = text.split("[[card]]")
    without = "[[card]]".join(card for card in cards if 'name = "P04"' not in card)
    federation.plan_file.write_text(without.replace("revision = 2\n", 'revision = 2\nunreleased = ["P04"]\n'))
    with pytest.raises(Equivocation, match="P04 has released"):
        federation.partner("P04")


@pytest.mark.parametrize("n_places", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4)), 1 << 20])
def test_an_update_of_another_length_is_refused(federation: Federation, n_places: int):
    """A length that the plan allows, and one that it does not: its sender is named; `hocket verify` refuses it too."""
    update = until_sealed(federation)
    n_params = 8208 + 17 * n_places
    rewrite(federation, update, lambda header: replace(header, n_params=n_params))
    say_again(federation, update)
    said = f"update.P03.arrow: {n_params} parameters, expected 8242"
    with pytest.raises(BadContainer, match=re.escape(said)):
        until_waiting(federation, [AGGREGATOR])
    refusal(federation, BadContainer, said)


def test_half_of_a_roster_names_nobody_else(federation: Federation):
    """The first vector that all have signed tells the length, not the number of updates; verify knows it too."""
    until_sealed(federation)
    for name in ("P03", "P04"):
        update = MessageName("update", 1, 1, name)
        rewrite(federation, update, lambda header: replace(header, n_params=8208 + 17))
        say_again(federation, update)
    said = "update.P03.arrow: 8225 parameters; update.P04.arrow: 8225 parameters, expected 8242"
    with pytest.raises(BadContainer, match=re.escape(said)):
        until_waiting(federation, [AGGREGATOR])
    refusal(federation, BadContainer, "update.P03.arrow: 8225 parameters, expected 8242")


def until_ready(federation: Federation, **other: object) -> None:
    """After the counting round, with all ready for round 1; of what was counted P03's home says something other."""
    for _ in range(2):
        drive(federation, *ALL)
        until_waiting(federation, [AGGREGATOR])
    drive(federation, *ALL)  # all release
    drive(federation, *ALL[:2], ALL[3])
    counts, partner = federation.home("P03").catalogue, federation.partner("P03")
    while not counts.exists():
        step(partner)
    counts.write_text(json.dumps(json.loads(counts.read_text()) | other))
    drive(federation, "P03")


OTHER_ROW: dict[str, object] = {"counts": [3, 2, 0, 1, 4]}  # as many rows travel, the first place is another row's


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"min_partners": 2}, "the trunk digest of P03 differs"),
        (OTHER_ROW, "the preparation digest of P03 differs"),
        ({"counts": [1, 2, 0, 4, 3]}, "the preparation digest of P03 differs"),
        ({"counts": [0, 2, 0, 3, 4]}, "the preparation digest of P03 differs"),
    ],
)
def test_a_partner_with_other_counts_is_named(federation: Federation, other: dict[str, object], said: str):
    """Another number of places is another vector, and `ready` names the counts: nothing is sealed."""
    until_ready(federation, **other)
    with pytest.raises(Diverged, match=said) as caught:
        until_waiting(federation, [AGGREGATOR])
    assert ("catalogue.json" in "".join(caught.value.__notes__)) == ("preparation" in said)
    assert not federation.posted(MessageName("roster", 1, 1, AGGREGATOR)).exists()


def test_counts_of_other_partners_are_refused_at_home(federation: Federation):
    """They are not what was counted under this plan: P03 stops before it posts `ready`."""
    with pytest.raises(ConfigError, match=r"\bP09\b"):
        until_ready(federation, min_partners=3, partners=[*ALL[:3], "P09"])
    assert not federation.posted(MessageName("ready", 1, 1, "P03")).exists()


def test_partners_with_other_counts_open_nothing(federation: Federation, monkeypatch: pytest.MonkeyPatch):
    """An aggregator that calls them all the same: no pair key of P03 is confirmed, nobody seals; verify sees why."""
    until_ready(federation, **OTHER_ROW)
    monkeypatch.setattr(AggregatorRun, "_check_alike", lambda *_: None)
    until_waiting(federation, [AGGREGATOR])
    assert federation.posted(MessageName("roster", 1, 1, AGGREGATOR)).exists()
    for name, other in (("P01", "P03"), ("P03", "P01")):
        with pytest.raises(WrongKey, match=rf"{other} and {name} hold different pair keys"):
            drive(federation, name)
        assert not federation.payload(MessageName("update", 1, 1, name)).exists()
    refusal(federation, Equivocation, "counted holders")


def test_an_exchange_of_an_earlier_version_is_explained(federation: Federation, monkeypatch: pytest.MonkeyPatch):
    """There every row had a place, and none more: another first trunk, which `hocket verify` recognises."""
    monkeypatch.setattr(HolderCounts, "n_places", len(HOLDERS))
    until_sealed(federation)
    monkeypatch.undo()
    plan = read_plan(federation.plan_file)
    with pytest.raises(Equivocation, match="starts from trunk") as caught:
        run_audit(federation)
    assert "earlier version" in "".join(caught.value.__notes__)
    assert plan.first_layout(str(body_of(federation, MessageName("ready", 1, 1, "P01"))["trunk"])) is None


@pytest.mark.parametrize("head", ["hidden = [8]", 'non_linearity = "tanh"'])
def test_heads_that_others_cannot_share_are_refused(ready: Federation, tmp_path: Path, head: str):
    """Extra head layers or another function are refused when the configuration is opened."""
    federation = ready.moved(tmp_path / "f")
    file = federation.config("P02")
    file.write_text(f"{file.read_text()}[training.classification]\n{head}\n")
    with pytest.raises(ConfigError, match=r"since .*catalogue"):
        open_partner_mailbox(PartnerConfig.read(file))
