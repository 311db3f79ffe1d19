"""`hocket key show`: the public side of a home's keys, or of a plan's members, to be compared outside of hocket."""

from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.home.paths import Home
from pipeline.plan.member_configs import read_passphrase
from pipeline.plan.plan import Plan, read_plan
from secure.inspect import inspect_file
from secure.keys.keys import KEY_FILE, load_private_keys, parse_card
from secure.messages.messages import parse_manifest


def show_home(folder: Path, passphrase_file: Path | None) -> dict[str, Any]:
    """Card, lock and group secrets of a home; where they can be opened, its private keys are tried against the card.

    Raises ConfigError for no home, secure.errors.WrongKey where keys and card do not belong together.
    """
    home = Home(folder)
    card_file, key_file = home.keys / "card.toml", home.keys / KEY_FILE
    if not card_file.exists() or not key_file.exists():
        raise ConfigError(f"{home.keys}: holds no {KEY_FILE} with its card.toml, expected a home with keys")
    home.make()
    card = parse_card(card_file.read_text(encoding="utf-8"), str(card_file))
    locked = inspect_file(key_file)["passphrase"]
    if tried := not locked or passphrase_file is not None:
        load_private_keys(home.keys, read_passphrase(passphrase_file), card)
    return {
        "name": card.name,
        "role": card.role,
        "fingerprint": card.fingerprint,
        "passphrase": locked,
        "private keys": "belong to this card" if tried else "not tried, give --passphrase-file",
        "group secrets": [_group(at) for at in home.of_every_plan() if at.group_secret.exists()],
    }


def _group(home: Home) -> dict[str, Any]:
    """Which group secret lies in a home: the deal's manifest says it, the secret itself is not opened."""
    deals = [*home.outbox("enrol").glob("deal.*.json"), *home.inbox("enrol").glob("deal.*.json")]
    found = [parse_manifest(path.read_bytes(), str(path)) for path in deals]
    return {
        "revision": int(home.revision.removeprefix("revision-") or 1),
        "plan": found[0].plan if found else None,
        "group": found[0].body["group"] if found else None,
    }


def show_plan(plan_file: Path) -> dict[str, Any]:
    """The plan's digest and every member's fingerprint."""
    plan: Plan = read_plan(plan_file)
    return {
        "federation": plan.federation.name,
        "plan": plan.digest,
        "continues": plan.continues.model_dump() if plan.continues else None,
        "custodian": plan.federation.custodian,
        "members": [
            {"name": card.name, "role": card.role, "fingerprint": card.fingerprint}
            for card in sorted(plan.cards.values(), key=lambda card: (card.role != "aggregator", card.name))
        ],
    }


def lines(facts: dict[str, Any]) -> list[str]:
    """The same for reading: a line for each fact, an indented one for each member or group secret."""
    found = []
    for key, value in facts.items():
        if isinstance(value, list):
            found += [f"{key}:{'' if value else ' none'}", *(f"  {_in_one_line(row)}" for row in value)]
        elif value is not None:
            found.append(f"{key}: {_in_one_line(value) if isinstance(value, dict) else _word(value)}")
    return found


def _in_one_line(row: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in row.items())


def _word(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
