"""Say what a file of hocket's is, without a key; nothing secret is shown, and nothing is proved."""

import json
from pathlib import Path

from secure import locked, pairing
from secure.container import ChunkReader, read_chunks
from secure.encoding import parse_document
from secure.envelopes import MAX_BYTES, parse_envelopes
from secure.errors import BadKeyFile, SecureError, UnknownFile
from secure.group import MAGIC
from secure.keys import card_fields, parse_card
from secure.messages import FORMAT, parse_manifest

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
    if start.startswith(MAGIC):
        return {"what": "group secret", "content": _HIDDEN}
    if start.startswith(b"{"):
        return _json(start, path.name)
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        raise _unknown(path.name) from error
    if "signing" not in text:
        raise _unknown(path.name)
    card = card_fields(parse_card(text, path.name))
    return {"what": "card", **card, "signature": "by its own key: right"}


def _json(data: bytes, where: str) -> dict[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unknown(where) from error
    found = document.get("format") if isinstance(document, dict) else None
    if found == FORMAT:
        fields = parse_manifest(data, where).unsigned()
        return {"what": f"manifest: {fields['kind']}", **fields, "signature": "not checked"}
    if found in ("hocket.deal", "hocket.pairing"):
        binding, envelopes = parse_envelopes(data, where)
        described = {"plan": binding.plan, "sender": binding.sender, "group": binding.group}
        return {"what": f"payload: {binding.purpose}", **described, "envelopes": sorted(envelopes)}
    if found == locked.FORMAT:
        document = parse_document(data, locked.KEYS, where, BadKeyFile)
        name, role = locked.describe(document, where)
        is_locked = document["lock"] is not None
        return {"what": "private keys", "name": name, "role": role, "passphrase": is_locked, "content": _HIDDEN}
    if found == pairing.FORMAT:
        seeds = pairing.PairSeeds.from_bytes(data, where)
        return {"what": "pair seeds", "name": seeds.me, "others": list(seeds.others), "content": _HIDDEN}
    raise _unknown(where)


def _sealed(path: Path) -> dict[str, object]:
    with read_chunks(path) as reader:
        return {"what": reader.header.kind, **_header_fields(reader)}


def _header_fields(reader: ChunkReader) -> dict[str, object]:
    header = reader.header
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
