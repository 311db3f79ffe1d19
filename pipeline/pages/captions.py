"""The texts of the pages: captions of figures, explanations of tables, facts."""

from dataclasses import dataclass
from importlib.metadata import version

from partners.settings import EPSILON
from pipeline.pages.page import page_digest
from pipeline.report.consortium import Consortium
from pipeline.report.metrics import CLASSIFICATION, LABELS, REGRESSION, SIDES, TaskKind
from pipeline.report.picks import FEWEST_COMPOUNDS
from pipeline.report.schema import DomainSummary, Report
from pipeline.report.shareable_schema import ShareableSummary, SharedDomain

_SHOWN = 12  # characters of a digest
_MODELS = (
    "Strongest local: for each assay a Gaussian process, a random forest or the mean of both, from the partner's data "
    "alone, chosen by cross-validation inside the training folds; a network where an assay has too few measurements. "
    "Federated: the take-home model, of the same kind with the hidden layer of the trunk which all partners trained "
    "together beside the fingerprint; averaged with the network's head for tasks whose head row is shared. Both are "
    "scored on the test fold, whose scaffolds no model was trained on."
)
_NETWORK = (
    "The same network: the same data, seed and number of training steps, without and with federation. It is the easier "
    "opponent: the strongest local model of a task may be another."
)
_NUMBERS = (
    "Intervals are bootstrap percentiles of the mean change; tasks of one assay are drawn together. p: Wilcoxon "
    "signed-rank test over assays (each assay's mean change), corrected by Holm for all metrics of the table. That of "
    "the main metric decides: below 0.05, with zero outside the interval, federation helped or harmed. RIPtoP: sum of "
    "the tasks' changes / sum of what their scores lacked to perfect before; 1 means perfect federated models (of "
    "errors: mean over tasks of each one's ratio)."
)
_UNITS = (
    "Errors (RMSE) are in the units of each assay. If assays have different units, their mean over tasks depends "
    "mostly on those with large numbers: compare by R², Spearman correlation and RIPtoP, which have no unit."
)
_EDGE = "Triangles at an edge are tasks beyond it."
CHANGES = (
    "Cumulative distribution of the tasks' changes. On the right of the line federation helped; a curve that crosses "
    "it at 0.3 means that 30 % of the tasks became worse."
)
SCATTER = (
    "Score of the federated against the strongest local model, one point per task. Above the diagonal federation "
    "helped."
)
WORTH = (
    "Worth in measurements: the strongest local models are fitted once more on half of the training measurements. What "
    "the other half brought in average precision on the test fold is taken as what a doubling would bring; the change "
    "by federation, divided by it, is in doublings. Nothing is extrapolated beyond one doubling (100 % more). Tasks "
    "whose strongest local model is a network are left out."
)
PICKS = (
    "Hit rates on the test fold, means over tasks: the share of actives among a task's best-ranked 10 % (as if 100 of "
    "1,000 candidates were tested) and, on a partner's own page, its best-ranked 1 %, over the tasks with "
    f"{FEWEST_COMPOUNDS[1]} test compounds or more; rounded up, at least one compound. At random: the share of actives "
    "among all of the task's test compounds. Enrichment: hit rate / hit rate at random."
)
HISTOGRAM = (
    "Number of tasks by score of the strongest local and of the federated model. Above the diagonal federation "
    "helped. Cells with fewer than five tasks are left white."
)
SIZES = f"Change of each task by its number of labels, with the mean of each range of sizes. {_EDGE}"
TYPES = f"Change by type of assay: mean and 95 % interval; grey points are tasks. {_EDGE}"
GROUPS = "Mean change and 95 % interval. Groups of fewer than five tasks are joined to others."
LEARNING = (
    "Scores of the network on the validation fold after each round: the federated trunk with the heads trained in that "
    "round, and the same network without federation after as many steps."
)
DATA = "Share of compounds, labels and regression values in each fold. The dotted line is an even share."


@dataclass(frozen=True, slots=True)
class KindCaptions:
    """The texts that differ between the two kinds of task."""

    title: str
    calibration: str
    domain_axis: str  # of a partner's figure
    domain: str
    consortium_domain_axis: str
    consortium_domain: str


_CONSORTIUM_DOMAIN = (
    "Conformal prediction on each partner's test fold, calibrated on its validation fold. "  # then the measure
)
_CAPTIONS = {
    CLASSIFICATION: KindCaptions(
        title="Classification",
        calibration="Reliability on the test fold, labels of all scored tasks pooled. On the dotted line, of the "
        "compounds predicted active with a probability of 0.8, 80 % are active.",
        domain_axis="share of compounds with a single possible class",
        domain="Conformal efficiency: per task, the share of the test fold's compounds for which exactly one class "
        f"remains possible at epsilon {EPSILON:g}. A curve further right: the model decides between the classes for "
        "more compounds.",
        consortium_domain_axis="mean conformal efficiency",
        consortium_domain=f"{_CONSORTIUM_DOMAIN}Share of compounds with exactly one possible class.",
    ),
    REGRESSION: KindCaptions(
        title="Regression",
        calibration="Measured by predicted values on the test fold, tasks pooled after scaling each by its mean and "
        "deviation in the training folds. Ten groups of equal size; on the dotted line predictions are right on "
        "average.",
        domain_axis=f"width of the {100 * (1 - EPSILON):g} % prediction interval, units of the assay",
        domain="Per task, the width of the conformal prediction interval. A curve further left: a more certain model.",
        consortium_domain_axis="mean width of the 95 % prediction interval, units of the assay",
        consortium_domain=f"{_CONSORTIUM_DOMAIN}Narrower intervals are better.",
    ),
}


def captions_of(kind: TaskKind) -> KindCaptions:
    """The texts of one kind of task."""
    return _CAPTIONS[kind]


def how_to_read(*, has_errors: bool) -> tuple[str, ...]:
    """The explanation of the two tables of comparisons; has_errors : whether it has errors of regression."""
    return (_MODELS, _NETWORK, _NUMBERS, _UNITS) if has_errors else (_MODELS, _NETWORK, _NUMBERS)


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
