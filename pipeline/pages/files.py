"""A report's files: the page, its figures, the summary, and report.json, which says that all is there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.pages.page import stamp
from pipeline.pages.page_files import page_digest, write_page
from pipeline.pages.private_page import own_page
from pipeline.pages.shareable_page import shared_page
from pipeline.report.report import report_file
from pipeline.report.shareable import shareable

PAGE, SUMMARY = "report.html", "summary.json"
_HEAD = 4096  # bytes in which a page's stamp stands


def write_report(home: Home, report: Mapping[str, Any]) -> None:
    """Write the summary, and then report.json, which says that the partner's models are judged."""
    write_json(home.report / SUMMARY, shareable(report))
    write_json(report_file(home), report)


def has_page(home: Home, report: Mapping[str, Any]) -> bool:
    """Whether the page is of this report and version, and as many figures are there as it shows."""
    try:
        page = (home.report / PAGE).read_bytes()
    except FileNotFoundError:
        return False
    n_there = sum(1 for _ in (home.report / "figures").glob("*.svg"))
    is_its_own = stamp(page_digest(report)).encode() in page[:_HEAD] and n_there == page.count(b"<figure>")
    return is_its_own and (home.report / SUMMARY).exists()


def write_own_page(home: Home, report: Mapping[str, Any]) -> None:
    """Write the summary, the figures and the page of a report that is there."""
    write_json(home.report / SUMMARY, shareable(report))
    write_page(home.report, own_page(report), PAGE, page_digest(report))


def write_shareable(folder: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """Write what may be shared: summary.json, report.html and figures, all from the summary alone; return it."""
    summary = shareable(report)
    write_page(folder, shared_page(summary), PAGE, page_digest(summary))
    write_json(folder / SUMMARY, summary)
    return summary
