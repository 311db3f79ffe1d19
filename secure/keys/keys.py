"""A member's private keys, and its card with the public keys, which goes into the plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

from secure.encoding.canonical import canonical_json, digest
from secure.encoding.derive import derive_key, uniform_numbers
from secure.encoding.json_fields import expect_keys, from_base64, is_name, to_base64
from secure.encoding.limited_toml import parse_toml
from secure.errors import BadCard, BadKeyFile, BadSignature, WrongKey
from secure.files import (
    TooLarge,
    atomic_file,
    forbid_core_dumps,
    make_private_folder,
    read_plain,
    read_secret,
    write_secret,
)
from secure.keys.encrypted_files import lock, lock_with_key, unlock, unlock_with_key

Role = Literal["partner", "aggregator"]

KEY_FILE = "private.key"
SIGNING_BYTES = 32
SIGNATURE_BYTES = 64
_MLKEM_PUBLIC, _MLKEM_SEED, _X25519 = 1184, 64, 32
AGREEMENT_BYTES = _MLKEM_PUBLIC + _X25519
_CHANCE_BITS = 53  # of a float64
# Every encoding, without the sign bit, of a point of small order (as libsodium's ge25519_has_small_order has them):
# under such a key the same 64 bytes are a signature of every message
_SMALL_ORDER = {
    bytes.fromhex(point)
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
}
MAX_CARD_BYTES = 1 << 14  # of a card's file
_CARD_DOMAIN = b"hocket/card/v1\0"
_CARD_KEYS = {"name", "role", "signing", "signature"}


@dataclass(frozen=True, slots=True)
class Card:
    """A member's public keys, signed by the member; raises BadCard if the signature or a key is wrong."""

    name: str
    role: Role
    signing: bytes  # Ed25519 public key
    agreement: bytes | None  # ML-KEM-768 public key, then X25519 public key; only partners have one
    signature: bytes  # over the other fields, by `signing`

    def __post_init__(self) -> None:
        _check_card(self)

    def to_text(self) -> str:
        """Return TOML lines, as they stand in a [[card]] table of plan.toml."""
        fields = card_fields(self)
        return "".join(f'{key} = "{fields[key]}"\n' for key in _in_order(fields))

    @property
    def fingerprint(self) -> str:
        """The first 128 bits of the SHA-256 of the signed bytes, to compare a card outside of hocket (by telephone)."""
        text = digest(_card_message(_unsigned(self.name, self.role, self.signing, self.agreement)))
        return " ".join(text[start : start + 4] for start in range(0, 32, 4))

    def agreement_key(self) -> MLKEM768X25519PublicKey:
        """Return the HPKE public key; raises BadCard if this card has none."""
        if self.agreement is None:
            raise BadCard(f"card of {self.name}: an {self.role} has no agreement key, expected a partner's card")
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(self.agreement[:_MLKEM_PUBLIC])
            x25519 = X25519PublicKey.from_public_bytes(self.agreement[_MLKEM_PUBLIC:])
            X25519PrivateKey.from_private_bytes(bytes(_X25519)).exchange(x25519)  # refuses points of small order
        except ValueError as error:
            raise BadCard(f"card of {self.name}: the agreement key is no ML-KEM-768 and X25519 key") from error
        return MLKEM768X25519PublicKey(mlkem, x25519)

    def verify(self, signature: bytes, message: bytes, where: str) -> None:
        """Raise BadSignature unless this member signed `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.signing).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise BadSignature(f"{where}: not signed by {self.name}") from error


def card_fields(card: Card) -> dict[str, str]:
    """Return the card as text fields: name, role, signing, agreement (partners only), signature."""
    return _unsigned(card.name, card.role, card.signing, card.agreement) | {"signature": to_base64(card.signature)}


def read_card(path: Path) -> Card:
    """Read a card's file. Raises what `parse_card` raises, UnicodeDecodeError and OSError."""
    try:
        content = read_plain(path, MAX_CARD_BYTES)
    except TooLarge as error:
        raise BadCard(f"{path}: {error.strerror}, expected a card") from error
    return parse_card(content.decode("utf-8-sig"), str(path))


def parse_card(text: str, where: str) -> Card:
    """Read a card from its TOML text; raises BadCard unless the text is exactly a card."""
    if len(text) > MAX_CARD_BYTES:
        raise BadCard(f"{where}: found a text of {len(text)} characters, expected a card of at most {MAX_CARD_BYTES}")
    try:
        fields = parse_toml(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise BadCard(f"{where}: not TOML ({error}), expected a card") from error
    return card_from_fields(fields, where)


def card_from_fields(fields: Mapping[str, object], where: str) -> Card:
    """Make a card from text fields, for example a [[card]] table of the plan; raises BadCard."""
    role = fields.get("role")
    keys = _CARD_KEYS | ({"agreement"} if role == "partner" else set())
    values = expect_keys(fields, keys, where, BadCard)
    if not is_name(values["name"]):
        raise BadCard(f"{where}: name = {values['name']!r}, expected 1 to 32 of A-Z a-z 0-9 _ -")
    if role not in ("partner", "aggregator"):  # a tuple: a value from a file may be unhashable
        raise BadCard(f"{where}: role = {role!r}, expected partner or aggregator")
    has_agreement = role == "partner"
    return Card(
        name=str(values["name"]),
        role="partner" if has_agreement else "aggregator",
        signing=from_base64(values["signing"], SIGNING_BYTES, f"{where}: signing", BadCard),
        agreement=_agreement(values["agreement"], where) if has_agreement else None,
        signature=from_base64(values["signature"], SIGNATURE_BYTES, f"{where}: signature", BadCard),
    )


class PrivateKeys:
    """A member's signing key and, for a partner, its agreement keys; never shown."""

    __slots__ = ("_mlkem", "_signing", "_x25519", "name", "role")

    def __init__(self, name: str, role: Role, secret: bytes) -> None:
        if not is_name(name):
            raise BadKeyFile(f"name = {name!r}, expected 1 to 32 of A-Z a-z 0-9 _ -")
        expected = SIGNING_BYTES + (_MLKEM_SEED + _X25519 if role == "partner" else 0)
        if len(secret) != expected:
            raise BadKeyFile(f"private keys of {name}: {len(secret)} bytes, expected {expected} for a {role}")
        self.name = name
        self.role = role
        self._signing = Ed25519PrivateKey.from_private_bytes(secret[:SIGNING_BYTES])
        mlkem, x25519 = secret[SIGNING_BYTES:-_X25519], secret[-_X25519:]
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(mlkem) if role == "partner" else None
        self._x25519 = X25519PrivateKey.from_private_bytes(x25519) if role == "partner" else None

    @classmethod
    def generate(cls, name: str, role: Role) -> Self:
        """Make new keys from the operating system's randomness; from then on a crash leaves no core dump."""
        forbid_core_dumps()
        secret = Ed25519PrivateKey.generate().private_bytes_raw()
        if role == "partner":
            secret += (
                MLKEM768PrivateKey.generate().private_bytes_raw() + X25519PrivateKey.generate().private_bytes_raw()
            )
        return cls(name, role, secret)

    def card(self) -> Card:
        """Return the card: the public keys, signed."""
        signing, agreement = self._signing.public_key().public_bytes_raw(), None
        if self._mlkem and self._x25519:
            agreement = self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()
        signature = self._signing.sign(_card_message(_unsigned(self.name, self.role, signing, agreement)))
        return Card(self.name, self.role, signing, agreement, signature)

    def expect_card(self, card: Card, where: str) -> None:
        """Raise WrongKey unless these are the private keys of `card`."""
        mine = self.card()
        if (mine.name, mine.role, mine.signing, mine.agreement) != (card.name, card.role, card.signing, card.agreement):
            error = WrongKey(f"{where}: the keys of {self.name} ({self.role}) do not belong to the card of {card.name}")
            error.add_note("use the home with the keys of that card, or put this member's card into the plan")
            raise error

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature (64 bytes) of a domain-separated message."""
        return self._signing.sign(message)

    def agreement_key(self) -> MLKEM768X25519PrivateKey:
        """Return the HPKE private key; raises WrongKey for an aggregator, which has none."""
        if not self._mlkem or not self._x25519:
            raise WrongKey(f"{self.name} is an {self.role} and has no agreement key, expected a partner")
        return MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    def chance(self, federation_id: str) -> int:
        """A number of 256 bits that only this member can know, the same at every call for one federation."""
        derived = derive_key(self._secret(), "hocket/chance/v1", {"federation": federation_id})
        return int.from_bytes(derived, "big")

    def save(self, folder: Path, passphrase: str | None = None) -> Path:
        """Write a new file private.key of mode 0600 into `folder` (created with mode 0700) and return its path.

        With a passphrase the file is encrypted (scrypt, AES-256-GCM). Raises KeyFileExists, never overwrites.
        """
        make_private_folder(folder)
        path = folder / KEY_FILE
        write_secret(path, lock(self._secret(), self.name, self.role, passphrase))
        return path

    def lock(self, secret: bytes, what: str) -> bytes:
        """Return the bytes of a file that only these keys unlock; `what` names the secret in it."""
        return lock_with_key(secret, what, self._file_key())

    def unlock(self, data: bytes, what: str, where: str) -> bytes:
        """Return the secret in a file that `lock` made; raises BadKeyFile or WrongKey."""
        return unlock_with_key(data, what, self._file_key(), where)

    def seed(self, purpose: str, context: Mapping[str, object]) -> bytes:
        """Return 32 bytes for a draw that nobody without these keys can repeat; the same each time."""
        return derive_key(self._secret(), purpose, dict(context))

    def uniform_numbers(self, purpose: str, context: dict[str, object], n: int) -> np.ndarray:
        """Return n numbers (float64, uniform in [0, 1)) that only the holder of these keys can repeat.

        Every other purpose or context gives other numbers.
        """
        key = derive_key(self._secret(), purpose, context)
        return np.asarray(uniform_numbers(key, 0, n, 1 << _CHANCE_BITS) * 2.0**-_CHANCE_BITS)

    def _file_key(self) -> bytes:
        return derive_key(self._secret(), "hocket/home/v1", {"name": self.name})

    def _secret(self) -> bytes:
        secret = self._signing.private_bytes_raw()
        if self._mlkem and self._x25519:
            secret += self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()
        return secret

    def __repr__(self) -> str:
        return f"PrivateKeys({self.name}, {self.role}, hidden)"

    def __reduce__(self) -> str:
        raise TypeError("private keys are not pickled")


def load_private_keys(folder: Path, passphrase: str | None = None, card: Card | None = None) -> PrivateKeys:
    """Read what PrivateKeys.save wrote; with `card`, refuse keys of any other card.

    From then on a crash of this process leaves no core dump. Raises BadKeyFile (damaged, or readable by others),
    WrongPassphrase, WrongKey.
    """
    forbid_core_dumps()
    path = folder / KEY_FILE
    name, role, secret = unlock(read_secret(path), passphrase, str(path))
    keys = PrivateKeys(name, "partner" if role == "partner" else "aggregator", secret)
    if card is not None:
        keys.expect_card(card, str(path))
    return keys


def change_passphrase(folder: Path, old: str | None, new: str | None) -> PrivateKeys:
    """Replace private.key by a file under another passphrase (None: not encrypted).

    Raises what load_private_keys raises; the old file then stays unchanged.
    """
    keys = load_private_keys(folder, old)
    with atomic_file(folder / KEY_FILE, 0o600) as file:
        file.write(lock(keys._secret(), keys.name, keys.role, new))  # noqa: SLF001 -- of this module
    return keys


def _check_card(card: Card) -> None:
    where = f"card of {card.name}"
    if not is_name(card.name) or card.role not in ("partner", "aggregator"):
        raise BadCard(f"{where}: name or role {card.role!r} is not as expected")
    if (card.agreement is not None) != (card.role == "partner"):
        raise BadCard(f"{where}: a partner has an agreement key and an aggregator none")
    if card.signing[:-1] + bytes([card.signing[-1] & 0x7F]) in _SMALL_ORDER:
        raise BadCard(f"{where}: the signing key is a point of small order: anybody could sign for {card.name}")
    message = _card_message(_unsigned(card.name, card.role, card.signing, card.agreement))
    try:
        card.verify(card.signature, message, where)
    except BadSignature as error:
        raise BadCard(f"{where}: not signed by its own key") from error
    if card.agreement is not None:
        card.agreement_key()


def _agreement(text: object, where: str) -> bytes:
    return from_base64(text, AGREEMENT_BYTES, f"{where}: agreement", BadCard)


def _unsigned(name: str, role: str, signing: bytes, agreement: bytes | None) -> dict[str, str]:
    fields = {"name": name, "role": role, "signing": to_base64(signing)}
    return fields if agreement is None else fields | {"agreement": to_base64(agreement)}


def _in_order(fields: Mapping[str, str]) -> list[str]:
    return [key for key in ("name", "role", "signing", "agreement", "signature") if key in fields]


def _card_message(fields: Mapping[str, str]) -> bytes:
    return _CARD_DOMAIN + canonical_json(dict(fields))
