"""Table files read block by block: the ends of blocks change nothing."""

import csv
import gzip
import io
import os

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_prep.errors import TableError
from data_prep.tables import csv_blocks, table_files
from data_prep.tables.header import Wanted
from data_prep.tables.table_files import read_blocks

COLUMNS = ("id", "value")


def rows_of(path, block_bytes=1 << 24, block_rows=1 << 19):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_blocks, "_BLOCK_BYTES", block_bytes)
        patch.setattr(table_files, "_BLOCK_ROWS", block_rows)
        blocks = list(read_blocks(path, Wanted(COLUMNS)))
    return len(blocks), pl.concat(blocks)


FIELD = st.sampled_from(["", "1", "C", "é", "a b", '"x, y"', '"two\nlines"', '"an ""inner"" quote"', '"\n\n"'])
END = st.sampled_from(["\n", "\r\n", "\r"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.tuples(FIELD, FIELD, END), max_size=12),
    block_bytes=st.integers(1, 40),
    zipped=st.booleans(),
    marked=st.booleans(),
)
@example(lines=[("1", '"two\nlines"', "\r\n")] * 3, block_bytes=1, zipped=False, marked=False)
def test_blocks_of_any_size_give_the_same_rows(tmp_path, lines, block_bytes, zipped, marked):
    """With quoted line ends, LF, CRLF and CR, a UTF-8 mark or gzip, blocks give the rows of the whole file."""
    text = "id,value\n" + "".join(
        f"k{a.strip(chr(34))},{b}{end}" if '"' not in a else f"{a},{b}{end}" for a, b, end in lines
    )
    content = (b"\xef\xbb\xbf" if marked else b"") + text.encode()
    path = tmp_path / "table.csv"
    path.write_bytes(gzip.compress(content) if zipped else content)
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    expected = pl.read_csv(io.StringIO(plain), infer_schema=False)
    expected = expected.with_columns(pl.all().str.strip_chars()).with_columns(
        pl.when(pl.col(c) != "").then(pl.col(c)).alias(c) for c in COLUMNS
    )
    _, rows = rows_of(path, block_bytes)
    assert rows.select(COLUMNS).rows() == expected.rows()
    assert rows["input_row"].to_list() == list(range(1, expected.height + 1))


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".xlsx"])
def test_a_named_pipe_is_refused_at_once(tmp_path, kind):
    """Nobody may ever write into it, and a folder is no file either."""
    os.mkfifo(tmp_path / f"pipe{kind}")
    (tmp_path / f"folder{kind}").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(TableError, match=rf"^{name}{kind}: cannot be read: "):
            list(read_blocks(tmp_path / f"{name}{kind}", Wanted(COLUMNS)))


def test_blocks_are_really_cut(tmp_path):
    """A small block size gives many blocks, and row numbers run through."""
    path = tmp_path / "table.csv"
    path.write_text("id,value\n" + "".join(f"{i},{i}\n" for i in range(1000)))
    n_blocks, rows = rows_of(path, 100)
    assert n_blocks > 50
    assert rows["input_row"].to_list() == list(range(1, 1001))
    assert rows["id"].to_list() == [str(i) for i in range(1000)]


def test_parquet_is_cut_by_rows(tmp_path):
    """A Parquet file gives the same rows in one block or in many; an empty one gives one empty block."""
    table = pl.DataFrame({"id": range(10), "value": [1.5] * 10, "more": ["x"] * 10})
    table.write_parquet(tmp_path / "table.parquet")
    whole, parts = rows_of(tmp_path / "table.parquet"), rows_of(tmp_path / "table.parquet", block_rows=3)
    assert (whole[0], parts[0]) == (1, 4)
    assert whole[1].equals(parts[1])
    table.clear().write_parquet(tmp_path / "table.parquet")
    assert rows_of(tmp_path / "table.parquet")[1].shape == (0, 6)


@pytest.mark.parametrize("cut", [1, 10, 100, 5000])
def test_a_truncated_gzip_is_refused_wherever_it_ends(tmp_path, cut):
    """A truncated gzip file raises TableError even after whole blocks."""
    content = gzip.compress(("id,value\n" + "".join(f"{i},{i * i}\n" for i in range(5000))).encode())
    (tmp_path / "table.csv.gz").write_bytes(content[:-cut])
    with pytest.raises(TableError, match=r"^table\.csv\.gz: .*gzip"):
        rows_of(tmp_path / "table.csv.gz", 1000)


BAD = [b"7,7,extra", b"7,\xe9", b'"7" x,7', b'7,"7","7"', b"7,\xff,\xfe"]
NOT_UTF8 = (BAD[1], BAD[4])
GOOD = [b"1,CC", b"2", b"", b'3,"a ""b"", c"', b'4,"two\nlines"', "5,é".encode(), b'6,a " b "']


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.sampled_from(GOOD + BAD), max_size=25), block_bytes=st.sampled_from([1, 7, 20, 60, 1 << 24]))
def test_bad_rows_cost_only_themselves(tmp_path, lines, block_bytes):
    """For all block sizes exactly the bad rows are unreadable and empty; all others are unchanged."""
    lines = [b"0,first", *lines, b"8,last"]
    (tmp_path / "table.csv").write_bytes(b"id,value\n" + b"\n".join(lines))
    _, rows = rows_of(tmp_path / "table.csv", block_bytes)
    assert rows["input_row"].to_list() == list(range(1, len(lines) + 1))
    assert rows["unreadable"].to_list() == [line in BAD for line in lines]
    assert rows["not_utf8"].to_list() == [line in NOT_UTF8 for line in lines]
    assert rows["multiline"].to_list() == [b"\n" in line for line in lines]
    for line, row in zip(lines, rows.select(COLUMNS).iter_rows(), strict=True):
        fields = [] if line in BAD or not line else next(csv.reader(io.StringIO(line.decode(), newline="")))
        assert row == tuple([*fields, None, None][:2])


def test_a_file_of_bad_rows_is_refused(tmp_path, monkeypatch):
    """A file with no or too few readable rows is refused; the message names the first bad row."""
    path = tmp_path / "table.csv"
    path.write_text("id,value\n" + "1,2,3\n" * 5)
    with pytest.raises(TableError, match=r"^table\.csv: row 1 .*no readable row in 5\b"):
        rows_of(path, 6)
    monkeypatch.setattr(csv_blocks, "_MOST_UNREADABLE", 3)
    path.write_text("id,value\n1,2\n" + "1,SECRET,3\n" * 4)
    with pytest.raises(TableError, match=r"^table\.csv: row 2 .*\b3 bad rows") as caught:
        rows_of(path)
    assert "SECRET" not in "".join([str(caught.value), *caught.value.__notes__])


def test_two_stray_quotes_are_refused(tmp_path):
    """Between two stray quotes rows cannot be separated: the file is refused, and the row of the first quote named."""
    (tmp_path / "table.csv").write_text('id,value\n1,C\n2,5" disk\n3,C\n4,3" disk\n5,C\n')
    with pytest.raises(TableError, match=r"^table\.csv: row 2: .*quote"):
        rows_of(tmp_path / "table.csv")


@pytest.mark.parametrize("block_bytes", [1 << 24, 1 << 12])
@pytest.mark.parametrize(("row", "quoted"), [(1, 0), (700, 0), (700, 3), (5000, 0)])
def test_a_quote_that_does_not_close_is_refused(tmp_path, block_bytes, row, quoted):
    """An unclosed quote is reported with its row, for small and large blocks, without text of the file."""
    lines = [f'{i},"two\nlines"' if i <= quoted else f"{i},CCOSECRET" for i in range(1, 5002)]
    lines[row - 1] = '77,"5 mM SECRET'
    (tmp_path / "table.csv").write_text("id,value\n" + "\n".join(lines) + "\n")
    with pytest.raises(TableError, match=rf"^table\.csv: row {row}: .*quote") as caught:
        rows_of(tmp_path / "table.csv", block_bytes)
    assert "SECRET" not in "".join([str(caught.value), *caught.value.__notes__])


def test_reading_stops_soon_after_a_quote_that_does_not_close(tmp_path, monkeypatch):
    """After an unclosed quote only a few blocks are read, however long the file is."""
    (tmp_path / "table.csv").write_text('id,value\n1,5" disk\n' + "2,CCO\n" * 50_000)
    taken = []
    pieces = csv_blocks._pieces

    monkeypatch.setattr(csv_blocks, "_pieces", lambda path: (taken.append(p) or p for p in pieces(path)))
    with pytest.raises(TableError, match=r"row 1: .*quote"):
        rows_of(tmp_path / "table.csv", 8000)
    assert len(taken) < 5


def test_a_row_without_end_is_refused(tmp_path, monkeypatch):
    """A row longer than the limit is refused, not held in memory."""
    monkeypatch.setattr(csv_blocks, "_LONGEST_ROW", 1 << 20)
    (tmp_path / "table.csv").write_bytes(b"id,value\n1," + bytes(3 << 20))
    with pytest.raises(TableError, match="1 MiB"):
        rows_of(tmp_path / "table.csv", 1 << 16)


_PIECE = st.sampled_from([b"\n", b'"', b"x", b"\n\n", b',"a\nb"'])


@settings(max_examples=300, deadline=None)
@given(st.lists(_PIECE, max_size=30).map(b"".join))
def test_the_last_line_end_is_the_last_outside_quotes(text):
    """The last line end outside quotes has an even number of quotes before it, counted from the start."""
    ends = [i for i in range(len(text)) if text[i : i + 1] == b"\n" and text[:i].count(b'"') % 2 == 0]
    assert csv_blocks._last_line_end(text) == (ends[-1] if ends else 0)
