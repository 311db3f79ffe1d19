"""All keys of audit.json: what a partner's releases reveal about its compounds, as `hocket audit` measured it.

Private, for its counts may be small; `pipeline.report.audit.shared` makes what may be shared.
"""

import json
from collections.abc import Iterator
from typing import Literal, Self

from pydantic import ValidationError

from pipeline.errors import DamagedReport
from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.report.parts import PartWithOptions, ReportPart, problems

AUDIT = "audit.json"
EXAMPLE = 200  # canaries
_FORMAT: Literal[1] = 1

Interval = tuple[float, float]
ViewName = Literal["trunk", "model", "sums", "shadow trunk", "shadow model", "canaries"]
TITLES: dict[ViewName, str] = {
    "trunk": "trunk",
    "model": "trunk and heads",
    "sums": "steps of the trunk",
    "shadow trunk": "trunk of a shadow",
    "shadow model": "trunk and heads of a shadow",
    "canaries": "trunk, on canaries",
}


class AuditRate(ReportPart):
    """True positive rate at one false positive rate; None: not measurable with so few other compounds."""

    false_positive_rate: float
    n_others: int
    true_positive_rate: float | None
    interval: Interval | None  # 95 %, Clopper and Pearson


class AuditRates(ReportPart):
    """How well scores separate members, which were trained on, from other compounds."""

    n_members: int
    n_others: int
    auc: float
    auc_interval: Interval  # 95 %
    at: list[AuditRate]


class AuditEpsilon(ReportPart):
    """Lower bound of epsilon, 95 % confidence, by guesses about canaries (Steinke et al., 2023)."""

    epsilon: float
    largest: float  # if all guesses were right
    delta: float
    n_canaries: int
    n_guesses: int
    n_right: int


class AuditAttack(PartWithOptions):
    """One attack in one view."""

    name: str
    rates: AuditRates
    epsilon: AuditEpsilon | None = None  # of canaries only


class AuditGroup(ReportPart):
    """A group of compounds, by the view's main attack."""

    name: str
    rates: AuditRates


class AuditView(ReportPart):
    """What one release reveals about membership."""

    name: ViewName
    attacks: list[AuditAttack]  # the main one first
    permuted: AuditRates  # the main attack with permuted memberships: must show nothing
    untrained: AuditRates | None  # the first trunk, which has seen no compound: shows how members and others differ
    groups: list[AuditGroup]

    @property
    def main(self) -> AuditAttack:
        """The attack by which groups are compared; chosen before any figure is seen."""
        return self.attacks[0]

    @property
    def strongest(self) -> AuditAttack:
        """The attack with the highest AUC."""
        return max(self.attacks, key=lambda attack: attack.rates.auc)


class AuditColumns(ReportPart):
    """Columns that a number of own training compounds set."""

    first: int
    last: int | None
    n_columns: int
    n_compounds: int


class AuditColumnTable(ReportPart):
    """Input columns of this partner."""

    n_columns: int
    n_compounds: int
    classes: list[AuditColumns]
    n_alone: int | None  # shared columns with too few holders; None: holders are not counted
    n_exposed: int | None  # own compounds that set such a column

    def of_one(self) -> AuditColumns:
        """Columns that a single own compound sets."""
        return next(part for part in self.classes if (part.first, part.last) == (1, 1))


class AuditIncoming(ReportPart):
    """The trunks that came back from the sums."""

    n_rounds: int
    warnings: list[str]


class AuditReconstruction(ReportPart):
    """Compounds found in groups of columns that changed alike."""

    n_changed: int
    n_groups: int
    n_recovered: int
    n_bits: int
    n_compounds: int


class Audit(PartWithOptions):
    """The content of audit.json."""

    format: Literal[1] = _FORMAT
    partner: str
    federation: str
    plan: str  # digest
    trunk: str  # digest
    n_shadows: int
    largest_epsilon: float  # that EXAMPLE canaries can show
    allowed_epsilon: float | None = None  # the plan's [privacy]
    columns: AuditColumnTable
    incoming: AuditIncoming
    views: list[AuditView]
    reconstruction: AuditReconstruction | None = None
    missing: list[str]  # what could not be measured, and why

    def view(self, name: ViewName) -> AuditView | None:
        """One view; None if it was not measured."""
        return next((view for view in self.views if view.name == name), None)

    def numbers(self) -> Iterator[tuple[str, float]]:
        """Names and values of the strongest attacks' figures and the exact parts, for charts."""
        for view in self.views:
            name = view.name.replace(" ", "_")
            yield f"{name}_auc", view.strongest.rates.auc
            for rate in view.strongest.rates.at:
                if rate.true_positive_rate is not None:
                    yield f"{name}_tpr_at_fpr_{rate.false_positive_rate:g}", rate.true_positive_rate
            bounds = [attack.epsilon.epsilon for attack in view.attacks if attack.epsilon]
            if bounds:
                yield f"{name}_epsilon_at_least", max(bounds)
        if self.reconstruction:
            yield "compounds_recovered", float(self.reconstruction.n_recovered)
        yield "columns_of_one_compound", float(self.columns.of_one().n_columns)
        yield "incoming_warnings", float(len(self.incoming.warnings))

    def write(self, home: Home) -> None:
        """Write audit.json into the report's folder."""
        write_json(home.report / AUDIT, self.to_json())

    @classmethod
    def read(cls, home: Home) -> Self | None:
        """Read audit.json; None if there is none. Raises DamagedReport for a file that an audit does not write."""
        path = home.report / AUDIT
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(json.dumps(json.loads(path.read_bytes())))
        except ValidationError as error:
            problem = problems(error)
        except (ValueError, RecursionError):
            problem = "no JSON"
        damaged = DamagedReport(f"{path}: is damaged: {problem}")
        damaged.add_note("remove it; `hocket audit` writes it again from the kept shadows")
        raise damaged
