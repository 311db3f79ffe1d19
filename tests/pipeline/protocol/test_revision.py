"""A revision of the plan: other keys and another group secret from a round on, the same model, folds and bits."""

import base64
import json
import re
import shutil
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.protocol.round_seal
from partners.errors import CheckpointDamaged
from partners.files.checkpoint import Checkpoint, save_checkpoint
from partners.files.round_checkpoint import RoundStart
from pipeline.audit.verify import audit
from pipeline.errors import ConfigError, Diverged, Equivocation, ExitCode, OutOfStep
from pipeline.exchange.storage import Exchange
from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.home.round_state import stored_start
from pipeline.plan.plan import Plan, read_plan
from pipeline.report.report import read_report
from pipeline.setup.keys import deal, new_keys
from secure.ciphertexts.parameters import seal_parameters
from secure.encoding.roster import Roster
from secure.errors import TagMismatch, WrongKey, WrongPlan
from secure.keys.group import GroupSecret
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import manifest_digest, parse_manifest
from secure.sealing.open_sum import open_sum
from secure.sealing.release import ReleaseSeed
from tests.support.federation import AGGREGATOR, Federation, run_all, run_rounds, run_to, step

ALL = ("P01", "P02", "P03")
FIRST_ROUND = 3  # under the revision


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation of four rounds after its second. For reading only."""
    federation = Federation(tmp_path_factory.mktemp("half") / "f", n_rounds=4)
    run_to(federation, FIRST_ROUND)
    return federation


@pytest.fixture
def federation(half: Federation, tmp_path: Path) -> Federation:
    """A copy of it that a test may change."""
    return half.moved(tmp_path / "f")


@pytest.fixture(scope="module")
def revised(half: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """P02 lost its keys after round 2; under the revision all did rounds 3 and 4. For reading only."""
    federation = half.moved(tmp_path_factory.mktemp("revised") / "f")
    federation.renew_keys("P02")
    federation.revise(FIRST_ROUND)
    deal(federation.plan_file, federation.home("P01").folder, None)
    run_all(federation.members())
    return federation


def under_first_plan(federation: Federation) -> Plan:
    """The plan before the revision."""
    return read_plan(federation.folder / "plan.toml")


def group_of(federation: Federation, name: str, plan: Plan) -> GroupSecret:
    """The group secret that a partner holds for a plan."""
    home = Home(federation.home(name).folder, plan.folder)
    return GroupSecret.load(home.group_secret, seal_parameters(plan.seal), load_private_keys(home.keys))


def wait(federation: Federation, *names: str) -> None:
    """Let these members, by default the partners, advance until they wait for others."""
    for name in names or ALL:
        member = federation.aggregator() if name == AGGREGATOR else federation.partner(name)
        while step(member) == "on":
            pass


# ------------------------------------------------------------------------------------------------------- going on


def test_a_federation_goes_on_with_new_keys_and_another_group_secret(revised: Federation) -> None:
    """With new keys of one partner and a new group secret all trunks stay equal, and each partner gets a report."""
    for round_no in (1, 2, 3, 4):
        assert len(revised.trunks(round_no)) == 1
    plan = read_plan(revised.plan_file)
    for name in ALL:
        assert read_report(revised.home(name)).plan == plan.digest
    assert plan.cards["P02"].fingerprint != under_first_plan(revised).cards["P02"].fingerprint


def test_each_plan_has_its_own_transcript(revised: Federation) -> None:
    """Each plan verifies its own messages; those of the other plan are ignored."""
    exchange = Exchange(f"file://{revised.exchange}")
    for plan, rounds in ((under_first_plan(revised), [1, 2]), (read_plan(revised.plan_file), [3, 4])):
        found = audit(plan, exchange, now=time.time()).attempts
        assert [(at.round_no, at.attempt, at.roster, at.outcome) for at in found] == [
            (round_no, 1, ALL, "sum") for round_no in rounds
        ]


def test_the_audit_trail_of_a_revision_says_what_it_continues(revised: Federation) -> None:
    """It shows the plan, its first round and how many rounds are done."""
    shown = revised.hocket("verify", str(revised.plan_file), str(revised.exchange)).stdout.splitlines()
    assert re.match(rf"revision 2 .*round 3.* {under_first_plan(revised).digest}$", shown[1])
    assert re.match(r"2 of 2 rounds .*round 3", shown[-1])


def test_a_rotated_secret_is_new_but_for_the_structure_seed(revised: Federation) -> None:
    """BFV key and tag seed change; folds, fingerprint bits and prepared matrices stay."""
    before = group_of(revised, "P01", under_first_plan(revised))
    after = group_of(revised, "P03", read_plan(revised.plan_file))
    assert before.bfv_key != after.bfv_key
    assert before.tag_seed != after.tag_seed
    assert before.structure_seed == after.structure_seed


def test_prepared_data_is_used_again(half: Federation, revised: Federation) -> None:
    """No file of the prepared matrices was written again."""
    for name in ALL:
        before, after = (
            {path.relative_to(at): path.stat().st_mtime_ns for path in at.rglob("*") if path.is_file()}
            for at in (half.home(name).prepared, revised.home(name).prepared)
        )
        assert before == after


def seeds_of(folder: Path, round_no: int, roster: Roster) -> list[ReleaseSeed]:
    """The seeds that all members released."""
    texts = {
        name: json.loads((folder / MessageName("release", round_no, 1, name).manifest).read_bytes())["body"]["seed"]
        for name in roster.members
    }
    return [ReleaseSeed(base64.b64decode(text), roster, name) for name, text in texts.items()]


def test_neither_secret_opens_the_sums_of_the_other_plan(revised: Federation) -> None:
    """The old secret cannot open later sums, the new one no earlier sums; each opens its own."""
    plans = {2: under_first_plan(revised), 3: read_plan(revised.plan_file)}
    for round_no, plan in plans.items():
        folder = revised.exchange / plan.folder
        data = (folder / MessageName("roster", round_no, 1, AGGREGATOR).manifest).read_bytes()
        bounds = stored_start(plan, revised.home("P01"), 1).first.bounds
        for holder in plans.values():
            given: dict[str, Any] = {
                "roster": parse_manifest(data, "roster").as_roster(manifest_digest(data)),
                "group": group_of(revised, "P01", holder),
                "parameters": seal_parameters(plan.seal),
                "slices": [tensor.place for tensor in plan.layout.tensors],
                "bounds": bounds,
            }
            given["seeds"] = seeds_of(folder, round_no, given["roster"])
            sum_file = folder / MessageName("sum", round_no, 1, AGGREGATOR).payload
            if holder is plan:
                assert open_sum(sum_file, **given).n_members == len(ALL)
            else:
                with pytest.raises(TagMismatch):
                    open_sum(sum_file, **given)


def test_nothing_sealed_under_the_plan_before_is_sealed_again(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all sealed for round 3, a revision from round 3 on makes each train again and seal another update."""
    sealed: list[tuple[str, np.ndarray]] = []
    real = pipeline.protocol.round_seal.seal_update

    def watched(change: np.ndarray, **given: Any) -> object:  # noqa: ANN401 -- handed on as it is
        sealed.append((given["me"], change.copy()))
        return real(change, **given)

    monkeypatch.setattr(pipeline.protocol.round_seal, "seal_update", watched)
    wait(federation, *ALL, AGGREGATOR, *ALL)
    assert sorted(name for name, _ in sealed) == list(ALL)
    federation.revise(FIRST_ROUND)
    deal(federation.plan_file, federation.home("P01").folder, None)
    federation.members()
    for name in ALL:  # what lay in the outbox for the roster before is gone
        assert not list(federation.home(name).folder.rglob("*.arrow"))
    run_rounds(federation)
    old, new = dict(sealed[:3]), dict(sealed[3:6])
    for name in ALL:
        assert np.mean(old[name] == new[name]) < 0.5  # the rarest bits are in no compound, their weights never change
        assert not np.array_equal(old[name], new[name])
    assert len(federation.trunks(4)) == 1


def test_a_partner_leaves_and_another_is_custodian_with_a_new_aggregator(tmp_path: Path) -> None:
    """Without the custodian P01, and with an aggregator that lost its home, the others go on.

    P01 is not among the receivers of anything new.
    """
    federation = Federation(tmp_path / "f", n_partners=4)
    run_to(federation, 2)
    structure_seed = group_of(federation, "P01", read_plan(federation.plan_file)).structure_seed
    leaver = federation.home("P01").folder
    federation.partners.remove("P01")
    lost = federation.home(AGGREGATOR).folder
    shutil.rmtree(lost)
    new_keys(AGGREGATOR, "aggregator", lost, None)
    federation.revise(2, n_rounds=2, custodian="P03")
    said = deal(federation.plan_file, federation.home("P03").folder, None)
    assert "P02, P03, P04" in said
    run_rounds(federation)
    assert len(federation.trunks(2)) == 1
    plan = read_plan(federation.plan_file)
    assert group_of(federation, "P02", plan).structure_seed == structure_seed
    assert not (leaver / plan.folder).exists()
    for payload in (federation.exchange / plan.folder / "enrol").glob("*.envelopes"):
        assert "P01" not in json.loads(payload.read_bytes())["envelopes"]


def test_a_revision_of_a_revision(revised: Federation, federation: Federation) -> None:
    """The next revision continues the one before, with its number and its round."""
    federation.revise(FIRST_ROUND)
    deal(federation.plan_file, federation.home("P01").folder, None)
    run_to(federation, 4)
    federation.revise(4, revision=3)
    deal(federation.plan_file, federation.home("P01").folder, None)
    run_rounds(federation)
    assert federation.trunks(3) == revised.trunks(3)  # the same chance as in any second revision
    assert len(federation.trunks(4)) == 1
    assert federation.trunks(4) != revised.trunks(4)


# ----------------------------------------------------------------------------------------------------- out of step


def one_behind(federation: Federation, round_no: int) -> None:
    """Let all seal for a round, the aggregator add and all release, but P03 not open the sum."""
    wait(federation, *ALL, AGGREGATOR, *ALL, AGGREGATOR, "P03", "P01", "P02", "P01")
    assert [max(federation.home(name).rounds_started()) for name in ALL] == [round_no + 1, round_no + 1, round_no]


def test_a_home_behind_opens_the_missing_sum_under_the_plan_before(federation: Federation) -> None:
    """The error names the missing round; the partner opens it under the old plan, then takes up the revision."""
    one_behind(federation, 3)
    first = federation.plan_file
    federation.revise(4)
    deal(federation.plan_file, federation.home("P01").folder, None)
    revision = federation.plan_file
    with pytest.raises(OutOfStep, match=r"round 3.* round 4") as caught:
        federation.partner("P03")
    assert "rounds 3 to 3" in caught.value.__notes__[0]
    federation.use_plan(first)
    wait(federation, "P03")
    federation.use_plan(revision)
    run_rounds(federation)
    assert len(federation.trunks(4)) == 1


def test_a_revision_taken_up_too_early_can_be_left_again(federation: Federation) -> None:
    """P03 would hold a round again for which it has released: refused; it opens the sum, and takes up the next one."""
    one_behind(federation, 3)
    first = federation.plan_file
    federation.revise(3)
    deal(federation.plan_file, federation.home("P01").folder, None)
    with pytest.raises(Equivocation, match="released for round 3"):
        federation.partner("P03")
    with pytest.raises(OutOfStep, match="sum of round 3") as caught:
        federation.partner("P01")
    assert "round 4" in caught.value.__notes__[0]
    federation.use_plan(first)
    wait(federation, "P03")
    federation.revise(4, revision=3)
    deal(federation.plan_file, federation.home("P01").folder, None)
    run_rounds(federation)
    assert len(federation.trunks(3)) == len(federation.trunks(4)) == 1


def test_a_plan_changed_after_the_deal_posts_nothing(fresh: Federation) -> None:
    """The custodian's run says what to do, and the exchange stays empty."""
    fresh.plan_file.write_text(fresh.plan_file.read_text().replace("n_rounds = 2", "n_rounds = 3"))
    with pytest.raises(WrongPlan) as caught:
        fresh.partner("P01").advance()
    assert any("deal again" in note for note in caught.value.__notes__)
    assert not list(fresh.exchange.rglob("deal*"))


def test_a_home_without_a_model_cannot_come_in_later(federation: Federation) -> None:
    """A partner whose home is lost, or a new one, has no trunk to go on from."""
    shutil.rmtree(federation.home("P02").folder / "rounds")
    federation.revise(FIRST_ROUND)
    with pytest.raises(OutOfStep, match="round 1"):
        federation.partner("P02")


def test_a_revision_that_continues_another_plan_is_refused(federation: Federation) -> None:
    """The custodian refuses it before the deal, every partner before it takes part."""
    federation.revise(FIRST_ROUND)
    text = federation.plan_file.read_text()
    federation.plan_file.write_text(text.replace(tomllib.loads(text)["continues"]["plan"], "ab" * 32))
    with pytest.raises(WrongPlan, match="abababababab"):
        deal(federation.plan_file, federation.home("P01").folder, None)
    with pytest.raises(WrongPlan, match="abababababab"):
        federation.partner("P02")
    assert not (federation.home("P01").folder / "revision-02").exists()


def test_the_plan_before_is_over_once_a_sum_was_opened_under_the_revision(revised: Federation, tmp_path: Path) -> None:
    """A job with the old plan stops with an error."""
    federation = revised.moved(tmp_path / "f")
    federation.use_plan(federation.folder / "plan.toml")
    with pytest.raises(WrongPlan, match=r"round-0005/start\.safetensors: "):
        federation.partner("P01")


def test_a_home_that_ended_under_another_plan_takes_up_no_revision(federation: Federation) -> None:
    """Only the plan that a revision continues is one that it can go on from."""
    for note in (federation.home("P01").finished, federation.home("P01").tracked):
        write_json(note, {"plan": "ab" * 32})
    federation.revise(FIRST_ROUND)
    done = federation.hocket("partner", "run", str(federation.config("P01")), "--once")
    assert done.returncode == ExitCode.CONFIGURATION
    assert str(federation.home("P01").finished) in done.stderr


# ------------------------------------------------------------------------------------------------ the structure seed


def test_another_structure_seed_is_refused_by_each_partner(federation: Federation) -> None:
    """Folds that change in the middle would put compounds of the test fold into training."""
    federation.home("P01").group_secret.unlink()
    federation.revise(FIRST_ROUND)
    deal(federation.plan_file, federation.home("P01").folder, None, structure_seed=b"s" * 32)
    for name in ALL:
        step(federation.partner(name))  # posts its pairing
    for name in ALL:
        with pytest.raises(Diverged, match=r"round-0003/start\.safetensors: preparation") as caught:
            wait(federation, name)
        assert "structure seed" in caught.value.__notes__[0]


def test_the_custodian_needs_an_earlier_group_secret(federation: Federation) -> None:
    """Without the old secret the folds would change: the error says who has it, and nothing is dealt."""
    federation.home("P01").group_secret.unlink()
    federation.revise(FIRST_ROUND)
    with pytest.raises(ConfigError, match="group secret") as caught:
        deal(federation.plan_file, federation.home("P01").folder, None)
    assert "--structure-seed-file" in caught.value.__notes__[0]
    assert not list(federation.home("P01").folder.rglob("group.secret"))


def test_a_custodian_with_new_keys_cannot_deal(federation: Federation) -> None:
    """The structure seed is encrypted with the lost keys, but another partner has it too."""
    federation.renew_keys("P01")
    federation.revise(FIRST_ROUND)
    with pytest.raises(WrongKey, match=r"group\.secret"):
        deal(federation.plan_file, federation.home("P01").folder, None)


def test_a_start_that_does_not_say_its_plan_is_damaged(tmp_path: Path, half: Federation) -> None:
    """The state has the plan under which its sum was opened; a state without one is refused."""
    plan = read_plan(half.plan_file)
    stored = stored_start(plan, half.home("P01"), FIRST_ROUND)
    start = RoundStart.read(stored.path, plan.layout)
    assert start.under == stored.under
    assert start.under.plan == plan.digest
    file = tmp_path / "start.safetensors"
    save_checkpoint(file, Checkpoint(start.vector, facts={"bounds": start.bounds.tolist(), "under": None}))
    for read in (lambda: replace(stored, path=file).under, lambda: RoundStart.read(file, plan.layout)):
        with pytest.raises(CheckpointDamaged, match=r"start\.safetensors.* plan"):
            read()
