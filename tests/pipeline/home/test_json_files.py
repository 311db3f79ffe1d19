"""JSON files of a home."""

import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json, write_json
from pipeline.home.round_metrics import read_records
from pipeline.tracking.uploads import Remaining


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_comes_back(value: object):
    """Any JSON value, one file."""
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "file", value)
        assert json.loads((Path(folder) / "file").read_text()) == value


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_has_no_nan(tmp_path: Path, value: float):
    """Values that JSON lacks are refused before a file is written."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"x": [value]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_json_is_one_error(tmp_path: Path, content: bytes):
    """Half a file, another kind of file, and one that is nested so deep that no parser takes it."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"\S"):
        read_json(tmp_path / "file")


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{}", '{"step": 1}', '{"a": 1}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str):
    """A record of a step that is none is an error with the file's name."""
    (tmp_path / "step-0001.json").write_text(content)
    with pytest.raises(ConfigError, match=r"step-0001\.json"):
        read_records(tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"left": {"files": 1e999, "bytes": 1}}', '{"left": []}', "[]"])
def test_a_damaged_note_of_what_was_sent_counts_as_none(tmp_path: Path, content: str):
    """Everything is sent again."""
    (tmp_path / "sent.json").write_text(content)
    assert Remaining.read(tmp_path / "sent.json") is None
