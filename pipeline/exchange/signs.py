"""Signs: each member's latest sign of life and of trouble, which only that member replaces; FORMAT.md, section 5.

They inform people. No step of the protocol depends on them, and the exchange can hold back or restore one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
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
_KINDS = sorted(SIGNS)
_ANY_ERROR = 1  # exit code of a trouble that is withdrawn when it is posted


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

    @property
    def kind(self) -> str:
        """The kind of its message."""
        return "alive" if self.exit_code is None else "trouble"

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
        return _newest(self._read(kind, sender) for kind in _KINDS)

    def latest_valid(self, sender: str) -> tuple[Sign | None, dict[str, SecureError]]:
        """A member's newer valid sign, None if it has none, and what is wrong with its other files, by kind."""
        signs, errors = [], {}
        for kind in _KINDS:
            try:
                signs.append(self._read(kind, sender))
            except SecureError as error:
                errors[kind] = error
        return _newest(signs), errors

    def post(self, keys: PrivateKeys, sign: Sign) -> Sign:
        """Replace this member's sign of the same kind; returns what was posted, whose time is later than all before.

        A wrong file of the other kind is replaced too, by a sign that the posted one withdraws.
        """
        before, wrong = self.latest_valid(keys.name)
        least = 1 if before is None else before.time + 1
        other = replace(sign, time=max(sign.time - 1, least), exit_code=_ANY_ERROR if sign.exit_code is None else None)
        if other.kind in wrong:
            self._put(keys, other)
            least = other.time + 1
        posted = replace(sign, time=max(sign.time, least))
        self._put(keys, posted)
        return posted

    def _put(self, keys: PrivateKeys, sign: Sign) -> None:
        name = sign_name(sign.kind, keys.name)
        data = sign_manifest(
            keys, kind=name.kind, plan=self._plan.digest, round_no=0, attempt=0, time=sign.time, body=sign.body()
        )
        self._exchange.replace(data, name.manifest)

    def _read(self, kind: str, sender: str) -> Sign | None:
        name = sign_name(kind, sender)
        data = self._exchange.read(name.manifest)
        if data is None:
            return None
        expected = Expected(kind=name.kind, plan=self._plan.digest, round_no=0, attempt=0)
        where = self._exchange.where(name.manifest)
        return Sign.of(verify_manifest(data, self._plan.cards[name.sender], expected, where))


def _newest(signs: Iterable[Sign | None]) -> Sign | None:
    return max((sign for sign in signs if sign is not None), key=lambda sign: sign.time, default=None)
