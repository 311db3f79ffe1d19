"""The texts of the pages: captions of figures, explanations of tables, facts."""

from dataclasses import dataclass

from partners.settings import EPSILON
from pipeline.report.consortium import Consortium
from pipeline.report.metrics import CLASSIFICATION, LABELS, REGRESSION, SIDES, TaskKind
from pipeline.report.schema import DomainSummary, Report
from pipeline.report.shareable_schema import ShareableSummary, SharedDomain

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
    "signed-rank test over tasks, and over assays (each assay's mean change), corrected by Holm for all metrics of the "
    "table. RIPtoP: change / (perfect - score before the change), mean over tasks; 1 means a perfect federated model."
)
_UNITS = (
    "Errors (RMSE) are in the units of each assay. If assays have different units, their mean over tasks depends "
    "mostly on those with large numbers: compare by R², Spearman correlation and RIPtoP, which have no unit."
)
CHANGES = (
    "Cumulative distribution of the tasks' changes. On the right of the line federation helped; a curve that crosses "
    "it at 0.3 means that 30 % of the tasks became worse."
)
SCATTER = (
    "Score of the federated against the strongest local model, one point per task. Above the diagonal federation "
    "helped."
)
HISTOGRAM = (
    "Number of tasks by score of the strongest local and of the federated model. Above the diagonal federation "
    "helped. Cells with fewer than five tasks are left white."
)
SIZES = "Change of each task by its number of labels, with the mean of each range of sizes."
TYPES = "Change by type of assay: mean and 95 % interval; grey points are tasks."
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
    """The facts at the top of a page: names and values of federation, rounds, plan and trunk."""
    return [
        ("federation", report.federation),
        ("rounds", f"{report.n_rounds:,}, each of {report.local_steps:,} local steps"),
        ("plan", report.plan),
        ("trunk", report.trunk),
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
