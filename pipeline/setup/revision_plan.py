"""`hocket init revision`: the next plan from the last one, with what changes and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.plan.commented_toml import settings_of
from pipeline.plan.plan import Plan, read_plan
from pipeline.plan.toml_schema import read_toml
from pipeline.setup.init_files import path_from, plan_text
from secure.keys.keys import Card

_FILES = ("catalogue.file", "trunk.start")  # relative to the plan's folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a revision changes; all else stays as in the plan before."""

    rounds: str | None = None  # "60": as many in all; "+20": so many more; None: as many as before
    first_round: int | None = None  # the first under the revision; None: the one after the last of the plan before
    cards: Sequence[Card] = ()  # new ones of members, or of another aggregator
    leaving: Sequence[str] = ()
    unreleased: Sequence[str] = ()  # leave too, and have not released for the first round under the plan before
    custodian: str | None = None
    min_partners: int | None = None
    sponsor: str | None = None  # hands the state over to partners whose card is new; None: the custodian


@dataclass(frozen=True, slots=True)
class Revision:
    """The text of a revision, and what was changed in it that nobody asked for."""

    text: str
    notes: tuple[str, ...]


def revision_number(plan_file: Path) -> int:
    """Number of the revision that goes on from a plan; raises ConfigError for a file that is no plan."""
    return read_toml(plan_file, Plan).revision + 1


def revised(plan_file: Path, changes: Changes, output: Path) -> Revision:
    """The plan that goes on from another.

    output : where it will be written, for the path of a catalogue's file
    Raises ConfigError for changes that make no plan, secure.errors.BadCard for a plan with a wrong card.
    """
    before = read_plan(plan_file)
    cards = _cards(before, changes)
    partners = [card.name for card in cards if card.role == "partner"]
    values = _values(read_toml(plan_file, Plan).model_copy(update={"continues": None}))  # a file stays a file
    asked = _rounds(before, changes) | _continues(before, changes)
    asked["federation.custodian"] = custodian = _custodian(before, changes, partners)
    asked |= _joining(before, changes, partners, custodian, int(str(asked["continues.round"])))
    fitting = _fitting(values, len(partners), changes.min_partners)
    counted = _counted(before, int(str(asked["continues.round"])), partners)
    for key in _FILES:
        if values.get(key):
            fitting[key] = path_from(output.parent, str(plan_file.parent / str(values[key])))
    text = plan_text(cards, values | fitting | asked | counted)
    return Revision(text, tuple(_notes(values, fitting, counted)))


def _values(plan: Plan) -> dict[str, object]:
    """All settings of a plan by dotted key, defaults too."""
    table = plan.model_dump(mode="json", exclude={"card"}, exclude_none=True)
    found = {setting.key: _at(table, setting.key) for setting in settings_of(Plan) if not setting.is_table}
    return {key: value for key, value in found.items() if value is not None}


def _at(table: Mapping[str, Any], key: str) -> object:
    first, _, others = key.partition(".")
    inner = table.get(first)
    return _at(inner, others) if others and isinstance(inner, Mapping) else None if others else inner


def _cards(before: Plan, changes: Changes) -> list[Card]:
    """The members' cards, partners first, each sorted by name."""
    cards, gone = dict(before.cards), {*changes.leaving, *changes.unreleased}
    if unknown := sorted(gone - set(before.partner_names)):
        raise ConfigError(f"{', '.join(unknown)}: cannot leave, expected one of the partners {before.partner_names}")
    if odd := sorted(gone & {card.name for card in changes.cards}):
        raise ConfigError(f"{', '.join(odd)}: leaves and has a new card, expected one of the two")
    for card in changes.cards:
        if (old := before.cards.get(card.name)) and old.role != card.role:
            raise ConfigError(
                f"card of {card.name}: found role {card.role}, but the plan has a {old.role} of that name"
            )
        if card.role == "aggregator":
            del cards[next(name for name, old in cards.items() if old.role == "aggregator")]
        cards[card.name] = card
    kept = (card for name, card in cards.items() if name not in gone)
    return sorted(kept, key=lambda card: (card.role != "partner", card.name))


def _rounds(before: Plan, changes: Changes) -> dict[str, object]:
    n_before, rounds = before.rounds.n_rounds, changes.rounds
    n_rounds = n_before if rounds is None else int(rounds) + n_before * rounds.startswith("+")
    first = changes.first_round or n_before + 1
    if first < before.first_round:
        error = ConfigError(f"the revision goes on from round {first}, expected round {before.first_round} or later")
        error.add_note("earlier rounds were held under a plan before this one, and a round is never held twice")
        raise error
    if first > n_rounds:
        error = ConfigError(f"the revision goes on from round {first}, but has {n_rounds} rounds")
        error.add_note(f"--rounds +20 adds rounds after round {n_before}, the last of the plan before")
        error.add_note("--first-round N goes on from an earlier one: `hocket verify` says how many rounds are done")
        raise error
    return {"rounds.n_rounds": n_rounds, "continues.round": first}


def _continues(before: Plan, changes: Changes) -> dict[str, object]:
    said = {"continues.plan": before.digest, "continues.revision": before.revision + 1}
    return said | {"continues.unreleased": sorted(changes.unreleased)}


def _joining(
    before: Plan, changes: Changes, partners: Sequence[str], custodian: str, first_round: int
) -> dict[str, object]:
    """Who joins, and how far counts are known from now on: as far as who has left lets columns still be sent."""
    joiners = sorted(set(partners) - set(before.partner_names))
    spare = before.spare_holders
    if first_round == 1 or not (joiners or spare is not None):
        return {"continues.joiners": [], "continues.sponsor": ""}
    if spare is None:
        spare = len(changes.leaving) + len(changes.unreleased)
    sponsor = (changes.sponsor or custodian) if joiners else ""
    return {"continues.joiners": joiners, "continues.sponsor": sponsor, "continues.spare_holders": spare}


def _custodian(before: Plan, changes: Changes, partners: Sequence[str]) -> str:
    custodian = changes.custodian or before.federation.custodian
    if custodian not in partners:
        error = ConfigError(f"custodian {custodian}: expected one of the partners {list(partners)}")
        error.add_note("--custodian NAME: any partner that has an earlier group secret can deal the new one")
        raise error
    return custodian


def _fitting(values: Mapping[str, object], n_partners: int, min_partners: int | None) -> dict[str, object]:
    """Settings that must fit another number of partners."""
    fewest = ("rounds.min_partners", "catalogue.min_partners", "columns.min_partners")
    fitting: dict[str, object] = {key: n_partners for key in fewest if int(str(values[key])) > n_partners}
    if int(str(values["seal.max_partners"])) < n_partners:
        fitting["seal.max_partners"] = n_partners
    return fitting if min_partners is None else fitting | {"rounds.min_partners": min_partners}


def _counted(before: Plan, first_round: int, partners: Sequence[str]) -> dict[str, object]:
    """An empty catalogue, and no counted columns, if others would count: two counts reveal what one partner holds."""
    if first_round > 1 or not before.has_counts or list(partners) == before.partner_names:
        return {}
    return {"catalogue.tasks": [], "catalogue.file": "", "catalogue.sha256": "", "columns.min_partners": 0}


def _notes(values: Mapping[str, object], fitting: Mapping[str, object], counted: Mapping[str, object]) -> list[str]:
    changed = {key: value for key, value in fitting.items() if key not in _FILES and values[key] != value}
    notes = [f"{key} is now {value}, it was {values[key]}" for key, value in changed.items() if key not in counted]
    if counted:
        notes.append(
            "the catalogue is empty now, and columns.min_partners 0: a second count, of other partners, would tell "
            "what those hold who came or left"
        )
    return notes
