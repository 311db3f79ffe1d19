"""Which files a member's MLflow run has already, remembered in the home: a start goes on where the last one ended.

A file is sent whole or again; of many or large ones each start sends some more, however early it is ended.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.home.json_files import write_json


@dataclass(frozen=True, slots=True)
class Upload:
    """A file and how it is sent."""

    file: Path
    name: str  # of the artifact, different for each
    send: Callable[[], None]

    def digest(self) -> str:
        """SHA-256, hexadecimal."""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is still to be sent."""

    n_files: int
    n_bytes: int

    @classmethod
    def read(cls, note: Path) -> Self | None:
        """As `send` noted it last; None where it did not get so far, or the note is damaged."""
        try:
            left = json.loads(note.read_text())["left"]
            return cls(int(left["files"]), int(left["bytes"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        """As a person would say it."""
        files = "1 file" if self.n_files == 1 else f"{self.n_files} files"
        return f"{files} ({self.n_bytes / 1e6:,.1f} MB)"


def send(uploads: Sequence[Upload], note: Path, run_id: str) -> None:
    """Send the files that the run does not have as they are now, and note each one that is sent.

    note : JSON file in the home; what it says of another run, as after a store was lost, does not count
    """
    digests = {upload.name: upload.digest() for upload in uploads}
    sent = _sent(note, run_id)
    left = [upload for upload in uploads if sent.get(upload.name) != digests[upload.name]]
    _write(note, run_id, sent, left)
    while left:
        left[0].send()
        sent[left[0].name] = digests[left[0].name]
        del left[0]
        _write(note, run_id, sent, left)


def _sent(note: Path, run_id: str) -> dict[str, str]:
    """Digest of each file that the run has."""
    try:
        found = json.loads(note.read_text())
        return dict(found["files"]) if found["run"] == run_id else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # nothing was sent, or it is not known: all is sent again


def _write(note: Path, run_id: str, sent: Mapping[str, str], left: Sequence[Upload]) -> None:
    n_bytes = sum(upload.file.stat().st_size for upload in left)
    write_json(note, {"run": run_id, "files": sent, "left": {"files": len(left), "bytes": n_bytes}})
