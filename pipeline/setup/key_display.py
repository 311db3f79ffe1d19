"""`hocket key show`: the public facts of a home's keys or a plan's members, which members compare by telephone."""

from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.home.paths import Home
from pipeline.plan.passphrase import read_passphrase
from pipeline.plan.plan import Plan, read_plan
from secure.inspect import inspect_file
from secure.keys.keys import KEY_FILE, load_private_keys, read_card
from secure.messages.messages import parse_manifest


def show_home(folder: Path, passphrase_file: Path | None) -> dict[str, Any]:
    """Facts about a home: its card, passphrase and group secrets; checks private keys that can be opened.

    Raises ConfigError if there is no home, secure.errors.WrongKey if keys and card do not belong together.
    """
    home = Home(folder)
    card_file, key_file = home.keys / "card.toml", home.keys / KEY_FILE
    if not card_file.exists() or not key_file.exists():
        raise ConfigError(f"{home.keys}: found no {KEY_FILE} with its card.toml, expected a home with keys")
    home.make()
    card = read_card(card_file)
    locked = inspect_file(key_file)["passphrase"]
    if checked := not locked or passphrase_file is not None:
        load_private_keys(home.keys, read_passphrase(passphrase_file), card)
    return {
        "name": card.name,
        "role": card.role,
        "fingerprint": card.fingerprint,
        "passphrase": locked,
        "private keys": "belong to this card" if checked else "not checked: give --passphrase-file",
        "group secrets": [_group(plan_home) for plan_home in home.of_every_plan() if plan_home.group_secret.exists()],
    }


def _group(home: Home) -> dict[str, Any]:
    """Facts about a group secret, from the deal's manifest; the secret itself is not opened."""
    deals = [*home.outbox("enrol").glob("deal.*.json"), *home.inbox("enrol").glob("deal.*.json")]
    manifests = [parse_manifest(path.read_bytes(), str(path)) for path in deals]
    return {
        "revision": int(home.revision.removeprefix("revision-") or 1),
        "plan": manifests[0].plan if manifests else None,
        "group": manifests[0].body["group"] if manifests else None,
    }


def show_plan(plan_file: Path) -> dict[str, Any]:
    """The plan's digest and every member's fingerprint."""
    plan: Plan = read_plan(plan_file)
    return {
        "federation": plan.federation.name,
        "plan": plan.digest,
        "continues": plan.continues.agreed() if plan.continues else None,
        "custodian": plan.federation.custodian,
        "members": [
            {"name": card.name, "role": card.role, "fingerprint": card.fingerprint}
            for card in sorted(plan.cards.values(), key=lambda card: (card.role != "aggregator", card.name))
        ],
    }


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts as text: a line for each, an indented one for each member or group secret."""
    text = []
    for key, value in facts.items():
        if isinstance(value, list):
            text += [f"{key}:{'' if value else ' none'}", *(f"  {_in_one_line(row)}" for row in value)]
        elif value is not None:
            text.append(f"{key}: {_in_one_line(value) if isinstance(value, dict) else _word(value)}")
    return text


def _in_one_line(row: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in row.items())


def _word(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
