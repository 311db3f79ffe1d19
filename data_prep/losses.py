"""How much of T1 is left out, and when that is too much."""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from data_prep.errors import NoTask, TooMuchLeftOut
from data_prep.forecast import Forecast
from data_prep.labels.plausibility import ImplausibleAssay
from data_prep.settings import Activities, OwnTables

_SHOWN = 5  # assays in a message
ADVICE = (
    "state the unit of the values in T1's column standard_unit or as [data] unit",
    "[data] accept = [ASSAY IDS] takes assays as they are; [data] most_rejected allows a larger share",
)
TASK_ADVICE = (
    "add measured compounds: the plan's [preparation.activities] and [preparation.regression] say how many a task needs"
)
_MORE = "`hocket prepare CONFIG --check` lists everything"


@dataclass(frozen=True, slots=True)
class Losses:
    """The rows of T1 that are left out."""

    n_rows: int  # of T1
    reasons: dict[str, int]  # number of rejected rows by reason
    lost_assays: tuple[str, ...] = ()  # left out whole, although they have rows enough for a task; by id

    @property
    def n_rejected(self) -> int:
        """Number of rejected rows."""
        return sum(self.reasons.values())

    @property
    def share(self) -> float:
        """Share of T1's rows that are rejected, 0 to 1, rounded to a hundredth of a percent."""
        return round(self.n_rejected / self.n_rows, 4) if self.n_rows else 0.0

    def problems(self, own: OwnTables) -> list[str]:
        """Return what is too much, as sentences; nothing if the partner allows any share."""
        if own.most_rejected >= 1:
            return []
        problems = []
        if self.n_rejected > own.most_rejected * self.n_rows:
            counts = ", ".join(f"{n:,} {reason}" for reason, n in sorted(self.reasons.items()))
            rows = f"{self.n_rejected:,} of {self.n_rows:,} rows ({_percent(self.share)})"
            problems.append(f"{rows} are rejected, at most {_percent(own.most_rejected)} may be: {counts}")
        if self.lost_assays:
            problems.append(f"{_named(self.lost_assays)} left out whole")
        return problems


def losses_of(
    accepted: pl.DataFrame, rejected: pl.DataFrame, n_rows: int, settings: Activities, own: OwnTables
) -> Losses:
    """Return the losses of T1.

    accepted : rows with `input_assay_id` of every assay that kept a value; rejected : columns REJECTED_COLUMNS

    An assay with fewer rows than a task needs labels cannot be trained anyway, and one in `accept` may be lost.
    """
    of_t1 = rejected.filter(pl.col("table") == "T1")
    least = settings.training_min_active + settings.training_min_inactive
    kept = accepted["input_assay_id"].unique().cast(pl.String)
    assay = pl.col("input_assay_id")
    lost = of_t1.group_by("input_assay_id").len("n").filter(
        pl.col("n") >= least, ~assay.is_in(kept.implode()), ~assay.is_in(list(own.accept))
    )  # fmt: skip
    reasons = dict(of_t1.group_by("reason").len().sort("reason").iter_rows())
    return Losses(n_rows, reasons, tuple(lost["input_assay_id"].sort()))


def expect_few(losses: Losses, own: OwnTables, implausible: Iterable[ImplausibleAssay] = (), unit: str = "") -> None:
    """Raise TooMuchLeftOut if more is left out than the partner allows; its notes say why, and what to do.

    unit : in which the values of most implausible assays would be plausible, "" if there is none
    """
    problems = losses.problems(own)
    if not problems:
        return
    error = TooMuchLeftOut(f"T1: {'; '.join(problems)}")
    for note in [*implausible_notes(implausible, unit), *ADVICE, _MORE]:
        error.add_note(note)
    raise error


def expect_a_task(forecast: Forecast) -> None:
    """Raise NoTask if no task can be trained; its notes say what to do."""
    if forecast.problem:
        error = NoTask(f"T1: {forecast.problem}")
        error.add_note(TASK_ADVICE)
        error.add_note(_MORE)
        raise error


def implausible_notes(implausible: Iterable[ImplausibleAssay], unit: str) -> list[str]:
    """Return what was seen in the first implausible assays, how many more there are, and the likely unit."""
    assays = list(implausible)
    notes = [f"assay {assay}: these are hardly log units" for assay in assays[:_SHOWN]]
    if len(assays) > _SHOWN:
        notes.append(f"{len(assays) - _SHOWN:,} further assays are as implausible")
    return [*notes, f"most of them would be plausible in {unit}"] if unit else notes


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _named(assays: tuple[str, ...]) -> str:
    names = ", ".join(assays[:_SHOWN]) + (", ..." if len(assays) > _SHOWN else "")
    return f"{len(assays):,} assay{'s' if len(assays) > 1 else ''} ({names})"
