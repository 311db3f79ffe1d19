"""JSON files, written atomically."""

import json
from pathlib import Path
from typing import Any

from secure.files import write_atomically


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 -- any JSON value
    """Write indented JSON atomically; raises ValueError for NaN and infinity, use None."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
