"""The ledger of differential privacy in a partner's home: the noised steps of every round, under every plan."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from partners.privacy.steps import NoisedSteps
from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json, write_json
from pipeline.home.paths import Home
from pipeline.home.round_files import TRAINED_FILE

Place = tuple[int, int]  # revision of the plan, and round
_ROUND = re.compile(r"round-([0-9]{4})")


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
    ever opened: so it counts once. If its data or settings have changed in between, both count.
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

    def read(self) -> dict[Place, tuple[NoisedSteps, ...]]:
        """All rounds' steps, in the order of writing. Raises ConfigError for a file that is missing or no ledger."""
        rounds: dict[Place, tuple[NoisedSteps, ...]] = {}
        try:
            for row in read_json(self.path)["rounds"]:
                place, steps = _steps(_Entry(**row))
                rounds[place] = (*rounds.get(place, ()), steps)
        except (OSError, ValueError, TypeError, KeyError) as error:
            refusal = ConfigError(f"{self.path}: cannot be read, expected the ledger of this home's noised rounds")
            refusal.add_note("restore it from a backup: without it nobody knows which epsilon was spent")
            raise refusal from error
        return rounds

    def all_steps(self) -> list[NoisedSteps]:
        """Steps of all rounds. Raises as `read` does."""
        return [steps for entries in self.read().values() for steps in entries]

    def add(self, place: Place, steps: NoisedSteps) -> None:
        """Add a round's noised steps. Equal entries count once; different ones all count, which is pessimistic."""
        rounds = self.read()
        if steps not in rounds.get(place, ()):
            self._write(rounds | {place: (*rounds.get(place, ()), steps)})

    def remove(self, place: Place) -> None:
        """Remove a round of which nothing was released and nothing is kept."""
        kept = self.read()
        if kept.pop(place, None):
            self._write(kept)

    def _write(self, rounds: dict[Place, tuple[NoisedSteps, ...]]) -> None:
        rows = [
            {"revision": revision, "round": round_no, **asdict(steps)}
            for (revision, round_no), entries in sorted(rounds.items())
            for steps in entries
        ]
        write_json(self.path, {"format": 1, "rounds": rows})


def trained_rounds(home: Home) -> set[Place]:
    """Rounds, under every plan, whose training is in the home or whose update this partner has released.

    A ledger that lacks one of them is not this home's latest.
    """
    return {place for under in home.of_every_plan() for place in _trained_under(under)}


def _trained_under(home: Home) -> set[Place]:
    revision = int(home.revision.removeprefix("revision-") or 1)
    released = {path.parent.parent for path in home.outbox("").glob("round-*/attempt-*/release.*.json")}
    rounds = {int(match[1]) for folder in released if (match := _ROUND.fullmatch(folder.name))}
    started = (_ROUND.fullmatch(folder.name) for folder in home.folder.glob("rounds/round-*"))
    rounds |= {int(match[1]) for match in started if match and (home.training(int(match[1])) / TRAINED_FILE).exists()}
    return {(revision, round_no) for round_no in rounds if round_no}


def _steps(entry: _Entry) -> tuple[Place, NoisedSteps]:
    """Raises TypeError or ValueError for an entry that no run writes."""
    numbers = NoisedSteps(int(entry.n_steps), float(entry.sampling_share), float(entry.noise_multiplier))
    if numbers.n_steps < 0 or not 0 < numbers.sampling_share <= 1 or not numbers.noise_multiplier > 0:
        raise ValueError(f"round {entry.round}: found steps that no run takes")
    return (int(entry.revision), int(entry.round)), numbers
