"""Read CSV files as text, block by block, in little memory; fields end at commas, semicolons or tabs."""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_prep.errors import TableError
from data_prep.tables.header import Wanted, match_columns, n_matches
from data_prep.tables.plain_file import open_plain

SEPARATORS = (",", ";", "\t")
_SEPARATED = "fields separated by commas, semicolons or tabs, in UTF-8"

_BLOCK_BYTES = 1 << 24  # of text at a time: some 60 MB of memory for a file of any size
_LONGEST_ROW = 1 << 26  # bytes
# text between a closing quote and the next separator
_AFTER_QUOTES = {s: re.compile(rf'(?:^|{s})"(?:[^"]|"")*"[^"{s}]'.encode()) for s in SEPARATORS}
_MOST_UNREADABLE = 10_000  # rows of a block; a file with more is no such table
_MOST_LINES_OF_A_ROW = 1000  # if a field in quotes spans a whole block
_GZIP_MARK, _UTF8_MARK, _ZIP_MARK = b"\x1f\x8b", b"\xef\xbb\xbf", b"PK\x03\x04"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SAVE_AS_UTF8 = "save the table as UTF-8 (in Excel: CSV UTF-8)"


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the rows of a file are read."""

    path: Path
    separator: str
    names: tuple[str, ...]  # a wanted column's own name, or a number for a column that is not wanted

    @property
    def n_columns(self) -> int:
        return len(self.names)


def csv_blocks(path: Path, wanted: Wanted) -> Iterator[pl.DataFrame]:
    """Yield the wanted columns that the file has, under their own names, and the flags of read_blocks.

    Raises TableError for a file that is no such table.
    """
    layout: _Layout | None = None
    n_rows = n_unreadable = n_not_utf8 = 0
    for lines in _whole_lines(path):
        rows = lines
        if layout is None:
            header, rows = _split_header(lines)
            layout = _read_layout(header, path, wanted) if header else None
        if rows and layout:
            block = _read_rows(rows, layout, n_rows)
            yield block
            n_rows += block.height
            n_unreadable += int(block["unreadable"].sum())
            n_not_utf8 += int(block["not_utf8"].sum())
    if layout is None:
        raise TableError(f"{path.name}: found an empty file, expected a table with a header line")
    if n_rows and n_unreadable == n_rows:
        raise _unreadable_error(path, 1, f"found no readable row in {n_rows}", is_utf8=n_not_utf8 < n_rows)
    if not n_rows:
        yield flagged(pl.DataFrame(schema=dict.fromkeys(layout.names, pl.String)), [])


def csv_header(path: Path, wanted: Wanted) -> list[str]:
    """Return the names in the header line, empty for an empty file. Raises TableError if it cannot be read."""
    header, _ = _split_header(next(_whole_lines(path), b""))
    return _separate(header, path, wanted)[1] if header else []


def flagged(
    block: pl.DataFrame, unreadable: Sequence[int], *, not_utf8: Sequence[int] = (), multiline: bool = False
) -> pl.DataFrame:
    """Add the flags of read_blocks.

    unreadable, not_utf8 : indices of rows; multiline : whether fields may hold line ends, which are then looked for
    """
    indices = pl.int_range(pl.len(), dtype=pl.Int64)
    has_line_ends = pl.any_horizontal(pl.all().str.contains("\n", literal=True)) if multiline else pl.lit(value=False)
    return block.with_columns(
        indices.is_in(unreadable).alias("unreadable"),
        indices.is_in(not_utf8).alias("not_utf8"),
        has_line_ends.fill_null(value=False).alias("multiline"),
    )


def _split_header(lines: bytes) -> tuple[bytes, bytes]:
    header, _, rows = lines.removeprefix(_UTF8_MARK).lstrip(b"\n").partition(b"\n")
    return header, rows


def _read_layout(header: bytes, path: Path, wanted: Wanted) -> _Layout:
    separator, names = _separate(header, path, wanted)
    column_at = {index: column for column, index in match_columns(path, names, wanted).items()}
    return _Layout(path, separator, tuple(column_at.get(index, f"{index}") for index in range(len(names))))


def _separate(header: bytes, path: Path, wanted: Wanted) -> tuple[str, list[str]]:
    """Return the separator with which the header has most of the wanted columns, else most columns; and the names."""
    if header.startswith(_ZIP_MARK):
        error = TableError(f"{path.name}: found an Excel file or zip archive, expected {_SEPARATED}")
        error.add_note("the name of an Excel file must end with .xlsx")
        raise error
    if not _is_utf8(header) or b"\0" in header:  # ASCII in UTF-16 is valid UTF-8 with a NUL in every other byte
        found = "UTF-16" if header.startswith(_UTF16_MARKS) or b"\0" in header else "text that is not UTF-8"
        error = TableError(f"{path.name}: header line: found {found}, expected {_SEPARATED}")
        error.add_note(_SAVE_AS_UTF8)
        raise error
    split = [(separator, cells) for separator in SEPARATORS if (cells := _cells(header, separator)) is not None]
    best = max(split, key=lambda found: (n_matches(found[1], wanted), len(found[1])), default=None)
    if best is None or (len(split) < len(SEPARATORS) and not n_matches(best[1], wanted)):
        raise TableError(f"{path.name}: header line: expected {_SEPARATED}")
    return best


def _cells(header: bytes, separator: str) -> list[str] | None:
    """Return the fields of the header line, None if it cannot be read with this separator."""
    try:
        row = pl.read_csv(header, has_header=False, infer_schema=False, separator=separator).row(0)
    except pl.exceptions.PolarsError:  # its message may show structures
        return None
    return [(cell or "").strip() for cell in row]


def _read_rows(rows: bytes, layout: _Layout, n_before: int) -> pl.DataFrame:
    """Return all columns and the flags, with unreadable rows empty; one fast parse if every row is readable."""
    n_quotes = rows.count(b'"')
    block = None if n_quotes % 2 else _parse(rows, layout)
    bad_rows: list[int] = []
    not_utf8: list[int] = []
    if block is None:
        records = _split_rows(rows)
        for index in _unreadable_indices(records, layout):
            bad_rows.append(index)
            row_number = n_before + index + 1
            if b"\n" in records[index]:
                raise _open_quote_error(layout.path, row_number)
            if len(bad_rows) > _MOST_UNREADABLE:
                raise _unreadable_error(
                    layout.path,
                    n_before + min(bad_rows) + 1,
                    f"found more than {_MOST_UNREADABLE} bad rows",
                    is_utf8=not not_utf8,
                )
            if not _is_utf8(records[index]):
                not_utf8.append(index)
            records[index] = b""
        block = _parse(b"\n".join([*records, b""]), layout)
    if block is None:
        raise _unreadable_error(layout.path, n_before + 1, "found rows that cannot be separated")
    multiline = bool(n_quotes) and rows.count(b"\n") >= block.height
    named = block.rename(dict(zip(block.columns, layout.names, strict=True)))
    return flagged(named, bad_rows, not_utf8=not_utf8, multiline=multiline)


def _open_quote_error(path: Path, row: int) -> TableError:
    error = TableError(f"{path.name}: row {row}: found a quote that does not close in its row")
    error.add_note('the quote opens in this row or shortly before; write "" for a quote within a field in quotes')
    return error


def _unreadable_error(path: Path, first: int, found: str, *, is_utf8: bool = True) -> TableError:
    error = TableError(f"{path.name}: row {first} and others: {found}, expected {_SEPARATED}")
    error.add_note("fields that contain the separator need double quotes around them" if is_utf8 else _SAVE_AS_UTF8)
    return error


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unreadable_indices(records: list[bytes], layout: _Layout) -> Iterator[int]:
    """Yield the indices of the unreadable rows: first those whose own bytes show it, then those that halving finds.

    The quotes of the latter look valid; only parsing with polars shows that they are not.
    """
    readable, after_quotes = list(records), _AFTER_QUOTES[layout.separator]
    for index, record in enumerate(records):
        if not _plausible(record, layout):
            readable[index] = b""
            yield index
    suspects = [(index, index + 1) for index, record in enumerate(readable) if after_quotes.search(record)]
    spans = [
        (0, len(readable)),
        *suspects[::-1],
    ]  # suspects first: halving takes twenty times as long
    while spans:
        start, stop = spans.pop()
        block = _parse(b"\n".join([*readable[start:stop], b""]), layout)
        if block is not None and block.height == stop - start:
            continue
        if stop - start == 1:
            readable[start] = b""
            yield start
        else:
            middle = (start + stop) // 2
            spans += [(middle, stop), (start, middle)]


def _plausible(record: bytes, layout: _Layout) -> bool:
    n_quotes = record.count(b'"')
    n_separators = record.count(layout.separator.encode())
    return _is_utf8(record) and n_quotes % 2 == 0 and (n_quotes > 0 or n_separators < layout.n_columns)


def _split_rows(rows: bytes) -> list[bytes]:
    """Return the rows; line ends within quotes do not split a row."""
    complete_rows: list[bytes] = []
    open_row: list[bytes] = []
    n_quotes = 0
    for line in rows.split(b"\n"):
        open_row.append(line)
        n_quotes += line.count(b'"')
        if n_quotes % 2 == 0:
            complete_rows.append(b"\n".join(open_row))
            open_row = []
    return [*complete_rows, b"\n".join(open_row)] if open_row else complete_rows


def _parse(rows: bytes, layout: _Layout) -> pl.DataFrame | None:
    """Return all columns as text, named by their numbers; None if a row cannot be read."""
    header = layout.separator.join(f"{i}" for i in range(layout.n_columns)).encode()
    try:
        return pl.read_csv(header + b"\n" + rows, infer_schema=False, separator=layout.separator)
    except pl.exceptions.PolarsError:  # its message may show structures
        return None


def _whole_lines(path: Path) -> Iterator[bytes]:
    r"""Yield the file's lines in blocks, with \n as line end; blocks and file end without one."""
    unread = b""
    for piece in _pieces(path):
        unread += piece
        end = _last_line_end(unread)
        if lines := unread[:end].rstrip(b"\n"):
            yield lines
            unread = unread[len(lines) + 1 :]  # blank lines stay: they are rows if more rows follow
        if len(unread) > _LONGEST_ROW:
            raise TableError(f"{path.name}: found a row of more than {_LONGEST_ROW >> 20} MiB, expected lines of text")
        if len(unread) > _BLOCK_BYTES and unread.count(b"\n") > _MOST_LINES_OF_A_ROW and unread.count(b'"') % 2:
            break  # an unclosed quote: the remaining file would be held in memory as one row
    if lines := unread.rstrip(b"\n"):
        yield lines


def _last_line_end(text: bytes) -> int:
    """Return the position of the last line end outside quotes, 0 if there is none."""
    cut = text.rfind(b"\n")
    n_quotes = text.count(b'"', 0, max(cut, 0))
    while cut > 0 and n_quotes % 2:
        end, cut = cut, text.rfind(b"\n", 0, text.rfind(b'"', 0, cut))
        n_quotes -= text.count(b'"', max(cut, 0), end)  # only the part cut off: recounting all is quadratic
    return max(cut, 0)


def _pieces(path: Path) -> Iterator[bytes]:
    r"""Yield the file unzipped, with \n for \r\n and \r."""
    try:
        with open_plain(path) as raw:
            zipped = raw.peek(2).startswith(_GZIP_MARK)
            file = gzip.GzipFile(fileobj=raw) if zipped else raw
            held = b""  # a \r at the end of a piece, which may belong to a \n
            while piece := file.read(_BLOCK_BYTES):
                whole = held + piece
                held = b"\r" if whole.endswith(b"\r") else b""
                whole = whole.removesuffix(b"\r") if held else whole
                yield whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in whole else whole
            yield held.replace(b"\r", b"\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        error = TableError(f"{path.name}: truncated or damaged gzip file ({cause})")
        error.add_note("copy the file again")
        raise error from cause
    except OSError as cause:
        raise TableError(f"{path.name}: cannot be read: {cause.strerror}") from cause
