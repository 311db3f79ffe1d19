"""Reports of made-up tasks, for tests of pages and of what may be shared."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from partners.settings import LocalKind, ModelKind
from pipeline.report.metrics import CLASSIFICATION, ERRORS, REGRESSION
from pipeline.report.parts import Sides
from pipeline.report.report import build_report
from pipeline.report.row_schema import ClassificationScores, Efficiency, RegressionRow, RegressionScores, TaskRow, Width
from pipeline.report.schema import (
    Curve,
    Facts,
    Fold,
    FollowedTasks,
    Gate,
    InputTable,
    Learning,
    PreparationCounts,
    ReliabilityCurves,
    ReliabilityPoint,
    Report,
)

GATE = Gate(
    sentence="gate: the federated and the strongest local model cannot be told apart on the validation fold",
    outcome="undecided",
    kept="federated",
    n_tasks=7,
    confidence=0.95,
    change=0.01,
    low=None,
    high=None,
)
FACTS = Facts(
    partner="P01",
    federation="small",
    plan="ab" * 32,
    trunk="cd" * 32,
    n_rounds=12,
    local_steps=25,
    last_round="2026-01-31",
    gate=GATE,
    seed=1,
)
STRONGEST: tuple[LocalKind, ...] = ("mean", "forest", "mean", "gaussian process", "network")
KEPT: tuple[ModelKind, ...] = ("mean on the trunk", "forest on the trunk", "network")
TYPES = ("ADME", "PANEL", "CATALOG-PANEL", "OTHER", "AUX_HTS")


def made_up_report(
    n_tasks: int, n_regressions: int = 0, *, seed: int = 0, gain: float = 0.03, partner: str = "P01"
) -> Report:
    """A whole report, every id in it beginning with `secret`; two tasks to an assay."""
    rng = np.random.default_rng(seed)
    rows = [_row(number, rng, gain) for number in range(n_tasks)]
    regression_rows = [_regression_row(number, rng, gain) for number in range(n_regressions)]
    return report_of(rows, regression_rows, partner=partner)


def report_of(
    rows: Sequence[TaskRow] = (), regression_rows: Sequence[RegressionRow] = (), *, partner: str = "P01", seed: int = 1
) -> Report:
    """The report of some tasks, with made-up curves, calibration and preparation."""
    n_tasks, n_regressions = len(rows), len(regression_rows)
    curve = Curve(local=[(1, 0.5), (2, 0.625)], federated=[(1, 0.5), (2, 0.625)])
    regression_curve = Curve(local=[], federated=[(1, 0.25), (2, 0.5)])
    curves = dict.fromkeys(CLASSIFICATION.curves, curve)
    curves |= dict.fromkeys(REGRESSION.curves, regression_curve) if regression_rows else {}
    return build_report(
        FACTS.model_copy(update={"partner": partner, "seed": seed}),
        rows,
        regression_rows,
        learning=Learning(**curves, n_tasks=FollowedTasks(classification=n_tasks, regression=n_regressions)),
        calibration=_reliability(n_tasks, 0.1),
        data=_preparation(n_tasks),
        regression_calibration=_reliability(n_regressions, 0.3) if regression_rows else None,
    )


def task_row(number: int, local: float | None, federated: float | None, **facts: Any) -> TaskRow:  # noqa: ANN401
    """One classification task with the same score by every metric."""
    made_up = {
        "task_id": number,
        "input_assay_id": f"secret-assay-{number}",
        "assay_type": "OTHER",
        "threshold": 6.25,
        "n_labels": 80,
        "n_active": 3,
        "n_inactive": 17,
        "is_auxiliary": False,
        "strongest": "forest",
        "kept": "mean on the trunk",
        "reason": "secret-reason",
        "half_data": None,
        "network": Sides[ClassificationScores](local=scores(local), federated=scores(federated)),
        "domain": None,
    }
    return TaskRow(**made_up | facts, local=scores(local), federated=scores(federated))


def scores(value: float | None) -> ClassificationScores:
    """The same by every metric."""
    return ClassificationScores(**dict.fromkeys(ClassificationScores.model_fields, value))


def errors(score: float, error: float) -> RegressionScores:
    """A score and an error, each by every metric of its kind."""
    metrics = RegressionScores.model_fields
    return RegressionScores(**{metric: error if metric in ERRORS else score for metric in metrics})


def without(row: RegressionRow, metric: str) -> RegressionRow:
    """The same task, whose local model could not be scored by one metric."""
    return row.model_copy(update={"local": row.local.model_copy(update={metric: None})})


def _row(number: int, rng: np.random.Generator, gain: float) -> TaskRow:
    local = float(rng.beta(6, 3) * 0.96 + 0.02)
    federated = float(np.clip(local + rng.normal(gain, 0.04), 0, 1))
    efficiency = float(rng.uniform(0.2, 0.8))
    return task_row(
        number,
        local,
        federated,
        input_assay_id=f"secret-assay-{number // 2}",
        assay_type=TYPES[int(rng.integers(len(TYPES)))],
        threshold=6.0 + number % 2,
        n_labels=int(10 ** rng.uniform(1.4, 4)),
        n_active=31 * (1 + number % 2),
        n_inactive=47 * (1 + number % 2),  # 78 test compounds, or 156
        strongest=STRONGEST[number % len(STRONGEST)],
        kept=KEPT[number % len(KEPT)],
        reason=f"secret-reason-{number}",
        half_data=local - 0.05,
        network=Sides[ClassificationScores](local=scores(local - 0.02), federated=scores(federated - 0.01)),
        domain=Sides[Efficiency](
            local=Efficiency(efficiency=efficiency, coverage=0.94),
            federated=Efficiency(efficiency=efficiency + 0.1, coverage=0.95),
        ),
    )


def _regression_row(number: int, rng: np.random.Generator, gain: float) -> RegressionRow:
    local = float(0.6 - rng.exponential(0.4))
    federated = local + float(rng.normal(gain, 0.1))
    return RegressionRow(
        task_id=number,
        input_assay_id=f"secret-regression-{number}",
        assay_type=TYPES[int(rng.integers(len(TYPES)))],
        n_labels=int(10 ** rng.uniform(1.4, 4)),
        n_exact=29,
        n_censored=7,
        is_auxiliary=False,
        strongest=STRONGEST[number % len(STRONGEST)],
        kept=KEPT[number % len(KEPT)],
        reason=f"secret-reason-{number}",
        local=errors(local, 2 - local),
        federated=errors(federated, 2 - federated),
        network=Sides[RegressionScores](
            local=errors(local - 0.1, 2.1 - local), federated=errors(federated - 0.05, 2.05 - federated)
        ),
        domain=Sides[Width](local=Width(width=2.5, coverage=0.94), federated=Width(width=2.25, coverage=None)),
    )


def _reliability(n_tasks: int, offset: float) -> ReliabilityCurves:
    points = [
        ReliabilityPoint(
            predicted=i / 10 + 0.05, observed=min(1.0, i / 11 + offset), n_entries=7 * n_tasks, n_tasks=n_tasks
        )
        for i in range(10 if n_tasks else 0)
    ]
    return ReliabilityCurves(local=points, federated=points)


def _preparation(n_tasks: int) -> PreparationCounts:
    rejected = {"out_of_range": 180, "no_value": 3, "too_large": 17}
    return PreparationCounts(
        assays={"all": 30},
        classification={"tasks": n_tasks},
        compounds={"rows": 4010, "ids": 4100},
        folds=[
            Fold(compounds=800 + i, fold=i, labels=1600 + 9 * i, scaffolds=300, share=0.2, values=400) for i in range(5)
        ],
        regression={"tasks": 0},
        tables={
            "T0": InputTable(rows=n_tasks, accepted=n_tasks, rejected={}),
            "T1": InputTable(rows=8000, accepted=7800, rejected=rejected),
            "T2": InputTable(rows=4000, accepted=3997, rejected={"too_complex": 3}),
        },
        warnings=[],
    )
