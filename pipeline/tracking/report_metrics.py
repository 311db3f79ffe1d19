"""The report's means as metrics of a partner's MLflow run, those of the main comparison and those of the network."""

from collections.abc import Iterator

from pipeline.errors import DamagedReport, NotYet
from pipeline.home.paths import Home
from pipeline.report.metrics import CLASSIFICATION, REGRESSION
from pipeline.report.report import read_report
from pipeline.report.schema import Comparisons

_NETWORK = "network_"


def report_metrics(home: Home) -> dict[str, float]:
    """Means on the test fold of both models of either comparison, and their changes, by name.

    Names such as `average_precision_change` are of federated against strongest local models, those that begin with
    `network_` of the network with federation against that without. None without a report that can be read.
    """
    try:
        report = read_report(home)
    except (NotYet, DamagedReport):  # `hocket report` says what to do
        return {}
    return dict(_means(report.summary)) | {f"{_NETWORK}{key}": mean for key, mean in _means(report.network.summary)}


def _means(summary: Comparisons) -> Iterator[tuple[str, float]]:
    for kind in (CLASSIFICATION, REGRESSION):
        comparisons = summary.of(kind)
        compared = {metric: comparisons.comparison(metric) for metric in kind.metrics} if comparisons else {}
        for metric, found in compared.items():
            if found:
                yield f"{metric}_local", found.local
                yield f"{metric}_federated", found.federated
                yield f"{metric}_change", found.change
