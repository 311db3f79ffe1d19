"""Split SD files into records, and read them as blocks of table T2."""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

from data_prep.columns import COMPOUND_ID, SMILES
from data_prep.errors import TableError
from data_prep.tables.plain_file import open_plain

SD_KINDS = (".sdf", ".sd")
_LONGEST_RECORD = 1 << 24  # bytes of one record
_LONGEST_LINE = 1 << 20
_BLOCK_RECORDS = 1 << 14
_SCHEMA = {
    "input_row": pl.UInt32,
    COMPOUND_ID: pl.String,
    SMILES: pl.String,
    "unreadable": pl.Boolean,
    "not_utf8": pl.Boolean,
    "multiline": pl.Boolean,
}


@dataclass(frozen=True, slots=True)
class SdRecord:
    """One record of an SD file."""

    number: int  # 1 is the first
    block: str | None  # the mol block, its title line first; None: the record is not UTF-8 text
    fields: str = ""  # the lines behind the mol block

    def compound_id(self, names: Sequence[str] = (COMPOUND_ID,)) -> str | None:
        """Return the first that is not empty: fields of other names, title line, field `input_compound_id`.

        names : of the field with the id; letters may have any case
        """
        title = (self.block or "").partition("\n")[0].strip()
        others = (self._field(name) for name in names if name != COMPOUND_ID)
        return next((text for text in (*others, title, self._field(COMPOUND_ID)) if text), None)

    def has_field(self, names: Sequence[str]) -> bool:
        """Return whether one of the fields is there and not empty; letters may have any case."""
        return any(self._field(name) for name in names)

    def _field(self, name: str) -> str:
        named = re.search(rf"^>.*<{re.escape(name)}>.*\n(.*)$", self.fields, re.MULTILINE | re.IGNORECASE)
        return named[1].strip() if named else ""


def kind_of(path: Path) -> str:
    """Return the ending of a file's name in lower case, the one before .gz if it ends with that; "" without one."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]


def is_sd_file(path: Path) -> bool:
    """Return whether a file's name is that of an SD file, plain or gzipped."""
    return kind_of(path) in SD_KINDS


def sd_blocks(path: Path, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield blocks of T2 with mol blocks in the column `smiles`, and the flags of read_blocks; at least one block.

    names : of the field with the id, see SdRecord.compound_id
    Raises TableError for a file that cannot be read.
    """
    records = sd_records(path)
    block = list(islice(records, _BLOCK_RECORDS))
    yield _as_rows(block, names)
    while block := list(islice(records, _BLOCK_RECORDS)):
        yield _as_rows(block, names)


def _as_rows(records: Sequence[SdRecord], names: Sequence[str]) -> pl.DataFrame:
    rows = [(r.number, r.compound_id(names), r.block, r.block is None, r.block is None, False) for r in records]
    return pl.DataFrame(rows, _SCHEMA, orient="row")


def sd_records(path: Path) -> Iterator[SdRecord]:
    """Yield the records of an SD file in constant memory. Raises TableError for a file that cannot be read."""
    number, lines, size = 0, list[bytes](), 0
    for line in text_lines(path):
        if not line.startswith(b"$$$$"):
            lines.append(line)
            size += len(line)
            if size > _LONGEST_RECORD:
                raise TableError(f"{path.name}: record {number + 1}: found more than {_LONGEST_RECORD >> 20} MiB")
            continue
        number += 1
        yield _record(number, lines)
        lines, size = [], 0
    if any(line.strip() for line in lines):  # the last record may lack its end line
        yield _record(number + 1, lines)


def _record(number: int, lines: list[bytes]) -> SdRecord:
    text = decoded(b"".join(lines))
    if text is None:
        return SdRecord(number, None)
    block, end, fields = text.partition("M  END")
    return SdRecord(number, f"{block}{end}\n", fields)


def decoded(line: bytes) -> str | None:
    """Return the text of some bytes without a UTF-8 mark, None if they are not UTF-8."""
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def text_lines(path: Path) -> Iterator[bytes]:
    r"""Yield the lines of a file, unzipped, with \n at their ends.

    Raises TableError for a file that cannot be read, or has a line of more than a MiB.
    """
    try:
        with open_plain(path) as raw:
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
