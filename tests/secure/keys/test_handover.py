"""A handover reaches those who join, and nobody else; whatever is changed on the way is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from secure.errors import BadEnvelope, SecureError, WrongPlan, WrongSender
from secure.inspect import inspect_file
from secure.keys import handover
from secure.keys.envelopes import HPKE_BYTES
from secure.keys.handover import check_handover, most_handover_bytes, open_handover, seal_handover
from secure.keys.keys import PrivateKeys

PLAN, STATE, PIECE = "ab" * 32, "cd" * 32, 1000
ASH, BIRCH, CEDAR = (PrivateKeys.generate(name, "partner") for name in ("ash", "birch", "cedar"))
CONTENT = bytes(range(256)) * 10  # two pieces and a half


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_PIECE", PIECE)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Ash's handover of a state to birch and cedar."""
    (tmp_path / "state").write_bytes(CONTENT)
    cards = {keys.name: keys.card() for keys in (BIRCH, CEDAR)}
    seal_handover(tmp_path / "state", STATE, PLAN, "ash", cards, tmp_path / "sealed")
    return tmp_path / "sealed"


def opened(sealed: Path, me: PrivateKeys = BIRCH, plan: str = PLAN, sender: str = "ash") -> bytes:
    """The state that a partner reads."""
    assert open_handover(sealed, plan, sender, me, sealed.with_name("clear")) == STATE
    return sealed.with_name("clear").read_bytes()


def test_each_receiver_reads_the_state(sealed: Path) -> None:
    """Whole; its size is known beforehand."""
    assert opened(sealed) == opened(sealed, CEDAR) == CONTENT
    assert sealed.stat().st_size <= most_handover_bytes(2, len(CONTENT))
    assert CONTENT[:64] not in sealed.read_bytes()


def test_nobody_else_does(sealed: Path) -> None:
    """The sender neither, and no one with other keys of a receiver's name."""
    for keys in (ASH, PrivateKeys.generate("birch", "partner")):
        with pytest.raises(BadEnvelope):
            opened(sealed, keys)


def test_it_is_bound_to_plan_and_sender(sealed: Path) -> None:
    """Another plan's or sender's is refused by name."""
    with pytest.raises(WrongPlan):
        opened(sealed, plan="ef" * 32)
    with pytest.raises(WrongSender):
        opened(sealed, sender="cedar")


def _swapped(data: bytes) -> bytes:
    """The first two pieces in each other's place."""
    begin, size = len(data) - 2 * (len(CONTENT) + 3 * HPKE_BYTES), PIECE + HPKE_BYTES
    return data[:begin] + data[begin + size : begin + 2 * size] + data[begin : begin + size] + data[begin + 2 * size :]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"x" + data[1:],
        lambda data: data[:30],
        lambda data: data.replace(b"cdcd", b"cdce", 1),
        lambda data: data.replace(b'"size":2560', b'"size":2559', 1),
        lambda data: data[:-2000] + bytes([data[-2000] ^ 1]) + data[-1999:],
        lambda data: data[: len(handover.MAGIC)] + b"\xff\xff\xff\x7f" + data[len(handover.MAGIC) + 4 :],
        _swapped,
    ],
)
def test_a_changed_file_is_refused(sealed: Path, change: Callable[[bytes], bytes]) -> None:
    """Cut, longer, another first line, header or state, a flipped bit, pieces in another order."""
    before = sealed.read_bytes()
    sealed.write_bytes(change(before))
    assert sealed.read_bytes() != before
    with pytest.raises(SecureError):
        assert opened(sealed, BIRCH) + opened(sealed, CEDAR)


def test_an_auditor_checks_who_it_is_for(sealed: Path) -> None:
    """Without a key: plan, sender, state, receivers and size."""
    check_handover(sealed, PLAN, "ash", STATE, ("birch", "cedar"), "here")
    for state, receivers in (("ef" * 32, ("birch", "cedar")), (STATE, ("birch",))):
        with pytest.raises(BadEnvelope):
            check_handover(sealed, PLAN, "ash", state, receivers, "here")
    assert inspect_file(sealed)["receivers"] == ("birch", "cedar")
