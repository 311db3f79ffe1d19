"""Write gauges in OpenMetrics text format, which node_exporter's textfile collector reads.

https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md; only its part that the older format of
Prometheus (0.0.4) has too, because that is what the textfile collector reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number with its name and meaning."""

    name: str  # [a-z_]+
    meaning: str
    value: float


def openmetrics(gauges: Sequence[Gauge], labels: Mapping[str, str]) -> str:
    """The text of a file of gauges, all with the same labels."""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
    return "".join(f"{line}\n" for gauge in gauges for line in _lines(gauge, pairs)) + "# EOF\n"


def _lines(gauge: Gauge, pairs: str) -> Iterator[str]:
    yield f"# HELP {gauge.name} {_escaped(gauge.meaning)}"
    yield f"# TYPE {gauge.name} gauge"
    yield f"{gauge.name}{{{pairs}}} {gauge.value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
