"""A partner's budget of differential privacy: which noise keeps the plan's epsilon, and how much of it is spent."""

import math
import secrets
from collections.abc import Callable, Sequence
from types import ModuleType

from partners.privacy.steps import NoisedSteps
from partners.settings import NoiseSettings
from partners.training.partner_data import PartnerData
from partners.training.training import sampling_share_of
from pipeline.errors import EpsilonOutOfReach, PrivacyLost
from pipeline.home.noise_secret import obtain_noise_secret
from pipeline.home.paths import Home
from pipeline.home.privacy_ledger import PrivacyLedger, trained_rounds
from pipeline.plan.plan import Plan
from pipeline.plan.privacy import Privacy
from secure.encoding.derive import derive_key
from secure.files import remove_for_good

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


class PrivacyBudget:
    """A partner's spent epsilon and the noise of its next rounds.

    draw : returns that many secret random bytes; a round's noise is drawn from them
    """

    def __init__(
        self,
        plan: Plan,
        privacy: Privacy,
        home: Home,
        own: PartnerData,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._plan, self._privacy, self._home, self._draw = plan, privacy, home, draw
        self._ledger = PrivacyLedger(home.privacy)
        self._share = sampling_share_of(own.training_set, own.training)
        self._n_compounds = int(own.training_set.training_rows.size)
        self._found: dict[int, float] = {}  # noise multiplier by round, computed once
        self._first = max(home.rounds_started(), default=1)

    @classmethod
    def of(
        cls, plan: Plan, home: Home, own: PartnerData, draw: Callable[[int], bytes] = secrets.token_bytes
    ) -> "PrivacyBudget | None":
        """The budget of a partner; None if the plan has no [privacy]."""
        return cls(plan, plan.privacy, home, own, draw) if plan.privacy else None

    def begin(self) -> str:
        """Begin the ledger, and describe noise and bound for the log.

        Raises EpsilonOutOfReach if the rounds to come cannot stay within epsilon, or delta is too large.
        """
        delta, n_compounds = self._privacy.delta, self._n_compounds
        if delta * n_compounds >= 1:
            error = EpsilonOutOfReach(f"privacy.delta: found {delta:g}, expected below 1 / {n_compounds} compounds")
            error.add_note("a larger delta allows to give away whole compounds: agree on a smaller one")
            raise error
        self._ledger.begin()
        if self._first > self._plan.rounds.n_rounds:
            return f"differential privacy: {self._privacy} over all rounds, which are done"
        noise = self._noise_multiplier(self._first)
        return (
            f"differential privacy: {self._privacy} over all rounds, given this partner's tasks and thresholds, which "
            f"are not covered; noise multiplier {noise:.3f}, each of {n_compounds} training compounds in a step's "
            f"batch with probability {self._share:.3g}"
        )

    def noise(self, round_no: int) -> NoiseSettings:
        """Noise of a round's training, which is written to the ledger first, and the secret of its key to the home.

        A training that is repeated after a crash has the same noise. Raises EpsilonOutOfReach, secure.errors.BadKeyFile
        for a damaged secret.
        """
        noise = self._noise_multiplier(round_no)
        self._ledger.add(self._place(round_no), NoisedSteps(self._plan.rounds.local_steps, self._share, noise))
        return NoiseSettings(
            clip_norm=self._privacy.clip_norm,
            noise_multiplier=noise,
            sampling_share=self._share,
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
        training = (self._plan.rounds.local_steps, self._share)
        entries = self._ledger.read().get(self._place(round_no), ())
        same = [steps for steps in entries if (steps.n_steps, steps.sampling_share) == training]
        return same[-1].noise_multiplier if same else None

    def _least_noise(self, round_no: int) -> float:
        """Least noise multiplier, or the plan's, with which the rounds from this one on stay within epsilon."""
        rounds, privacy = self._plan.rounds, self._privacy
        before, earlier = self._ledger.all_steps(), self._last_noise()
        n_steps = max(1, rounds.n_rounds + 1 - round_no) * rounds.local_steps
        most = privacy.noise_multiplier or privacy.most_noise
        for noise in [*earlier, most]:
            reached = _accounting().epsilon_of([*before, NoisedSteps(n_steps, self._share, noise)], privacy.delta)
            if reached <= privacy.epsilon:
                break
        else:
            raise self._out_of_reach(n_steps, most, reached)
        if noise in earlier or privacy.noise_multiplier:
            return noise
        least: float = _accounting().least_noise(before, n_steps, self._share, privacy.epsilon, privacy.delta, most)
        return least

    def _last_noise(self) -> Sequence[float]:
        """Noise multiplier of the last training under this plan, which is kept if it is still enough; or none."""
        rounds, plan = self._ledger.read(), self._plan.revision
        under_plan = [steps for (revision, _), entries in rounds.items() if revision == plan for steps in entries]
        return [steps.noise_multiplier for steps in under_plan[-1:]]

    def _out_of_reach(self, n_steps: int, most: float, reached: float) -> EpsilonOutOfReach:
        privacy = self._privacy
        setting = "noise_multiplier" if privacy.noise_multiplier else "most_noise"
        error = EpsilonOutOfReach(
            f"privacy.epsilon: found {privacy.epsilon:g} at delta {privacy.delta:g}, expected at least "
            f"{_up(reached):g}: {n_steps} steps with privacy.{setting} {most:g}, each of {self._n_compounds} training "
            f"compounds in a step's batch with probability {self._share:.3g}"
        )
        error.add_note("set a smaller training.batch_size in partner.toml, which no other member sees;")
        error.add_note(f"or agree on fewer rounds or local_steps, a larger {setting}, or a larger epsilon")
        return error


def _up(epsilon: float) -> float:
    return math.ceil(epsilon * _DIGITS) / _DIGITS


def _accounting() -> ModuleType:
    from partners.privacy import accounting  # noqa: PLC0415 -- dp_accounting, which few plans need

    return accounting
