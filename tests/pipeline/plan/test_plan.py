"""plan.toml: reading, and refusals with their messages."""

import copy
import math
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audit.describe_file import describe_file
from pipeline.errors import ConfigError
from pipeline.plan.plan import Plan, read_plan
from pipeline.plan.toml_schema import check_table
from secure.ciphertexts import parameters
from secure.ciphertexts.parameters import SealSettings, prove_margin, seal_parameters
from secure.keys.keys import PrivateKeys, card_fields
from tests.support.federation import Federation
from tests.support.plan.plan_tables import Table, changed, leaves, refusal, swapped

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
