"""The page of `hocket status --html`: one file without scripts that reloads itself, for people who only look."""

from importlib.metadata import version
from pathlib import Path

from pipeline.audit.member_states import Status
from pipeline.audit.status_view import COLUMNS, closing, headline, is_urgent, member_cells
from pipeline.plan.plan import Plan
from pipeline.runtime.templates import filled
from secure.files import atomic_file
from secure.messages.messages import utc

_FINISHED = "Finished: nobody is awaited."


def status_page(status: Status, plan: Plan, now: float, *, refresh_s: float) -> str:
    """The page as HTML.

    now       : when the status was read, seconds since 1970
    refresh_s : seconds after which a browser loads the page again
    """
    lines = list(closing(status, now)) or [_FINISHED]
    return filled(
        __package__,
        "status.html",
        title=f"Federation {plan.federation.name}",
        subtitle=headline(status, plan),
        urgent=[line for line in lines if is_urgent(line)],
        plain=[line for line in lines if not is_urgent(line)],
        is_finished=status.is_finished,
        header=(*COLUMNS, ""),
        rows=[member_cells(member, now) for member in status.members],
        written=utc(int(now)),
        refresh_s=int(refresh_s),
        generator=f"hocket {version('hocket')}",
    )


def write_status_page(file: Path, status: Status, plan: Plan, now: float, *, refresh_s: float) -> None:
    """Write the page whole, in place of an earlier one; a web server may serve it meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as opened:
        opened.write(status_page(status, plan, now, refresh_s=refresh_s).encode())
