"""JSON files of a home."""

import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.home.json_files import write_json


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_comes_back(value: object):
    """Any JSON value, one file."""
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "file", value)
        assert json.loads((Path(folder) / "file").read_text()) == value


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_has_no_nan(tmp_path: Path, value: float):
    """What no other program could read is refused before a file is touched."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"x": [value]})
    assert list(tmp_path.iterdir()) == []
