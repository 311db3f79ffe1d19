"""Say what a file of hocket's is, without a key; nothing secret is shown, and nothing is proved."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from secure.ciphertexts.parameters import SealParameters, SealSettings, seal_parameters
from secure.encoding.json_fields import parse_document
from secure.errors import BadKeyFile, ParameterMismatch, SecureError, UnknownFile
from secure.keys import encrypted_files as locked
from secure.keys import group, pairing
from secure.keys.envelopes import MAX_BYTES, parse_envelopes
from secure.keys.keys import parse_card
from secure.messages.messages import FORMAT, manifest_digest, parse_manifest, utc
from secure.sealing.container import ChunkReader, Header, read_chunks

_ARROW = b"\xff\xff\xff\xff"
_HIDDEN = "hidden"


def inspect_file(path: Path) -> dict[str, object]:
    """What the file says of itself: "what" (the kind of file), "size" in bytes, and its public fields.

    Raises UnknownFile for what is no file of this folder, and the error of its kind for a damaged one.
    """
    if not path.is_file():
        raise UnknownFile(f"{path.name}: not a plain file")
    try:
        with path.open("rb") as file:
            start, size = file.read(MAX_BYTES), path.stat().st_size
    except OSError as error:
        raise UnknownFile(f"{path.name}: cannot be read ({error.strerror})") from error
    return {**_describe(path, start), "size": size}


def _describe(path: Path, start: bytes) -> dict[str, object]:
    if start.startswith(_ARROW):
        return _sealed(path)
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
    found = document.get("format") if isinstance(document, dict) else None
    if found == FORMAT:
        manifest = parse_manifest(data, where)
        fields = manifest.unsigned() | {"time": utc(manifest.time)}
        named = {"digest": manifest_digest(data), "signature": "not checked"}
        return {"what": f"manifest: {manifest.kind}", **fields, **named}
    if found in ("hocket.deal", "hocket.pairing"):
        binding, envelopes = parse_envelopes(data, where)
        described = {"plan": binding.plan, "sender": binding.sender, "group": binding.group}
        return {"what": f"payload: {binding.purpose}", **described, "envelopes": sorted(envelopes)}
    if found == locked.FORMAT:
        document = parse_document(data, locked.KEYS, where, BadKeyFile)
        name, role = locked.describe(document, where)
        is_locked = document["lock"] is not None
        return {"what": "private keys", "name": name, "role": role, "passphrase": is_locked, "content": _HIDDEN}
    if found == locked.FORMAT_OF_OTHERS:
        what = parse_document(data, locked.KEYS_OF_OTHERS, where, BadKeyFile)["what"]
        if what in (group.WHAT, pairing.WHAT):
            return {"what": what, "locked": "with its member's private keys", "content": _HIDDEN}
    raise _unknown(where)


def _sealed(path: Path) -> dict[str, object]:
    """What the header says, once the whole file is laid out as it says."""
    with read_chunks(path) as reader:
        reader.expect_shape(_parameters(reader.header.parameters, path.name))
        for _ in reader:  # refuses what the writer would not have written
            pass
        return {"what": reader.header.kind, **_header_fields(reader.header), **_measured(reader)}


def _parameters(described: Mapping[str, object], where: str) -> SealParameters:
    """The parameters that a header describes; raises ParameterMismatch where no plan's settings lead to them."""
    settings: dict[str, Any] = {key: described.get(key) for key in ("bits", "max_partners", "max_weight")}
    if all(type(value) is int for value in settings.values()):
        with suppress(ValueError, ParameterMismatch):
            parameters = seal_parameters(SealSettings(weights="size", **settings))
            if parameters.to_dict() == described:
                return parameters
    raise ParameterMismatch(f"{where}: sealed with {described}, to which no plan's settings lead")


def _measured(reader: ChunkReader) -> dict[str, object]:
    """Facts of a file that was read to its end."""
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
    error.add_note("plans, configurations and prepared data are shown by the other parts of `hocket inspect`")
    return error
