"""Make keys, deal the group secret, change a passphrase."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import secure.keys.keys
from pipeline.errors import ConfigError
from pipeline.exchange.mailbox import Outbox
from pipeline.home.paths import Home
from pipeline.plan.passphrase import read_passphrase
from pipeline.plan.plan import Plan, read_plan
from pipeline.protocol.enrolment import expect_dealt_for
from pipeline.runtime.outputs import writing
from secure.ciphertexts.parameters import seal_parameters
from secure.encoding.json_fields import is_name
from secure.files import write_atomically
from secure.keys.group import GroupSecret, deal_group_secret
from secure.keys.keys import KEY_FILE, PrivateKeys, load_private_keys
from secure.messages.message_name import MessageName


def new_keys(name: str, role: str, home: Path, passphrase_file: Path | None) -> str:
    """Make a member's private keys in HOME/keys and return its card's text; existing keys are never replaced.

    Raises ConfigError for a name that no message could carry or an unusable passphrase, before any folder is made, and
    for a home that cannot be written. Keys whose card could not be written stay, for the next call.
    """
    if not is_name(name):
        raise ConfigError(f"name = {name!r}, expected 1 to 32 of A-Z a-z 0-9 _ -")
    passphrase = read_passphrase(passphrase_file)
    folder = Home(home).keys
    with writing(folder):
        Home(home).make()
        return _make_keys(name, role, folder, passphrase)


def _make_keys(name: str, role: str, folder: Path, passphrase: str | None) -> str:
    if (folder / KEY_FILE).exists() and not (folder / "card.toml").exists():
        keys = load_private_keys(folder, passphrase)  # stopped between the two files: nobody has the card yet
        if (keys.name, keys.role) != (name, role):
            raise ConfigError(f"{folder}: found keys of {keys.name} ({keys.role}), expected {name} ({role})")
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
    """Make the group secret and the signed deal in the custodian's home; a second call changes nothing.

    structure_seed : that of an earlier federation, which keeps the folds as they were; None draws a new one, or for
                     a revision keeps that of this home's earlier group secret
    Raises ConfigError if the keys are not the custodian's, secure.errors.WrongKey if they do not fit its card,
    secure.errors.WrongPlan if a revision continues another plan than this home's.
    """
    from pipeline.protocol.revision import check_chain  # noqa: PLC0415 -- polars: never at an aggregator, nor for new keys

    plan = read_plan(plan_file)
    home = Home(home_folder, plan.folder)
    keys = load_private_keys(home.keys, read_passphrase(passphrase_file))
    if keys.name != plan.federation.custodian:
        raise ConfigError(f"{home.keys}: keys of {keys.name}, but the custodian is {plan.federation.custodian}")
    keys.expect_card(plan.cards[keys.name], str(home.keys))
    with home.alone():
        check_chain(plan, home)
        name = MessageName("deal", 0, 0, keys.name)
        outbox = Outbox(plan, keys, home, clock)
        expect_dealt_for(outbox)
        secret = _group_secret(home, plan, keys, structure_seed)
        if not home.outbox(name.manifest).exists():
            partners = [plan.cards[partner] for partner in plan.partner_names]
            payload = deal_group_secret(secret, plan.digest, keys.name, partners)
            write_atomically(home.outbox(name.payload), payload)
        outbox.sign(name, {"group": secret.digest()})
    dealt = f"group {secret.digest()[:16]} dealt to {', '.join(plan.partner_names)}"
    kept = "; folds and fingerprint bits stay what they were" if plan.continues else ""
    return f"{dealt}{kept}; `hocket partner run` posts it"


def _group_secret(home: Home, plan: Plan, keys: PrivateKeys, structure_seed: bytes | None) -> GroupSecret:
    """The group secret of this plan, made the first time with the structure seed of an earlier one, if any."""
    parameters = seal_parameters(plan.seal)
    homes = [earlier for earlier in home.of_every_plan() if earlier.revision <= home.revision]
    held = [earlier.group_secret for earlier in homes if earlier.group_secret.exists()]
    seed = GroupSecret.load_structure_seed(held[-1], keys) if held else structure_seed  # the ring may be another
    if structure_seed not in (None, seed):
        raise ConfigError(f"{held[-1]}: exists already with another structure seed than --structure-seed-file")
    if plan.continues and seed is None:
        error = ConfigError(f"{home.folder}: holds no earlier group secret, whose structure seed keeps the folds")
        error.add_note("let a partner that has it be the custodian of this revision, or give --structure-seed-file")
        raise error
    if not home.group_secret.exists():
        GroupSecret.generate(parameters, seed).save(home.group_secret, keys)
    return GroupSecret.load(home.group_secret, parameters, keys)


def change_passphrase(home_folder: Path, old_file: Path | None, new_file: Path | None) -> str:
    """Encrypt the private keys with another passphrase; without a new one they are not encrypted any more."""
    if old_file is None and new_file is None:
        raise ConfigError(f"{home_folder}: expected an old or a new passphrase file, found neither")
    home, old, new = Home(home_folder), read_passphrase(old_file), read_passphrase(new_file)
    with home.alone():
        keys = secure.keys.keys.change_passphrase(home.keys, old, new)
    return f"private keys of {keys.name}: " + ("locked under the new passphrase" if new else "have no passphrase now")
