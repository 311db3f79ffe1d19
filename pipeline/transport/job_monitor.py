"""Decide when an NVFlare job ends: everything is done, or too few sites are left to go on."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pipeline.errors import ExitCode, RunFailed, SitesLost
from pipeline.plan.plan import Rounds


class Link(Protocol):
    """The server's link to one site; see pipeline.transport.endpoints.ServerEndpoint."""

    site: str
    heard_at: float

    @property
    def n_moved(self) -> int:
        """Number of messages sent and received."""

    @property
    def is_finished(self) -> bool:
        """Whether the partner's run is done and all its messages are here."""

    @property
    def has_failed(self) -> bool:
        """Whether nothing more can come from this site in this job."""


class JobMonitor:
    """Monitors the aggregator's run and the links to the sites.

    rounds    : the plan's; with `min_partners` sites left, its deadlines close rounds or make them void
    silence_s : a site that has not answered for so long counts as lost
    stall_s   : how long the job goes on without any message after too few sites are left; if enough are left, the
                longer of the plan's deadlines is added
    """

    def __init__(
        self, links: Sequence[Link], rounds: Rounds, *, silence_s: float, stall_s: float, clock: Callable[[], float]
    ) -> None:
        self._links, self._silence_s, self._stall_s, self._clock = links, silence_s, stall_s, clock
        self._fewest, self._deadline_s = rounds.min_partners, max(rounds.ready_deadline_s, rounds.update_deadline_s)
        self._moved, self._moved_at, self._enough_at = 0, clock(), clock()

    def is_over(self, ended: int | None) -> bool:
        """Whether the federation is done at all sites that are not lost.

        ended : exit code of the aggregator's run, None while it runs
        Raises RunFailed if that is an error, SitesLost if the job cannot go on.
        """
        if ended not in (None, ExitCode.DONE):
            code = ExitCode(ended) if ended in set(ExitCode) else ExitCode.BUG
            raise RunFailed(f"the aggregator's run ended with exit code {ended}; see its log", code)
        self._note_moves()
        remaining = [link for link in self._links if not self._is_lost(link)]
        if ended == ExitCode.DONE:
            return all(link.is_finished for link in remaining)
        self._check_enough(remaining)
        return False

    def _note_moves(self) -> None:
        moved = sum(link.n_moved for link in self._links)
        if moved != self._moved:
            self._moved, self._moved_at = moved, self._clock()

    def _is_lost(self, link: Link) -> bool:
        return link.has_failed or self._clock() - link.heard_at > self._silence_s

    def _check_enough(self, remaining: Sequence[Link]) -> None:
        lost = [link.site for link in self._links if link not in remaining]
        all_failed = all(link.has_failed for link in self._links)
        if len(remaining) >= self._fewest:
            self._enough_at = self._clock()
            over_at = self._moved_at + self._deadline_s + self._stall_s
        else:
            over_at = max(self._moved_at, self._enough_at) + self._stall_s
        if all_failed or (lost and self._clock() > over_at):
            error = SitesLost(f"no messages come any more, and {', '.join(lost)} cannot be reached in this job")
            error.add_note("repair these sites, then submit the same job again: it goes on where it stopped")
            raise error
