"""Signs: each member's latest sign of life and of trouble, which only that member replaces; FORMAT.md, section 5.

They inform people. No step of the protocol depends on them, and the exchange can hold back or restore one.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from pipeline.exchange.storage import Exchange
from pipeline.plan.plan import Plan
from secure.errors import SecureError
from secure.keys.keys import PrivateKeys
from secure.messages.message_name import MessageName
from secure.messages.message_schemas import SIGNS
from secure.messages.messages import Expected, Manifest, sign_manifest, utc, verify_manifest

ALIVE_S = 600.0  # longest time between two signs of life of a run that works or waits
SILENT_S = 3 * ALIVE_S  # a member whose last sign is older counts as silent
FINISHED = "finished"  # step of a member's last sign of life


@dataclass(frozen=True, slots=True)
class Sign:
    """Where a member's run was at some time, or where it ended with an error."""

    time: int  # of signing, seconds since 1970 by the sender's clock
    round_no: int  # with attempt 0: outside the rounds
    attempt: int
    step: str  # training, waiting, ...
    exit_code: int | None = None  # of the run that ended; None while it goes on

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """The sign that a verified manifest holds."""
        code = manifest.count("exit_code") if manifest.kind == "trouble" else None
        return cls(manifest.time, manifest.count("round"), manifest.count("attempt"), manifest.text("step"), code)

    def body(self) -> dict[str, object]:
        """The body of the sign's manifest."""
        place: dict[str, object] = {"round": self.round_no, "attempt": self.attempt, "step": self.step}
        return place if self.exit_code is None else {**place, "exit_code": self.exit_code}

    def is_same_trouble(self, other: "Sign | None") -> bool:
        """Whether both are the same trouble, perhaps at different times."""
        return other is not None and self.exit_code is not None and self.body() == other.body()


def trouble_text(name: str, trouble: Sign) -> str:
    """A member's trouble in words: exit code, step and time, nothing of the error's text."""
    place = f" of round {trouble.round_no}, attempt {trouble.attempt}" if trouble.attempt else ""
    return f"{name} ended with exit code {trouble.exit_code} in step {trouble.step}{place}, since {utc(trouble.time)}"


def sign_name(kind: str, sender: str) -> MessageName:
    """Name of a member's sign of life ("alive") or trouble."""
    return MessageName(kind, 0, 0, sender)


class SignBoard:
    """The signs of a plan's members in an exchange."""

    def __init__(self, plan: Plan, exchange: Exchange) -> None:
        self._plan, self._exchange = plan, exchange

    def latest(self, sender: str) -> Sign | None:
        """A member's newer sign, None if it has left none. Raises secure.errors.SecureError for a wrong one."""
        return max(self._all(sender), key=lambda sign: sign.time, default=None)

    def post(self, keys: PrivateKeys, sign: Sign) -> Sign:
        """Replace this member's sign of the same kind; returns what was posted, whose time is later than all before."""
        before = 0
        with suppress(SecureError):  # a wrong sign under this name is replaced
            before = max((earlier.time for earlier in self._all(keys.name)), default=0)
        name = sign_name("alive" if sign.exit_code is None else "trouble", keys.name)
        time = max(sign.time, before + 1)
        data = sign_manifest(
            keys, kind=name.kind, plan=self._plan.digest, round_no=0, attempt=0, time=time, body=sign.body()
        )
        self._exchange.replace(data, name.manifest)
        return Sign(time, sign.round_no, sign.attempt, sign.step, sign.exit_code)

    def _all(self, sender: str) -> list[Sign]:
        signs = (self._read(sign_name(kind, sender)) for kind in sorted(SIGNS))
        return [sign for sign in signs if sign is not None]

    def _read(self, name: MessageName) -> Sign | None:
        data = self._exchange.read(name.manifest)
        if data is None:
            return None
        expected = Expected(kind=name.kind, plan=self._plan.digest, round_no=0, attempt=0)
        where = self._exchange.where(name.manifest)
        return Sign.of(verify_manifest(data, self._plan.cards[name.sender], expected, where))
