"""`hocket init revision`: the next plan is the last one but for what was asked for."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.plan.plan import Plan, read_plan
from pipeline.setup.keys import new_keys
from pipeline.setup.revision_plan import Changes, revised
from secure.keys.keys import parse_card
from tests.support.federation import AGGREGATOR, Federation

CATALOGUE = '[catalogue]\nfile = "targets.csv"\nsha256 = "{sha256}"\n'


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Four partners, of which no one has run. For reading only."""
    return Federation(tmp_path_factory.mktemp("four") / "f", n_partners=4, columns="min_partners = 3")


def revision(federation: Federation, folder: Path, **changes: object) -> Plan:
    """The plan that these changes give, written and read."""
    output = folder / "plan-2.toml"
    output.write_text(revised(federation.plan_file, Changes(**changes), output).text)  # type: ignore[arg-type]
    return read_plan(output)


def settings(plan: Plan) -> dict[str, object]:
    """All that a revision leaves alone; cards by name."""
    table = plan.model_dump(exclude={"continues", "card"})
    return table | {"cards": {name: card.fingerprint for name, card in plan.cards.items()}}


def test_more_rounds_and_nothing_else(four: Federation, tmp_path: Path) -> None:
    """All other settings and cards stay; the plan before is named, and the round after its last."""
    before, after = read_plan(four.plan_file), revision(four, tmp_path, rounds="+5")
    assert after.continues
    assert (after.continues.plan, after.revision, after.first_round) == (before.digest, 2, 3)
    rounds = before.rounds.model_copy(update={"n_rounds": 7})
    assert settings(after) == settings(before.model_copy(update={"rounds": rounds}))


def test_a_revision_of_a_revision(four: Federation, tmp_path: Path) -> None:
    """It goes on from the one before, with the next number."""
    second = revision(four, tmp_path, rounds="+1")
    third = tmp_path / "plan-3.toml"
    third.write_text(revised(tmp_path / "plan-2.toml", Changes(rounds="9"), third).text)
    plan = read_plan(third)
    assert plan.continues
    assert (plan.continues.plan, plan.revision, plan.first_round, plan.rounds.n_rounds) == (second.digest, 3, 4, 9)


def test_who_leaves_has_no_card_and_settings_fit_the_others(four: Federation, tmp_path: Path) -> None:
    """The smallest roster is of those who stay; who has not released is listed."""
    plan = revision(four, tmp_path, first_round=2, unreleased=["P04"], min_partners=None)
    assert plan.continues
    assert (plan.partner_names, plan.continues.unreleased) == (["P01", "P02", "P03"], ("P04",))
    assert plan.rounds.min_partners == 3
    assert plan.columns.min_partners == 3


def test_a_second_count_of_others_is_not_held(four: Federation, tmp_path: Path) -> None:
    """From round 1 on with other partners nothing is counted; with the same partners it is."""
    output = tmp_path / "plan-2.toml"
    made = revised(four.plan_file, Changes(first_round=1, leaving=["P04"]), output)
    output.write_text(made.text)
    assert not read_plan(output).has_counts
    assert len(made.notes) == 1
    assert revision(four, tmp_path, first_round=1).has_counting_round


def test_new_cards_replace_those_of_the_same_member(four: Federation, tmp_path: Path) -> None:
    """A partner's new keys, and another aggregator."""
    cards = [
        parse_card(new_keys(name, role, tmp_path / name, None), name)
        for name, role in (("P02", "partner"), ("hub", "aggregator"))
    ]
    before, after = read_plan(four.plan_file), revision(four, tmp_path, rounds="+1", cards=cards)
    assert after.partner_names == before.partner_names
    assert (before.aggregator_name, after.aggregator_name) == (AGGREGATOR, "hub")
    changed = {name for name in after.partner_names if after.cards[name] != before.cards[name]}
    assert changed == {"P02"}


def test_a_catalogues_file_is_found_from_the_new_place(tmp_path: Path) -> None:
    """The path in the plan is relative to the plan's folder, which may be another now."""
    from hashlib import sha256  # noqa: PLC0415

    federation, content = Federation(tmp_path / "f"), b"id,threshold\nC1,6.0\n"
    (federation.folder / "targets.csv").write_bytes(content)
    with federation.plan_file.open("a") as plan:
        plan.write("\n" + CATALOGUE.format(sha256=sha256(content).hexdigest()))
    (tmp_path / "there").mkdir()
    assert revision(federation, tmp_path / "there", rounds="+1").catalogue.tasks[0].id == "C1"


def test_a_new_card_is_that_of_a_joiner(four: Federation, tmp_path: Path) -> None:
    """The custodian is its sponsor by default; counts are capped from now on, and stay so; there is room for all."""
    card = parse_card(new_keys("P05", "partner", tmp_path / "P05", None), "P05")
    plan = revision(four, tmp_path, rounds="+1", cards=[card], leaving=["P04"])
    assert plan.continues
    assert (plan.joiners, plan.continues.sponsor, plan.spare_holders) == (("P05",), "P01", 1)
    third = tmp_path / "plan-3.toml"
    third.write_text(revised(tmp_path / "plan-2.toml", Changes(rounds="+1"), third).text)
    assert (read_plan(third).joiners, read_plan(third).spare_holders) == ((), 1)
    assert revision(four, tmp_path, rounds="+1", cards=[card], sponsor="P02").seal.max_partners >= 5
    assert revision(four, tmp_path, first_round=1, cards=[card]).joiners == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('joiners = ["P05"]', 'joiners = ["P09"]'),
        ('sponsor = "P02"', 'sponsor = "P05"'),
        ('sponsor = "P02"', 'sponsor = ""'),
        ("spare_holders = 0", ""),
        ("round = 3", "round = 1"),
    ],
)
def test_an_impossible_joining_is_refused(four: Federation, tmp_path: Path, old: str, new: str) -> None:
    """A joiner without a card, a sponsor that joins itself, none at all, exact counts, round 1."""
    card = parse_card(new_keys("P05", "partner", tmp_path / "P05", None), "P05")
    revision(four, tmp_path, rounds="+1", cards=[card], sponsor="P02")
    file = tmp_path / "plan-2.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=r"joiners|sponsor"):
        read_plan(file)


def test_cards_that_contradict_the_plan_are_refused(four: Federation, tmp_path: Path) -> None:
    """An aggregator with a partner's name would replace it; a member that leaves has no new card."""
    aggregator = parse_card(new_keys("P02", "aggregator", tmp_path / "a", None), "a")
    with pytest.raises(ConfigError, match="P02: found role aggregator"):
        revision(four, tmp_path, rounds="+1", cards=[aggregator])
    partner = parse_card(new_keys("P02", "partner", tmp_path / "p", None), "p")
    with pytest.raises(ConfigError, match="P02: leaves and has a new card"):
        revision(four, tmp_path, rounds="+1", cards=[partner], leaving=["P02"])


def test_rounds_before_those_of_the_plan_are_refused(four: Federation, tmp_path: Path) -> None:
    """A revision from round 2 is followed by none from round 1."""
    revision(four, tmp_path, rounds="+1", first_round=2)
    with pytest.raises(ConfigError, match="expected round 2 or later"):
        revised(tmp_path / "plan-2.toml", Changes(rounds="+1", first_round=1), tmp_path / "plan-3.toml")


@pytest.mark.parametrize(
    ("role", "leaving", "words"), [("aggregator", [], "role aggregator"), ("partner", ["P02"], "leaves")]
)
def test_a_card_that_contradicts_the_rest_is_refused(
    four: Federation, tmp_path: Path, role: str, leaving: list[str], words: str
) -> None:
    """An aggregator with a partner's name would replace that partner; who leaves needs no card."""
    card = parse_card(new_keys("P02", role, tmp_path / "P02", None), "P02")
    with pytest.raises(ConfigError, match=words):
        revision(four, tmp_path, rounds="+1", cards=[card], leaving=leaving)


def test_no_revision_begins_before_the_one_it_continues(four: Federation, tmp_path: Path) -> None:
    """Rounds before its first are another plan's."""
    revision(four, tmp_path, rounds="+1")
    with pytest.raises(ConfigError, match="expected round 3 or later"):
        revised(tmp_path / "plan-2.toml", Changes(rounds="9", first_round=2), tmp_path / "plan-3.toml")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rounds": "2"},
        {"rounds": "+1", "first_round": 4},
        {"rounds": "+1", "leaving": ["P09"]},
        {"rounds": "+1", "leaving": [AGGREGATOR]},
        {"rounds": "+1", "leaving": ["P01"]},
        {"rounds": "+1", "leaving": ["P02", "P03"]},
        {"rounds": "+1", "custodian": AGGREGATOR},
        {"rounds": "+1", "min_partners": 5},
    ],
)
def test_changes_that_make_no_plan_are_refused(four: Federation, tmp_path: Path, changes: dict[str, object]) -> None:
    """No round left, strangers, too few partners, a custodian that leaves."""
    with pytest.raises(ConfigError):
        revision(four, tmp_path, **changes)
