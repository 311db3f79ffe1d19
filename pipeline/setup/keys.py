"""Making keys and dealing the group secret."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import secure.keys.keys
from pipeline.errors import ConfigError
from pipeline.exchange.mailbox import Outbox
from pipeline.home.paths import Home
from pipeline.plan.member_configs import read_passphrase
from pipeline.plan.plan import Plan, read_plan
from pipeline.protocol.enrolment import expect_dealt_for
from pipeline.protocol.revision import check_chain
from secure.ciphertexts.parameters import seal_parameters
from secure.files import write_atomically
from secure.keys.group import GroupSecret, deal_group_secret
from secure.keys.keys import KEY_FILE, PrivateKeys, load_private_keys
from secure.messages.message_name import MessageName


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

    structure_seed : that of an earlier federation, so that folds stay what they were; None draws a new one, or
                     keeps the one of this home's earlier group secret where the plan is a revision
    Raises ConfigError where the keys are not the custodian's, secure.errors.WrongKey where they are not its card's,
    secure.errors.WrongPlan where a revision continues another plan than this home's.
    """
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
    """The group secret of this plan, made the first time; folds and bits stay those of an earlier one."""
    parameters = seal_parameters(plan.seal)
    held = [at.group_secret for at in home.of_every_plan() if at.revision <= home.revision and at.group_secret.exists()]
    seed = GroupSecret.load(held[-1], parameters, keys).structure_seed if held else structure_seed
    if structure_seed not in (None, seed):
        raise ConfigError(f"{held[-1]}: is there already, with another structure seed than the one given")
    if plan.continues and seed is None:
        error = ConfigError(f"{home.folder}: holds no earlier group secret, whose structure seed keeps the folds")
        error.add_note("let a partner who holds it be the custodian of this revision, or give --structure-seed-file")
        raise error
    if not home.group_secret.exists():
        GroupSecret.generate(parameters, seed).save(home.group_secret, keys)
    return GroupSecret.load(home.group_secret, parameters, keys)


def change_passphrase(home_folder: Path, old_file: Path | None, new_file: Path | None) -> str:
    """Lock the private keys under another passphrase; without a new one they lie in the clear."""
    if old_file is None and new_file is None:
        raise ConfigError(f"{home_folder}: neither an old nor a new passphrase was given, so nothing changes")
    home, old, new = Home(home_folder), read_passphrase(old_file), read_passphrase(new_file)
    with home.alone():
        keys = secure.keys.keys.change_passphrase(home.keys, old, new)
    return f"private keys of {keys.name}: " + ("locked under the new passphrase" if new else "have no passphrase now")
