"""The consortium's files, for `hocket report --merge`: a page and JSON. Needs neither torch nor rdkit."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipeline.home.json_files import write_json
from pipeline.pages.consortium_page import consortium_page
from pipeline.pages.page import page_digest, write_page
from pipeline.report.consortium import Consortium, check_same, merge, pooled_network_sentence
from pipeline.report.shareable_schema import read_shared
from pipeline.report.terminal_table import print_tables
from pipeline.runtime.outputs import writing

PAGE, MERGED = "consortium.html", "consortium.json"


def merge_summaries(files: Sequence[Path], output: Path) -> Consortium:
    """Write consortium.html, its figures and consortium.json into `output`; return the merged summaries.

    Raises MixedFederations if plan or model differ or two summaries are of one partner, and the errors of
    `read_shared`, all before anything is written; ConfigError if the folder cannot be written.
    """
    summaries = [read_shared(path) for path in files]
    check_same(files, summaries)
    merged = merge(summaries)
    page = consortium_page(merged)
    with writing(output, whole=True):
        write_page(output, page, PAGE, page_digest(merged))
        write_json(output / MERGED, merged.to_json())
    return merged


def print_merged(merged: Consortium, output: Path) -> None:
    """Print the partners' table, the conclusion and the path of the page to stdout."""
    print_tables(merged.partners)
    console = Console(soft_wrap=True, highlight=False)
    console.print(merged.verdict.sentence, markup=False)
    if second := pooled_network_sentence(merged):
        console.print(second, markup=False)
    console.print(f"page: {output / PAGE}", markup=False)
