"""The cards in a plan."""

import copy
from pathlib import Path

import pytest

from pipeline.plan.plan import read_plan
from secure.errors import BadCard
from tests.support.plan.plan_tables import Table, changed, reversed_toml


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
