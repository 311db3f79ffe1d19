"""The tables of one or several reports or shareable summaries, on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report.conclusion import columns_sentence, dates_sentence, gate_sentences, privacy_sentence
from pipeline.report.disclosure import WITHHELD
from pipeline.report.metrics import CLASSIFICATION, REGRESSION, SHORT
from pipeline.report.numbers import number, p_value, signed
from pipeline.report.picks import picks_sentence
from pipeline.report.schema import ComparisonOverTasks, Comparisons, Report
from pipeline.report.shareable_schema import ShareableSummary, SharedComparison, SharedComparisons
from pipeline.report.worth import worth_sentence

_WIDTH = 112  # characters if stdout is no terminal
_MAIN = "Federated against the strongest local model, test fold, mean over tasks; p: Wilcoxon over assays, Holm"
_NETWORK = "The same network without and with federation; all else as above"
_NONE, _HIDDEN = "-", "?"

AnySummary = Comparisons | SharedComparisons


def print_report(reports: Sequence[Report | ShareableSummary]) -> None:
    """Print the tables of one or several partners to stdout, and each one's conclusion below."""
    console = print_tables(reports)
    for report in reports:
        for line in _conclusions(report):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_tables(reports: Sequence[Report | ShareableSummary]) -> Console:
    """Print the two tables, over the strongest local model and over the same network, and return the console."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(_table(_MAIN, [(report.partner, report.summary) for report in reports]))
    console.print(_table(_NETWORK, [(report.partner, _network(report)) for report in reports]))
    return console


def _conclusions(report: Report | ShareableSummary) -> list[str]:
    """The conclusion, the hits among picked compounds, and of a private report the gate and what was shared."""
    private: tuple[str, ...] = ()
    if isinstance(report, Report):
        private = (
            dates_sentence(report.by_date),
            gate_sentences(report),
            columns_sentence(report.columns),
            _unconfirmed(report),
        )
    both = (report.verdict.sentence, picks_sentence(report.picks), worth_sentence(report.worth))
    sentences = (*both, privacy_sentence(report.privacy), *private)
    return [f"{report.partner}: {sentence}" for sentence in sentences if sentence]


def _unconfirmed(report: Report) -> str:
    """Who has not signed yet that it has the same last trunk; empty if all have."""
    if not report.unconfirmed:
        return ""
    return f"{', '.join(report.unconfirmed)} has not confirmed the last trunk yet; `hocket report` looks again."


def _network(report: Report | ShareableSummary) -> AnySummary:
    return report.network.summary if isinstance(report, Report) else report.network


def _table(title: str, summaries: Sequence[tuple[str, AnySummary]]) -> Table:
    """The table of one comparison; summaries : of each partner, with its name."""
    table = Table(title=title, title_justify="left")
    table.add_column("partner", no_wrap=True)
    for column in ("tasks", "metric", "local", "federated", "change [95 % interval]", "p", "better", "worse"):
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for partner, summary in summaries:
        for row in _rows(partner, summary):
            table.add_row(*map(Text, row))  # a plain text would be read as markup
        table.add_section()
    return table


def _rows(partner: str, summary: AnySummary) -> list[list[str]]:
    """One row per metric; the first row names the partner, the first of each kind the number of tasks."""
    rows = []
    for kind in (CLASSIFICATION, REGRESSION):
        comparisons = summary.of(kind)
        if comparisons is None:
            continue
        n_tasks = f"{comparisons.n_judged} of {comparisons.n_tasks}"
        for metric in kind.metrics:
            rows.append([partner, n_tasks, SHORT[metric], *_figures(comparisons.comparison(metric))])
            partner = n_tasks = ""
    return rows


def _figures(comparison: ComparisonOverTasks | SharedComparison | None) -> list[str]:
    if comparison is None:
        return [_NONE] * 6
    change = signed(comparison.change)
    if comparison.interval_95:
        low, high = comparison.interval_95
        change += f" [{signed(low)}, {signed(high)}]"
    counts = [_HIDDEN if n == WITHHELD else str(n) for n in (comparison.n_better, comparison.n_worse)]
    return [number(comparison.local), number(comparison.federated), change, p_value(comparison.p_assays_holm), *counts]
