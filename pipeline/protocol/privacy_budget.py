"""A partner's budget of differential privacy: which noise keeps the plan's epsilon, and how much of it is spent."""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from partners.privacy.steps import NoisedSteps, sampling_share
from partners.settings import NoiseSettings
from pipeline.errors import EpsilonOutOfReach, PrivacyLost
from pipeline.home.noise_secret import obtain_noise_secret
from pipeline.home.paths import Home
from pipeline.home.privacy_ledger import PrivacyLedger, trained_rounds
from pipeline.plan.plan import Plan
from pipeline.plan.privacy import Privacy
from secure.encoding.derive import derive_key
from secure.files import remove_for_good

if TYPE_CHECKING:
    from partners.training.partner_data import PartnerData  # torch

_DIGITS = 1000  # an epsilon is rounded up to a thousandth


def check_continuity(plan: Plan, home: Home) -> None:
    """Raise PrivacyLost unless all rounds of a home were trained with [privacy] and are in its ledger, or all without.

    What unprotected rounds tell has no bound, whatever is done afterwards. Raises ConfigError for a damaged ledger.
    """
    ledger, trained = PrivacyLedger(home.privacy), trained_rounds(home)
    has_ledger, is_begun = ledger.exists, bool(home.rounds_started() or trained)
    if plan.privacy is not None and is_begun and not has_ledger:
        error = PrivacyLost(
            f"{home.privacy}: is missing, but rounds are done: expected the ledger of their noised steps"
        )
        error.add_note("if it was lost, restore the whole home from a backup")
        error.add_note("if the rounds before had no [privacy], no epsilon holds: begin a new federation with new homes")
        raise error
    if plan.privacy is None and has_ledger:
        error = PrivacyLost(f"{home.privacy}: rounds before were trained with [privacy], the plan has none")
        error.add_note("go on with [privacy] in the plan: without it the bound that all agreed on would be void")
        raise error
    if has_ledger and (lacking := sorted(trained - ledger.read().keys())):
        revision, round_no = lacking[0]
        error = PrivacyLost(
            f"{home.privacy}: lacks round {round_no} of revision {revision} of the plan, which this home has trained: "
            "expected an entry for every such round"
        )
        error.add_note("restore the whole home from the latest backup, and not this file alone: see secure/KEYS.md")
        raise error


@dataclass(frozen=True, slots=True)
class Reach:
    """Which epsilon a partner can keep over the rounds to come."""

    noise_multiplier: float  # with which it keeps the plan's
    smallest: float  # epsilon with the most noise that the plan allows
    n_steps: int  # to come


def reach_of(plan: Plan, privacy: Privacy, home: Home, n_compounds: int, batch_size: int) -> Reach | None:
    """Which epsilon a partner with so many training compounds can keep; None if no round is to come. Writes nothing.

    Raises EpsilonOutOfReach if the plan's is too small or its delta too large, ConfigError for a damaged ledger.
    """
    ledger, first = PrivacyLedger(home.privacy), max(home.rounds_started(), default=1)
    rounds = ledger.read() if ledger.exists else {}
    before = [
        steps
        for (revision, round_no), entries in rounds.items()
        if revision != plan.revision or round_no < first
        for steps in entries
    ]
    bound = _Bound(privacy, n_compounds, sampling_share(n_compounds, batch_size))
    bound.expect_small_delta()
    if first > plan.rounds.n_rounds:
        return None
    n_steps = (plan.rounds.n_rounds + 1 - first) * plan.rounds.local_steps
    noise = bound.least_noise(before, [], n_steps)
    return Reach(noise, _up(bound.reached(before, n_steps, bound.most)), n_steps)


@dataclass(frozen=True, slots=True)
class _Bound:
    """The plan's bound at a partner with so many training compounds."""

    privacy: Privacy
    n_compounds: int
    share: float  # probability with which a compound is in a batch

    @property
    def most(self) -> float:
        """The largest noise multiplier, which is the only one if the plan has one."""
        return self.privacy.noise_multiplier or self.privacy.most_noise

    def expect_small_delta(self) -> None:
        """Raise EpsilonOutOfReach for a delta that allows to give whole compounds away."""
        if self.privacy.delta * self.n_compounds >= 1:
            error = EpsilonOutOfReach(
                f"privacy.delta: found {self.privacy.delta:g}, expected below 1 / {self.n_compounds} compounds"
            )
            error.add_note("a larger delta allows to give away whole compounds: agree on a smaller one")
            raise error

    def reached(self, before: Sequence[NoisedSteps], n_steps: int, noise: float) -> float:
        """Epsilon of the steps before and so many to come with this noise."""
        epsilon: float = _accounting().epsilon_of([*before, self._steps(n_steps, noise)], self.privacy.delta)
        return epsilon

    def least_noise(self, before: Sequence[NoisedSteps], earlier: Sequence[float], n_steps: int) -> float:
        """Least noise multiplier with which so many steps to come stay within epsilon, or the plan's.

        earlier : multipliers that are kept if they are enough
        Raises EpsilonOutOfReach.
        """
        for noise in [*earlier, self.most]:
            reached = self.reached(before, n_steps, noise)
            if reached <= self.privacy.epsilon:
                break
        else:
            raise self._out_of_reach(n_steps, reached)
        if noise in earlier or self.privacy.noise_multiplier:
            return noise
        least: float = _accounting().least_noise(
            before, n_steps, self.share, self.privacy.epsilon, self.privacy.delta, self.most
        )
        return least

    def _steps(self, n_steps: int, noise: float) -> NoisedSteps:
        return NoisedSteps(n_steps, self.share, noise)

    def _out_of_reach(self, n_steps: int, reached: float) -> EpsilonOutOfReach:
        privacy = self.privacy
        setting = "noise_multiplier" if privacy.noise_multiplier else "most_noise"
        error = EpsilonOutOfReach(
            f"privacy.epsilon: found {privacy.epsilon:g} at delta {privacy.delta:g}, expected at least "
            f"{_up(reached):g}: {n_steps} steps with privacy.{setting} {self.most:g}, each of {self.n_compounds} "
            f"training compounds in a step's batch with probability {self.share:.3g}"
        )
        error.add_note("set a smaller training.batch_size in partner.toml, which no other member sees;")
        error.add_note(f"or agree on fewer rounds or local_steps, a larger {setting}, or a larger epsilon")
        return error


class PrivacyBudget:
    """A partner's spent epsilon and the noise of its next rounds.

    draw : returns that many secret random bytes; a round's noise is drawn from them
    """

    def __init__(
        self,
        plan: Plan,
        privacy: Privacy,
        home: Home,
        own: "PartnerData",
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._plan, self._privacy, self._home, self._draw = plan, privacy, home, draw
        self._ledger = PrivacyLedger(home.privacy)
        n_compounds = int(own.training_set.training_rows.size)
        self._bound = _Bound(privacy, n_compounds, sampling_share(n_compounds, own.training.batch_size))
        self._found: dict[int, float] = {}  # noise multiplier by round, computed once
        self._first = max(home.rounds_started(), default=1)

    @classmethod
    def of(
        cls, plan: Plan, home: Home, own: "PartnerData", draw: Callable[[int], bytes] = secrets.token_bytes
    ) -> "PrivacyBudget | None":
        """The budget of a partner; None if the plan has no [privacy]."""
        return cls(plan, plan.privacy, home, own, draw) if plan.privacy else None

    def begin(self) -> str:
        """Begin the ledger, and describe noise and bound for the log.

        Raises EpsilonOutOfReach if the rounds to come cannot stay within epsilon, or delta is too large.
        """
        self._bound.expect_small_delta()
        self._ledger.begin()
        if self._first > self._plan.rounds.n_rounds:
            return f"differential privacy: {self._privacy} over all rounds, which are done"
        noise = self._noise_multiplier(self._first)
        return (
            f"differential privacy: {self._privacy} over all rounds, given this partner's tasks and thresholds, which "
            f"are not covered; noise multiplier {noise:.3f}, each of {self._bound.n_compounds} training compounds in "
            f"a step's batch with probability {self._bound.share:.3g}"
        )

    def noise(self, round_no: int) -> NoiseSettings:
        """Noise of a round's training, which is written to the ledger first, and the secret of its key to the home.

        A training that is repeated after a crash has the same noise. Raises EpsilonOutOfReach, secure.errors.BadKeyFile
        for a damaged secret.
        """
        noise = self._noise_multiplier(round_no)
        self._ledger.add(self._place(round_no), NoisedSteps(self._plan.rounds.local_steps, self._bound.share, noise))
        return NoiseSettings(
            clip_norm=self._privacy.clip_norm,
            noise_multiplier=noise,
            sampling_share=self._bound.share,
            key=self._noise_key(round_no),
        )

    def _noise_key(self, round_no: int) -> bytes:
        secret = obtain_noise_secret(self._home.noise_secret(round_no), self._draw)
        return derive_key(secret, "hocket/noise-secret/v1", {"plan": self._plan.digest, "round": round_no})

    def forget_noise(self, round_no: int) -> None:
        """Remove the secret of a round's noise for good: its training is stored, and is not repeated."""
        if self._home.noise_secret(round_no).exists():
            remove_for_good(self._home.noise_secret(round_no))

    def drop(self, round_no: int) -> None:
        """Take a round out of the ledger: its roster lacked this partner, whose training there is forgotten."""
        self._ledger.remove(self._place(round_no))

    def spent(self) -> float:
        """Smallest epsilon, at the plan's delta, of all updates of this partner so far."""
        return _up(_accounting().epsilon_of(self._ledger.all_steps(), self._privacy.delta))

    def _place(self, round_no: int) -> tuple[int, int]:
        return self._plan.revision, round_no

    def _noise_multiplier(self, round_no: int) -> float:
        if round_no not in self._found:
            self._found[round_no] = self._written(round_no) or self._least_noise(round_no)
        return self._found[round_no]

    def _written(self, round_no: int) -> float | None:
        """Noise multiplier in the ledger for this training; None if there is none, or of other data or settings."""
        training = (self._plan.rounds.local_steps, self._bound.share)
        entries = self._ledger.read().get(self._place(round_no), ())
        same = [steps for steps in entries if (steps.n_steps, steps.sampling_share) == training]
        return same[-1].noise_multiplier if same else None

    def _least_noise(self, round_no: int) -> float:
        """Least noise multiplier, or the plan's, with which the rounds from this one on stay within epsilon."""
        rounds = self._plan.rounds
        n_steps = max(1, rounds.n_rounds + 1 - round_no) * rounds.local_steps
        return self._bound.least_noise(self._ledger.all_steps(), self._last_noise(), n_steps)

    def _last_noise(self) -> Sequence[float]:
        """Noise multiplier of the last training under this plan, which is kept if it is still enough; or none."""
        rounds, plan = self._ledger.read(), self._plan.revision
        under_plan = [steps for (revision, _), entries in rounds.items() if revision == plan for steps in entries]
        return [steps.noise_multiplier for steps in under_plan[-1:]]


def _up(epsilon: float) -> float:
    return math.ceil(epsilon * _DIGITS) / _DIGITS


def _accounting() -> ModuleType:
    from partners.privacy import accounting  # noqa: PLC0415 -- dp_accounting, which few plans need

    return accounting
