"""Read files of structures for prediction in batches: tables, SMILES files and SD files.

Every record of the file is returned with its number; an invalid one has a reason.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from data_prep.errors import TableError
from data_prep.structures.structures import smiles_of_mol_blocks
from data_prep.structures.watchdog import DEFAULT_TIMEOUT_S
from data_prep.tables.table_files import T2_REQUIRED, read_blocks

_TABLES, _SMILES, _SD = (".csv", ".parquet"), (".smi", ".smiles", ".ism"), (".sdf", ".sd")
_LONGEST_RECORD = 1 << 24  # bytes of one record of an SD file
_LONGEST_LINE = 1 << 20
_SD_ID = re.compile(r"^>.*<input_compound_id>.*\n(.*)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StructureRecord:
    """One structure of a file."""

    input_row: int  # 1 is the first row, line or record that is data
    compound_id: str | None
    text: str | None  # SMILES, or a mol block that `as_smiles` turns into one
    reason: str | None  # why it cannot be used: unreadable, missing_id, unparsable, timeout, crashed; else None


def read_batches(
    path: Path, n_rows: int, *, workers: int = 1, timeout_s: float = DEFAULT_TIMEOUT_S
) -> Iterator[list[StructureRecord]]:
    """Yield the file's records with SMILES, in order, at most `n_rows` at a time, in constant memory.

    By the file's name: `.csv` or `.parquet` with columns `input_compound_id` and `smiles`; `.smi`, `.smiles` or `.ism`
    with a SMILES, blanks and an id on each line; `.sdf` or `.sd`, the id in the title line or, if that is empty, in
    the field `input_compound_id`. All but Parquet may be gzipped (`.gz`).
    Raises TableError for another kind of file, and for a file that cannot be read as the kind its name states.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind in _TABLES:
        records = _table_records(path)
    elif kind in _SMILES:
        records = _smiles_records(path)
    elif kind in _SD:
        records = _sd_records(path)
    else:
        known = ", ".join((*_TABLES, *_SMILES, *_SD))
        raise TableError(f"{path.name}: found a file of kind {kind or 'none'}, expected one of {known}")
    while batch := list(islice(records, n_rows)):
        yield _as_smiles(batch, workers, timeout_s) if kind in _SD else batch


def _table_records(path: Path) -> Iterator[StructureRecord]:
    for block in read_blocks(path, T2_REQUIRED):
        columns = block.select("input_row", *T2_REQUIRED, "unreadable")
        for row, compound, smiles, unreadable in columns.iter_rows():
            yield _refuse_missing_id(StructureRecord(row, compound, smiles, "unreadable" if unreadable else None))


def _smiles_records(path: Path) -> Iterator[StructureRecord]:
    row = 0
    for number, line in enumerate(_lines(path)):
        text = _decoded(line)
        smiles, _, name = (text or "").strip().partition(" ") if "\t" not in (text or "") else _split_at_tab(text or "")
        is_header = number == 0 and smiles.lower() == "smiles"
        if is_header or (text is not None and not text.strip()):
            continue
        row += 1
        yield _refuse_missing_id(
            StructureRecord(row, name.strip() or None, smiles or None, None if text is not None else "unreadable")
        )


def _split_at_tab(text: str) -> tuple[str, str, str]:
    smiles, tab, fields = text.strip().partition("\t")
    return smiles, tab, fields.split("\t")[0]


def _sd_records(path: Path) -> Iterator[StructureRecord]:
    row, lines, size = 0, list[bytes](), 0
    for line in _lines(path):
        if not line.startswith(b"$$$$"):
            lines.append(line)
            size += len(line)
            if size > _LONGEST_RECORD:
                raise TableError(f"{path.name}: record {row + 1}: found more than {_LONGEST_RECORD >> 20} MiB")
            continue
        row += 1
        yield _sd_record(row, lines)
        lines, size = [], 0
    if any(line.strip() for line in lines):  # the last record may lack its end line
        yield _sd_record(row + 1, lines)


def _sd_record(row: int, lines: list[bytes]) -> StructureRecord:
    text = _decoded(b"".join(lines))
    if text is None:
        return StructureRecord(row, None, None, "unreadable")
    block, end, fields = text.partition("M  END")
    title = block.partition("\n")[0].strip()
    named = _SD_ID.search(fields)
    return _refuse_missing_id(
        StructureRecord(row, title or (named[1].strip() if named else "") or None, block + end, None)
    )


def _refuse_missing_id(record: StructureRecord) -> StructureRecord:
    if record.reason is None and record.compound_id is None:
        return StructureRecord(record.input_row, None, None, "missing_id")
    return record


def _as_smiles(batch: list[StructureRecord], workers: int, timeout_s: float) -> list[StructureRecord]:
    blocks = [record.text for record in batch if record.reason is None and record.text is not None]
    results = zip(*smiles_of_mol_blocks(blocks, workers=workers, timeout_s=timeout_s), strict=True)
    records = []
    for record in batch:
        smiles, reason = next(results) if record.reason is None else (None, record.reason)
        records.append(StructureRecord(record.input_row, record.compound_id, smiles, reason))
    return records


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _lines(path: Path) -> Iterator[bytes]:
    r"""Yield lines with \n at their ends, unzipped."""
    try:
        with path.open("rb") as raw:
            zipped = raw.peek(2).startswith(b"\x1f\x8b")
            file: BinaryIO = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
            while line := file.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise TableError(f"{path.name}: found a line of more than {_LONGEST_LINE >> 20} MiB")
                yield line.replace(b"\r\n", b"\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        raise TableError(f"{path.name}: truncated or damaged gzip file ({cause})") from cause
    except OSError as cause:
        raise TableError(f"{path.name}: cannot be read: {cause.strerror}") from cause
