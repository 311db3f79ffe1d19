"""The tables that `hocket prepare` prints."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.runs.preparation_summary import PreparationSummary, PreparedTables
from pipeline.runs.preparation_table import show_prepared

SUMMARY: dict[str, Any] = {
    "tables": {
        "T0": {"rows": 3, "accepted": 3, "rejected": {}},
        "T1": {"rows": 12_345_678, "accepted": 12_345_670, "rejected": {"out_of_range": 5, "unknown_compound": 3}},
        "T2": {"rows": 1_000_000, "accepted": 1_000_000, "rejected": {}},
    },
    "compounds": {"rows": 999_990, "ids": 1_000_000, "merged_ids": 10},
    "assays": {
        "all": 3, "measured": 2, "with_tasks": 1, "in_regression": 1, "near_constant": 1, "values": 7,
        "catalogue_notes": {"missing_catalog_id": 1},
    },
    "classification": {
        "tasks": 2, "candidates": 9, "evaluated": 1, "auxiliary": 1, "catalogue": 1,
        "labels": {"all": 100, "active": 25, "inactive": 75},
        "thresholds": {"expert": 1, "aux_low": 1},
        "by_type": {"NON-CATALOG-PANEL": {"tasks": 2, "evaluated": 1, "active": 25, "inactive": 75}},
    },
    "regression": {
        "tasks": 1, "candidates": 2, "evaluated": 1, "auxiliary": 0, "values": 60, "exact": 45, "censored_share": 0.25,
        "by_type": {"ADME": {"tasks": 1, "evaluated": 1, "values": 60, "exact": 45}},
    },
    "folds": [
        {"fold": fold, "compounds": 200_000, "labels": 20, "scaffolds": 9, "share": 0.2, "values": 12}
        for fold in range(5)
    ],
    "rejected_share": 0.0123,
    "lost_assays": ["A1"],
    "warnings": ["fold 4 holds 999,000 compounds, an even share is 200,000: agree on something that is more even"],
    "consistency": "0123456789abcdef" * 4,
    "folder": "/a/folder/" + "0123456789abcdef" * 8,
}  # fmt: skip


def prepared(summary: dict[str, Any]) -> PreparedTables:
    counts = {key: value for key, value in summary.items() if key not in {"folder", "consistency"}}
    return PreparedTables(Path(summary["folder"]), PreparationSummary.model_validate(counts), summary["consistency"])


def shown(summary: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    show_prepared(prepared(summary), Console(file=out, width=width))
    return out.getvalue()


def test_json_is_the_file_between_folder_and_consistency() -> None:
    """Every key of summary.json in the file's order, which is sorted."""
    found = prepared(json.loads(json.dumps(SUMMARY, sort_keys=True))).to_json()
    folder, *counts, consistency = found
    assert (folder, consistency) == ("folder", "consistency")
    written = json.dumps({key: SUMMARY[key] for key in counts}, sort_keys=True)
    assert json.dumps({key: found[key] for key in counts}) == written


def test_everything_is_in_eighty_columns() -> None:
    """Counts, reasons, types, folds and notes are there; only the folder's name, to be copied, may be longer."""
    text = shown(SUMMARY)
    *lines, folder = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert folder == f"folder: {SUMMARY['folder']}"
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert ["T1", "12,345,678", "12,345,670", "8"] in rows
    assert ["T1", "out_of_range", "5"] in rows
    assert ["NON-CATALOG-PANEL", "2", "1", "100", "25 %"] in rows
    assert ["ADME", "1", "1", "60", "25 %"] in rows
    assert ["4", "200,000", "20 %", "20", "12"] in rows
    words = " ".join(" ".join(lines).split())
    for fact in ("10 ids merged", "1 near-constant", "1 missing catalog id", "1 aux low", "1 catalogue", "15 censored"):
        assert fact in words


def test_nothing_to_tell_takes_no_room() -> None:
    """Tables without a row are left out, and no share of nothing is computed."""
    empty = {**SUMMARY, "tables": {"T0": {"rows": 0, "accepted": 0, "rejected": {}}}}
    empty["classification"] = {**SUMMARY["classification"], "by_type": {}, "tasks": 0, "thresholds": {}}
    empty["regression"] = {**SUMMARY["regression"], "by_type": {}, "values": 0, "exact": 0}
    empty["compounds"] = {"rows": 0, "ids": 0, "merged_ids": 0}
    empty["folds"] = [{"fold": 0, "compounds": 0, "labels": 0, "scaffolds": 0, "share": 0.0, "values": 0}]
    text = shown(empty)
    assert "Rejected rows" not in text
    assert "assay type" not in text
    assert "thresholds" not in text


@pytest.mark.parametrize("name", ["[bold]red[/bold]", "/p/[x]/y"])
def test_a_folder_is_printed_as_it_is(name: str) -> None:
    """Brackets in a path are printed, not taken as markup."""
    assert shown({**SUMMARY, "folder": name}).endswith(f"folder: {name}\n")
