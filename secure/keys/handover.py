"""A handover: the federation's state for partners that join later, in pieces, each in an HPKE envelope for one of them.

A piece is sealed as a deal's secret is. Plan, sender, receiver, the state's digest, its size and the piece's number are
bound through the info string, so no piece can be left out, moved or taken from another handover. The sender is proved
by the signed manifest, which holds the digest of the file.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag

from secure.encoding.canonical import canonical_json, is_digest
from secure.encoding.json_fields import is_name, parse_document
from secure.errors import BadEnvelope, WrongPlan, WrongSender
from secure.files import open_plain
from secure.keys.envelopes import HPKE_BYTES, SUITE
from secure.keys.keys import Card, PrivateKeys

HANDOVER = "hocket.handover"
MAGIC = b"hocket handover 1\n"
_LENGTH = 4  # bytes of the header's length
_MOST_HEADER = 1 << 16
_PIECE = 1 << 20  # bytes of the state in an envelope
_KEYS = {"plan", "sender", "state", "size", "receivers"}


@dataclass(frozen=True, slots=True)
class Handover:
    """What a handover says of itself, to which every piece is bound."""

    plan: str  # plan digest
    sender: str
    state: str  # digest of the state's content
    size: int  # bytes of the state's file
    receivers: tuple[str, ...]  # sorted

    @property
    def n_bytes(self) -> int:
        """Size of the whole file."""
        return len(self._start()) + len(self.receivers) * self.n_bytes_for_each

    @property
    def n_bytes_for_each(self) -> int:
        """Bytes of all pieces for one receiver."""
        return self.size + self._n_pieces * HPKE_BYTES

    @property
    def _n_pieces(self) -> int:
        return -(-self.size // _PIECE)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Number and size in bytes of each piece of the state."""
        for piece in range(self._n_pieces):
            yield piece, min(_PIECE, self.size - piece * _PIECE)

    def info(self, receiver: str, piece: int) -> bytes:
        """The HPKE info string of one piece for one receiver."""
        bound = {key: value for key, value in asdict(self).items() if key != "receivers"}
        return canonical_json([HANDOVER, 1, bound | {"receiver": receiver, "piece": piece}])

    def _start(self) -> bytes:
        header = canonical_json(asdict(self) | {"receivers": list(self.receivers)})
        return MAGIC + len(header).to_bytes(_LENGTH, "little") + header

    def write_start(self, file: BinaryIO) -> None:
        """Write magic and header."""
        file.write(self._start())

    @classmethod
    def read_start(cls, file: BinaryIO, where: str) -> Self:
        """Read magic and header; raises BadEnvelope. Proves nothing."""
        if file.read(len(MAGIC)) != MAGIC:
            raise BadEnvelope(f"{where}: not a handover, version 1")
        length = int.from_bytes(file.read(_LENGTH), "little")
        if length > _MOST_HEADER:
            raise BadEnvelope(f"{where}: a header of {length} bytes, expected at most {_MOST_HEADER}")
        fields = parse_document(file.read(length), _KEYS, where, BadEnvelope)
        plan, sender, state, size, names = (fields[key] for key in ("plan", "sender", "state", "size", "receivers"))
        if not is_digest(plan) or not is_digest(state) or not is_name(sender) or type(size) is not int or size < 1:
            raise BadEnvelope(f"{where}: plan, sender, state or size is not as expected")
        if not isinstance(names, list) or not all(map(is_name, names)) or names != sorted(set(names)) or not names:
            raise BadEnvelope(f"{where}: receivers are not as expected")
        return cls(str(plan), str(sender), str(state), size, tuple(map(str, names)))


def most_handover_bytes(n_receivers: int, state_bytes: int) -> int:
    """The most bytes that a handover of a state of at most this size can have."""
    n_pieces = -(-state_bytes // _PIECE)
    return len(MAGIC) + _LENGTH + _MOST_HEADER + n_receivers * (state_bytes + n_pieces * HPKE_BYTES)


def seal_handover(
    state_file: Path, state: str, plan_digest: str, sender: str, cards: Mapping[str, Card], output: Path
) -> None:
    """Write a handover of a state's file for the cards' members.

    state : digest of the file's content, which the manifest names
    """
    size = state_file.stat().st_size
    handover = Handover(plan_digest, sender, state, size, tuple(sorted(cards)))
    with output.open("wb") as sealed:
        handover.write_start(sealed)
        for name in handover.receivers:
            with open_plain(state_file) as clear:
                for piece, n_bytes in handover.pieces():
                    key, info = cards[name].agreement_key(), handover.info(name, piece)
                    sealed.write(SUITE.encrypt(clear.read(n_bytes), key, info))


def open_handover(payload: Path, plan_digest: str, sender: str, me: PrivateKeys, output: Path) -> str:
    """Write the state for `me` to a file, and return the digest that its content must have.

    Raises WrongPlan, WrongSender, or BadEnvelope for a file that is none, or has no pieces for these keys.
    """
    where = f"handover of {sender}"
    with open_plain(payload) as sealed, output.open("wb") as clear:
        handover = _expected(sealed, payload, plan_digest, sender, where)
        if me.name not in handover.receivers:
            raise BadEnvelope(f"{where}: nothing for {me.name}, found {', '.join(handover.receivers)}")
        sealed.seek(handover.receivers.index(me.name) * handover.n_bytes_for_each, 1)  # from here
        for piece, n_bytes in handover.pieces():
            try:
                info = handover.info(me.name, piece)
                clear.write(SUITE.decrypt(sealed.read(n_bytes + HPKE_BYTES), me.agreement_key(), info))
            except (InvalidTag, ValueError) as error:
                refused = BadEnvelope(f"{where}: piece {piece} for {me.name} was made for another key, or is damaged")
                refused.add_note("check that the card in the plan belongs to these private keys")
                raise refused from error
    return handover.state


def check_handover(
    payload: Path, plan_digest: str, sender: str, state: str, receivers: Collection[str], where: str
) -> None:
    """Check without a key that a handover has the expected binding, receivers and size.

    Raises BadEnvelope, WrongPlan, WrongSender. Only a receiver can check what is inside.
    """
    with open_plain(payload) as sealed:
        handover = _expected(sealed, payload, plan_digest, sender, where)
    if handover.state != state:
        raise BadEnvelope(f"{where}: of state {handover.state[:12]}, its manifest names {state[:12]}")
    if set(handover.receivers) != set(receivers):
        raise BadEnvelope(f"{where}: for {', '.join(handover.receivers)}, expected {', '.join(sorted(receivers))}")


def _expected(sealed: BinaryIO, payload: Path, plan_digest: str, sender: str, where: str) -> Handover:
    handover = Handover.read_start(sealed, where)
    if handover.plan != plan_digest:
        raise WrongPlan(f"{where}: made for plan {handover.plan[:12]}, expected {plan_digest[:12]}")
    if handover.sender != sender:
        raise WrongSender(f"{where}: made by {handover.sender}, expected {sender}")
    if (found := payload.stat().st_size) != handover.n_bytes:
        raise BadEnvelope(f"{where}: {found} bytes, expected {handover.n_bytes}")
    return handover
