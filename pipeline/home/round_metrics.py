"""What a member keeps of each round for MLflow: small JSON files, written before anything is logged.

Tracking reads them later, in a process of its own: a tracking server that is down costs nothing, and a
restart logs nothing twice.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.home.json_files import write_json


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """Numbers and facts of one step (round; 0 is the preparation)."""

    step: int
    at: float  # seconds since 1970
    metrics: Mapping[str, float]
    facts: Mapping[str, Any] = field(default_factory=dict)  # names, digests, lists: an artifact, not a curve


def write_record(folder: Path, record: RoundRecord) -> None:
    """Keep a record; a repeated step overwrites its own."""
    write_json(folder / f"step-{record.step:04d}.json", asdict(record))


def read_records(folder: Path) -> list[RoundRecord]:
    """All records, by step."""
    return [RoundRecord(**json.loads(path.read_text())) for path in sorted(folder.glob("step-*.json"))]
