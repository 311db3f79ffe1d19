"""A run's notices: the events of `[notify]`, each sent once, also by a run that is started again."""

from collections.abc import Callable

from pipeline.home.json_files import read_json, write_json
from pipeline.runtime.notifier import Notifier
from pipeline.runtime.progress import ProgressReporter
from pipeline.tracking.tracker import TrackedMember
from secure.messages.messages import utc


class Notices:
    """The notices of one member's run; a notice that fails gives a warning in the log."""

    def __init__(self, member: TrackedMember, reporter: ProgressReporter, clock: Callable[[], float]) -> None:
        settings = member.config.notify
        self._member, self._reporter, self._clock = member, reporter, clock
        self._notifier = Notifier(settings.command, settings.webhook, member.config.resolve(""))
        self._sent_now: dict[str, object] | None = None  # what was sent; notified.json cannot always be written
        self._events = settings.events if self._notifier.is_used else ()
        self.waiting_s = settings.waiting_s

    def send(self, event: str, about: str, text: str, *, fact: object, **fields: object) -> bool:
        """Send a notice, unless the last one of this event about this member was of the same fact; False if it failed.

        about : the member that the event is about
        fact  : a JSON value
        """
        key = f"{event} of {about}"
        if event not in self._events or self._sent().get(key) == fact:
            return True
        failures = tuple(self._notifier.send(self._notice(event, about, text, fields)))
        for failure in failures:
            self._reporter.warn(f'notice "{event}" failed: {failure}')
        self._keep(self._sent() | {key: fact})  # the other thread may have sent something meanwhile
        return not failures

    def forget(self, event: str, about: str) -> None:
        """Let the next event of this kind about this member give a notice again."""
        if self._events and (sent := self._sent()).pop(f"{event} of {about}", None) is not None:
            self._keep(sent)

    def _notice(self, event: str, about: str, text: str, fields: dict[str, object]) -> dict[str, object]:
        plan, (round_no, attempt) = self._member.plan, self._reporter.place
        return {
            "event": event,
            "text": f"hocket, federation {plan.federation.name}: {text}",
            "time": utc(int(self._clock())),
            "federation": plan.federation.name,
            "plan": plan.digest,
            "sender": self._member.config.name,
            "about": about,
            "round": round_no,
            "attempt": attempt,
            **fields,
        }

    def _sent(self) -> dict[str, object]:
        if self._sent_now is not None:
            return dict(self._sent_now)
        try:
            sent = read_json(self._member.home.notified)
        except (OSError, ValueError):  # none yet, or damaged: a notice too many does no harm
            return {}
        return sent if isinstance(sent, dict) else {}

    def _keep(self, sent: dict[str, object]) -> None:
        self._sent_now = dict(sent)
        try:
            write_json(self._member.home.notified, sent)
        except OSError as error:
            self._reporter.warn(f"{error}: the next start may repeat a notice")
