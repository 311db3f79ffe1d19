"""The one length that all sealed updates have, and whom the aggregator names for another."""

import re
from pathlib import Path

import pytest

from pipeline.plan.lengths import PossibleLengths
from pipeline.protocol.update_lengths import check_lengths
from secure.errors import BadContainer

POSSIBLE = [100, 104, 108, 116]  # as a catalogue of up to four rows allows them
NAMES = ("ash", "birch", "cedar", "dill")


def refusal(*lengths: int, allowed: list[int] = POSSIBLE) -> str:
    """What the refusal of updates of these lengths says."""
    files = {name: Path(f"update.{name}.arrow") for name in NAMES}
    with pytest.raises(BadContainer) as caught:
        check_lengths(dict(zip(NAMES, lengths, strict=False)), files, PossibleLengths.these(allowed))
    assert "catalogue.json" in caught.value.__notes__[0]
    return str(caught.value)


@pytest.mark.parametrize("allowed", [[104], POSSIBLE])
def test_one_length_of_all_is_right(allowed: list[int]):
    """If the plan, or the first vector, allows it."""
    assert check_lengths(dict.fromkeys(NAMES, 104), {}, PossibleLengths.these(allowed)) == 104


def test_the_length_of_the_first_vector_is_not_voted_on():
    """All but one with another length are named, and also all."""
    assert refusal(116, 104, 116, 116, allowed=[104]) == (
        "update.ash.arrow: 116 parameters; update.cedar.arrow: 116 parameters; update.dill.arrow: 116 parameters, "
        "expected 104"
    )
    assert re.findall(r"update\.(\w+)\.arrow", refusal(100, 100, 100, allowed=[104])) == ["ash", "birch", "cedar"]


def test_where_it_is_not_known_the_fewest_are_named():
    """One partner among others, also one whose length the plan does not allow."""
    for odd in (116, 120):
        assert refusal(104, odd, 104, 104) == f"update.birch.arrow: {odd} parameters, expected 104"


@pytest.mark.parametrize("lengths", [(116, 116, 100, 100), (100, 100, 116, 116), (100, 104, 108), (120, 120, 120)])
def test_where_nobody_knows_all_are_named(lengths: tuple[int, ...]):
    """Half of a roster names nobody else: two groups of a size, all different, or lengths that the plan lacks."""
    said = refusal(*lengths)
    found = re.findall(r"update\.(\w+)\.arrow: (\d+) parameters", said)
    assert found == [(name, str(length)) for name, length in zip(NAMES, lengths, strict=False)]
    assert said.endswith("expected one length for all, of 100, 104, 108, 116")
