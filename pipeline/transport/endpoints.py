"""The two ends of an engine's line: a site that answers, and the server's link to it that asks.

First each proves to the other that it is the member it should be; no message is looked at before.
"""

import secrets
from collections.abc import Callable
from typing import Any, Protocol

from pipeline.errors import BadTransfer, Equivocation, ExitCode, PipelineError, WrongSite
from pipeline.transport.sync import Correspondence, Wire
from secure.errors import (
    BadManifest,
    BadSignature,
    PayloadMismatch,
    SecureError,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRound,
    WrongSender,
)

_HELLO, _PROOF, _ENDED, _REFUSED = "hello", "proof", "ended", "refused"
_LONGEST_REASON = 2000  # characters
_ABOUT_WHAT_CAME = (  # these name messages and sites; others may name a member's own files and settings
    BadTransfer,
    WrongSite,
    Equivocation,
    BadManifest,
    BadSignature,
    WrongKind,
    WrongPlan,
    WrongRound,
    WrongAttempt,
    WrongSender,
    PayloadMismatch,
)


class Prover(Protocol):
    """Who this site is, and whether another is who it should be; see pipeline.transport.nvflare.identity.Kit."""

    def prove(self, to: str, plan: str, nonce: str) -> dict[str, Any]:
        """Sign the receiver's challenge."""

    def check(self, proof: object, *, expected: str, plan: str, nonce: str) -> None:
        """Raise WrongSite unless the proof is that of `expected`."""


class Run(Protocol):
    """A member's ordinary run; see pipeline.transport.child_process.AttachedRun."""

    def look(self) -> int | None:
        """Exit code if it has ended for good."""

    def stop(self) -> None:
        """End it where it stands."""


def refusal(error: Exception) -> Wire:
    """What a site answers that cannot go on: of what came, why; of its own settings and files, nothing."""
    if isinstance(error, _ABOUT_WHAT_CAME):
        return {_REFUSED: str(error)[:_LONGEST_REASON]}
    return {_REFUSED: f"{type(error).__name__}; this site's own log says more"}


def printable(text: str) -> str:
    """A text of a peer, in one line and without what a terminal would obey, so that it forges no line of a log."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


class SiteEndpoint:
    """Answers the aggregator's questions; its partner's run starts once the server has proved who it is and told all.

    All: what the server holds of this site's own messages is the witness that a home restored from a backup needs. A
    run that began before could seal an update again that it has forgotten.

    server : common name of the server's certificate, as this site's own startup kit says; whose messages the server
             brings is not decided by it, but by the members' signatures
    rest   : waits before an answer that would bring nothing, at most until what it is given says that there is news
    """

    def __init__(
        self,
        correspondence: Correspondence,
        prover: Prover,
        start: Callable[[], Run],
        *,
        plan: str,
        server: str,
        rest: Callable[[Callable[[], bool]], None],
    ) -> None:
        self._correspondence, self._prover, self._start = correspondence, prover, start
        self._plan, self._server, self._rest = plan, server, rest
        self._nonce: str | None = None
        self._is_trusted = False
        self._run: Run | None = None
        self._ended: int | None = None  # as the server was told

    def answer(self, request: object) -> Wire:
        """Take what came and say what is new.

        Raises WrongSite for another server than the kit's, and what Correspondence.incoming raises.
        """
        if not isinstance(request, dict):
            raise BadTransfer("a question is no dictionary")
        if _HELLO in request:
            return self._greet(request[_HELLO])
        if not self._is_trusted:
            self._trust(request.get(_PROOF))
        self._correspondence.incoming(request)
        if self._run is None and self._correspondence.has_heard_all:
            self._run = self._start()
        elif self._run is not None:
            self._rest(self._has_news)
        answer = self._correspondence.outgoing()
        self._ended = self._end()
        return answer | {_ENDED: self._ended}

    def close(self) -> None:
        """End the partner's run where it stands."""
        self._correspondence.close()
        if self._run is not None:
            self._run.stop()

    def _has_news(self) -> bool:
        return self._correspondence.has_news or self._end() != self._ended

    def _end(self) -> int | None:
        """Exit code of the run, once everything that it posted is at the server."""
        code = self._run.look() if self._run else None
        return code if self._correspondence.is_settled else None

    def _greet(self, nonce: object) -> Wire:
        if not isinstance(nonce, str):
            raise BadTransfer("a challenge is no text")
        self._nonce = challenge()
        return {_PROOF: self._prover.prove(self._server, self._plan, nonce), _HELLO: self._nonce}

    def _trust(self, proof: object) -> None:
        if self._nonce is None:
            raise WrongSite(f"{self._server}: sends messages before it has proved who it is")
        self._prover.check(proof, expected=self._server, plan=self._plan, nonce=self._nonce)
        self._is_trusted = True


class ServerEndpoint:
    """The server's link to one site; `turn` is called by one thread.

    ask : carries a question to the site and its answer back; None where none came in time
    """

    def __init__(
        self,
        site: str,
        *,
        ask: Callable[[Wire], object | None],
        correspond: Callable[[], Correspondence],
        prover: Prover,
        plan: str,
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.site = site
        self._ask, self._correspond, self._prover, self._plan = ask, correspond, prover, plan
        self._tell, self._clock = tell, clock
        self._correspondence: Correspondence | None = None
        self._proof: dict[str, Any] | None = None
        self.heard_at = clock()  # seconds
        self.ended: int | None = None  # exit code of the partner's run
        self.refused = ""  # why there are no more turns

    @property
    def n_moved(self) -> int:
        """Messages that went one way or the other."""
        return self._correspondence.n_moved if self._correspondence else 0

    @property
    def has_news(self) -> bool:
        """Whether the site should hear something."""
        return self._correspondence is not None and self._correspondence.has_news

    @property
    def is_finished(self) -> bool:
        """Whether the partner is done, and everything it said is here."""
        settled = self._correspondence is not None and self._correspondence.is_settled
        return self.ended == ExitCode.DONE and settled

    @property
    def has_failed(self) -> bool:
        """Whether nothing more can come from this site in this job."""
        return bool(self.refused) or self.ended not in (None, ExitCode.DONE)

    def turn(self) -> None:
        """One question and its answer; what is wrong with the answer refuses the site, and no other."""
        try:
            if self._correspondence is None:
                self._greet()
            else:
                self._exchange(self._correspondence)
        except (PipelineError, SecureError, OSError) as error:
            self.refused = str(error)
            self._tell(f"{self.site} is refused: {error}")

    def close(self) -> None:
        """No more turns."""
        if self._correspondence:
            self._correspondence.close()

    def _greet(self) -> None:
        nonce = challenge()
        answer = self._heard({_HELLO: nonce})
        if answer is None:
            return
        self._prover.check(answer.get(_PROOF), expected=self.site, plan=self._plan, nonce=nonce)
        theirs = answer.get(_HELLO)
        if not isinstance(theirs, str):
            raise BadTransfer("a challenge is no text")
        self._proof = self._prover.prove(self.site, self._plan, theirs)
        self._correspondence = self._correspond()
        self._tell(f"{self.site} has proved who it is")

    def _exchange(self, correspondence: Correspondence) -> None:
        proof = {_PROOF: self._proof} if self._proof else {}
        answer = self._heard(correspondence.outgoing() | proof)
        if answer is None:
            return
        self._proof = None
        correspondence.incoming(answer)
        before, ended = self.ended, answer.get(_ENDED)
        self.ended = ended if type(ended) is int else None
        if self.has_failed and self.ended != before:
            self._tell(f"the run of {self.site} ended with exit code {self.ended}; its own log says why")

    def _heard(self, question: Wire) -> Wire | None:
        answer = self._ask(question)
        if answer is None:
            return None
        self.heard_at = self._clock()
        if not isinstance(answer, dict):
            raise BadTransfer("an answer is no dictionary")
        if _REFUSED in answer:
            raise BadTransfer(f"{self.site} does not go on: {str(answer[_REFUSED])[:_LONGEST_REASON]}")
        return answer


def challenge() -> str:
    """Something that nobody has signed before."""
    return secrets.token_hex(32)
