"""Number formats of the tables on pages and terminal."""

from collections.abc import Sequence

NONE = "–"  # noqa: RUF001 -- an en dash, as tables have it


def count(n: object) -> str:
    """A count with commas; a hidden one unchanged."""
    return f"{n:,}" if isinstance(n, int) else str(n)


def percent(share: float, digits: int) -> str:
    """A share of 0 to 1 in percent; a share too small for the digits is shown as below the smallest one."""
    least = 10.0**-digits
    return f"< {least:g} %" if 100 * share < least else f"{100 * share:.{digits}f} %"


def number(value: float) -> str:
    """A score with four digits."""
    return f"{value:.4f}"


def signed(value: float) -> str:
    """A change with its sign and four digits."""
    return f"{value:+.4f}"


def interval(bounds: Sequence[float] | None) -> str:
    """An interval of changes; a dash if there is none."""
    return f"{bounds[0]:+.4f} to {bounds[1]:+.4f}" if bounds else NONE


def p_value(p: float | None) -> str:
    """A p-value; a dash if there is none."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"  # noqa: PLR2004 -- four digits are shown


def p_equals(p: float) -> str:
    """A p-value behind the letter: "= 0.0123" or "< 0.0001"."""
    shown = p_value(p)
    return shown if shown.startswith("<") else f"= {shown}"
