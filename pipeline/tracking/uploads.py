"""Send files to a member's MLflow run, with a note in the home of those already sent, so that each start goes on.

A file that was not sent completely is sent again. Even a start that ends early sends some of many or large files.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.home.json_files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Upload:
    """A file and the call that sends it."""

    file: Path
    name: str  # of the artifact, different for each
    send: Callable[[], None]

    def digest(self) -> str:
        """SHA-256, hexadecimal."""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Remaining:
    """Number and size of the files that are still to be sent."""

    n_files: int
    n_bytes: int

    @classmethod
    def read(cls, note: Path) -> Self | None:
        """Read the last note of `send`; None if there is none yet or it is damaged."""
        try:
            remaining = read_json(note)["left"]
            return cls(int(remaining["files"]), int(remaining["bytes"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):  # the last: an endless number
            return None

    def __str__(self) -> str:
        """As shown to users."""
        files = "1 file" if self.n_files == 1 else f"{self.n_files} files"
        return f"{files} ({self.n_bytes / 1e6:,.1f} MB)"


def send(uploads: Sequence[Upload], note: Path, run_id: str) -> None:
    """Send the files that the run lacks or has in another version, and note each one that is sent.

    note : JSON file in the home; ignored if it is of another run, as after the loss of a store
    """
    digests = {upload.name: upload.digest() for upload in uploads}
    sent = _sent(note, run_id)
    unsent = [upload for upload in uploads if sent.get(upload.name) != digests[upload.name]]
    _write(note, run_id, sent, unsent)
    while unsent:
        unsent[0].send()
        sent[unsent[0].name] = digests[unsent[0].name]
        del unsent[0]
        _write(note, run_id, sent, unsent)


def _sent(note: Path, run_id: str) -> dict[str, str]:
    """Digest of each file that the run has, by name."""
    try:
        content = read_json(note)
        return dict(content["files"]) if content["run"] == run_id else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # no note, or a damaged one: all files are sent again


def _write(note: Path, run_id: str, sent: Mapping[str, str], unsent: Sequence[Upload]) -> None:
    n_bytes = sum(upload.file.stat().st_size for upload in unsent)
    write_json(note, {"run": run_id, "files": sent, "left": {"files": len(unsent), "bytes": n_bytes}})
