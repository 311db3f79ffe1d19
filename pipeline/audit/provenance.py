"""Check a model against its signed provenance, and the provenance against the exchange's messages. Needs no key."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, WrongProvenance
from pipeline.exchange.storage import Exchange
from pipeline.plan.plan import Plan, round_name
from secure.encoding.canonical import canonical_json, digest
from secure.files import read_plain
from secure.keys.keys import Card
from secure.messages.message_name import MessageName
from secure.messages.messages import manifest_digest, parse_manifest
from secure.messages.provenance import (
    MAX_BYTES,
    PROVENANCE_FILE,
    Provenance,
    parse_provenance,
    verify_provenance,
)

_DESCRIPTION = "model.json"
_MOST_DESCRIPTION = 1 << 28  # bytes


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """A model that is what its provenance says."""

    folder: Path
    provenance: Provenance
    added: tuple[str, ...]  # assays that `hocket extend` added, which the signature does not cover
    notes: tuple[str, ...]  # what could not be checked


def check_model(folder: Path, plan: Plan, exchange: Exchange) -> ModelCheck:
    """Check a model's folder: signature, all files, and rounds and trunk against the exchange's messages.

    exchange : audited before (pipeline.audit.verify): only digests are compared here
    Raises secure.errors.SecureError or WrongProvenance, naming the file or round; ConfigError without a provenance.
    """
    path = folder / PROVENANCE_FILE
    data = _read(path)
    partner = parse_provenance(data, str(path)).partner
    if partner not in plan.partner_names:
        raise WrongProvenance(f"{path}: signed by {partner}, expected a partner of the plan: {plan.partner_names}")
    provenance = verify_provenance(data, plan.cards[partner], str(path))
    if provenance.plan != plan.digest:
        raise WrongProvenance(f"{path}: made under plan {provenance.plan[:12]}, expected {plan.digest[:12]}")
    if dict(provenance.members) != fingerprints(plan):
        raise WrongProvenance(f"{path}: lists other members or cards than the plan")
    check_files(folder, provenance)
    notes = [*_check_rounds(path, provenance, plan, exchange), *_check_trunk(path, provenance, plan, exchange)]
    return ModelCheck(folder, provenance, tuple(_added(_description(folder))), tuple(notes))


def check_signature(folder: Path, card: Card) -> None:
    """Raise secure.errors.SecureError if the folder's provenance names this card and the card did not sign it.

    One that names another card is that of keys before these, and `hocket verify` checks it.
    """
    path = folder / PROVENANCE_FILE
    if not path.exists():
        return
    data = _read(path)
    if parse_provenance(data, str(path)).members.get(card.name) == _fingerprint(card):
        verify_provenance(data, card, str(path))


def check_opened(folder: Path, names: Iterable[str]) -> None:
    """Raise WrongProvenance if some files of a model are not those that its provenance lists, if it has one.

    names : of files with numbers; model.json is checked too
    """
    path = folder / PROVENANCE_FILE
    if path.exists():
        check_files(folder, parse_provenance(_read(path), str(path)), names)


def check_files(folder: Path, provenance: Provenance, names: Iterable[str] | None = None) -> None:
    """Raise WrongProvenance unless model.json and files of the folder are those listed; names None: all of them."""
    names = provenance.files if names is None else names
    _expect(folder / _DESCRIPTION, description_digest(_description(folder)), provenance.model)
    for name in names:
        _expect(folder / name, file_digest(folder / name), provenance.files.get(name, "none"))


def _expect(path: Path, found: str, expected: str) -> None:
    if found != expected:
        error = WrongProvenance(f"{path}: has digest {found[:12]}, {PROVENANCE_FILE} lists {expected[:12]}")
        error.add_note("it was changed after it was signed: restore it, or remove the folder, which is made again")
        raise error


def fingerprints(plan: Plan) -> dict[str, str]:
    """Name of each member to its card's fingerprint, without spaces."""
    return {name: _fingerprint(card) for name, card in plan.cards.items()}


def _fingerprint(card: Card) -> str:
    return card.fingerprint.replace(" ", "")


def description_digest(description: dict[str, Any]) -> str:
    """Digest of model.json's values without the assays that `hocket extend` added."""
    added = set(_added(description))
    left = {
        key: [task for task in description.get(key, []) if task.get("input_assay_id") not in added]
        for key in ("tasks", "regression_tasks")
    }
    return digest(canonical_json(description | left | {"added": []}))


def file_digest(path: Path) -> str:
    """SHA-256, hexadecimal, of a file. Raises WrongProvenance if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WrongProvenance(f"{path}: cannot be read ({error.strerror}), but {PROVENANCE_FILE} lists it") from error


def _check_rounds(path: Path, provenance: Provenance, plan: Plan, exchange: Exchange) -> list[str]:
    """Compare the rounds under this plan with the exchange's sums; returns a note on those under earlier plans."""
    below, notes = exchange.below(plan.folder), []
    mine = [each for each in provenance.rounds if each.plan == plan.digest]
    for each in mine:
        name = MessageName("sum", each.round_no, each.attempt, plan.aggregator_name)
        data = below.read(name.manifest)
        if data is None or manifest_digest(data) != each.sum:
            place = round_name(each.round_no, each.attempt)
            raise WrongProvenance(f"{path}: lists another sum of {place} than {below.where(name.manifest)}")
    rounds, expected = [each.round_no for each in mine], list(range(plan.starts_with, plan.rounds.n_rounds + 1))
    if rounds != expected:
        raise WrongProvenance(f"{path}: lists rounds {rounds} of this plan, expected {expected}")
    earlier = sorted({each.plan[:12] for each in provenance.rounds if each.plan != plan.digest})
    if earlier:
        notes.append(f"rounds under earlier plans are not compared with the exchange: {', '.join(earlier)}")
    return notes


def _check_trunk(path: Path, provenance: Provenance, plan: Plan, exchange: Exchange) -> list[str]:
    """Compare the last trunk with that which the partner signed in the closing round."""
    below = exchange.below(plan.folder)
    name = MessageName("ready", plan.rounds.n_rounds + 1, 1, provenance.partner)
    data = below.read(name.manifest)
    if data is None:
        return [f"{provenance.partner} has not signed its last trunk in the exchange"]
    signed = parse_manifest(data, below.where(name.manifest)).text("trunk")
    if signed != provenance.trunk:
        where = below.where(name.manifest)
        raise WrongProvenance(f"{path}: made on trunk {provenance.trunk[:12]}, but {where} signs {signed[:12]}")
    return []


def _added(description: dict[str, Any]) -> list[str]:
    return [str(each.get("input_assay_id")) for each in description.get("added", []) if isinstance(each, dict)]


def _description(folder: Path) -> dict[str, Any]:
    path = folder / _DESCRIPTION
    try:
        description = json.loads(read_plain(path, _MOST_DESCRIPTION))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({type(error).__name__}), expected a model's") from error
    lists = ("tasks", "regression_tasks", "added")
    if not isinstance(description, dict) or not all(isinstance(description.get(key, []), list) for key in lists):
        raise ConfigError(f"{path}: found something else, expected the description of a model")
    return description


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, MAX_BYTES)
    except FileNotFoundError:
        error = ConfigError(f"{path}: no such file: an earlier version of hocket wrote this model")
        error.add_note("remove the model's folder; `hocket predict` makes it again, and signs it")
        raise error from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
