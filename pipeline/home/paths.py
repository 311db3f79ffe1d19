"""A member's home: its files are its state, written so that a killed process can always go on."""

import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.home.lock import Holder, hold
from secure.files import PART


class Home:
    """Paths below one member's home folder."""

    def __init__(self, folder: Path, revision: str = "") -> None:
        self.folder = folder
        self.revision = revision  # Plan.folder: messages, secrets and attempts of a revision of the plan lie apart

    def of_every_plan(self) -> "list[Home]":
        """This home under the first plan and under each revision that it has taken up, in order."""
        revisions = sorted(path.name for path in self.folder.glob("revision-[0-9][0-9]"))
        return [Home(self.folder, revision) for revision in ("", *revisions)]

    @property
    def keys(self) -> Path:
        """Folder of the private keys."""
        return self.folder / "keys"

    @property
    def group_secret(self) -> Path:
        """The group secret, partners only."""
        return self.folder / self.revision / "group.secret"

    @property
    def pair_seeds(self) -> Path:
        """The seeds this partner made for the others."""
        return self.folder / self.revision / "pair.seeds"

    @property
    def prepared(self) -> Path:
        """Folder of the prepared matrices."""
        return self.folder / "prepared"

    @property
    def structures_cache(self) -> Path:
        """What became of each structure in earlier runs; may be deleted, which costs its time again."""
        return self.folder / "structures.cache"

    @property
    def catalogue(self) -> Path:
        """How many partners hold each task of the catalogue, as the catalogue round gave it."""
        return self.folder / "catalogue.json"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.folder / "report"

    @property
    def metrics(self) -> Path:
        """One JSON file a round with what is logged to MLflow."""
        return self.folder / "metrics"

    @property
    def finished(self) -> Path:
        """Written when nothing is left to do."""
        return self.folder / "finished.json"

    @property
    def tracked(self) -> Path:
        """Written when MLflow holds everything."""
        return self.folder / "tracked.json"

    @property
    def sent(self) -> Path:
        """Which files of report and model MLflow holds, and how much is left."""
        return self.folder / "sent.json"

    @property
    def baseline(self) -> Path:
        """State of the local-only model."""
        return self.folder / "baseline"

    @property
    def model(self) -> Path:
        """The finished model as `hocket predict` uses it, local and federated; made anew where it is missing."""
        return self.folder / "model"

    def start_file(self, round_no: int) -> Path:
        """State at the start of a round; that of the round after the last is the final model."""
        return self.round(round_no) / "start.safetensors"

    def remove_round(self, round_no: int) -> None:
        """Remove the folder of a round of which nothing is needed any more."""
        shutil.rmtree(self.round(round_no), ignore_errors=True)

    def rounds_started(self) -> list[int]:
        """Rounds whose start is on disk."""
        pattern = "rounds/round-[0-9][0-9][0-9][0-9]/start.safetensors"
        return [int(path.parent.name.removeprefix("round-")) for path in self.folder.glob(pattern)]

    def round(self, round_no: int) -> Path:
        """State at the start of a round and what becomes of it."""
        return self.folder / f"rounds/round-{round_no:04d}"

    def attempt(self, round_no: int, attempt: int) -> Path:
        """What this member made in one attempt at a round."""
        return self.round(round_no) / self.revision / f"attempt-{attempt:02d}"

    def inbox(self, path: str) -> Path:
        """Copy of a message of another member, verified before it got there."""
        return self.folder / self.revision / "inbox" / path

    def outbox(self, path: str) -> Path:
        """A message of this member's own, as it was or will be posted."""
        return self.folder / self.revision / "outbox" / path

    def remove_payloads(self, round_no: int | None = None) -> None:
        """Remove the sealed files of a round, or of all; what is still needed of them lies in the exchange."""
        which = "round-*" if round_no is None else f"round-{round_no:04d}"
        for box in (self.inbox(""), self.outbox("")):
            for payload in box.glob(f"{which}/*/*.arrow"):
                payload.unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Remove what was sealed under earlier plans: a revision starts its first round anew."""
        for other in self.of_every_plan():
            if other.revision < self.revision:
                other.remove_payloads()

    def make(self) -> None:
        """Make the folder, for nobody but its owner: it will hold keys, labels and structures.

        Raises ConfigError for an existing folder that others may look into.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(self.folder.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            error = ConfigError(f"{self.folder}: the home has mode {mode:04o}, expected 0700: others can look into it")
            error.add_note(f"chmod 700 {self.folder}")
            raise error

    @contextmanager
    def alone(self) -> Iterator[Holder | None]:
        """Hold the home for this process; the lock goes with the process, however it ends.

        Yields the last holder where it was killed. Raises HomeInUse while another process holds the home.
        """
        try:
            self.make()
        except OSError as error:
            raise ConfigError(f"{self.folder}: the home cannot be used: {error.strerror}") from error
        with hold(self.folder / "lock") as before:
            self._sweep()
            yield before

    def _sweep(self) -> None:
        """Remove files that a killed process left half-written; only the holder of the lock may.

        Folders stay: each is removed by its next writer, and may be that of the tracking process at this moment.
        """
        for leftover in self.folder.rglob(f".*{PART}"):
            if leftover.is_file():
                leftover.unlink(missing_ok=True)
