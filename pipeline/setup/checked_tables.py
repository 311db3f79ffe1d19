"""Findings of `hocket prepare --check` and `hocket doctor` about a partner's tables; private to the partner."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from data_prep.errors import TableError, ThresholdsFromData
from data_prep.preparation.check import TableCheck, TableFinding, check
from data_prep.preparation.input_tables import expect_expert_thresholds
from data_prep.settings import Preparation
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan

if TYPE_CHECKING:
    from data_prep.preparation.structure_check import StructureCheck  # RDKit


@dataclass(frozen=True, slots=True)
class CheckedTables:
    """The findings about the tables, and what will come of them."""

    tables: TableCheck
    most_rejected: float  # the partner's limit, a share of T1's rows
    max_weight: int | None  # the plan's limit of training labels; None: partners weigh the same
    trains_regression: bool  # whether regression values count as training labels

    @property
    def n_training_labels(self) -> int | None:
        """About the number of labels with which this partner weighs; None if the tables cannot be used."""
        forecast = self.tables.forecast
        if forecast is None:
            return None
        return forecast.training_labels + (forecast.training_values if self.trains_regression else 0)

    @property
    def n_training_compounds(self) -> int:
        """About the number of compounds that this partner trains on; 0 if the tables cannot be used."""
        forecast = self.tables.forecast
        if forecast is None:
            return 0
        return forecast.measured_compounds if self.trains_regression else forecast.training_compounds

    @property
    def is_heavier(self) -> bool:
        """Whether this partner has more training labels than the plan lets count."""
        return self.max_weight is not None and (self.n_training_labels or 0) > self.max_weight

    def lines(self) -> Iterator[str]:
        """Yield the findings, then the share that is left out and the forecast, as lines of text."""
        yield from map(str, self.tables.findings)
        losses, forecast = self.tables.losses, self.tables.forecast
        if losses is None:
            return
        limit = f"at most {100 * self.most_rejected:g} % may be"
        yield f"T1: {100 * losses.share:g} % of {losses.n_rows:,} rows are left out, {limit}"
        if forecast is None:
            yield "no task is forecast, as these tables are not prepared before they are corrected"
            return
        yield from forecast.lines()
        if self.max_weight is not None:
            advice = "agree on a larger one" if self.is_heavier else "enough for this partner"
            yield f"weight: about {self.n_training_labels:,} labels, seal.max_weight is {self.max_weight:,}: {advice}"

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        losses, forecast = self.tables.losses, self.tables.forecast
        return {
            "findings": [str(finding) for finding in self.tables.findings],
            "usable": not self.tables.stops,
            "rejected_share": losses.share if losses else None,
            "lost_assays": list(losses.lost_assays) if losses else None,
            "forecast": asdict(forecast) if forecast else None,
            "training_labels": self.n_training_labels,
            "max_weight": self.max_weight,
        }


def checked_tables(
    config: PartnerConfig, plan: Plan | None, structures: "StructureCheck | None" = None
) -> CheckedTables:
    """Check the tables by the plan's settings, or by the default ones if there is no plan.

    structures : None: they are not standardised
    """
    data = config.data
    files = (config.resolve(data.assays), config.resolve(data.activities), config.resolve(data.structures))
    tables = check(*files, plan.preparation if plan else Preparation(), data.own, structures)
    if plan and plan.privacy:
        tables = replace(tables, findings=[*tables.findings, *_thresholds_from_data(config)])
    max_weight = plan.seal.max_weight if plan and plan.seal.weights == "size" else None
    return CheckedTables(tables, data.most_rejected, max_weight, config.training.regression_weight > 0)


def _thresholds_from_data(config: PartnerConfig) -> Iterator[TableFinding]:
    try:
        expect_expert_thresholds(config.resolve(config.data.assays), config.data.own)
    except ThresholdsFromData as error:
        yield TableFinding("T0", "; ".join([str(error), *error.__notes__]), serious=True, stops=True)
    except TableError:
        return  # which the check of the tables has found
