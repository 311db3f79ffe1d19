"""What the result reveals about compounds, on the private, the shareable and the consortium's page."""

from collections.abc import Iterator, Mapping

from pipeline.pages.page import PageTable, Section
from pipeline.report.audit.rows import (
    COLUMNS_HEADER,
    HOW_TO_READ,
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

_TITLE = "What the result tells about the compounds"


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
    yield Section(_TITLE, (*HOW_TO_READ, *sentences(audit)), [table for table in tables if table.rows])


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
    yield Section(_TITLE, HOW_TO_READ, [table for table in tables if table.rows])


def _share(share: float | None) -> str:
    if share is None:
        return NONE
    return percent(share, 1) if share else "0"
