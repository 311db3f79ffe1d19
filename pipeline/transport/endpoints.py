"""The two ends of a connection: a site that answers questions, and the server's link to it that asks them.

First each side proves to the other which member it is. No message is read before that.
"""

import secrets
from collections.abc import Callable
from typing import Any, Protocol

from pipeline.errors import BadTransfer, Equivocation, ExitCode, PipelineError, WrongSite
from pipeline.transport.sync import MirrorSync, Wire
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
_ABOUT_MESSAGES = (  # these errors name messages and sites; others may name a member's own files and settings
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
    """Proves this site's identity and checks the peer's; see pipeline.transport.nvflare.identity.Kit."""

    def prove(self, to: str, plan: str, nonce: str) -> dict[str, Any]:
        """Sign the receiver's challenge."""

    def check(self, proof: object, *, expected: str, plan: str, nonce: str) -> None:
        """Raise WrongSite unless the proof is that of `expected`."""


class Run(Protocol):
    """A member's ordinary run; see pipeline.transport.child_process.ChildRun."""

    def poll(self) -> int | None:
        """Exit code of the run if it has ended and is not restarted, else None."""

    def stop(self) -> None:
        """Stop the run."""


class WaitForNews(Protocol):
    """Delays an answer that would carry nothing; see pipeline.transport.nvflare.wakeup.Wakeup.wait_for_news."""

    def __call__(self, has_news: Callable[[], bool], /) -> None:
        """Return as soon as has_news() is true, or after a limited time."""


def refusal(error: Exception) -> Wire:
    """Answer of a site that stops: the reason if it is in the server's messages, else only the error's type.

    Errors about the site's own settings and files stay in its own log.
    """
    if isinstance(error, _ABOUT_MESSAGES):
        return {_REFUSED: str(error)[:_LONGEST_REASON]}
    return {_REFUSED: f"{type(error).__name__}; see this site's own log"}


class SiteEndpoint:
    """Answers the server's questions; starts the partner's run after the server's proof and its last message.

    The run waits for all messages, because a home restored from a backup may lack some that this partner sent. A run
    that started without them could seal an update a second time.

    server        : common name of the server's certificate, from this site's startup kit; who sent a message is decided
                    by the members' signatures alone
    wait_for_news : delays an answer that would carry nothing
    """

    def __init__(
        self,
        sync: MirrorSync,
        prover: Prover,
        start: Callable[[], Run],
        *,
        plan: str,
        server: str,
        wait_for_news: WaitForNews,
    ) -> None:
        self._sync, self._prover, self._start = sync, prover, start
        self._plan, self._server, self._wait_for_news = plan, server, wait_for_news
        self._nonce: str | None = None
        self._is_trusted = False
        self._run: Run | None = None
        self._ended: int | None = None  # exit code in the last answer

    def answer(self, request: object) -> Wire:
        """Process a question and return the answer.

        Raises WrongSite for another server than the kit's, and the errors of MirrorSync.incoming.
        """
        if not isinstance(request, dict):
            raise BadTransfer("a question is not a dictionary")
        if _HELLO in request:
            return self._greet(request[_HELLO])
        if not self._is_trusted:
            self._trust(request.get(_PROOF))
        self._sync.incoming(request)
        if self._run is None and self._sync.has_all_of_peer:
            self._run = self._start()
        elif self._run is not None:
            self._wait_for_news(self._has_news)
        answer = self._sync.outgoing()
        self._ended = self._end()
        return answer | {_ENDED: self._ended}

    def close(self) -> None:
        """Stop the partner's run."""
        self._sync.close()
        if self._run is not None:
            self._run.stop()

    def _has_news(self) -> bool:
        return self._sync.has_news or self._end() != self._ended

    def _end(self) -> int | None:
        """Exit code of the run, once the server has all its messages."""
        code = self._run.poll() if self._run else None
        return code if self._sync.is_settled else None

    def _greet(self, nonce: object) -> Wire:
        if not isinstance(nonce, str):
            raise BadTransfer("a challenge is not text")
        self._nonce = challenge()
        return {_PROOF: self._prover.prove(self._server, self._plan, nonce), _HELLO: self._nonce}

    def _trust(self, proof: object) -> None:
        if self._nonce is None:
            raise WrongSite(f"{self._server}: sends messages before it has proved its identity")
        self._prover.check(proof, expected=self._server, plan=self._plan, nonce=self._nonce)
        self._is_trusted = True


class ServerEndpoint:
    """The server's link to one site; `turn` is called by one thread.

    ask : sends a question to the site and returns its answer, None if none came in time
    """

    def __init__(
        self,
        site: str,
        *,
        ask: Callable[[Wire], object | None],
        open_sync: Callable[[], MirrorSync],
        prover: Prover,
        plan: str,
        report: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.site = site
        self._ask, self._open_sync, self._prover, self._plan = ask, open_sync, prover, plan
        self._report, self._clock = report, clock
        self._sync: MirrorSync | None = None
        self._proof: dict[str, Any] | None = None
        self.heard_at = clock()  # seconds
        self.ended: int | None = None  # exit code of the partner's run
        self.refused = ""  # reason why the site is refused

    @property
    def n_moved(self) -> int:
        """Number of messages sent and received."""
        return self._sync.n_moved if self._sync else 0

    @property
    def has_news(self) -> bool:
        """Whether the next question would carry something new."""
        return self._sync is not None and self._sync.has_news

    @property
    def is_finished(self) -> bool:
        """Whether the partner's run is done and all its messages are here."""
        settled = self._sync is not None and self._sync.is_settled
        return self.ended == ExitCode.DONE and settled

    @property
    def has_failed(self) -> bool:
        """Whether nothing more can come from this site in this job."""
        return bool(self.refused) or self.ended not in (None, ExitCode.DONE)

    def turn(self) -> None:
        """Ask one question and process the answer; a wrong answer refuses this site only."""
        try:
            if self._sync is None:
                self._greet()
            else:
                self._exchange(self._sync)
        except (PipelineError, SecureError, OSError) as error:
            self.refused = str(error)
            self._report(f"{self.site} is refused: {error}")

    def close(self) -> None:
        """End the transfers."""
        if self._sync:
            self._sync.close()

    def _greet(self) -> None:
        nonce = challenge()
        answer = self._ask_checked({_HELLO: nonce})
        if answer is None:
            return
        self._prover.check(answer.get(_PROOF), expected=self.site, plan=self._plan, nonce=nonce)
        theirs = answer.get(_HELLO)
        if not isinstance(theirs, str):
            raise BadTransfer("a challenge is not text")
        self._proof = self._prover.prove(self.site, self._plan, theirs)
        self._sync = self._open_sync()
        self._report(f"{self.site} has proved its identity")

    def _exchange(self, sync: MirrorSync) -> None:
        proof = {_PROOF: self._proof} if self._proof else {}
        answer = self._ask_checked(sync.outgoing() | proof)
        if answer is None:
            return
        self._proof = None
        sync.incoming(answer)
        before, ended = self.ended, answer.get(_ENDED)
        self.ended = ended if type(ended) is int else None
        if self.has_failed and self.ended != before:
            self._report(f"the run of {self.site} ended with exit code {self.ended}; see its log")

    def _ask_checked(self, question: Wire) -> Wire | None:
        answer = self._ask(question)
        if answer is None:
            return None
        self.heard_at = self._clock()
        if not isinstance(answer, dict):
            raise BadTransfer("an answer is not a dictionary")
        if _REFUSED in answer:
            raise BadTransfer(f"{self.site} stopped: {str(answer[_REFUSED])[:_LONGEST_REASON]}")
        return answer


def challenge() -> str:
    """A random text to sign, new each time."""
    return secrets.token_hex(32)
