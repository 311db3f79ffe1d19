"""Files with secrets, encrypted with AES-256-GCM: private keys by a passphrase (scrypt), others by the private keys.

Private keys without a passphrase are not encrypted, so the other files are not protected by encryption either: then
only mode 0600 protects them.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from secure.encoding.canonical import canonical_json
from secure.encoding.json_fields import expect_keys, from_base64, is_name, parse_document, to_base64
from secure.errors import BadKeyFile, WrongKey, WrongPassphrase

FORMAT = "hocket.private-keys"
KEYS = {"format", "version", "name", "role", "lock", "secret"}
FORMAT_OF_OTHERS = "hocket.locked"
KEYS_OF_OTHERS = {"format", "version", "what", "nonce", "secret"}
_LOG2_N, _R, _P = 16, 8, 1  # scrypt: 64 MiB; fixed, so that a file cannot ask for more
_SALT, _NONCE = 16, 12


def lock(secret: bytes, name: str, role: str, passphrase: str | None) -> bytes:
    """Return the bytes of a key file, encrypted if there is a passphrase."""
    document: dict[str, object] = {"format": FORMAT, "version": 1, "name": name, "role": role, "lock": None}
    if passphrase is None:
        return canonical_json(document | {"secret": to_base64(secret)})
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    document["lock"] = {"salt": to_base64(salt), "nonce": to_base64(nonce), "kdf": _kdf_name()}
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, secret, canonical_json(document))
    return canonical_json(document | {"secret": to_base64(sealed)})


def unlock(data: bytes, passphrase: str | None, where: str) -> tuple[str, str, bytes]:
    """Return name, role and secret of a key file; raises BadKeyFile or WrongPassphrase."""
    document = parse_document(data, KEYS, where, BadKeyFile)
    name, role = describe(document, where)
    sealed = from_base64(document.pop("secret"), None, f"{where}: secret", BadKeyFile)
    if document["lock"] is None:
        if passphrase is not None:
            raise WrongPassphrase(f"{where}: has no passphrase, expected to be opened without one")
        return name, role, sealed
    lock_fields = expect_keys(document["lock"], {"salt", "nonce", "kdf"}, f"{where}: lock", BadKeyFile)
    salt = from_base64(lock_fields["salt"], _SALT, f"{where}: salt", BadKeyFile)
    nonce = from_base64(lock_fields["nonce"], _NONCE, f"{where}: nonce", BadKeyFile)
    if lock_fields["kdf"] != _kdf_name():
        raise BadKeyFile(f"{where}: locked in another way, expected {_kdf_name()}")
    if passphrase is None:
        raise WrongPassphrase(f"{where}: is locked, expected its passphrase")
    try:
        return name, role, AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, canonical_json(document))
    except InvalidTag as error:
        raise WrongPassphrase(f"{where}: the passphrase does not open it, or the file is damaged") from error


def describe(document: dict[str, object], where: str) -> tuple[str, str]:
    """Return name and role in a key file; raises BadKeyFile if it is no key file."""
    name, role = document["name"], document["role"]
    if document["format"] != FORMAT or type(document["version"]) is not int or document["version"] != 1:
        raise BadKeyFile(f"{where}: not a file of private keys, version 1")
    if not is_name(name) or role not in ("partner", "aggregator"):
        raise BadKeyFile(f"{where}: name or role is not as expected")
    return str(name), str(role)


def lock_with_key(secret: bytes, what: str, key: bytes) -> bytes:
    """Return the bytes of an encrypted file of another secret; `what` names the secret and is authenticated."""
    nonce = os.urandom(_NONCE)
    document: dict[str, object] = {"format": FORMAT_OF_OTHERS, "version": 1, "what": what, "nonce": to_base64(nonce)}
    sealed = AESGCM(key).encrypt(nonce, secret, canonical_json(document))
    return canonical_json(document | {"secret": to_base64(sealed)})


def unlock_with_key(data: bytes, what: str, key: bytes, where: str) -> bytes:
    """Return the secret that lock_with_key encrypted; raises BadKeyFile, or WrongKey (other key, or damage)."""
    document = parse_document(data, KEYS_OF_OTHERS, where, BadKeyFile)
    if (document["format"], document["version"], document["what"]) != (FORMAT_OF_OTHERS, 1, what):
        raise BadKeyFile(f"{where}: not a file of the {what}, version 1")
    sealed = from_base64(document.pop("secret"), None, f"{where}: secret", BadKeyFile)
    nonce = from_base64(document["nonce"], _NONCE, f"{where}: nonce", BadKeyFile)
    try:
        return AESGCM(key).decrypt(nonce, sealed, canonical_json(document))
    except InvalidTag as error:
        refused = WrongKey(f"{where}: locked with other private keys than this home's, or damaged")
        refused.add_note("a secret opens only with the private keys that the home had when the secret was stored")
        raise refused from error


def _kdf_name() -> str:
    return f"scrypt-{_LOG2_N}-{_R}-{_P}"


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << _LOG2_N, r=_R, p=_P).derive(passphrase.encode())
