"""The shareable part of an audit: rates and intervals only, without counts, over groups that are large enough."""

from typing import Annotated

from pydantic import Field

from pipeline.report.audit.schema import Audit, AuditRates, Interval, ViewName
from pipeline.report.disclosure import FEWEST
from pipeline.report.parts import PartWithOptions, ReportPart

_SHARE_DIGITS = 3

Share = Annotated[float, Field(ge=0, le=1)]


class SharedAuditRate(ReportPart):
    """True positive rate at one false positive rate, and its 95 % interval; None: not measurable."""

    false_positive_rate: Share
    true_positive_rate: Share | None
    interval: Interval | None


class SharedAuditView(PartWithOptions):
    """What one release reveals about membership, by its strongest attack."""

    name: ViewName
    attack: Annotated[str, Field(max_length=100)]
    auc: Share
    auc_interval: Interval
    at: list[SharedAuditRate]
    epsilon_at_least: float | None = None  # canaries only


class SharedAudit(PartWithOptions):
    """What a partner shares of its audit."""

    views: list[SharedAuditView]
    recovered: Share | None = None  # share of the partner's compounds that reconstruction found
    exposed: Share | None = None  # share of its compounds that set a shared column of too few holders
    n_warnings: int  # rounds with a warning of the incoming trunk; every partner sees these trunks


def shared_audit(audit: Audit) -> SharedAudit:
    """What may be shared of an audit. Views of fewer than five members or others are left out."""
    views = [
        SharedAuditView(
            name=view.name,
            attack=view.strongest.name,
            auc=view.strongest.rates.auc,
            auc_interval=view.strongest.rates.auc_interval,
            at=_rates(view.strongest.rates),
            epsilon_at_least=view.strongest.epsilon.epsilon if view.strongest.epsilon else None,
        )
        for view in audit.views
        if min(view.main.rates.n_members, view.main.rates.n_others) >= FEWEST
    ]
    found, columns = audit.reconstruction, audit.columns
    return SharedAudit(
        views=views,
        recovered=_share(found.n_recovered, found.n_compounds) if found else None,
        exposed=None if columns.n_exposed is None else _share(columns.n_exposed, columns.n_compounds),
        n_warnings=len(audit.incoming.warnings),
    )


def _rates(rates: AuditRates) -> list[SharedAuditRate]:
    """Leave out rates of fewer than five found or missed members: their interval would reveal the small count."""
    return [
        SharedAuditRate(
            false_positive_rate=rate.false_positive_rate,
            true_positive_rate=rate.true_positive_rate,
            interval=rate.interval,
        )
        for rate in rates.at
        if rate.true_positive_rate is None or _is_large(rate.true_positive_rate, rates.n_members)
    ]


def _is_large(share: float, n: int) -> bool:
    n_found = round(share * n)
    return n_found in {0, n} or min(n_found, n - n_found) >= FEWEST


def _share(n_found: int, n_all: int) -> float | None:
    """A share, or None if it would reveal a count from one to four."""
    if 0 < n_found < FEWEST or 0 < n_all - n_found < FEWEST or n_all < FEWEST:
        return None
    return round(n_found / n_all, _SHARE_DIGITS)
