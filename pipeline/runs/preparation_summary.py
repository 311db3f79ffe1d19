"""What `hocket prepare` counts: summary.json of the prepared matrices, typed; private to the partner."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from data_prep.prepared import read_summary
from pipeline.report.parts import ReportPart
from pipeline.report.schema import Fold, InputTable

# The fields below are in the order of the file, whose keys are sorted.


class AssayCounts(ReportPart):
    """Numbers of assays: accepted, measured, with tasks, and with remarks."""

    all: int
    catalogue_notes: dict[str, int]  # by note
    in_regression: int
    measured: int
    near_constant: int
    values: int  # of all assays
    with_tasks: int


class CompoundCounts(ReportPart):
    """Numbers of ids and of compounds, which several ids may share."""

    ids: int
    merged_ids: int
    rows: int


class LabelCounts(ReportPart):
    """Numbers of labels."""

    active: int
    all: int
    inactive: int


class ClassesOfType(ReportPart):
    """Classification tasks of one assay type, and their labels."""

    active: int
    evaluated: int
    inactive: int
    tasks: int


class ClassificationCounts(ReportPart):
    """Numbers of classification tasks and labels."""

    auxiliary: int
    by_type: dict[str, ClassesOfType]
    candidates: int
    catalogue: int
    evaluated: int
    labels: LabelCounts
    tasks: int
    thresholds: dict[str, int]  # by method


class ValuesOfType(ReportPart):
    """Regression tasks of one assay type, and their values."""

    evaluated: int
    exact: int
    tasks: int
    values: int


class RegressionCounts(ReportPart):
    """Numbers of regression tasks and values."""

    auxiliary: int
    by_type: dict[str, ValuesOfType]
    candidates: int
    censored_share: float  # of the values
    evaluated: int
    exact: int
    tasks: int
    values: int


class PreparationSummary(ReportPart):
    """The content of summary.json, see `data_prep.preparation.summary`."""

    assays: AssayCounts
    classification: ClassificationCounts
    compounds: CompoundCounts
    folds: list[Fold]
    lost_assays: list[str]  # whose rows are all rejected, although they would be enough for a task
    regression: RegressionCounts
    rejected_share: float  # of T1's rows
    tables: dict[str, InputTable]
    warnings: list[str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the summary of a prepared folder; raises data_prep.errors.PreparedError if it was changed."""
        return cls.model_validate(read_summary(folder))


@dataclass(frozen=True, slots=True)
class PreparedTables:
    """A partner's prepared tables: the folder with the matrices, what is in them, and the digest to compare."""

    folder: Path
    summary: PreparationSummary
    consistency: str  # equal for all partners that prepare alike

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        return {"folder": str(self.folder), **self.summary.to_json(), "consistency": self.consistency}
