"""An audit in words and cells, for terminal and pages."""

from collections.abc import Sequence

from partners.audit.measurable import FALSE_POSITIVE_RATES, fewest_others
from pipeline.report.audit.schema import EXAMPLE, TITLES, Audit, AuditEpsilon, AuditRate, AuditRates, AuditView
from pipeline.report.audit.shared import SharedAudit, SharedAuditRate
from pipeline.report.numbers import NONE, count, percent

RATES_HEADER = ["AUC [95 %]", *(f"TPR at FPR {100 * rate:g} %" for rate in FALSE_POSITIVE_RATES)]
COLUMNS_HEADER = ["own compounds that set the column", "columns", "compounds that set such a column"]


def views_rows(audit: Audit) -> list[list[str]]:
    """Cells of each attack and control of each view: view, attack, members, others, rates."""
    rows = []
    for view in audit.views:
        named = [(attack.name, attack.rates) for attack in view.attacks]
        named.append(("permuted memberships", view.permuted))
        if view.untrained:
            named.append(("the first trunk", view.untrained))
        rows += [[TITLES[view.name], name, *_sizes(rates), *rates_cells(rates)] for name, rates in named]
    return rows


def groups_rows(views: Sequence[AuditView]) -> list[list[str]]:
    """Cells of each group of some views: view, group, members, others, rates."""
    return [
        [TITLES[view.name], group.name, *_sizes(group.rates), *rates_cells(group.rates)]
        for view in views
        for group in view.groups
    ]


def shared_rows(shared: SharedAudit) -> list[list[str]]:
    """Cells of each view of a shared audit: name, attack, rates."""
    rows = []
    for view in shared.views:
        by_rate = {rate.false_positive_rate: rate for rate in view.at}
        cells = [_rate(by_rate[rate]) if rate in by_rate else "< 5" for rate in FALSE_POSITIVE_RATES]
        rows.append([TITLES[view.name], view.attack, _auc(view.auc, view.auc_interval), *cells])
    return rows


def columns_rows(audit: Audit) -> list[list[str]]:
    """Cells of each class of columns."""
    return [
        [
            f"{part.first} or more" if part.last is None else "–".join(map(str, sorted({part.first, part.last}))),  # noqa: RUF001
            count(part.n_columns),
            count(part.n_compounds) if part.first else NONE,
        ]
        for part in audit.columns.classes
    ]


def rates_cells(rates: AuditRates) -> list[str]:
    """AUC and each rate, with intervals."""
    return [_auc(rates.auc, rates.auc_interval), *(_rate(rate) for rate in rates.at)]


def sentences(audit: Audit) -> list[str]:
    """The exact parts, the canaries and the missing parts, as sentences."""
    columns, recovered = audit.columns, audit.reconstruction
    alone = columns.of_one()
    set_one = _of(alone.n_compounds, columns.n_compounds)
    text = (
        f"Columns: {alone.n_columns:,} of {columns.n_columns:,} are set by a single training compound of this partner, "
        f"and {set_one} compounds set such a column."
    )
    lines = [text]
    if columns.n_alone is not None and columns.n_exposed is not None:
        exposed = _of(columns.n_exposed, columns.n_compounds)
        lines.append(f"Shared columns with too few holders: {columns.n_alone:,}; {exposed} compounds set one.")
    if recovered:
        lines.append(
            f"Reconstruction: {recovered.n_groups:,} groups of columns changed alike; they give "
            f"{recovered.n_bits:,} bits of {_of(recovered.n_recovered, recovered.n_compounds)} compounds."
        )
    lines.append(_incoming(audit))
    lines.append(_canaries(audit))
    if audit.allowed_epsilon is not None:
        lines.append(f"Differential privacy: the plan allows an epsilon of {audit.allowed_epsilon:g} to all updates.")
    return [*lines, *(f"Not measured: {text}." for text in audit.missing)]


def _incoming(audit: Audit) -> str:
    incoming = audit.incoming
    if not incoming.n_rounds:
        return "Incoming trunks: none was looked at before training; runs of this version look at each."
    if not incoming.warnings:
        return f"Incoming trunks: {incoming.n_rounds} looked at before training, none far outside those before it."
    return f"Incoming trunks: {len(incoming.warnings)} warnings: {'; '.join(incoming.warnings)}."


def _canaries(audit: Audit) -> str:
    view = audit.view("canaries")
    if view is None:
        return (
            f"Canaries would tell members from others without doubt: {EXAMPLE} of them show an epsilon of "
            f"{audit.largest_epsilon:.1f} at best, and cost {EXAMPLE // 2} training compounds."
        )
    bounds = [f"{attack.epsilon.epsilon:.2f} by {attack.name}" for attack in view.attacks if attack.epsilon]
    main = view.main.epsilon
    return f"Canaries: epsilon is at least {', '.join(bounds)} (95 %). {_best(main, view.main.rates) if main else ''}"


def _best(epsilon: AuditEpsilon, rates: AuditRates) -> str:
    """What so many canaries can show at best, and what they cost."""
    measurable = [rate for rate in FALSE_POSITIVE_RATES if rates.n_others >= fewest_others(rate)]
    finest = f"rates down to FPR {100 * min(measurable):g} %" if measurable else "no rate at a fixed FPR"
    return (
        f"{epsilon.n_canaries} canaries can show an epsilon of {epsilon.largest:.1f} at best, and {finest}; they cost "
        f"{rates.n_others} training compounds."
    )


def _of(n: int, n_all: int) -> str:
    return f"{n:,} of {n_all:,} ({percent(n / n_all, 1)})" if n else f"0 of {n_all:,}"


def _sizes(rates: AuditRates) -> list[str]:
    return [count(rates.n_members), count(rates.n_others)]


def _auc(auc: float, interval: Sequence[float]) -> str:
    return f"{auc:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _rate(rate: AuditRate | SharedAuditRate) -> str:
    if rate.true_positive_rate is None or rate.interval is None:
        n = f" with n = {rate.n_others:,}" if isinstance(rate, AuditRate) else ""
        return f"not measurable{n}"
    low, high = rate.interval
    return f"{100 * rate.true_positive_rate:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
