"""JSON files that are there whole or not at all."""

import json
from pathlib import Path
from typing import Any

from secure.files import write_atomically


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 -- any JSON value
    """Write readable JSON atomically; NaN is refused, use None."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
