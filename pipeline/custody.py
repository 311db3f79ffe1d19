"""Making keys and dealing the group secret."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

from pipeline.configs import read_passphrase
from pipeline.errors import ConfigError
from pipeline.home import Home, MessageName, write_atomically
from pipeline.mail import Outbox
from pipeline.plan import Plan, read_plan
from secure.group import GroupSecret, deal_group_secret
from secure.keys import KEY_FILE, PrivateKeys, load_private_keys
from secure.parameters import seal_parameters


def new_keys(name: str, role: str, home: Path, passphrase_file: Path | None) -> str:
    """Make a member's private keys in HOME/keys and return its card's text; existing keys are never replaced."""
    Home(home).make()
    folder = Home(home).keys
    passphrase = read_passphrase(passphrase_file)
    if (folder / KEY_FILE).exists() and not (folder / "card.toml").exists():
        keys = load_private_keys(folder, passphrase)  # killed between the two files: the card was never seen
        if (keys.name, keys.role) != (name, role):
            raise ConfigError(f"{folder}: holds the keys of {keys.name} ({keys.role}), asked for {name} ({role})")
    else:
        keys = PrivateKeys.generate(name, cast(Literal["partner", "aggregator"], role))
        keys.save(folder, passphrase)
    card = keys.card().to_text()
    write_atomically(folder / "card.toml", card.encode())
    return card


def deal(
    plan_file: Path,
    home_folder: Path,
    passphrase_file: Path | None,
    *,
    structure_seed: bytes | None = None,
    clock: Callable[[], float] = time.time,
) -> str:
    """Custodian: make the group secret and the signed deal in the home's outbox; again changes nothing.

    structure_seed : that of an earlier federation, so that folds stay what they were; None draws a new one
    Raises ConfigError where the keys are not the custodian's, secure.errors.WrongKey where they are not its card's.
    """
    plan = read_plan(plan_file)
    home = Home(home_folder)
    keys = load_private_keys(home.keys, read_passphrase(passphrase_file))
    if keys.name != plan.federation.custodian:
        raise ConfigError(f"{home.keys}: keys of {keys.name}, but the custodian is {plan.federation.custodian}")
    keys.expect_card(plan.cards[keys.name], str(home.keys))
    with home.alone():
        secret = _group_secret(home, plan, structure_seed)
        name = MessageName("deal", 0, 0, keys.name)
        if not home.outbox(name.manifest).exists():
            partners = [plan.cards[partner] for partner in plan.partner_names]
            payload = deal_group_secret(secret, plan.digest, keys.name, partners)
            write_atomically(home.outbox(name.payload), payload)
        Outbox(plan, keys, home, clock).sign(name, {"group": secret.digest()})
    return f"group {secret.digest()[:16]} dealt to {', '.join(plan.partner_names)}; `hocket partner run` posts it"


def _group_secret(home: Home, plan: Plan, structure_seed: bytes | None) -> GroupSecret:
    parameters = seal_parameters(plan.seal)
    if not home.group_secret.exists():
        GroupSecret.generate(parameters, structure_seed).save(home.group_secret)
    secret = GroupSecret.load(home.group_secret, parameters)
    if structure_seed is not None and secret.structure_seed != structure_seed:
        raise ConfigError(f"{home.group_secret}: is there already, with another structure seed than the one given")
    return secret
