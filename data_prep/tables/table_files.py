"""Files of tables as text, block by block: CSV, CSV.gz or Parquet, whoever wrote them, in little memory."""

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
EXPERT_COLUMNS = tuple(f"expert_threshold_{i}" for i in range(1, 6))
T0_OPTIONAL = ("use_in_regression", "is_binary", *EXPERT_COLUMNS, "direction", "catalog_assay_id", "parent_assay_id")
_KNOWN = sorted({*T0_REQUIRED, *T0_OPTIONAL, *T1_REQUIRED, *T2_REQUIRED})

_BLOCK_BYTES = 1 << 24  # of text at a time: some 60 MB of memory, whatever the size of the file
_BLOCK_ROWS = 1 << 19  # of a Parquet file at a time
_LONGEST_ROW = 1 << 26  # bytes
_AFTER_QUOTES = re.compile(rb'(?:^|,)"(?:[^"]|"")*"[^",]')  # text between a closing quote and the next comma
_MOST_UNREADABLE = 10_000  # rows of a block; more, and the file is something else
_MOST_LINES_OF_A_ROW = 1000  # where a field in quotes goes on for a whole block
_GZIP_MARK, _UTF8_MARK = b"\x1f\x8b", b"\xef\xbb\xbf"


def read_blocks(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[pl.DataFrame]:
    """Yield the named columns as text without blanks around it, `input_row` (1, 2, ...) first; at least one block.

    Two flags follow: `unreadable` (no CSV row: too many fields, quotes out of place or no UTF-8; its columns are null)
    and `multiline` (a field in quotes holds line ends: perhaps rows, swallowed after a stray quote). An empty text is
    null, and so is an optional column that the file does not have. Line ends of every origin and a UTF-8 mark make no
    difference. Raises TableError for a file that is no such table.
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
        found = dtype.base_type()  # an Enum or Struct within would list what it holds
        raise TableError(f"{path.name}: column {name}: found {found}, expected text, numbers or truth values")
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
    places = pl.int_range(pl.len(), dtype=pl.Int64)
    several = pl.any_horizontal(pl.all().str.contains("\n", literal=True)) if multiline else pl.lit(value=False)
    return block.with_columns(
        places.is_in(unreadable).alias("unreadable"), several.fill_null(value=False).alias("multiline")
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
        raise error from None  # the cause's own message may show structures
    names = [(cell or "").strip() for cell in cells]
    twice = [name for name, n in Counter(names).items() if n > 1 and name in wanted]
    if twice:
        error = TableError(f"{path.name}: found column {', '.join(twice)} more than once, expected it once")
        error.add_note("remove or rename the columns that are not meant")
        raise error
    _require_columns(path, names, required)
    return [name if name in wanted else f"{i}" for i, name in enumerate(names)]


def _read_rows(rows: bytes, names: list[str], path: Path, n_before: int) -> pl.DataFrame:
    """Return all columns and the flags; rows that cannot be read are empty ones, and only they make it slow."""
    quoted = rows.count(b'"')
    block = None if quoted % 2 else _parse(rows, len(names))
    bad: list[int] = []
    if block is None:
        records = _split(rows)
        for place in _unreadable(records, len(names)):
            bad.append(place)
            where = n_before + place + 1
            if b"\n" in records[place]:
                raise _open_quote_error(path, where)
            if len(bad) > _MOST_UNREADABLE:
                raise _unreadable_error(path, n_before + min(bad) + 1, f"found more than {_MOST_UNREADABLE} bad rows")
            records[place] = b""
        block = _parse(b"\n".join([*records, b""]), len(names))
    if block is None:
        raise _unreadable_error(path, n_before + 1, "found rows that cannot be told apart")
    multiline = bool(quoted) and rows.count(b"\n") >= block.height
    flagged = _flagged(block, bad, multiline=multiline)
    return flagged.rename(dict(zip(block.columns, names, strict=True)))


def _open_quote_error(path: Path, row: int) -> TableError:
    error = TableError(f"{path.name}: row {row}: found a quote that does not close in its row")
    error.add_note('it opens in this row or shortly before; write "" for a quote within a field in quotes')
    return error


def _unreadable_error(path: Path, first: int, found: str) -> TableError:
    error = TableError(f"{path.name}: row {first} and others: {found}, expected comma separated UTF-8 text")
    error.add_note("fields that contain commas need double quotes around them")
    return error


def _unreadable(records: list[bytes], n_columns: int) -> Iterator[int]:
    """Yield the places of the rows that cannot be read, those that halving finds last.

    Most give themselves away alone; of the others only polars knows what it makes of their quotes.
    """
    sound = list(records)
    for place, record in enumerate(records):
        if not _plausible(record, n_columns):
            sound[place] = b""
            yield place
    suspects = [(place, place + 1) for place, record in enumerate(sound) if _AFTER_QUOTES.search(record)]
    parts = [(0, len(sound)), *suspects[::-1]]  # one by one first: halving takes twenty times as long to find one
    while parts:
        start, stop = parts.pop()
        block = _parse(b"\n".join([*sound[start:stop], b""]), n_columns)
        if block is not None and block.height == stop - start:
            continue
        if stop - start == 1:
            sound[start] = b""
            yield start
        else:
            middle = (start + stop) // 2
            parts += [(middle, stop), (start, middle)]


def _plausible(record: bytes, n_columns: int) -> bool:
    n_quotes = record.count(b'"')
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return n_quotes % 2 == 0 and (n_quotes > 0 or record.count(b",") < n_columns)


def _split(rows: bytes) -> list[bytes]:
    """Return the single rows, those with line ends within quotes whole."""
    found: list[bytes] = []
    held: list[bytes] = []
    n_quotes = 0
    for line in rows.split(b"\n"):
        held.append(line)
        n_quotes += line.count(b'"')
        if n_quotes % 2 == 0:
            found.append(b"\n".join(held))
            held = []
    return [*found, b"\n".join(held)] if held else found


def _parse(rows: bytes, n_columns: int) -> pl.DataFrame | None:
    """Return all columns as text, named by their numbers; None: there is a row that cannot be read."""
    header = ",".join(f"{i}" for i in range(n_columns)).encode()
    try:
        return pl.read_csv(header + b"\n" + rows, infer_schema=False)
    except pl.exceptions.PolarsError:  # its message may show structures
        return None


def _whole_lines(path: Path) -> Iterator[bytes]:
    r"""Yield the file's lines in blocks, ends of lines as \n, without those at the end of a block or of the file."""
    rest = b""
    for piece in _pieces(path):
        rest += piece
        cut = _last_line_end(rest)
        if lines := rest[:cut].rstrip(b"\n"):
            yield lines
            rest = rest[len(lines) + 1 :]  # blank lines stay: they are rows if more rows follow
        if len(rest) > _LONGEST_ROW:
            raise TableError(f"{path.name}: found a row of more than {_LONGEST_ROW >> 20} MiB, expected lines of text")
        if len(rest) > _BLOCK_BYTES and rest.count(b"\n") > _MOST_LINES_OF_A_ROW and rest.count(b'"') % 2:
            break  # a quote that does not close: what is left would be held in memory as one row
    if lines := rest.rstrip(b"\n"):
        yield lines


def _last_line_end(text: bytes) -> int:
    """Return where the last line ends that does not end within quotes; 0: nowhere."""
    cut = text.rfind(b"\n")
    n_quotes = text.count(b'"', 0, max(cut, 0))
    while cut > 0 and n_quotes % 2:
        end, cut = cut, text.rfind(b"\n", 0, text.rfind(b'"', 0, cut))
        n_quotes -= text.count(b'"', max(cut, 0), end)  # only the new stretch: all of it each time would be quadratic
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
