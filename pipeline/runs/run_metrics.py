"""The metrics of a member's run as a file in OpenMetrics format, for a monitoring system; no scores or data."""

from importlib.metadata import version

from pipeline.runtime.openmetrics import Gauge, openmetrics
from pipeline.runtime.progress import ProgressReporter
from pipeline.tracking.tracker import TrackedMember
from secure.files import atomic_file


def write_metrics(
    member: TrackedMember,
    reporter: ProgressReporter,
    *,
    now: float,
    progressed_at: float,
    is_waiting: bool,
    is_in_trouble: bool,
    n_in_trouble: int,
) -> None:
    """Write the configured file of metrics whole, if there is one.

    now, progressed_at : seconds since 1970
    n_in_trouble       : other members whose trouble stands
    Raises OSError if the file cannot be written.
    """
    if not member.config.notify.metrics_file:
        return
    round_no, attempt = reporter.place
    gauges = [
        Gauge("hocket_round", "Round of the run, 0 outside the rounds.", round_no),
        Gauge("hocket_attempt", "Attempt at the round, 0 outside the rounds.", attempt),
        Gauge("hocket_rounds", "Last round of the plan.", member.plan.rounds.n_rounds),
        Gauge("hocket_finished", "1 if this member is finished.", member.finished),
        Gauge("hocket_waiting", "1 while the run waits for others, the exchange or disk space.", is_waiting),
        Gauge("hocket_trouble", "1 if this member's last run ended with an error.", is_in_trouble),
        Gauge("hocket_others_in_trouble", "Other members whose run ended with an error.", n_in_trouble),
        Gauge("hocket_progress_timestamp_seconds", "When a step last succeeded.", progressed_at),
        Gauge("hocket_written_timestamp_seconds", "When this file was written: old if no run is alive.", now),
    ]
    labels = {"federation": member.plan.federation.name, "member": member.config.name, "role": member.role}
    text = openmetrics(gauges, labels | {"version": version("hocket")})
    with atomic_file(member.config.resolve(member.config.notify.metrics_file)) as file:
        file.write(text.encode())
