"""What the result reveals about compounds, on the private, the shareable and the consortium's page."""

from collections.abc import Iterator, Mapping

from pipeline.pages.captions import HOW_TO_READ_AN_AUDIT
from pipeline.pages.page import PageTable, Section
from pipeline.report.audit.rows import (
    COLUMNS_HEADER,
    RATES_HEADER,
    columns_rows,
    groups_rows,
    sentences,
    shared_rows,
    views_rows,
)
from pipeline.report.audit.schema import Audit
from pipeline.report.audit.shared import SharedAudit
from pipeline.report.numbers import NONE, percent
from pipeline.report.schema import PrivacyBound

_TITLE = "What the result tells about the compounds"
_EPSILON = (
    "As each partner's summary states it. At most: the bound of the plan's differential privacy, over all its updates, "
    "for one compound with all its labels. At least: what an attack on the trunk proves with canaries, at 95 % "
    "confidence; that it is small does not say that no attack finds more."
)
_BROKEN = (
    "More was proven than the bound allows: of {}. By chance that happens to one partner in twenty; else the noise was "
    "not applied, or epsilon was computed wrongly. Do not rely on the bound before the cause is known."
)


def audit_section(audit: Audit | None) -> Iterator[Section]:
    """The section of the private page; none before `hocket audit` was run."""
    if audit is None:
        return
    sizes = ["trained on", "others"]
    tables = [
        PageTable(
            "Who was trained on",
            ["what is attacked", "attack", *sizes, *RATES_HEADER],
            views_rows(audit),
            2,
        ),
        PageTable(
            "By groups of compounds",
            ["what is attacked", "compounds", *sizes, *RATES_HEADER],
            groups_rows(audit.views),
            2,
            folded=True,
        ),
        PageTable("Input columns", COLUMNS_HEADER, columns_rows(audit)),
    ]
    yield Section(_TITLE, (*HOW_TO_READ_AN_AUDIT, *sentences(audit)), [table for table in tables if table.rows])


def shared_audit_section(audits: Mapping[str, SharedAudit]) -> Iterator[Section]:
    """The section of the shareable page (a partner named "") and of the consortium's page; none without an audit."""
    if not audits:
        return
    named = any(audits)
    partner = ["partner"] if named else []
    rows = [[*([name] if named else []), *row] for name, audit in audits.items() for row in shared_rows(audit)]
    exact = [
        [*([name] if named else []), _share(audit.recovered), _share(audit.exposed), str(audit.n_warnings)]
        for name, audit in audits.items()
    ]
    header = [
        *partner,
        "compounds recovered",
        "compounds with a shared column of too few holders",
        "incoming trunks with a warning",
    ]
    tables = [
        PageTable(
            "Who was trained on", [*partner, "what is attacked", "attack", *RATES_HEADER], rows, len(partner) + 2
        ),
        PageTable("Exact parts", header, exact, len(partner)),
    ]
    yield Section(_TITLE, HOW_TO_READ_AN_AUDIT, [table for table in tables if table.rows])


def epsilon_section(
    bounds: Mapping[str, PrivacyBound | None], audits: Mapping[str, SharedAudit | None]
) -> Iterator[Section]:
    """Epsilon of each partner on the consortium's page; none if no partner has a bound from above or from below."""
    lowest = {name: _epsilon_at_least(audits.get(name)) for name in bounds}
    if not any(bounds.values()) and not any(epsilon is not None for epsilon in lowest.values()):
        return
    rows = [
        [
            name,
            *([f"{bound.epsilon:g}", f"{bound.delta:g}"] if bound else ["no bound", NONE]),
            NONE if (epsilon := lowest[name]) is None else f"{epsilon:.2f}",
        ]
        for name, bound in bounds.items()
    ]
    header = ["partner", "epsilon, at most", "delta", "epsilon, at least"]
    broken = [name for name, bound in bounds.items() if bound and (lowest[name] or 0.0) > bound.epsilon]
    texts = [_EPSILON, *([_BROKEN.format(", ".join(broken))] if broken else [])]
    yield Section("Differential privacy, partner by partner", texts, [PageTable("Epsilon", header, rows)])


def _epsilon_at_least(audit: SharedAudit | None) -> float | None:
    """The bound by canaries; None without them."""
    bounds = [view.epsilon_at_least for view in audit.views] if audit else []
    return max((epsilon for epsilon in bounds if epsilon is not None), default=None)


def _share(share: float | None) -> str:
    if share is None:
        return NONE
    return percent(share, 1) if share else "0"
