"""Records of each round for MLflow: small JSON files in the home, written before anything is logged.

The tracking process reads them later, so a tracking server that is down delays no round, and nothing is logged twice.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json, write_json


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """Metrics and facts of one step: a round, or 0 for the preparation."""

    step: int
    at: float  # seconds since 1970
    metrics: Mapping[str, float]
    facts: Mapping[str, Any] = field(
        default_factory=dict
    )  # names, digests, lists: logged as an artifact, not as curves


def write_record(folder: Path, record: RoundRecord) -> None:
    """Write a record, over an earlier one of the same step."""
    write_json(folder / f"step-{record.step:04d}.json", asdict(record))


def read_records(folder: Path) -> list[RoundRecord]:
    """All records, by step. Raises ConfigError for a damaged one."""
    return [_read_record(path) for path in sorted(folder.glob("step-*.json"))]


def _read_record(path: Path) -> RoundRecord:
    try:
        return RoundRecord(**read_json(path))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: is damaged, expected the record of a step; remove it to send the others") from error
