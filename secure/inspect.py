"""Describe a file of this folder without a key; shows no secret and verifies no signature but a card's."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secure.ciphertexts.parameters import SealParameters, SealSettings, seal_parameters
from secure.encoding.json_fields import parse_document
from secure.errors import BadKeyFile, ParameterMismatch, SecureError, UnknownFile
from secure.keys import encrypted_files, group, pairing
from secure.keys.envelopes import MAX_BYTES, parse_envelopes
from secure.keys.handover import HANDOVER, MAGIC, Handover
from secure.keys.keys import parse_card
from secure.messages import provenance
from secure.messages.messages import FORMAT, manifest_digest, parse_manifest, utc
from secure.sealing import release
from secure.sealing.container import ChunkReader, Header, read_chunks

_ARROW = b"\xff\xff\xff\xff"
_HIDDEN = "hidden"


def inspect_file(path: Path) -> dict[str, object]:
    """Return the file's kind ("what"), "size" in bytes and public fields; these are its claims, not proved.

    Raises UnknownFile for a file of another format, and for a damaged file the error of its kind.
    """
    if not path.is_file():
        raise UnknownFile(f"{path.name}: not a plain file")
    try:
        with path.open("rb") as file:
            start, size = file.read(MAX_BYTES), path.stat().st_size
    except OSError as error:
        raise UnknownFile(f"{path.name}: cannot be read ({error.strerror})") from error
    return {**_fields(path, start), "size": size}


def _fields(path: Path, start: bytes) -> dict[str, object]:
    if start.startswith(_ARROW):
        return _sealed(path)
    if start.startswith(MAGIC):
        with path.open("rb") as file:
            return {"what": f"payload: {HANDOVER}"} | asdict(Handover.read_start(file, path.name))
    if start.startswith(b"{"):
        return _json(start, path.name)
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        raise _unknown(path.name) from error
    if "signing" not in text:
        raise _unknown(path.name)
    card = parse_card(text, path.name)
    about = {"name": card.name, "role": card.role, "fingerprint": card.fingerprint}
    return {"what": "card", **about, "signature": "by its own key: right"}


def _json(data: bytes, where: str) -> dict[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unknown(where) from error
    file_format = document.get("format") if isinstance(document, dict) else None
    if file_format == FORMAT:
        manifest = parse_manifest(data, where)
        fields = manifest.unsigned() | {"time": utc(manifest.time)}
        digest_fields = {"digest": manifest_digest(data), "signature": "not checked"}
        return {"what": f"manifest: {manifest.kind}", **fields, **digest_fields}
    if file_format in ("hocket.deal", "hocket.pairing"):
        binding, envelopes = parse_envelopes(data, where)
        described = {"plan": binding.plan, "sender": binding.sender, "group": binding.group}
        return {"what": f"payload: {binding.purpose}", **described, "envelopes": sorted(envelopes)}
    if file_format == provenance.FORMAT:
        return _provenance(data, where)
    if file_format == encrypted_files.FORMAT:
        document = parse_document(data, encrypted_files.KEYS, where, BadKeyFile)
        name, role = encrypted_files.describe(document, where)
        is_locked = document["lock"] is not None
        return {"what": "private keys", "name": name, "role": role, "passphrase": is_locked, "content": _HIDDEN}
    if file_format == encrypted_files.FORMAT_OF_OTHERS:
        what = parse_document(data, encrypted_files.KEYS_OF_OTHERS, where, BadKeyFile)["what"]
        if what in (group.WHAT, pairing.WHAT, release.WHAT):
            return {"what": what, "locked": "with its member's private keys", "content": _HIDDEN}
    raise _unknown(where)


def _provenance(data: bytes, where: str) -> dict[str, object]:
    """Return what a model was made of; the digests of its tables are private."""
    found = provenance.parse_provenance(data, where)
    rounds = [each.round_no for each in found.rounds]
    return {
        "what": "provenance of a partner's finished model (private)",
        "partner": found.partner,
        "plan": found.plan,
        "trunk": found.trunk,
        "members": dict(found.members),
        "rounds": f"{len(rounds)}, the last is {rounds[-1]}" if rounds else "none",
        "data": dict(found.data),
        "hocket": found.version,
        "sources": found.sources,
        "libraries": dict(found.libraries),
        "signature": "not checked",
    }


def _sealed(path: Path) -> dict[str, object]:
    """Return the fields of the header, after checking that the whole file has the layout it states."""
    with read_chunks(path) as reader:
        reader.expect_shape(_parameters(reader.header.parameters, path.name))
        for _ in reader:  # raises if the file is not what the writer writes
            pass
        return {"what": reader.header.kind, **_header_fields(reader.header), **_size_fields(reader)}


def _parameters(described: Mapping[str, object], where: str) -> SealParameters:
    """Return the parameters that a header describes; raises ParameterMismatch if no plan's settings give them."""
    settings: dict[str, Any] = {key: described.get(key) for key in ("bits", "max_partners", "max_weight")}
    if all(type(value) is int for value in settings.values()):
        with suppress(ValueError, ParameterMismatch):
            parameters = seal_parameters(SealSettings(weights="size", **settings))
            if parameters.to_dict() == described:
                return parameters
    raise ParameterMismatch(f"{where}: sealed with {described}, expected parameters that some plan's settings give")


def _size_fields(reader: ChunkReader) -> dict[str, object]:
    """Return digest and size per parameter of a file that was read to its end."""
    digest = reader.digest()
    return {"sha256": digest.sha256, "bytes_per_parameter": round(digest.size / reader.header.n_params, 3)}


def _header_fields(header: Header) -> dict[str, object]:
    return {
        "plan": header.plan,
        "round": header.round_no,
        "attempt": header.attempt,
        "roster": header.roster,
        "members": list(header.members),
        "n_params": header.n_params,
        "parameters": header.parameters,
    }


def _unknown(where: str) -> SecureError:
    error = UnknownFile(f"{where}: no card, key, manifest, payload or sealed file of hocket")
    error.add_note("`hocket inspect` describes the files that hocket writes, not tables such as T0, T1 and T2")
    return error
