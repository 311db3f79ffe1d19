"""JSON files of a home: written atomically, and read as what a disk or a person may have made of them."""

import json
from pathlib import Path
from typing import Any

from secure.files import read_plain, write_atomically

_MOST_BYTES = 1 << 28  # a report of 100,000 tasks has less


def read_json(path: Path) -> Any:  # noqa: ANN401 -- any JSON value
    """Read a JSON file.

    Raises ValueError for a file that is no JSON in UTF-8, or nested too deep; OSError, also for a named pipe, which
    would be waited for, and for a file of more than 2^28 bytes.
    """
    try:
        return json.loads(read_plain(path, _MOST_BYTES))
    except RecursionError as error:
        raise ValueError(f"{path}: found JSON that is nested too deep") from error


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 -- any JSON value
    """Write indented JSON atomically; raises ValueError for NaN and infinity, use None."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
