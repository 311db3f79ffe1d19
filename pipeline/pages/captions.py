"""The texts of the pages: captions of figures and explanations of tables, from captions.toml, and facts."""

import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from partners.settings import EPSILON
from pipeline.pages.page import page_digest
from pipeline.report.consortium import Consortium
from pipeline.report.metrics import CLASSIFICATION, LABELS, REGRESSION, SIDES, TaskKind
from pipeline.report.picks import FEWEST_COMPOUNDS
from pipeline.report.schema import DomainSummary, Report
from pipeline.report.shareable_schema import ShareableSummary, SharedDomain

_SHOWN = 12  # characters of a digest
_NUMBERS = {
    "epsilon": f"{EPSILON:g}",
    "certainty": f"{100 * (1 - EPSILON):g}",
    "fewest_compounds": str(FEWEST_COMPOUNDS[1]),
}


@dataclass(frozen=True, slots=True)
class KindCaptions:
    """The texts that differ between the two kinds of task."""

    title: str
    calibration: str
    domain_axis: str  # of a partner's figure
    domain: str
    consortium_domain_axis: str
    consortium_domain: str


def _filled(text: str) -> str:
    """A text in one line, with its numbers."""
    return " ".join(text.split()).format_map(_NUMBERS)


def _texts() -> dict[str, Any]:
    """The file of the texts: names, and names by kind of task."""
    return tomllib.loads((files("pipeline.pages") / "captions.toml").read_text(encoding="utf-8"))


_TEXTS = _texts()
CHANGES, SCATTER, WORTH, PICKS, DATES, HISTOGRAM, SIZES, TYPES, GROUPS, LEARNING, DATA, ALL_PARTNERS, HIDDEN_COUNTS = (
    _filled(_TEXTS[name])
    for name in (
        "changes",
        "scatter",
        "worth",
        "picks",
        "dates",
        "histogram",
        "sizes",
        "types",
        "groups",
        "learning",
        "data",
        "all_partners",
        "hidden_counts",
    )
)
HOW_TO_READ_AN_AUDIT = tuple(_filled(_TEXTS[name]) for name in ("attacks", "attacked", "others"))
_CAPTIONS = {
    kind: KindCaptions(**{name: _filled(text) for name, text in _TEXTS[kind.name].items()})
    for kind in (CLASSIFICATION, REGRESSION)
}


def captions_of(kind: TaskKind) -> KindCaptions:
    """The texts of one kind of task."""
    return _CAPTIONS[kind]


def how_to_read(*, has_errors: bool) -> tuple[str, ...]:
    """The explanation of the two tables of comparisons; has_errors : whether it has errors of regression."""
    names = ("models", "network", "numbers", "units") if has_errors else ("models", "network", "numbers")
    return tuple(_filled(_TEXTS[name]) for name in names)


def with_noun(n: int, noun: str) -> str:
    """A count with its noun in singular or plural."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def facts_of(report: Report | ShareableSummary | Consortium) -> list[tuple[str, str]]:
    """The facts at the top of a page: names and values of federation and rounds."""
    return [
        ("federation", report.federation),
        ("rounds", f"{report.n_rounds:,}, each of {report.local_steps:,} local steps"),
    ]


def footer_of(report: Report | ShareableSummary | Consortium) -> list[tuple[str, str]]:
    """The last lines of a page: version, who it is from, date, and the beginnings of the digests."""
    members = [each.partner for each in report.partners] if isinstance(report, Consortium) else [report.partner]
    unconfirmed = report.unconfirmed if isinstance(report, Report) else None
    return [
        ("hocket", version("hocket")),
        ("of", ", ".join(members)),
        ("last round", f"{report.last_round} (UTC)"),
        ("plan", f"{report.plan[:_SHOWN]}…"),
        ("trunk", f"{report.trunk[:_SHOWN]}…"),
        *([("trunk not yet confirmed by", ", ".join(unconfirmed))] if unconfirmed else []),
        ("data of this page", f"{page_digest(report)[:_SHOWN]}…"),
    ]


def domain_sentence(summary: DomainSummary | SharedDomain) -> str:
    """Both models' mean efficiency or interval width, and their coverage, in a sentence."""
    is_width = summary.measure == "width"
    measure = "interval width" if is_width else "efficiency"
    digits = ".2f" if is_width else ".3f"
    change = f"{summary.change:+{digits}}"
    if summary.interval_95:
        low, high = summary.interval_95
        change += f", 95 % interval {low:+{digits}} to {high:+{digits}}"
    covered = [
        f"{100 * share:.1f} % ({LABELS[side]})" for side in SIDES if (share := summary.coverage.of(side)) is not None
    ]
    truth = "measured value lies in its interval" if is_width else "true class is among those possible"
    return (
        f"Mean {measure} over {with_noun(summary.n_tasks, 'task')}: strongest local {summary.local:{digits}}, "
        f"federated {summary.federated:{digits}} (change {change}). Inductive conformal prediction, calibrated on the "
        f"validation fold{'' if is_width else ', for each class'}; the {truth} in {' and '.join(covered)} of cases, "
        f"expected {100 * (1 - EPSILON):g} %."
    )
