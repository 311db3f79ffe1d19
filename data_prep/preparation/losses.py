"""How much of T1 is left out, and when that is too much."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from data_prep.errors import NoTask, TooMuchLeftOut
from data_prep.labels.plausibility import ImplausibleAssay
from data_prep.preparation.forecast import Forecast
from data_prep.settings import Activities, OwnTables

_SHOWN = 5  # assays in a message
_UNIT = "state the unit of the values in T1's column standard_unit or as [data] unit"
STRUCTURE_ADVICE = "correct the structures in T2; `hocket prepare CONFIG --check --all-structures` counts them"
_ADVICE = {  # by reason; most of the rows are of few reasons
    "unreadable": "save T1 in UTF-8, with the same number of fields in each row",
    "bad_date": "write days as 2024-03-31 in the column that [data] date_column names, or leave them empty",
    "missing_value": "leave rows without a value out of T1",
    "not_a_number": "write numbers with a decimal point in standard_value, and < or > in standard_qualifier",
    "unknown_compound": "T2 needs each input_compound_id of T1, written alike, capitals included",
    "unknown_assay": "T0 needs each input_assay_id of T1, written alike, capitals included",
    "rejected_compound": STRUCTURE_ADVICE,
    **dict.fromkeys(
        ("implausible_assay", "out_of_range", "unknown_unit", "mixed_units", "unit_of_another_type"), _UNIT
    ),
}
_CAUSE = 0.1  # share of the rejected rows, or of an assay's, from which on a reason is worth advice
_ACCEPT = "[data] accept = [ASSAY IDS] takes assays as they are"
_ALLOW = "[data] most_rejected allows a larger share"
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
    lost_for: frozenset[str] = frozenset()  # the reasons for which they are lost
    notes: tuple[str, ...] = ()  # what was seen of the rejected rows, as sentences

    @property
    def n_rejected(self) -> int:
        """Number of rejected rows."""
        return sum(self.reasons.values())

    @property
    def share(self) -> float:
        """Share of T1's rows that are rejected, 0 to 1, rounded to a hundredth of a percent."""
        return round(self.n_rejected / self.n_rows, 4) if self.n_rows else 0.0

    def advice(self) -> list[str]:
        """Return what to do about the rejected rows, for the most frequent reason first; rare ones are left out."""
        by_number = sorted(self.reasons, key=lambda reason: (-self.reasons[reason], reason))
        causes = [r for r in by_number if r in self.lost_for or self.reasons[r] >= _CAUSE * self.n_rejected]
        advice = list(dict.fromkeys(_ADVICE[reason] for reason in causes if reason in _ADVICE))
        return [*advice, *([_ACCEPT] if _UNIT in advice else []), _ALLOW]

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
    causes = of_t1.join(lost, on="input_assay_id").group_by("input_assay_id", "reason").agg(pl.len(), pl.first("n"))
    lost_for = causes.filter(pl.col("len") >= _CAUSE * pl.col("n"))["reason"]
    return Losses(n_rows, reasons, tuple(lost["input_assay_id"].sort()), frozenset(lost_for))


def expect_few(losses: Losses, own: OwnTables, implausible: Iterable[ImplausibleAssay] = (), unit: str = "") -> None:
    """Raise TooMuchLeftOut if more is left out than the partner allows; its notes say why, and what to do.

    unit : in which the values of most implausible assays would be plausible, "" if there is none
    """
    problems = losses.problems(own)
    if not problems:
        return
    error = TooMuchLeftOut(f"T1: {'; '.join(problems)}")
    for note in [*implausible_notes(implausible, unit), *losses.notes, *losses.advice(), _MORE]:
        error.add_note(note)
    raise error


def expect_a_task(forecast: Forecast) -> None:
    """Raise NoTask if no task can be trained; its notes say what to do."""
    if forecast.problem:
        error = NoTask(f"T1: {forecast.problem}")
        error.add_note(TASK_ADVICE)
        error.add_note(_MORE)
        raise error


def unmatched_notes(rejected: pl.DataFrame, ids: Mapping[str, pl.Series]) -> tuple[str, ...]:
    """Return how many ids of T1 another table lacks, and how many of them it has in other capitals, as sentences.

    ids : of "compound" and "assay", as the table has them
    """
    notes = []
    for kind, table in (("compound", "T2"), ("assay", "T0")):
        of_kind = rejected.filter(pl.col("table") == "T1", pl.col("reason") == f"unknown_{kind}")
        unknown = of_kind[f"input_{kind}_id"].drop_nulls().unique()
        if len(unknown):
            known = ids[kind].cast(pl.String).str.to_lowercase().unique()
            n_alike = int(unknown.str.to_lowercase().is_in(known.implode()).sum())
            alike = "none" if not n_alike else "all" if n_alike == len(unknown) else f"{n_alike:,}"
            count = f"{len(unknown):,} {kind}s of T1 are" if len(unknown) > 1 else f"1 {kind} of T1 is"
            notes.append(f"{count} not in {table}, which has {alike} of them in other capitals")
    return tuple(notes)


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
