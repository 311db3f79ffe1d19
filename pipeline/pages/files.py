"""The pages of a report on disk: the private one, and what may be shared."""

from pathlib import Path

from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.pages.page import page_digest, stamp, write_page
from pipeline.pages.private_page import private_page
from pipeline.pages.shareable_page import shareable_page
from pipeline.report.report import SUMMARY, write_summary
from pipeline.report.schema import Report
from pipeline.report.shareable import shareable
from pipeline.report.shareable_schema import ShareableSummary

PAGE = "report.html"
_HEAD = 4096  # bytes in which a page's stamp stands


def has_page(home: Home, report: Report) -> bool:
    """Whether the page is of this report and version, and as many figures are there as it shows."""
    try:
        page = (home.report / PAGE).read_bytes()
    except FileNotFoundError:
        return False
    n_figures = sum(1 for _ in (home.report / "figures").glob("*.svg"))
    is_its_own = stamp(page_digest(report)).encode() in page[:_HEAD] and n_figures == page.count(b"<figure>")
    return is_its_own and (home.report / SUMMARY).exists()


def write_private_page(home: Home, report: Report) -> None:
    """Write the summary, the figures and the page of a report that is there."""
    write_summary(home, report)
    write_page(home.report, private_page(report), PAGE, page_digest(report))


def write_shareable(folder: Path, report: Report) -> ShareableSummary:
    """Write what may be shared: summary.json, report.html and figures, all from the summary alone; return it."""
    summary = shareable(report)
    write_page(folder, shareable_page(summary), PAGE, page_digest(summary))
    write_json(folder / SUMMARY, summary.to_json())
    return summary
