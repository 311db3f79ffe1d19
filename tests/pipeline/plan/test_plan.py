"""plan.toml: reading, refusals and their messages, and when two plans have one digest."""

import copy
import math
import os
import pickle
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.network.trunk import trunk_digest
from partners.settings import TrunkSettings
from pipeline.audit.describe_file import describe_file
from pipeline.errors import ConfigError, ExitCode
from pipeline.plan.lengths import PossibleLengths
from pipeline.plan.plan import Plan, read_plan
from pipeline.plan.toml_schema import check_table
from secure.ciphertexts import parameters
from secure.ciphertexts.parameters import SealSettings, prove_margin, seal_parameters
from secure.errors import BadCard
from secure.keys.keys import PrivateKeys, card_fields
from tests.support.federation import Federation

Table = dict[str, Any]
QUICK = settings(max_examples=60, deadline=None)
TABLES = (
    "federation",
    "rounds",
    "preparation",
    "preparation.chemistry",
    "preparation.fingerprint",
    "preparation.folds",
    "preparation.activities",
    "preparation.regression",
    "trunk",
    "server",
    "seal",
    "catalogue",
)


@pytest.fixture(scope="module")
def table(enrolled: Federation) -> Table:
    """The small federation's plan as parsed TOML."""
    return tomllib.loads(enrolled.plan_file.read_text())


def changed(table: Table, key: str, value: object) -> Table:
    """A copy of the plan with one key set (dots lead into tables, numbers into arrays)."""
    result = copy.deepcopy(table)
    node: Any = result
    *path, last = key.split(".")
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[last] = value
    return result


def refusal(table: Table) -> str:
    """The message for a plan that must be refused as a configuration."""
    with pytest.raises(ConfigError) as caught:
        check_table(table, Plan, "consortium/plan.toml")
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    message = str(caught.value)
    assert message.startswith("consortium/plan.toml: ")
    return message


def swapped(text: str, old: str, new: str) -> str:
    """Replace exactly one piece of a plan's text."""
    assert text.count(old) == 1
    return text.replace(old, new)


def test_a_valid_plan_reads(enrolled: Federation):
    """Members, roles, trunk and defaults are as the file says."""
    plan = read_plan(enrolled.plan_file)
    assert plan.partner_names == ["P01", "P02", "P03"]
    assert plan.aggregator_name == "agg"
    assert {name: card.role for name, card in plan.cards.items()} == dict.fromkeys(plan.partner_names, "partner") | {
        "agg": "aggregator"
    }
    assert plan.layout.n_params == 512 * 16 + 16
    assert plan.server.learning_rate == 2.0
    assert plan.rounds.ready_deadline_s == 3600.0


def test_the_plan_is_frozen(enrolled: Federation):
    """No code can change a plan."""
    with pytest.raises(ValueError, match="frozen"):
        read_plan(enrolled.plan_file).rounds.n_rounds = 9


# ---------------------------------------------------------------------------------------------------- the digest


APART = {"card", "continues", "catalogue", "columns"}  # each has its own test of what it does to the digest


def leaves(tree: object, prefix: str = "") -> dict[str, object]:
    """Every setting of a plan by its dotted key, without those that are tested apart."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    found: dict[str, object] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}.{key}" if prefix else key) if key not in APART else {}
    return found


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


def test_every_setting_has_a_strategy(enrolled: Federation):
    """A setting added to the plan must be added to VALID, or the test below would not see it."""
    dumped = read_plan(enrolled.plan_file).model_dump(mode="json")
    assert set(leaves(dumped)) == set(VALID) | ONE_VALUE


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


CONTINUES = {"plan": "ab" * 32, "revision": 2, "round": 2}


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


def reversed_toml(table: Table) -> str:
    """The same plan with all keys and tables in the opposite order and a comment at every line."""
    lines: list[str] = []

    def write(name: str, node: Table) -> None:
        scalars = {key: value for key, value in node.items() if not isinstance(value, dict)}
        lines.extend([f"[{name}]  # table", *(f"{k} = {literal(v)}  # why" for k, v in reversed(scalars.items()))])
        for key, value in reversed(node.items()):
            if isinstance(value, dict):
                write(f"{name}.{key}", value)

    lines.append(f"format = {table['format']}")
    for name, node in reversed(table.items()):
        if isinstance(node, dict):
            write(name, node)
    for card in table["card"]:
        lines.extend(["[[card]]", *(f'{key} = "{value}"' for key, value in reversed(card.items()))])
    return "\n".join(lines)


def literal(value: object) -> str:
    """A TOML literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, list | tuple) else repr(value)


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


# ----------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("place", ["", *TABLES, "card.0"])
def test_unknown_keys_are_refused_at_every_level(table: Table, place: str):
    """A typing error never turns into a default."""
    key = f"{place}.n_roudns".lstrip(".")
    message = refusal(changed(table, key, 3))
    assert f"{key}: unknown setting; " in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("format", 2, "should be 1"),
        ("federation.name", 3, "valid string"),
        ("federation.id", "xyz", "match pattern"),
        ("federation.id", "AB" * 16, "match pattern"),
        ("federation.seed", -1, "or equal to 0"),
        ("federation.seed", 1.5, "valid integer"),
        ("rounds.n_rounds", "2", "valid integer"),
        ("rounds.n_rounds", True, "valid integer"),
        ("rounds.n_rounds", 0, "or equal to 1"),
        ("rounds.local_steps", 0, "or equal to 1"),
        ("rounds.update_deadline_s", 0.0, "greater than 0"),
        ("rounds.max_attempts", 0, "or equal to 1"),
        ("preparation.chemistry.include_stereo", 1, "valid boolean"),
        ("preparation.fingerprint.n_bits", 512.0, "valid integer"),
        ("trunk.hidden", 16, "valid array"),
        ("preparation.folds.method", "series", "'scaffold', 'lsh' or 'random'"),
        ("preparation.folds.scaffold_balanced", 1, "valid boolean"),
        ("seal.bits", 10, "16, 12 or 8"),
        ("server.method", "median", "'mean', 'momentum' or 'adam'"),
        ("card.0.role", "custodian", "'partner' or 'aggregator'"),
        ("card.0.signing", 7, "valid string"),
    ],
)
def test_wrong_types_and_values_are_refused(table: Table, key: str, value: object, expected: str):
    """The message has the file, the key, what was found and what was expected."""
    message = refusal(changed(table, key, value))
    assert key in message
    assert expected in message
    assert f"found {value!r}" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preparation.fingerprint.radius", 11),
        ("preparation.folds.validation", 0),
        ("trunk.dropout", 1.0),
        ("server.momentum", 1.0),
        ("seal.max_partners", 129),
        ("seal.first_bound", 0.0),
        ("seal.max_weight", 0),
    ],
)
def test_settings_out_of_range_are_refused(table: Table, key: str, value: object):
    """A settings type's own check names its table, the key, what was found and what was expected."""
    message = refusal(changed(table, key, value))
    section, name = key.rsplit(".", 1)
    assert f"{section}: {name}" in message
    assert str(value) in message
    assert "expected" in message


def test_lsh_bits_of_another_fingerprint_are_refused(table: Table):
    """A plan with 512 bits and the default LSH bits would fold all compounds by nothing; given bits are taken."""
    message = refusal(changed(table, "preparation.folds.method", "lsh"))
    assert all(part in message for part in ("folds: lsh_bits: ", "(26490, ", "fingerprint.n_bits, 512"))
    lsh = changed(changed(table, "preparation.folds.method", "lsh"), "preparation.folds.lsh_bits", [511, 3])
    assert check_table(lsh, Plan, "plan").preparation.folds.lsh_bits == (511, 3)


def floats_of(table: Table) -> list[str]:
    """Keys of all settings that may hold a fraction."""
    found = leaves(check_table(table, Plan, "plan").model_dump(mode="json"))
    return [key for key, value in found.items() if isinstance(value, float | None)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_everywhere(table: Table, value: float):
    """No setting may be a number without a value, for such a plan has no digest."""
    keys = floats_of(table)
    assert len(keys) > 20
    for key in keys:
        assert key.rsplit(".", 1)[-1] in refusal(changed(table, key, value))
    assert "adaptive_thresholds" in refusal(
        changed(table, "preparation.activities.adaptive_thresholds", [7.0, value]),
    )


def test_a_date_is_no_text(tmp_path: Path, enrolled: Federation):
    """TOML's dates are refused where a text is expected, not turned into one."""
    path = tmp_path / "plan.toml"
    path.write_text(swapped(enrolled.plan_file.read_text(), 'name = "small"', "name = 2031-05-01"))
    with pytest.raises(ConfigError, match=r"plan\.toml: .*federation\.name"):
        read_plan(path)


def test_all_problems_are_said_at_once(table: Table):
    """Three errors, one message."""
    wrong = changed(changed(changed(table, "trunk.dropout", 7.0), "rounds.n_rounds", 0), "rond", {})
    message = refusal(wrong)
    assert "3 problem(s)" in message
    assert all(key in message for key in ("trunk", "rounds.n_rounds", "rond"))


@pytest.mark.parametrize("missing", ["format", "federation", "rounds", "card", "federation.id", "rounds.min_partners"])
def test_missing_keys_are_named(table: Table, missing: str):
    """A setting without default must be in the file."""
    wrong = copy.deepcopy(table)
    node: Any = wrong
    *path, last = missing.split(".")
    for part in path:
        node = node[part]
    del node[last]
    assert f"{missing}: Field required" in refusal(wrong)


# ------------------------------------------------------------------------------------------------------- members


def test_a_plan_needs_three_partners(table: Table):
    """Of two, each learns the other's update from the sum."""
    cards = [card for card in table["card"] if card["name"] != "P03"]
    assert "3 partners, found 2" in refusal(table | {"card": cards})


def test_a_plan_has_one_aggregator(table: Table):
    """Neither two nor none."""
    *partners, aggregator = table["card"]
    assert "aggregator card, found 0" in refusal(table | {"card": partners})
    second = aggregator | {"name": "agg2"}
    assert "aggregator card, found 2" in refusal(table | {"card": [*partners, aggregator, second]})


def test_every_member_has_one_card(table: Table):
    """Two cards under one name would make two members of one."""
    cards = [*table["card"], table["card"][0]]
    assert "one card" in refusal(table | {"card": cards})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("rounds.min_partners", 4, "rounds.min_partners is 4"),
        ("rounds.min_partners", 2, "equal to 3"),
        ("federation.custodian", "P04", "federation.custodian 'P04'"),
        ("federation.custodian", "agg", "federation.custodian 'agg'"),
    ],
)
def test_members_must_fit_the_settings(table: Table, key: str, value: object, said: str):
    """The message for an impossible combination names the setting and the members."""
    assert said in refusal(changed(table, key, value))


def test_more_partners_than_the_seal_holds_are_refused(tmp_path: Path):
    """A field of the packed sum has room for seal.max_partners values and no more."""
    four = Federation(tmp_path, n_partners=4)
    table = tomllib.loads(four.plan_file.read_text())
    assert "seal.max_partners is 3, but 4" in refusal(changed(table, "seal.max_partners", 3))


# --------------------------------------------------------------------------------------------------------- cards


def bad_card(table: Table, tmp_path: Path) -> str:
    """The message for a plan whose cards must be refused."""
    path = tmp_path / "plan.toml"
    path.write_text(reversed_toml(table))
    with pytest.raises(BadCard) as caught:
        read_plan(path)
    return str(caught.value)


@pytest.mark.parametrize("key", ["signing", "agreement", "signature"])
def test_a_damaged_card_is_refused(table: Table, tmp_path: Path, key: str):
    """One changed character of a key or a signature is found."""
    wrong = copy.deepcopy(table)
    text = wrong["card"][1][key]
    wrong["card"][1][key] = ("B" if text[0] == "A" else "A") + text[1:]
    assert "P02" in bad_card(wrong, tmp_path)


@pytest.mark.parametrize("key", ["signing", "agreement"])
def test_swapped_keys_are_refused(table: Table, tmp_path: Path, key: str):
    """Two genuine cards that trade a key are both forged."""
    wrong = copy.deepcopy(table)
    first, second = wrong["card"][:2]
    first[key], second[key] = second[key], first[key]
    assert "P01" in bad_card(wrong, tmp_path)


def test_a_renamed_card_is_refused(table: Table, tmp_path: Path):
    """A name is under the card's signature."""
    assert "P09" in bad_card(changed(table, "card.2.name", "P09"), tmp_path)


@pytest.mark.parametrize("text", ["", "not base64!", "QUJD"])
def test_keys_that_are_none_are_refused(table: Table, tmp_path: Path, text: str):
    """Neither text that is not base64 nor a key of another length passes."""
    assert "P01" in bad_card(changed(table, "card.0.signing", text), tmp_path)


def test_a_partner_without_agreement_key_is_refused(table: Table, tmp_path: Path):
    """Nobody could send it a secret."""
    wrong = copy.deepcopy(table)
    del wrong["card"][0]["agreement"]
    assert "agreement" in bad_card(wrong, tmp_path)


def test_an_aggregator_with_agreement_key_is_refused(table: Table, tmp_path: Path):
    """The aggregator receives no secret at all."""
    wrong = copy.deepcopy(table)
    wrong["card"][-1]["agreement"] = wrong["card"][0]["agreement"]
    assert "agg" in bad_card(wrong, tmp_path)


# -------------------------------------------------------------------------------------------------------- margin


@QUICK
@given(
    bits=st.sampled_from([16, 12, 8]),
    max_partners=st.integers(3, 128),
    weights=st.sampled_from(["equal", "size"]),
    max_weight=st.integers(1, 2**32),
)
def test_every_accepted_plan_has_the_decryption_margin(
    enrolled: Federation, bits: int, max_partners: int, weights: str, max_weight: int
):
    """With all seal settings that a plan accepts, a sum of the largest roster decrypts exactly."""
    seal = {"bits": bits, "max_partners": max_partners, "weights": weights, "max_weight": max_weight}
    table = changed(tomllib.loads(enrolled.plan_file.read_text()), "seal", seal)
    found = seal_parameters(check_table(table, Plan, "plan").seal)
    prove_margin(found)
    noise = 43 * max_partners / 2 + 1
    assert noise < found.q / (2 * found.t)


def test_settings_without_margin_are_refused(table: Table, monkeypatch: pytest.MonkeyPatch):
    """If no plain modulus has room for a sum, the plan is refused, not the first sum."""
    monkeypatch.setattr(parameters, "Q_BITS", (46,))
    message = refusal(changed(table, "seal.max_partners", 100))
    assert "max_partners = 100" in message
    assert "margin" in message


def test_defaults_leave_margin_for_32_partners():
    """The design's figure: 32 partners still decrypt exactly."""
    prove_margin(seal_parameters(SealSettings(max_partners=32)))


# ---------------------------------------------------------------------------------------------------- the catalogue

TASKS = [{"id": "C1", "threshold": 6.0}, {"id": "C1", "threshold": 7.0}, {"id": "C2", "threshold": 6.0}]


def with_catalogue(table: Table, **catalogue: object) -> Plan:
    """The plan with this catalogue."""
    return check_table(table | {"catalogue": catalogue}, Plan, "plan")


def test_without_a_catalogue_nothing_changes(table: Table):
    """No catalogue, or an empty one: the digest, the vector and the rounds are as they were before there were any."""
    plain, empty = check_table(table, Plan, "plan"), with_catalogue(table, tasks=[], min_partners=2)
    assert plain.digest == empty.digest
    assert plain.layout == empty.layout
    assert plain.possible_lengths(1).only == empty.possible_lengths(1).only == plain.layout.n_params
    assert not plain.has_counting_round
    assert plain.starts_with == 1


def test_a_catalogue_enters_the_digest(table: Table):
    """Its tasks, their order and its minimum are all part of the digest."""
    catalogues: list[Table] = [{"tasks": TASKS}, {"tasks": TASKS[::-1]}, {"tasks": TASKS[:2]}]
    catalogues += [{"tasks": TASKS, "min_partners": 2}]
    plans = [with_catalogue(table, **catalogue) for catalogue in catalogues]
    assert len({plan.digest for plan in (*plans, check_table(table, Plan, "plan"))}) == 5
    assert with_catalogue(table, tasks=TASKS, min_partners=3).digest == plans[0].digest


def test_a_catalogue_makes_the_vector_longer(table: Table):
    """A row of weights and a bias for each place: the trunk alone, or padded to 1, 2 or 4 rows; flags have three."""
    plan = with_catalogue(table, tasks=TASKS)
    trunk = 512 * 16 + 16
    assert plan.possible_lengths(1) == PossibleLengths.these([trunk, trunk + 17, trunk + 2 * 17, trunk + 4 * 17])
    assert [layout.n_rows for layout in plan.possible_layouts] == [0, 1, 2, 4]
    assert plan.layout.n_params == trunk
    assert plan.possible_lengths(0).only == 3
    assert with_catalogue(table, tasks=TASKS[:1]).possible_lengths(1) == PossibleLengths.these([trunk, trunk + 17])
    assert plan.starts_with == 0


def test_a_first_vector_tells_its_layout(table: Table):
    """The digest of each possible first vector gives its layout, another digest none."""
    plan = with_catalogue(table, tasks=TASKS)
    for layout in plan.possible_layouts:
        assert plan.first_layout(plan.first_digest(layout)) == layout
        assert plan.first_digest(layout) == trunk_digest(plan.first_vector(layout))
    assert plan.first_layout(plan.first_digest(plan.layout_with(3))) is None


def test_catalogue_flags_weigh_the_same_under_the_same_key(table: Table):
    """Even if updates weigh by size, flags do not, and the group's key opens both."""
    plan = with_catalogue(table | {"seal": {"weights": "size", "max_weight": 2**32}}, tasks=TASKS)
    assert (plan.seal_parameters(0).max_weight, plan.seal_parameters(1).max_weight) == (1, 2**32)
    assert plan.seal_parameters(0).ring_digest() == plan.seal_parameters(1).ring_digest()


def test_only_a_plan_from_the_first_round_on_has_a_counting_round(table: Table):
    """A later revision keeps the counts: another count would show which partner came or left."""
    later = check_table(table | {"catalogue": {"tasks": TASKS}, "continues": CONTINUES | {"round": 2}}, Plan, "plan")
    assert not later.has_counting_round
    assert later.starts_with == 2


@pytest.mark.parametrize(
    ("catalogue", "said"),
    [
        ({"tasks": [*TASKS, TASKS[0]]}, "'C1' at 6"),
        ({"tasks": TASKS, "min_partners": 1}, "catalogue.min_partners: "),
        ({"tasks": TASKS, "min_partners": 4}, "catalogue.min_partners is 4"),
        ({"tasks": [{"id": "", "threshold": 6.0}]}, "catalogue.tasks.0.id: "),
        ({"tasks": [{"id": "C1"}]}, "catalogue.tasks.0.threshold: "),
        ({"tasks": [{"id": "C1", "threshold": 6.0, "assay": "A"}]}, "catalogue.tasks.0.assay: "),
        ({"tasks": [{"id": "C1", "threshold": math.nan}]}, "catalogue.tasks.0.threshold: found nan"),
    ],
)
def test_impossible_catalogues_are_refused(table: Table, catalogue: Table, said: str):
    """A task twice, a minimum of one or above the number of partners, tasks without id or threshold."""
    assert said in refusal(table | {"catalogue": catalogue})


# ----------------------------------------------------------------------------------------------- files of somebody else


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_plan(tmp_path: Path, make: Callable[[Path], None]):
    """A named pipe under the name of a plan is not waited for, by any command that reads one."""
    make(tmp_path / "plan.toml")
    with pytest.raises(ConfigError, match=r"plan\.toml"):
        read_plan(tmp_path / "plan.toml")
    with pytest.raises((ConfigError, OSError)):
        describe_file(tmp_path / "plan.toml")


def test_a_plan_larger_than_any_is_not_parsed(tmp_path: Path):
    """A sparse file of 2 GiB is refused by its first bytes."""
    with (tmp_path / "plan.toml").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(ConfigError, match="4,194,304 bytes"):
        read_plan(tmp_path / "plan.toml")


def test_a_page_larger_than_memory_is_not_read_whole(tmp_path: Path):
    """A page of a report is known by its beginning and its end."""
    page = tmp_path / "report.html"
    page.write_bytes(b'<meta name="generator" content="hocket 1">')
    with page.open("r+b") as file:
        file.seek(1 << 33)
        file.write(b"</html>")
    assert describe_file(page)["bytes"] == (1 << 33) + 7


@pytest.mark.parametrize("text", ["x = " + "{a.a.a.a.a.a.a.a.a=" * 60 + "1" + "}" * 60, "x = " + "[" * 90 + "]" * 90])
def test_tables_that_are_too_deep_are_refused(tmp_path: Path, text: str):
    """Whatever the parser takes and the checks cannot follow."""
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"plan\.toml"):
        read_plan(tmp_path / "plan.toml")


def test_names_that_differ_in_case_only_are_refused(table: Table):
    """On a share that ignores case their messages are one file."""
    keys = PrivateKeys.generate("p01", "partner")
    assert "differ" in refusal(table | {"card": [*table["card"], card_fields(keys.card())]})


def test_the_problems_of_a_long_file_are_counted(table: Table):
    """Not all of thousands of wrong keys are shown."""
    shown = refusal(table | {f"wrong{i}": 1 for i in range(3000)})
    assert "3000 problem(s)" in shown
    assert "and 2980 more" in shown
    assert len(shown) < 5000


# ------------------------------------------------------------------------------------------------ the input columns


def with_columns(table: Table, **columns: object) -> Plan:
    """The plan with these settings of input columns."""
    return check_table(
        {key: value for key, value in table.items() if key != "columns"} | {"columns": columns}, Plan, ""
    )


def test_columns_are_counted_unless_the_plan_says_otherwise(table: Table):
    """By default they are, in round 0; with min_partners = 0 there is neither that round nor a trace in the digest."""
    plan, without = with_columns(table), with_columns(table, min_partners=0)
    assert plan == check_table({key: value for key, value in table.items() if key != "columns"}, Plan, "")
    assert plan.columns.min_partners == 3
    assert (plan.has_counting_round, plan.starts_with, without.has_counting_round) == (True, 0, False)
    assert without.digest == with_columns(table, min_partners=0, min_compounds=9, withhold=0.5).digest
    others = [with_columns(table, **{key: value}) for key, value in (("min_compounds", 9), ("withhold", 0.5))]
    assert len({each.digest for each in (plan, without, with_columns(table, min_partners=2), *others)}) == 5


def test_the_vector_may_have_any_number_of_columns(table: Table):
    """From one on, with each number of places for rows; the flags are one for each task and column."""
    plan = with_columns(table | {"catalogue": {"tasks": TASKS[:1]}})
    lengths = plan.possible_lengths(1)
    for n_columns in (1, 2, 511, 512):
        for n_places in (0, 1):
            assert plan.layout_with(n_places, n_columns).n_params in lengths
    assert {0, 16, 31, 512 * 16 + 15, 513 * 16 + 17 + 16} & {n for n in range(9000) if n in lengths} == set()
    assert (lengths.only, lengths.longest) == (None, 512 * 16 + 16 + 17)
    assert plan.possible_lengths(0).only == 1 + 512


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"min_partners": 1}, "columns: min_partners: found 1"),
        ({"min_partners": -1}, "columns.min_partners: "),
        ({"min_partners": 4}, "columns.min_partners is 4"),
        ({"min_compounds": 0}, "columns.min_compounds: "),
        ({"withhold": 1.0}, "columns.withhold: "),
        ({"withhold": -0.1}, "columns.withhold: "),
    ],
)
def test_impossible_columns_are_refused(table: Table, columns: Table, said: str):
    """A minimum of one or above the number of partners, no compound, a share that is none."""
    assert said in refusal(table | {"columns": columns})
