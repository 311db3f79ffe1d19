"""Write the private and the shareable page of a report."""

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
_HEAD = 4096  # first bytes of a page, which contain its stamp


def has_page(home: Home, report: Report) -> bool:
    """Whether the private page is of this report and version, and its figures and the summary exist."""
    try:
        page = (home.report / PAGE).read_bytes()
    except FileNotFoundError:
        return False
    n_figures = sum(1 for _ in (home.report / "figures").glob("*.svg"))
    is_current = stamp(page_digest(report)).encode() in page[:_HEAD] and n_figures == page.count(b"<figure>")
    return is_current and (home.report / SUMMARY).exists()


def write_private_page(home: Home, report: Report) -> None:
    """Write summary.json, the figures and the private page of a report."""
    write_summary(home, report)
    write_page(home.report, private_page(report), PAGE, page_digest(report))


def write_shareable(folder: Path, report: Report) -> ShareableSummary:
    """Write summary.json, report.html and figures to share, all from the summary alone; return the summary."""
    summary = shareable(report)
    write_page(folder, shareable_page(summary), PAGE, page_digest(summary))
    write_json(folder / SUMMARY, summary.to_json())
    return summary
