"""A member's home: its files are the member's state, written so that a run can go on after being killed."""

import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.home.lock import Holder, hold
from secure.files import PART, remove_for_good


class Home:
    """The files and folders in a member's home."""

    def __init__(self, folder: Path, revision: str = "") -> None:
        self.folder = folder
        self.revision = (
            revision  # Plan.folder: messages, secrets and attempts of a revision are in a folder of that name
        )

    def of_every_plan(self) -> "list[Home]":
        """This home under the first plan and under each later revision, in order."""
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
        """The seeds that this partner made for the others' pair keys."""
        return self.folder / self.revision / "pair.seeds"

    @property
    def prepared(self) -> Path:
        """Folder of the prepared matrices."""
        return self.folder / "prepared"

    @property
    def structures_cache(self) -> Path:
        """Cache of standardised structures; if deleted, they are standardised again."""
        return self.folder / "structures.cache"

    @property
    def catalogue(self) -> Path:
        """Result of the counting round: how many partners hold each task of the catalogue."""
        return self.folder / "catalogue.json"

    @property
    def columns(self) -> Path:
        """Which input columns this partner flagged in the counting round, and which it withheld; private."""
        return self.folder / "columns.json"

    @property
    def rows(self) -> Path:
        """Which rows of the catalogue this partner flagged in the counting round; private."""
        return self.folder / "rows.json"

    @property
    def handed_over(self) -> Path:
        """The federation's state in the clear, while a sponsor seals it, or while a partner that joins reads it."""
        return self.folder / "handover.safetensors"

    def first_trunk(self, digest: str) -> Path:
        """The trunk of a file that the federation begins from, in the order of this federation's columns."""
        return self.folder / f"first-trunk-{digest[:16]}.safetensors"

    @property
    def privacy(self) -> Path:
        """Ledger of the noised steps of all rounds, from which the spent epsilon follows; only with [privacy]."""
        return self.folder / "privacy.json"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.folder / "report"

    @property
    def audit(self) -> Path:
        """Folder of what `hocket audit` needs: canaries, trunks of all rounds, sizes of the trunks, shadows' scores."""
        return self.folder / "audit"

    @property
    def tries(self) -> Path:
        """Folder of the searches of `hocket try`: networks, scores and proposals."""
        return self.folder / "tries"

    @property
    def metrics(self) -> Path:
        """Folder with a JSON file per round of the metrics for MLflow."""
        return self.folder / "metrics"

    @property
    def finished(self) -> Path:
        """File that is written when the run is finished."""
        return self.folder / "finished.json"

    @property
    def notified(self) -> Path:
        """Which notices were sent, so that a run that is started again does not repeat them."""
        return self.folder / "notified.json"

    @property
    def tracked(self) -> Path:
        """File that is written when MLflow's store has everything."""
        return self.folder / "tracked.json"

    @property
    def sent(self) -> Path:
        """Which files of report and model MLflow's store has, and how many are missing there."""
        return self.folder / "sent.json"

    @property
    def assay_models(self) -> Path:
        """Models of single assays, strongest local and take-home."""
        return self.baseline / "assay_models.safetensors"

    @property
    def baseline(self) -> Path:
        """Folder of the network without federation."""
        return self.folder / "baseline"

    @property
    def model(self) -> Path:
        """Folder of the finished model for `hocket predict`, local and federated; rebuilt if it is missing."""
        return self.folder / "model"

    @property
    def extensions(self) -> Path:
        """Folder of the assays that `hocket extend` added: models, their prepared tables and report."""
        return self.folder / "extensions"

    def start_file(self, round_no: int) -> Path:
        """Checkpoint at the start of a round; after the last round, that of the next number is the final model."""
        return self.round(round_no) / "start.safetensors"

    def remove_round(self, round_no: int) -> None:
        """Remove the folder of a finished round, secrets under every plan first."""
        for home in self.of_every_plan():
            remove_for_good(home.noise_secret(round_no))
        shutil.rmtree(self.round(round_no), ignore_errors=True)

    def rounds_started(self) -> list[int]:
        """Rounds whose start file exists."""
        pattern = "rounds/round-[0-9][0-9][0-9][0-9]/start.safetensors"
        return [int(path.parent.name.removeprefix("round-")) for path in self.folder.glob(pattern)]

    def round(self, round_no: int) -> Path:
        """Folder of a round: its start, and this member's attempts."""
        return self.folder / f"rounds/round-{round_no:04d}"

    def training(self, round_no: int) -> Path:
        """Folder of what a partner makes once in a round under this plan, see pipeline.home.round_files."""
        return self.round(round_no) / self.revision

    def noise_secret(self, round_no: int) -> Path:
        """The secret from which the noise of a round's training is drawn, until the training is done."""
        return self.training(round_no) / "noise.secret"

    def release_seed(self, round_no: int, attempt: int) -> Path:
        """The seed that hides an attempt's update until it is released, or is deleted because the attempt is void."""
        return self.training(round_no) / f"attempt-{attempt:02d}" / "release.seed"

    def remove_release_seeds(self, round_no: int) -> None:
        """Delete the release seeds of a round under this plan: what they hide can then be opened by nobody, ever."""
        for seed in self.training(round_no).glob("attempt-*/release.seed"):
            remove_for_good(seed)

    def inbox(self, path: str) -> Path:
        """Copy of another member's message, verified before it was written."""
        return self.folder / self.revision / "inbox" / path

    @property
    def has_received(self) -> bool:
        """Whether this member has received a message of the plan from the exchange."""
        return next(self.inbox("").rglob("*.json"), None) is not None

    def outbox(self, path: str) -> Path:
        """One of this member's own messages, already posted or to be posted."""
        return self.folder / self.revision / "outbox" / path

    def remove_payloads(self, round_no: int | None = None) -> None:
        """Remove the sealed files of a round, or of all rounds; the exchange has those that are still needed."""
        rounds = "round-*" if round_no is None else f"round-{round_no:04d}"
        for box in (self.inbox(""), self.outbox("")):
            for payload in box.glob(f"{rounds}/*/*.arrow"):
                payload.unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Remove the seeds and secrets of rounds under all other plans, and sealed files of earlier ones.

        This plan holds its rounds again. A seed of a later plan goes too: who went back to this plan must not release
        under that one afterwards.
        """
        for other in self.of_every_plan():
            if other.revision != self.revision:
                for folder in self.folder.glob("rounds/round-[0-9][0-9][0-9][0-9]"):
                    round_no = int(folder.name.removeprefix("round-"))
                    other.remove_release_seeds(round_no)
                    remove_for_good(other.noise_secret(round_no))
            if other.revision < self.revision:
                other.remove_payloads()

    def make(self) -> None:
        """Make the folder with rights for its owner only: it will hold keys, labels and structures.

        Raises ConfigError for an existing folder that other accounts can read.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(self.folder.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            error = ConfigError(
                f"{self.folder}: the home has mode {mode:04o}, expected 0700: other accounts can read it"
            )
            error.add_note(f"chmod 700 {self.folder}")
            raise error

    @contextmanager
    def alone(self) -> Iterator[Holder | None]:
        """Lock the home for this process; the system releases the lock when the process ends.

        Yields the last holder if it was killed. Raises HomeInUse while another process holds the home.
        """
        try:
            self.make()
        except OSError as error:
            raise ConfigError(f"{self.folder}: the home cannot be used: {error.strerror}") from error
        with hold(self.folder / "lock") as before:
            self._remove_unfinished()
            yield before

    def _remove_unfinished(self) -> None:
        """Remove files that a killed process left half-written; only for the holder of the lock.

        Unfinished folders stay: their next writer removes them, and the tracking process may be writing one now.
        """
        for temporary in self.folder.rglob(f".*{PART}"):
            if temporary.is_file():
                temporary.unlink(missing_ok=True)
