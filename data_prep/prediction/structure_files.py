"""Read files of structures for prediction in batches: tables, SMILES files and SD files.

Every record of the file is returned with its number; an invalid one has a reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from data_prep.columns import COMPOUND_ID, SMILES
from data_prep.errors import TableError
from data_prep.structures.structures import smiles_of_mol_blocks
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S
from data_prep.tables.header import NamesInFile, Wanted
from data_prep.tables.sd_files import SD_KINDS, decoded, kind_of, sd_records, text_lines
from data_prep.tables.table_files import read_blocks

_TABLES, _SMILES_FILES = (".csv", ".tsv", ".parquet", ".xlsx"), (".smi", ".smiles", ".ism")


@dataclass(frozen=True, slots=True)
class StructureRecord:
    """One structure of a file."""

    input_row: int  # 1 is the first row, line or record that is data
    compound_id: str | None
    text: str | None  # SMILES, or a mol block that `as_smiles` turns into one
    reason: str | None  # why it cannot be used: unreadable, unparsable, timeout, crashed; else None


def read_batches(
    path: Path,
    n_rows: int,
    *,
    names: NamesInFile | None = None,
    workers: int = 1,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Iterator[list[StructureRecord]]:
    """Yield the file's records with SMILES, in order, at most `n_rows` at a time, in constant memory but for Excel.

    By the file's name: `.csv`, `.tsv`, `.parquet` or `.xlsx` with a column `smiles` and perhaps `input_compound_id`;
    `.smi`, `.smiles` or `.ism` with a SMILES, blanks and an id on each line; `.sdf` or `.sd`, the id in the title line
    or, if that is empty, in the field `input_compound_id`. All but Parquet and Excel may be gzipped (`.gz`). A record
    without an id takes its row number.
    names : of the columns `input_compound_id` and `smiles` in the file, or of the SD file's field with the id; an id
            column whose own name is not among them must be there
    Raises TableError for another kind of file, and for a file that cannot be read as the kind its name states.
    """
    kind, columns = kind_of(path), names or {}
    if kind in _TABLES:
        records = _table_records(path, columns)
    elif kind in _SMILES_FILES:
        records = _smiles_records(path)
    elif kind in SD_KINDS:
        records = _sd_records(path, columns)
    else:
        known = ", ".join((*_TABLES, *_SMILES_FILES, *SD_KINDS))
        raise TableError(f"{path.name}: found a file of kind {kind or 'none'}, expected one of {known}")
    numbered = map(_with_id, records)
    while batch := list(islice(numbered, n_rows)):
        yield _as_smiles(batch, workers, timeout_s) if kind in SD_KINDS else batch


def expect_structure_columns(path: Path) -> None:
    """Raise TableError for a SMILES file, whose columns have no names."""
    kind = kind_of(path)
    if kind in _SMILES_FILES:
        raise TableError(
            f"{path.name}: found a {kind} file, which has no named columns, expected a table or an SD file"
        )


def _table_records(path: Path, names: NamesInFile) -> Iterator[StructureRecord]:
    is_chosen = COMPOUND_ID not in names.get(COMPOUND_ID, (COMPOUND_ID,))
    required, optional = ((SMILES, COMPOUND_ID), ()) if is_chosen else ((SMILES,), (COMPOUND_ID,))
    for block in read_blocks(path, Wanted(required, optional, names)):
        columns = block.select("input_row", COMPOUND_ID, SMILES, "unreadable")
        for row, compound, smiles, unreadable in columns.iter_rows():
            yield StructureRecord(row, compound, smiles, "unreadable" if unreadable else None)


def _smiles_records(path: Path) -> Iterator[StructureRecord]:
    row = 0
    for number, line in enumerate(text_lines(path)):
        text = decoded(line)
        smiles, _, name = (text or "").strip().partition(" ") if "\t" not in (text or "") else _split_at_tab(text or "")
        is_header = number == 0 and smiles.lower() == "smiles"
        if is_header or (text is not None and not text.strip()):
            continue
        row += 1
        yield StructureRecord(row, name.strip() or None, smiles or None, None if text is not None else "unreadable")


def _split_at_tab(text: str) -> tuple[str, str, str]:
    smiles, tab, fields = text.strip().partition("\t")
    return smiles, tab, fields.split("\t")[0]


def _sd_records(path: Path, names: NamesInFile) -> Iterator[StructureRecord]:
    for record in sd_records(path):
        reason = "unreadable" if record.block is None else None
        compound = record.compound_id(names.get(COMPOUND_ID, (COMPOUND_ID,)))
        yield StructureRecord(record.number, compound, record.block, reason)


def _with_id(record: StructureRecord) -> StructureRecord:
    if record.reason is None and record.compound_id is None:
        return replace(record, compound_id=f"{record.input_row}")
    return record


def _as_smiles(batch: list[StructureRecord], workers: int, timeout_s: float) -> list[StructureRecord]:
    blocks = [record.text for record in batch if record.reason is None and record.text is not None]
    results = zip(*smiles_of_mol_blocks(blocks, workers=workers, timeout_s=timeout_s), strict=True)
    records = []
    for record in batch:
        smiles, reason = next(results) if record.reason is None else (None, record.reason)
        records.append(StructureRecord(record.input_row, record.compound_id, smiles, reason))
    return records
