"""Check a model against its signed provenance, and the provenance against an audited exchange. Needs no key."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError, WrongProvenance
from pipeline.plan.plan import Plan, round_name
from secure.encoding.canonical import canonical_json, digest
from secure.files import open_plain, read_plain
from secure.keys.keys import Card, read_card
from secure.messages.provenance import (
    MAX_BYTES,
    PROVENANCE_FILE,
    Provenance,
    parse_provenance,
    verify_provenance,
)

if TYPE_CHECKING:
    from pipeline.audit.verify import AuditTrail

MODEL_FILES = ("compounds.safetensors", "federated.safetensors", "local.safetensors")
"""The files with numbers that every finished model has, and its provenance lists."""
_DESCRIPTION = "model.json"
_NOT_LISTED = {_DESCRIPTION, PROVENANCE_FILE, "README.md"}
_LISTS = ("tasks", "regression_tasks", "added")  # of objects with an `input_assay_id`
_BLOCK = 1 << 20  # bytes read at a time
_MOST_DESCRIPTION = 1 << 28  # bytes


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """A model that is what its provenance says."""

    folder: Path
    provenance: Provenance
    added: tuple[str, ...]  # assays that `hocket extend` added, which the signature does not cover
    notes: tuple[str, ...]  # what could not be checked


def check_model(folder: Path, plan: Plan, trail: "AuditTrail") -> ModelCheck:
    """Check a model's folder: signature, all files, and rounds and trunk against what the audit verified.

    trail : of the audit of the plan's exchange
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
    _check_rounds(path, provenance, plan, trail)
    notes = [*_earlier_rounds(provenance, plan), *_check_trunk(path, provenance, trail), *_other_files(folder)]
    return ModelCheck(folder, provenance, tuple(_added(_description(folder))), tuple(notes))


def check_signature(folder: Path, card_file: Path) -> str | None:
    """Check that a home's card signed its model; returns why that cannot be checked, None if it was.

    Raises secure.errors.SecureError if the provenance names this card and the card did not sign it. One that names
    another card is that of keys before these, or of somebody else: `hocket verify` with its plan tells which.
    """
    path = folder / PROVENANCE_FILE
    if not path.exists():
        return f"{path}: no such file, so nothing tells whether the model was changed"
    if not card_file.exists():
        return f"{card_file}: no such file, so the signature of {path} is not checked"
    card, data = read_card(card_file), _read(path)
    provenance = parse_provenance(data, str(path))
    if provenance.members.get(card.name) != _fingerprint(card):
        return f"{path}: names another card than this home has, so its signature is not checked: see `hocket verify`"
    verify_provenance(data, card, str(path))
    return None


def check_opened(folder: Path, names: Iterable[str]) -> None:
    """Raise WrongProvenance if some files of a model are not those that its provenance lists, if it has one.

    names : of files with numbers; model.json is checked too
    """
    path = folder / PROVENANCE_FILE
    if path.exists():
        check_files(folder, parse_provenance(_read(path), str(path)), names)


def check_files(folder: Path, provenance: Provenance, names: Iterable[str] | None = None) -> None:
    """Raise WrongProvenance unless model.json and files of the folder are those listed; names None: all of them."""
    if set(provenance.files) != set(MODEL_FILES):
        listed = ", ".join(sorted(provenance.files)) or "none"
        where = folder / PROVENANCE_FILE
        raise WrongProvenance(f"{where}: lists the files {listed}, expected exactly {', '.join(MODEL_FILES)}")
    names = MODEL_FILES if names is None else names
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
        sha256 = hashlib.sha256()
        with open_plain(path) as file:
            while block := file.read(_BLOCK):
                sha256.update(block)
        return sha256.hexdigest()
    except OSError as error:
        raise WrongProvenance(f"{path}: cannot be read ({error.strerror}), but {PROVENANCE_FILE} lists it") from error


def _check_rounds(path: Path, provenance: Provenance, plan: Plan, trail: "AuditTrail") -> None:
    """Compare the rounds under this plan with those that were audited: roster, sum and members of each."""
    listed = {
        (each.round_no, each.attempt): (each.roster, each.sum, each.members)
        for each in provenance.rounds
        if each.plan == plan.digest
    }
    audited = {
        (record.round_no, record.attempt): (record.digests["roster"], record.digests["sum"], record.roster)
        for record in trail.attempts
        if record.outcome == "sum"
    }
    for place, facts in listed.items():
        if audited.get(place) != facts:
            where = round_name(*place)
            raise WrongProvenance(f"{path}: lists another roster, sum or members of {where} than the exchange has")
    rounds, expected = [number for number, _ in listed], list(range(plan.starts_with, plan.rounds.n_rounds + 1))
    if rounds != expected:
        raise WrongProvenance(f"{path}: lists rounds {rounds} of this plan, expected {expected}")


def _earlier_rounds(provenance: Provenance, plan: Plan) -> Iterator[str]:
    """Notes on rounds under earlier plans: which plans, and which rounds are lacking."""
    earlier = [each for each in provenance.rounds if each.plan != plan.digest]
    if earlier:
        plans = ", ".join(sorted({each.plan[:12] for each in earlier}))
        yield f"rounds under earlier plans are not compared with the exchange: {plans}"
    lacking = sorted(set(range(1, plan.starts_with)) - {each.round_no for each in earlier})
    if lacking:
        yield f"rounds of earlier plans are not listed: {', '.join(map(str, lacking))}"


def _check_trunk(path: Path, provenance: Provenance, trail: "AuditTrail") -> list[str]:
    """Compare the last trunk with that which the partner signed in the closing round."""
    signed = trail.trunks.get(provenance.partner)
    if signed is None:
        return [f"{provenance.partner} has not signed its last trunk in the exchange"]
    if signed != provenance.trunk:
        raise WrongProvenance(f"{path}: made on trunk {provenance.trunk[:12]}, but its partner signed {signed[:12]}")
    return []


def _other_files(folder: Path) -> Iterator[str]:
    """A note on files in a model's folder that neither the provenance nor an added assay lists."""
    added = {str(each.get("file")) for each in _description(folder).get("added", [])}
    others = sorted(path.name for path in folder.iterdir() if path.name not in {*MODEL_FILES, *_NOT_LISTED, *added})
    if others:
        yield f"files that nothing lists, not checked: {', '.join(others)}"


def _added(description: dict[str, Any]) -> list[str]:
    return [str(each.get("input_assay_id")) for each in description.get("added", [])]


def _description(folder: Path) -> dict[str, Any]:
    path = folder / _DESCRIPTION
    try:
        description = json.loads(read_plain(path, _MOST_DESCRIPTION))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({type(error).__name__}), expected a model's") from error
    if not isinstance(description, dict) or not all(_is_task_list(description.get(key, [])) for key in _LISTS):
        raise ConfigError(f"{path}: found something else, expected the description of a model")
    return description


def _is_task_list(value: object) -> bool:
    """Whether a value of model.json is a list of objects whose assays are texts."""
    return isinstance(value, list) and all(
        isinstance(each, dict) and isinstance(each.get("input_assay_id", ""), str) for each in value
    )


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, MAX_BYTES)
    except FileNotFoundError:
        error = ConfigError(f"{path}: no such file: an earlier version of hocket wrote this model")
        error.add_note("remove the model's folder; `hocket predict` makes it again, and signs it")
        raise error from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
