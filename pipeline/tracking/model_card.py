"""The model card of a partner's finished model: what it is, scores, domain, training, tasks, and who may have it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.model.description import CLASS_COLUMNS, REGR_COLUMNS, ClassTask, Description, RegrTask
from pipeline.report.metrics import CLASSIFICATION, REGRESSION, SHORT, TaskKind
from pipeline.report.row_schema import AnyRow
from pipeline.report.schema import ComparisonOverTasks, Report
from pipeline.runtime.templates import filled
from pipeline.tracking.descriptions import KEPT, registered_name

CARD_FILE = "model_card.md"  # artifact of the partner's run
_LONGEST = 5000  # characters of the description of a model version, in databases that MLflow makes


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model card in Markdown."""

    whole: str
    short: str  # with as many tasks as a description in MLflow has room for


@dataclass(frozen=True, slots=True)
class _TaskLine:
    """A task in the card's table."""

    name: str
    assay_type: str
    kind: str
    n_labels: str
    score: str  # of the kept model on the test fold, by the main metric of its kind


def model_card(folder: Path, report: Report | None) -> ModelCard:
    """The card of the model in a folder; without a report it has no scores."""
    description = Description.read(folder)
    lines = list(_task_lines(description, report))
    whole = _filled(description, report, lines, n_more=0)
    return ModelCard(whole, _fitting(description, report, lines, whole))


def _fitting(description: Description, report: Report | None, lines: Sequence[_TaskLine], whole: str) -> str:
    """The longest card, by number of tasks, that MLflow takes; the last tasks are left out."""
    short, n_shown = whole, len(lines)
    while len(short) > _LONGEST and n_shown:
        n_shown = min(n_shown - 1, n_shown * _LONGEST // len(short))
        short = _filled(description, report, lines[:n_shown], n_more=len(lines) - n_shown)
    return short[:_LONGEST]


def _filled(description: Description, report: Report | None, lines: Sequence[_TaskLine], *, n_more: int) -> str:
    return filled(
        __package__,
        "model_card.md.jinja",
        d=description,
        report=report,
        scores=list(_scores(report)) if report else [],
        registered=registered_name(description.federation, description.federation_id, description.partner),
        alias=KEPT,
        class_columns=_columns(CLASS_COLUMNS),
        regr_columns=_columns(REGR_COLUMNS),
        facts=list(_facts(description, report)),
        metric=" or ".join(SHORT[kind.metrics[0]] for kind in (CLASSIFICATION, REGRESSION)),
        tasks=lines,
        n_more=n_more,
        file=CARD_FILE,
    )


def _columns(names: Sequence[str]) -> str:
    return ", ".join(f"`TASK.{name}`" for name in names)


def _scores(report: Report) -> Iterator[tuple[str, ComparisonOverTasks]]:
    for kind in (CLASSIFICATION, REGRESSION):
        comparisons = report.summary.of(kind)
        for metric in kind.metrics if comparisons else ():
            compared = comparisons.comparison(metric) if comparisons else None
            if compared:
                yield SHORT[metric], compared


def _facts(description: Description, report: Report | None) -> Iterator[tuple[str, object]]:
    if report:
        folds = report.data.folds
        yield "compounds in all folds", sum(fold.compounds for fold in folds)
        yield "labels, values in all folds", f"{sum(f.labels for f in folds)}, {sum(f.values for f in folds)}"
        yield "local steps per round", report.local_steps
    yield "rounds", description.n_rounds
    fingerprint, trunk, training = description.fingerprint, description.trunk, description.training
    yield "fingerprint", f"ECFP, radius {fingerprint.radius}, {fingerprint.n_bits} bits in keyed order"
    yield "trunk", f"{'-'.join(map(str, trunk.hidden))} units, {trunk.non_linearity}, dropout {trunk.dropout:g}"
    yield (
        "optimiser",
        f"{training.optimiser}, learning rate {training.learning_rate:g}, batches of {training.batch_size}",
    )
    yield "assays added by `hocket extend`", len(description.added)
    yield "plan, hocket", f"`{description.plan[:12]}`, {description.version}"


def _task_lines(description: Description, report: Report | None) -> Iterator[_TaskLine]:
    """The tasks that are predicted, without auxiliary ones."""
    for tasks, kind in ((description.tasks, CLASSIFICATION), (description.regression_tasks, REGRESSION)):
        rows = {_key(row): row for row in report.rows(kind)} if report else {}
        for task in tasks:
            if not task.is_auxiliary:
                yield _line(description, kind, task, rows.get(_key(task)))


def _key(task: ClassTask | RegrTask | AnyRow) -> tuple[str, float | None]:
    return task.input_assay_id, getattr(task, "threshold", None)


def _line(description: Description, kind: TaskKind, task: ClassTask | RegrTask, row: AnyRow | None) -> _TaskLine:
    score = row.score(description.kept, kind.metrics[0]) if row else None
    return _TaskLine(
        name=_cell(task.name),
        assay_type=_cell(task.assay_type),
        kind=task.kept if description.kept == "federated" else task.strongest,
        n_labels=str(row.n_labels) if row else "",
        score="" if score is None else f"{score:.3f}",
    )


def _cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#|!" else sign for sign in " ".join(text.split()))
