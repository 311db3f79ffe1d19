"""Read table files (CSV, CSV.gz or Parquet) as text, block by block, in little memory."""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from data_prep.errors import TableError

T0_REQUIRED, T2_REQUIRED = ("input_assay_id", "assay_type"), ("input_compound_id", "smiles")
T1_REQUIRED = ("input_compound_id", "input_assay_id", "standard_qualifier", "standard_value")
T1_OPTIONAL = ("standard_unit",)
EXPERT_COLUMNS = tuple(f"expert_threshold_{i}" for i in range(1, 6))
T0_OPTIONAL = ("use_in_regression", "is_binary", *EXPERT_COLUMNS, "direction", "catalog_assay_id", "parent_assay_id")
_KNOWN = sorted({*T0_REQUIRED, *T0_OPTIONAL, *T1_REQUIRED, *T1_OPTIONAL, *T2_REQUIRED})

_BLOCK_BYTES = 1 << 24  # of text at a time: some 60 MB of memory for a file of any size
_BLOCK_ROWS = 1 << 19  # of a Parquet file at a time
_LONGEST_ROW = 1 << 26  # bytes
_AFTER_QUOTES = re.compile(rb'(?:^|,)"(?:[^"]|"")*"[^",]')  # text between a closing quote and the next comma
_MOST_UNREADABLE = 10_000  # rows of a block; a file with more is no such table
_MOST_LINES_OF_A_ROW = 1000  # if a field in quotes spans a whole block
_GZIP_MARK, _UTF8_MARK = b"\x1f\x8b", b"\xef\xbb\xbf"


def read_blocks(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[pl.DataFrame]:
    """Yield the named columns as stripped text, `input_row` (1, 2, ...) first; at least one block.

    Two flags follow: `unreadable` (no CSV row: too many fields, misplaced quotes or no UTF-8; its columns are null) and
    `multiline` (a field in quotes holds line ends: perhaps rows, merged after a stray quote). An empty text is null,
    and so is an optional column that the file does not have. Line ends may be LF, CRLF or CR; a UTF-8 mark is skipped.
    Raises TableError for a file that is no such table.
    """
    start = 1
    wanted = (*required, *optional)
    parquet = path.suffix == ".parquet"
    for block in _parquet_blocks(path, required) if parquet else _csv_blocks(path, required, wanted):
        columns = [_as_text(block, name, path) for name in wanted]
        yield block.select(*columns, "unreadable", "multiline").with_row_index("input_row", offset=start)
        start += block.height


def _require_columns(path: Path, found: list[str], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in found]
    if missing:
        # the first line of a file without header is data, so only what looks like a column of these tables is shown
        shown = [name for name in found if get_close_matches(name.strip().lower(), _KNOWN, 1)]
        among = f", among them {', '.join(shown)}" if shown else ", none with a name like those of T0, T1 or T2"
        error = TableError(f"{path.name}: missing column {', '.join(missing)}; found {len(found)} columns{among}")
        error.add_note(f"expected a header line with at least {', '.join(required)}, separated by commas")
        raise error


def _as_text(rows: pl.DataFrame, name: str, path: Path) -> pl.Expr:
    if name not in rows.columns:
        return pl.lit(None, pl.String).alias(name)
    dtype = rows.schema[name]
    text_like = dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)
    if name.endswith("_id") and not (dtype.is_integer() or text_like):
        raise TableError(f"{path.name}: column {name}: found {dtype}, expected text or whole numbers")
    if not (dtype.is_numeric() or dtype == pl.Boolean or text_like):
        dtype_name = dtype.base_type()  # the full type of an Enum or Struct would list its values
        raise TableError(f"{path.name}: column {name}: found {dtype_name}, expected text, numbers or truth values")
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text).alias(name)  # an empty text is a missing value


def _parquet_blocks(path: Path, required: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    try:
        table = pl.scan_parquet(path)
        _require_columns(path, table.collect_schema().names(), required)
        n_rows = table.select(pl.len()).collect().item()
        for start in range(0, max(n_rows, 1), _BLOCK_ROWS):
            yield _flagged(table.slice(start, _BLOCK_ROWS).collect(), [], multiline=False)
    except (OSError, pl.exceptions.PolarsError) as cause:
        raise TableError(f"{path.name}: expected a Parquet file: {type(cause).__name__}") from cause


def _flagged(block: pl.DataFrame, unreadable: list[int], *, multiline: bool) -> pl.DataFrame:
    indices = pl.int_range(pl.len(), dtype=pl.Int64)
    has_line_ends = pl.any_horizontal(pl.all().str.contains("\n", literal=True)) if multiline else pl.lit(value=False)
    return block.with_columns(
        indices.is_in(unreadable).alias("unreadable"), has_line_ends.fill_null(value=False).alias("multiline")
    )


def _csv_blocks(path: Path, required: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    names: list[str] = []
    n_rows = n_unreadable = 0
    for lines in _whole_lines(path):
        rows = lines
        if not names:
            header, _, rows = lines.removeprefix(_UTF8_MARK).lstrip(b"\n").partition(b"\n")
            names = _column_names(header, path, required, wanted) if header else []
        if rows:
            block = _read_rows(rows, names, path, n_rows)
            yield block
            n_rows += block.height
            n_unreadable += block.filter("unreadable").height
    if not names:
        raise TableError(f"{path.name}: found an empty file, expected a table with a header line")
    if n_rows and n_unreadable == n_rows:
        raise _unreadable_error(path, 1, f"found no readable row in {n_rows}")
    if not n_rows:
        yield _flagged(pl.DataFrame(schema=dict.fromkeys(names, pl.String)), [], multiline=False)


def _column_names(header: bytes, path: Path, required: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    """Return the names of the wanted columns and numbers for the others, whose names may be missing or repeated."""
    try:
        header.decode()
        cells = pl.read_csv(header, has_header=False, infer_schema=False).row(0)
    except (UnicodeDecodeError, pl.exceptions.PolarsError) as cause:
        error = TableError(f"{path.name}: header line: expected comma separated UTF-8 text: {type(cause).__name__}")
        raise error from None  # polars' own message may show structures
    names = [(cell or "").strip() for cell in cells]
    repeated = [name for name, n in Counter(names).items() if n > 1 and name in wanted]
    if repeated:
        error = TableError(f"{path.name}: found column {', '.join(repeated)} more than once, expected it once")
        error.add_note("remove or rename the other columns of this name")
        raise error
    _require_columns(path, names, required)
    return [name if name in wanted else f"{i}" for i, name in enumerate(names)]


def _read_rows(rows: bytes, names: list[str], path: Path, n_before: int) -> pl.DataFrame:
    """Return all columns and the flags, with unreadable rows empty; one fast parse if every row is readable."""
    n_quotes = rows.count(b'"')
    block = None if n_quotes % 2 else _parse(rows, len(names))
    bad_rows: list[int] = []
    if block is None:
        records = _split_rows(rows)
        for index in _unreadable_indices(records, len(names)):
            bad_rows.append(index)
            row_number = n_before + index + 1
            if b"\n" in records[index]:
                raise _open_quote_error(path, row_number)
            if len(bad_rows) > _MOST_UNREADABLE:
                raise _unreadable_error(
                    path, n_before + min(bad_rows) + 1, f"found more than {_MOST_UNREADABLE} bad rows"
                )
            records[index] = b""
        block = _parse(b"\n".join([*records, b""]), len(names))
    if block is None:
        raise _unreadable_error(path, n_before + 1, "found rows that cannot be separated")
    multiline = bool(n_quotes) and rows.count(b"\n") >= block.height
    flagged = _flagged(block, bad_rows, multiline=multiline)
    return flagged.rename(dict(zip(block.columns, names, strict=True)))


def _open_quote_error(path: Path, row: int) -> TableError:
    error = TableError(f"{path.name}: row {row}: found a quote that does not close in its row")
    error.add_note('the quote opens in this row or shortly before; write "" for a quote within a field in quotes')
    return error


def _unreadable_error(path: Path, first: int, found: str) -> TableError:
    error = TableError(f"{path.name}: row {first} and others: {found}, expected comma separated UTF-8 text")
    error.add_note("fields that contain commas need double quotes around them")
    return error


def _unreadable_indices(records: list[bytes], n_columns: int) -> Iterator[int]:
    """Yield the indices of the unreadable rows: first those whose own bytes show it, then those that halving finds.

    The quotes of the latter look valid; only parsing with polars shows that they are not.
    """
    readable = list(records)
    for index, record in enumerate(records):
        if not _plausible(record, n_columns):
            readable[index] = b""
            yield index
    suspects = [(index, index + 1) for index, record in enumerate(readable) if _AFTER_QUOTES.search(record)]
    spans = [
        (0, len(readable)),
        *suspects[::-1],
    ]  # suspects first: halving takes twenty times as long
    while spans:
        start, stop = spans.pop()
        block = _parse(b"\n".join([*readable[start:stop], b""]), n_columns)
        if block is not None and block.height == stop - start:
            continue
        if stop - start == 1:
            readable[start] = b""
            yield start
        else:
            middle = (start + stop) // 2
            spans += [(middle, stop), (start, middle)]


def _plausible(record: bytes, n_columns: int) -> bool:
    n_quotes = record.count(b'"')
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return n_quotes % 2 == 0 and (n_quotes > 0 or record.count(b",") < n_columns)


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


def _parse(rows: bytes, n_columns: int) -> pl.DataFrame | None:
    """Return all columns as text, named by their numbers; None if a row cannot be read."""
    header = ",".join(f"{i}" for i in range(n_columns)).encode()
    try:
        return pl.read_csv(header + b"\n" + rows, infer_schema=False)
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
        with path.open("rb") as raw:
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
