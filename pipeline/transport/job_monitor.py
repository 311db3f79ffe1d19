"""When a job of an engine is over: with all that could be done, or because too few sites are left to go on."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pipeline.errors import ExitCode, RunFailed, SitesLost
from pipeline.plan.plan import Rounds


class Link(Protocol):
    """What is watched of a site; see pipeline.transport.endpoints.ServerEndpoint."""

    site: str
    heard_at: float

    @property
    def n_moved(self) -> int:
        """Messages that went one way or the other."""

    @property
    def is_finished(self) -> bool:
        """Whether the partner is done, and everything it said is here."""

    @property
    def has_failed(self) -> bool:
        """Whether nothing more can come from this site in this job."""


class Watch:
    """Looks at the aggregator's run and at the links.

    rounds    : the plan's; with `min_partners` left they close and become void by its deadlines, and go on
    silence_s : a site that has not answered for so long counts as lost
    stall_s   : how long to go on without any news since too few sites are left; where enough are, the longer of the
                plan's deadlines comes on top
    """

    def __init__(
        self, links: Sequence[Link], rounds: Rounds, *, silence_s: float, stall_s: float, clock: Callable[[], float]
    ) -> None:
        self._links, self._silence_s, self._stall_s, self._clock = links, silence_s, stall_s, clock
        self._fewest, self._deadline_s = rounds.min_partners, max(rounds.ready_deadline_s, rounds.update_deadline_s)
        self._moved, self._moved_at, self._enough_at = 0, clock(), clock()

    def is_over(self, ended: int | None) -> bool:
        """Whether the federation is done, as far as it can be with the sites that answer.

        ended : exit code of the aggregator's run, None while it runs
        Raises RunFailed where that is an error, SitesLost where the job cannot go on.
        """
        if ended not in (None, ExitCode.DONE):
            code = ExitCode(ended) if ended in set(ExitCode) else ExitCode.BUG
            raise RunFailed(f"the aggregator's run ended with exit code {ended}; its log says why", code)
        self._look_for_news()
        left = [link for link in self._links if not self._is_lost(link)]
        if ended == ExitCode.DONE:
            return all(link.is_finished for link in left)
        self._expect_enough(left)
        return False

    def _look_for_news(self) -> None:
        moved = sum(link.n_moved for link in self._links)
        if moved != self._moved:
            self._moved, self._moved_at = moved, self._clock()

    def _is_lost(self, link: Link) -> bool:
        return link.has_failed or self._clock() - link.heard_at > self._silence_s

    def _expect_enough(self, left: Sequence[Link]) -> None:
        lost = [link.site for link in self._links if link not in left]
        for_ever = all(link.has_failed for link in self._links)
        if len(left) >= self._fewest:
            self._enough_at = self._clock()
            over_at = self._moved_at + self._deadline_s + self._stall_s
        else:
            over_at = max(self._moved_at, self._enough_at) + self._stall_s
        if for_ever or (lost and self._clock() > over_at):
            error = SitesLost(f"nothing more came, and {', '.join(lost)} cannot be reached in this job")
            error.add_note("see to these sites, then submit the same job again: it goes on where it stopped")
            raise error
