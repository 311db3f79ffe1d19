"""The ledger of differential privacy in a partner's home: the noised steps of every round, under every plan."""

from dataclasses import asdict, dataclass
from pathlib import Path

from partners.privacy.steps import NoisedSteps
from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json, write_json

Place = tuple[int, int]  # revision of the plan, and round


@dataclass(frozen=True, slots=True)
class _Entry:
    """A round in the file."""

    revision: int
    round: int
    n_steps: int
    sampling_share: float
    noise_multiplier: float


@dataclass(frozen=True)
class PrivacyLedger:
    """Noised steps by plan and round. What was written before a training stays if the training is repeated.

    A training that is repeated in one round, after a crash, has the same noise, and one of its results at most is
    ever opened: so it counts once.
    """

    path: Path

    @property
    def exists(self) -> bool:
        """Whether the ledger was begun."""
        return self.path.exists()

    def begin(self) -> None:
        """Write an empty ledger if there is none."""
        if not self.exists:
            self._write({})

    def read(self) -> dict[Place, NoisedSteps]:
        """All rounds' steps. Raises ConfigError for a file that is missing or no ledger."""
        try:
            return dict(_steps(_Entry(**row)) for row in read_json(self.path)["rounds"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            refusal = ConfigError(f"{self.path}: cannot be read, expected the ledger of this home's noised rounds")
            refusal.add_note("restore it from a backup: without it nobody knows which epsilon was spent")
            raise refusal from error

    def add(self, place: Place, steps: NoisedSteps) -> None:
        """Write a round's steps, in place of earlier ones of this round."""
        self._write(self.read() | {place: steps})

    def remove(self, place: Place) -> None:
        """Remove a round of which nothing was released and nothing is kept."""
        kept = self.read()
        if kept.pop(place, None):
            self._write(kept)

    def _write(self, rounds: dict[Place, NoisedSteps]) -> None:
        rows = [{"revision": place[0], "round": place[1], **asdict(steps)} for place, steps in sorted(rounds.items())]
        write_json(self.path, {"format": 1, "rounds": rows})


def _steps(entry: _Entry) -> tuple[Place, NoisedSteps]:
    """Raises TypeError or ValueError for an entry that no run writes."""
    numbers = NoisedSteps(int(entry.n_steps), float(entry.sampling_share), float(entry.noise_multiplier))
    if numbers.n_steps < 0 or not 0 < numbers.sampling_share <= 1 or not numbers.noise_multiplier > 0:
        raise ValueError(f"round {entry.round}: found steps that no run takes")
    return (int(entry.revision), int(entry.round)), numbers
