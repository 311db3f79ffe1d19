"""`hocket report --merge`: one page for the consortium from what its partners share. Needs neither torch nor rdkit."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipeline.home.json_files import write_json
from pipeline.pages.consortium_page import consortium_page
from pipeline.pages.page import page_digest, write_page
from pipeline.report.consortium import Consortium, check_same, merge
from pipeline.report.shareable_schema import read_shared
from pipeline.report.terminal_table import print_report

PAGE, MERGED = "consortium.html", "consortium.json"


def merge_summaries(files: Sequence[Path], output: Path) -> Consortium:
    """Write consortium.html, its figures and consortium.json into `output`; return the latter.

    Raises MixedFederations where plan or model differ or a partner comes twice, and what `read_shared` raises; nothing
    is written then.
    """
    summaries = [read_shared(path) for path in files]
    check_same(files, summaries)
    merged = merge(summaries)
    write_page(output, consortium_page(merged), PAGE, page_digest(merged))
    write_json(output / MERGED, merged.to_json())
    return merged


def print_merged(merged: Consortium, output: Path) -> None:
    """The partners' tables, the sentence, and where the page is, on stdout."""
    print_report(merged.partners)
    console = Console(soft_wrap=True, highlight=False)
    console.print(merged.verdict.sentence, markup=False)
    console.print(f"page: {output / PAGE}", markup=False)
