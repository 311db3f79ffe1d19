"""A whole small federation: exact sums, equal trunks, voids, late and missing members."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partners.files.round_checkpoint
import pipeline.protocol.partner_rounds
import pipeline.protocol.round_seal
from pipeline.errors import Diverged, NotYet
from pipeline.home.round_metrics import read_records
from pipeline.protocol.round_seal import RoundSeal
from pipeline.report.report import read_report
from secure.messages.message_name import MessageName
from secure.sealing.fixed_point import make_grid, quantise
from secure.sealing.open_sum import CheckedSum, OpenedSum
from tests.support.federation import AGGREGATOR, Federation, age, run_all, run_rounds, step, until_waiting


class Witness:
    """Records what partners seal and open, by wrapping the real functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: dict[tuple[int, int], dict[str, tuple[np.ndarray, int]]] = {}
        self.opened: dict[tuple[int, int], list[OpenedSum]] = {}
        self._seal, witnessed = pipeline.protocol.round_seal.seal_update, RoundSeal.open

        def watched(seal: RoundSeal, checked: CheckedSum, seeds: Any, bounds: Any) -> OpenedSum:  # noqa: ANN401 -- handed on
            return self.open(checked, witnessed(seal, checked, seeds, bounds))

        monkeypatch.setattr(pipeline.protocol.round_seal, "seal_update", self.seal)
        monkeypatch.setattr(RoundSeal, "open", watched)

    def seal(self, change: np.ndarray, **given: Any) -> object:  # noqa: ANN401 -- handed on as it is
        """Compute the fixed-point vector independently, with the same random numbers, and seal."""
        grid = make_grid(given["slices"], given["bounds"], given["parameters"])
        parameters = given["parameters"]
        scale = 1.0 if parameters.max_weight == 1 else given["weight"] / parameters.max_weight
        target = change * np.float32(scale)
        if given["residual"] is not None:
            target = target + given["residual"]
        twin = np.random.Generator(type(given["rng"].bit_generator)(0))
        twin.bit_generator.state = given["rng"].bit_generator.state
        integers, _, _ = quantise(target, 0, grid, twin)
        at = (given["roster"].round_no, given["roster"].attempt)
        weight = 1 if parameters.max_weight == 1 else given["weight"]
        self.sent.setdefault(at, {})[given["me"]] = (integers.astype(np.int64), weight)
        return self._seal(change, **given)

    def open(self, checked: CheckedSum, found: OpenedSum) -> OpenedSum:
        """Record what was opened."""
        self.opened.setdefault((checked.roster.round_no, checked.roster.attempt), []).append(found)
        return found


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param("", marks=pytest.mark.slow),
        '[seal]\nbits = 8\nweights = "size"\nmax_weight = 1000',
        pytest.param('[seal]\nbits = 12\n[server]\nmethod = "adam"', marks=pytest.mark.slow),
    ],
)
def test_every_opened_sum_is_the_exact_integer_sum(extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every round each partner opens the sum that plain numpy gives of all updates, and gets the same trunk."""
    witness = Witness(monkeypatch)
    federation = Federation(tmp_path / "f", n_partners=4, n_rounds=3, extra=extra)
    run_rounds(federation)
    assert sorted(witness.opened) == [(1, 1), (2, 1), (3, 1)]
    for at, opened in witness.opened.items():
        assert sorted(witness.sent[at]) == federation.partners
        total = sum(integers for integers, _ in witness.sent[at].values())
        assert len(opened) == len(federation.partners)
        for found in opened:
            np.testing.assert_array_equal(found.total, total)
            assert found.weight_total == sum(weight for _, weight in witness.sent[at].values())
        assert len(federation.trunks(at[0])) == 1


def test_rounds_are_validated_at_the_interval_and_at_the_end(tmp_path: Path) -> None:
    """Each partner by its own setting, and never by the clock: the report must repeat bit for bit."""
    federation = Federation(tmp_path / "f", n_rounds=3)
    for name, every in (("P01", 1), ("P02", 2), ("P03", 50)):
        with federation.config(name).open("a") as config:
            config.write(f"[tracking]\nvalidate_every = {every}\n")
    run_rounds(federation)
    for name, expected in (("P01", [1, 2, 3]), ("P02", [2, 3]), ("P03", [3])):
        records = read_records(federation.home(name).metrics)
        assert [r.step for r in records if r.step > 0 and "validation_loss" in r.metrics] == expected


def test_a_restart_after_every_single_step_changes_nothing(finished: Federation, tmp_path: Path) -> None:
    """Members opened again before each step end with the trunk of an undisturbed run."""
    restless = Federation(tmp_path / "f")
    open_one = dict.fromkeys(restless.partners, restless.partner)
    done: set[str] = set()
    while len(done) < len(open_one) + 1:
        for name in [*restless.partners, AGGREGATOR]:
            machine = restless.aggregator() if name == AGGREGATOR else restless.partner(name)
            while (state := step(machine)) == "on" and not _made_a_file(restless, name):
                pass
            if state == "done":
                done.add(name)
    assert restless.trunks(2) == finished.trunks(2)
    for name in finished.partners:
        before, after = read_report(finished.home(name)), read_report(restless.home(name))
        assert (before.local, before.federated, before.tasks) == (after.local, after.federated, after.tasks)


def _made_a_file(federation: Federation, name: str) -> bool:
    """Whether the member's home changed since the last look: then it is restarted."""
    seen: dict[str, int] = federation.__dict__.setdefault("seen", {})
    count = sum(1 for _ in federation.home(name).folder.rglob("*"))
    changed = seen.get(name) != count
    seen[name] = count
    return changed


@pytest.mark.slow
def test_a_partner_that_vanishes_after_the_roster_makes_the_attempt_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the deadline the attempt is void; the next roster leaves the partner out; it catches up when it is back."""
    witness = Witness(monkeypatch)
    federation = Federation(tmp_path / "f", n_partners=4, deadline_s=3600.0)
    others = [name for name in federation.partners if name != "P03"]
    until_waiting(federation, federation.partners)  # all enrolled and ready for round 1
    step(federation.aggregator())  # the roster lists all four; P03 is gone from here on
    until_waiting(federation, [*others, AGGREGATOR])
    age(federation, MessageName("roster", 1, 1, AGGREGATOR), 3601)
    until_waiting(federation, [*others, AGGREGATOR])
    void = json.loads((federation.exchange / MessageName("void", 1, 1, AGGREGATOR).manifest).read_text())
    assert void["body"]["missing"] == ["P03"]
    for round_no, attempt in ((1, 2), (2, 1)):
        for name in others:
            age(federation, MessageName("ready", round_no, attempt, name), 3601)
        until_waiting(federation, [*others, AGGREGATOR])
    for name in others:  # the same integers are sealed again: no fresh chance, neither of training nor of rounding
        np.testing.assert_array_equal(witness.sent[1, 1][name][0], witness.sent[1, 2][name][0])
    assert len(federation.trunks(2)) == 1
    returned = federation.partner("P03")
    while step(returned) == "on":
        pass
    assert len(federation.trunks(2)) == 1
    assert federation.home("P03").rounds_started() == [3]


def test_a_roster_never_falls_below_the_plans_minimum(tmp_path: Path) -> None:
    """With two of three partners ready the aggregator waits, however long ago the deadline was."""
    federation = Federation(tmp_path / "f")
    until_waiting(federation, federation.partners)
    (federation.exchange / MessageName("ready", 1, 1, "P02").manifest).unlink()
    aggregator = federation.aggregator()
    with pytest.raises(NotYet, match="P02"):
        aggregator.advance()
    for name in ("P01", "P03"):
        age(federation, MessageName("ready", 1, 1, name), 1e6)
    with pytest.raises(NotYet, match="P02"):
        aggregator.advance()


def test_a_diverged_partner_is_named_and_the_round_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partner whose trunk differs is an error, not an average."""
    federation = Federation(tmp_path / "f")
    honest = partners.files.round_checkpoint.trunk_digest
    diverged = federation.partner("P02")
    while step(diverged) == "on":
        pass
    until_waiting(federation, ["P01", "P03"])
    with monkeypatch.context() as patch:
        patch.setattr(partners.files.round_checkpoint, "trunk_digest", lambda trunk: honest(trunk * np.float32(1.5)))
        while step(diverged) == "on":
            pass
    until_waiting(federation, ["P01", "P03"])
    with pytest.raises(Diverged, match=r"trunk digest .*\bP02\b"):
        federation.aggregator().advance()


def test_homes_hold_no_more_than_they_need(finished: Federation) -> None:
    """After the end: no decryption key at the aggregator, no payload copies; a partner keeps what it needs."""
    aggregator = finished.home(AGGREGATOR).folder
    kept = {str(path.relative_to(aggregator)) for path in aggregator.rglob("*") if path.is_file()}
    assert not [name for name in kept if name.endswith((".secret", ".seeds", ".safetensors", ".arrow", ".envelopes"))]
    for name in finished.partners:
        home = finished.home(name).folder
        assert [path.name for path in home.rglob("*.arrow")] == []
        assert sorted(str(path.relative_to(home)) for path in home.rglob("*.safetensors")) == [
            "audit/trunks/trunk-0002.safetensors",  # of [audit] history_gb: all that the audit can look back at
            "audit/trunks/trunk-0003.safetensors",
            "baseline/assay_models.safetensors",
            "baseline/local.safetensors",
            "model/compounds.safetensors",
            "model/federated.safetensors",
            "model/local.safetensors",
            "rounds/round-0003/start.safetensors",
        ]
        for secret in ("keys/private.key", "group.secret", "pair.seeds"):
            assert (home / secret).stat().st_mode & 0o077 == 0


def test_a_manifest_without_its_payload_does_not_hold_up_the_deadline(tmp_path: Path) -> None:
    """A partner whose payload never appears is missing like one that posted nothing: the attempt becomes void."""
    federation = Federation(tmp_path / "f")
    until_waiting(federation, federation.partners)
    step(federation.aggregator())
    until_waiting(federation, federation.partners)
    (federation.exchange / MessageName("update", 1, 1, "P02").payload).unlink()
    age(federation, MessageName("roster", 1, 1, AGGREGATOR), 3601)
    step(federation.aggregator())
    void = json.loads((federation.exchange / MessageName("void", 1, 1, AGGREGATOR).manifest).read_text())
    assert void["body"]["missing"] == ["P02"]


def test_a_kill_between_commit_and_tidying_leaves_no_update_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start removes files that a killed process should have removed after a round."""
    federation = Federation(tmp_path / "f")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.protocol.partner_rounds.PartnerRounds, "_tidy", lambda _self: None)
        run_all(federation.members())
    home = federation.home("P01").folder
    assert list(home.rglob("trained.safetensors"))
    (home / "report" / "report.json").unlink()
    partner = federation.partner("P01")
    while step(partner) == "on":
        pass
    assert not list(home.rglob("trained.safetensors")) + list(home.rglob("*.arrow"))
