"""When two plans have one digest."""

import pickle
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.settings import TrunkSettings
from pipeline.plan.plan import Plan, read_plan
from pipeline.plan.toml_schema import check_table
from tests.support.federation import Federation
from tests.support.plan.plan_tables import CONTINUES, Table, changed, leaves, refusal, reversed_toml

QUICK = settings(max_examples=60, deadline=None)
COUNT = st.integers(0, 10**9)
SHARE = st.floats(0, 0.999)
POSITIVE = st.floats(1e-6, 1e6)
HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
VALID: dict[str, st.SearchStrategy[Any]] = {
    "federation.name": st.text("abc XYZ.-_", min_size=1, max_size=64),
    "federation.id": HEX,
    "federation.custodian": st.sampled_from(["P01", "P02", "P03"]),
    "federation.seed": st.integers(0, 2**63 - 1),
    "rounds.n_rounds": st.integers(1, 9999),
    "rounds.local_steps": st.integers(1, 10**6),
    "rounds.ready_deadline_s": POSITIVE,
    "rounds.update_deadline_s": POSITIVE,
    "rounds.max_attempts": st.integers(1, 99),
    "preparation.chemistry.tautomers": st.sampled_from(["canonical", "keep"]),
    "preparation.chemistry.include_stereo": st.booleans(),
    "preparation.chemistry.max_heavy_atoms": st.integers(1, 1000),
    "preparation.chemistry.max_tautomers": st.integers(1, 100_000),
    "preparation.chemistry.max_transforms": st.integers(1, 100_000),
    "preparation.chemistry.max_rings": st.integers(3, 100),
    "preparation.fingerprint.radius": st.integers(0, 10),
    "preparation.fingerprint.n_bits": st.integers(16, 10**6),
    "preparation.fingerprint.chirality": st.booleans(),
    "preparation.fingerprint.features": st.booleans(),
    "preparation.fingerprint.counts": st.booleans(),
    "preparation.folds.method": st.sampled_from(["scaffold", "random"]),
    "preparation.folds.scaffold_balanced": st.booleans(),
    "preparation.folds.lsh_bits": st.lists(st.integers(0, 511), min_size=1, max_size=32, unique=True),
    "preparation.folds.n_folds": st.integers(3, 100),
    "preparation.folds.test": st.sampled_from([0, 2, 3, 4]),
    "preparation.folds.validation": st.sampled_from([1, 2, 3, 4]),
    "preparation.activities.credible_min": st.floats(-5, 9),
    "preparation.activities.credible_max": st.floats(4, 15),
    "preparation.activities.credible_hts_min": st.floats(-50, 9),
    "preparation.activities.credible_hts_max": st.floats(-9, 50),
    "preparation.activities.credible_adme_min": st.floats(-50, 50),
    "preparation.activities.credible_adme_max": st.floats(-50, 50),
    "preparation.activities.decimals": st.integers(0, 15),
    "preparation.activities.near_constant_std": st.floats(1e-15, 1),
    "preparation.activities.adaptive_thresholds": st.lists(st.floats(3, 10), min_size=1, max_size=8),
    "preparation.activities.adaptive_active_share": st.floats(0.01, 0.99),
    "preparation.activities.adaptive_min_active": COUNT,
    "preparation.activities.adaptive_min_inactive": COUNT,
    "preparation.activities.auxiliary_offset": st.floats(0.01, 5),
    "preparation.activities.auxiliary_until_experts": st.integers(0, 5),
    "preparation.activities.hts_threshold": st.floats(0.1, 10),
    "preparation.activities.training_min_active": COUNT,
    "preparation.activities.training_min_inactive": COUNT,
    "preparation.activities.aux_training_min_active": COUNT,
    "preparation.activities.aux_training_min_inactive": COUNT,
    "preparation.activities.evaluation_min_active": COUNT,
    "preparation.activities.evaluation_min_inactive": COUNT,
    "preparation.activities.aux_training_weight": st.floats(0.01, 1),
    "preparation.activities.catalogue_min_labels": COUNT,
    "preparation.activities.catalogue_min_fold_active": COUNT,
    "preparation.activities.catalogue_min_fold_inactive": COUNT,
    "preparation.activities.auxiliary_tasks": st.booleans(),
    "preparation.regression.training_min_values": COUNT,
    "preparation.regression.training_min_exact": COUNT,
    "preparation.regression.evaluation_min_exact": COUNT,
    "preparation.regression.evaluation_min_std": st.floats(0, 5),
    "preparation.regression.aux_training_weight": st.floats(0.01, 1),
    "preparation.regression.censored_share": SHARE,
    "trunk.hidden": st.lists(st.integers(1, 4000), min_size=1, max_size=4),
    "trunk.dropout": SHARE,
    "trunk.non_linearity": st.sampled_from(["relu", "tanh"]),
    "trunk.input_transform": st.sampled_from(["none", "binarize", "log1p", "tanh"]),
    "server.method": st.sampled_from(["mean", "momentum", "adam"]),
    "server.learning_rate": POSITIVE,
    "server.momentum": SHARE,
    "server.beta1": SHARE,
    "server.beta2": SHARE,
    "server.epsilon": POSITIVE,
    "seal.bits": st.sampled_from([16, 12, 8]),
    "seal.max_partners": st.integers(3, 128),
    "seal.first_bound": st.floats(1e-6, 1e6),
    "seal.bound_factor": st.floats(1, 1000),
    "seal.bound_shrink": st.floats(0.01, 1),
    "seal.min_bound": st.floats(1e-20, 1e-3),
    "seal.weights": st.sampled_from(["equal", "size"]),
    "seal.max_weight": st.integers(1, 2**32),
}
ONE_VALUE = {"format", "rounds.min_partners"}  # three partners allow one minimum
PAIR = {"trunk.start", "trunk.start_digest"}  # both or none, see below


def test_every_setting_has_a_strategy(enrolled: Federation):
    """A setting added to the plan must be added to VALID, or the test below would not see it."""
    dumped = read_plan(enrolled.plan_file).model_dump(mode="json")
    assert set(leaves(dumped)) == set(VALID) | ONE_VALUE | PAIR


@QUICK
@given(st.data())
def test_the_digest_changes_with_any_setting(enrolled: Federation, data: st.DataObject):
    """Two valid plans that differ in any one setting have different digests, and equal ones the same."""
    plan = read_plan(enrolled.plan_file)
    key = data.draw(st.sampled_from(sorted(VALID)))
    value = data.draw(VALID[key])
    other = check_table(changed(tomllib.loads(enrolled.plan_file.read_text()), key, value), Plan, "plan")
    before, after = leaves(plan.model_dump(mode="json"))[key], leaves(other.model_dump(mode="json"))[key]
    assert (plan.digest == other.digest) == (before == after)


def test_every_setting_enters_the_digest(enrolled: Federation, table: Table):
    """The same for each setting once, so that none is left to chance."""
    plan = read_plan(enrolled.plan_file)
    found = leaves(plan.model_dump(mode="json"))
    choices = {
        "tautomers": "canonical",
        "folds.method": "random",
        "server.method": "adam",
        "weights": "equal",
        "bits": 12,
        "custodian": "P02",
        "non_linearity": "tanh",
        "input_transform": "log1p",
    }
    digests = {plan.digest}
    for key in VALID:
        name, value = key.rsplit(".", 1)[-1], found[key]
        name = name if name != "method" else ".".join(key.split(".")[-2:])
        if name in choices:
            other: object = choices[name]
        elif isinstance(value, bool):
            other = not value
        elif isinstance(value, str):
            other = value[::-1].replace("b", "c")
        elif isinstance(value, list):
            other = [*value, 5]
        else:
            other = 2 if name == "test" else (value or 0) + (0.001 if isinstance(value, float | None) else 1)
        digests.add(check_table(changed(table, key, other), Plan, "plan").digest)
    assert len(digests) == len(VALID) + 1


def test_what_a_revision_continues_enters_the_digest(table: Table):
    """Two revisions that continue another plan, or from another round on, share no mask, tag or key."""
    tables = [CONTINUES | {key: value} for key, value in (("plan", "cd" * 32), ("revision", 3), ("round", 1))]
    plans = [check_table(table | {"continues": part}, Plan, "plan") for part in (CONTINUES, *tables)]
    assert len({plan.digest for plan in (*plans, check_table(table, Plan, "plan"))}) == 5
    assert [plan.folder for plan in plans] == ["revision-02", "revision-02", "revision-03", "revision-02"]
    assert [plan.first_round for plan in plans] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("key", "value"),
    [("plan", "ab" * 31), ("plan", "AB" * 32), ("revision", 1), ("revision", 100), ("round", 0), ("more", 1)],
)
def test_a_table_that_continues_nothing_is_refused(table: Table, key: str, value: object):
    """It is named with its key."""
    assert f"continues.{key}: " in refusal(table | {"continues": CONTINUES | {key: value}})


def test_a_revision_needs_a_round_to_do(table: Table):
    """One that begins after the last round is a mistake."""
    message = refusal(table | {"continues": CONTINUES | {"round": 3}})
    assert re.search(r"continues\.round is 3\b.*\brounds\.n_rounds is 2\b", message)


def test_cards_enter_the_digest(enrolled: Federation, table: Table, tmp_path: Path):
    """A member with other keys makes another plan."""
    twin = Federation(tmp_path / "twin")
    cards = [*table["card"][:-1], tomllib.loads(twin.plan_file.read_text())["card"][-1]]
    assert check_table(table | {"card": cards}, Plan, "plan").digest != read_plan(enrolled.plan_file).digest


@pytest.mark.parametrize("deep", [False, True])
def test_a_changed_copy_has_its_own_digest(enrolled: Federation, table: Table, *, deep: bool):
    """Digest, cards and layout are computed once for a plan, and never taken over by a copy with other values."""
    plan = read_plan(enrolled.plan_file)
    before = plan.digest, plan.cards, plan.layout
    federation = plan.federation.model_copy(update={"seed": 99})
    update = {"federation": federation, "trunk": TrunkSettings(hidden=(8,)), "card": plan.card[1:]}
    other = plan.model_copy(update=update, deep=deep)
    changed_table = table | {"federation": table["federation"] | {"seed": 99}, "trunk": {"hidden": [8]}}
    fresh = check_table(changed_table, Plan, "plan").model_copy(update={"card": plan.card[1:]})
    assert (other, other.digest, other.layout) == (fresh, fresh.digest, fresh.layout)
    assert other.cards.keys() == plan.cards.keys() - {plan.card[0].name}
    assert other.digest != plan.digest
    assert (plan.digest, plan.cards, plan.layout) == before


def test_what_was_looked_at_changes_no_plan(enrolled: Federation):
    """Two plans are equal, hash alike and are written alike, whether or not their digest was asked for."""
    plan, other = read_plan(enrolled.plan_file), read_plan(enrolled.plan_file)
    assert plan.digest is plan.digest
    assert plan.layout is plan.layout
    assert (plan, hash(plan), repr(plan)) == (other, hash(other), repr(other))
    assert plan.model_dump() == other.model_dump()
    assert pickle.loads(pickle.dumps(plan)).digest == other.digest  # noqa: S301 -- our own bytes


def test_the_digest_ignores_order_comments_and_written_out_defaults(enrolled: Federation, table: Table, tmp_path: Path):
    """The digest does not depend on the order of keys and tables."""
    plan = read_plan(enrolled.plan_file)
    shuffled, full = tmp_path / "shuffled.toml", tmp_path / "full.toml"
    shuffled.write_text(reversed_toml(table))
    written_out = _without_none(plan.model_dump(mode="json"))
    full.write_text(reversed_toml(written_out))
    assert read_plan(shuffled).digest == read_plan(full).digest == plan.digest


def _without_none(tree: Table) -> Table:
    """A dumped plan as TOML can hold it."""
    kept = {key: _without_none(value) if isinstance(value, dict) else value for key, value in tree.items()}
    if "card" in kept:
        kept["card"] = [_without_none(card) for card in kept["card"]]
    return {key: value for key, value in kept.items() if value is not None}


def test_whole_numbers_and_fractions_of_one_value_are_one_setting(enrolled: Federation, table: Table):
    """`learning_rate = 2` is `learning_rate = 2.0`."""
    plans = [check_table(changed(table, "server.learning_rate", rate), Plan, "plan") for rate in (2, 2.0)]
    assert {plan.digest for plan in plans} == {read_plan(enrolled.plan_file).digest}


def test_a_first_trunk_enters_the_digest_by_its_own(table: Table):
    """Where the file lies is each member's business; a plan without one has its old digest."""
    starts: tuple[Table, ...] = (
        {},
        *({"start": file, "start_digest": x * 32} for file, x in (("a", "ab"), ("b", "ab"), ("a", "cd"))),
    )
    digests = [check_table(table | {"trunk": table["trunk"] | start}, Plan, "plan").digest for start in starts]
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3
    for wrong in ({"start": "a"}, {"start_digest": "ab" * 32}, {"start": "a", "start_digest": "AB" * 32}):
        assert "start_digest" in refusal(table | {"trunk": table["trunk"] | wrong})


PRIVACY = {"epsilon": 8.0, "delta": 1e-5}


def fitting(table: Table) -> Table:
    """The plan with all that [privacy] needs."""
    return changed(changed(table, "seal.weights", "equal"), "columns.min_partners", 0) | {"catalogue": {}}


def test_what_privacy_says_enters_the_digest(table: Table):
    """A plan without [privacy] has its old digest, and each of its settings changes that of a plan with it."""
    plain = fitting(table)
    digests = [check_table(plain, Plan, "plan").digest]
    more: tuple[Table, ...] = ({}, {"epsilon": 4.0}, {"delta": 1e-6}, {"clip_norm": 2.0}, {"noise_multiplier": 2.0})
    for part in (*more, {"most_noise": 9.0}):
        digests += [check_table(plain | {"privacy": PRIVACY | part}, Plan, "plan").digest]
    assert len(set(digests)) == len(digests)
    assert "privacy" not in check_table(plain, Plan, "plan").model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epsilon", 0.0),
        ("epsilon", 1001.0),
        ("delta", 0.0),
        ("delta", 0.01),
        ("clip_norm", 0.0),
        ("noise_multiplier", 0.0),
    ],
)
def test_impossible_privacy_is_refused(table: Table, key: str, value: float):
    """Epsilon, delta, clip and noise have ranges, and are named."""
    wrong = fitting(table) | {"privacy": PRIVACY | {key: value}}
    assert f"privacy.{key}: " in refusal(wrong)


def test_privacy_needs_equal_weights_and_noise_within_the_most(table: Table):
    """Weights by size would tell numbers of labels; noise above the most is a contradiction."""
    assert "seal.weights" in refusal(changed(table, "seal.weights", "size") | {"privacy": PRIVACY})
    above = PRIVACY | {"noise_multiplier": 3.0, "most_noise": 2.0}
    assert "most_noise 2" in refusal(fitting(table) | {"privacy": above})


def test_privacy_needs_a_plan_that_counts_no_holders(table: Table):
    """Flags of bits and of the catalogue's tasks can follow from a single compound, and have no noise."""
    private = fitting(table) | {"privacy": PRIVACY}
    check_table(private, Plan, "plan")
    assert "columns.min_partners is 2" in refusal(changed(private, "columns.min_partners", 2))
    assert "columns.min_partners is 3" in refusal(private | {"columns": {}})
    assert "[catalogue]" in refusal(changed(private, "catalogue.tasks", [{"id": "C1", "threshold": 6.0}]))
    assert "[catalogue]" in refusal(private | {"catalogue": {"file": "tasks.csv", "sha256": "ab" * 32}})


def test_privacy_needs_a_trunk_that_nobody_trained(table: Table):
    """No ledger has what the trunk of a file tells."""
    private = fitting(table) | {"privacy": PRIVACY}
    start = {"start": "older.safetensors", "start_digest": "ab" * 32}
    assert "trunk.start" in refusal(private | {"trunk": private.get("trunk", {}) | start})
