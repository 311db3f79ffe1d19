"""What each release of a finished federation tells about membership: attacks, their rates, controls and groups."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from partners.audit.attacks import ATTACKS, ShadowScores
from partners.audit.canaries import Canary, canary_rows
from partners.audit.frozen_trunk import Fit, MeasuredTasks, fit_heads, hidden_inputs, judged_fit
from partners.audit.groups import groups_of
from partners.audit.rates import EpsilonBound, Rates, epsilon_bound, membership_rates, permuted
from partners.audit.shadows import Shadow, ShadowTask, joined
from partners.audit.trunk_steps import Candidates, step_agreement
from partners.network.state import PartnerState
from partners.network.trunk import TrunkLayout
from partners.settings import Training, TrunkSettings
from partners.training_data.training_set import TrainingSet

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Trunks = Iterator[NDArray[np.float32]]

CONFIDENCE, GAINED, AGREEMENT = "confidence", "confidence gained", "agreement with the steps"
_NONE = np.empty(0, dtype=np.int64)
_MOST_KNOWN = 30_000  # compounds that heads are fitted to, for canaries
_FEWEST = 5  # members, and others, of a group


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """What a partner trained on, and what came of it."""

    whole: TrainingSet  # with canaries that were left out
    trained: TrainingSet
    training: Training
    canaries: Sequence[Canary]
    layout: TrunkLayout
    trunk_settings: TrunkSettings
    first_trunk: NDArray[np.float32]
    trunk: NDArray[np.float32]  # the last as the others know it
    own_trunk: NDArray[np.float32]  # the last, with input columns of this partner's own
    heads: PartnerState
    trunks: Callable[[], Trunks | None]  # the first and later ones up to the last; None if they were not kept


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack in one view."""

    name: str
    rates: Rates
    epsilon: EpsilonBound | None = None  # of canaries only


@dataclass(frozen=True, slots=True)
class Group:
    """A group of compounds, by the view's main attack."""

    name: str
    rates: Rates


@dataclass(frozen=True, slots=True)
class View:
    """What one release tells about membership."""

    name: str
    attacks: tuple[Attack, ...]  # the main one first
    permuted: Rates  # the main attack with permuted memberships: must show nothing
    untrained: Rates | None  # the first trunk, which has seen no compound
    groups: tuple[Group, ...]


def membership_views(released: Released, task: ShadowTask, is_member: Flags, shadows: list[Shadow]) -> Iterator[View]:
    """The views of trunk, network, steps, a shadow as target, and canaries; is_member: (n,) of the candidates."""
    seed = released.training.seed
    groups = list(groups_of(task.data, task.rows, joined(shadows, "model") if shadows else None))
    first = task.fit_of_trunk(released.first_trunk)
    trunk, model = task.fit_of_trunk(released.trunk), task.fit_of_model(released.own_trunk, released.heads)
    of_trunk, of_model = (joined(shadows, view) if shadows else None for view in ("trunk", "model"))
    without_training = _scores(first, of_trunk, first)
    release = _scores(trunk, of_trunk, first)
    yield _view("trunk", release, is_member, groups, seed, without_training)
    yield _view("model", _scores(model, of_model, None), is_member, groups, seed)
    if (trunks := released.trunks()) is not None:
        agreement = step_agreement(trunks, task.candidates, task.layout, task.trunk_settings, task.training)
        yield _view("sums", {AGREEMENT: agreement}, is_member, groups, seed)
    if of_trunk and of_model:
        inside = shadows[0].inside
        yield _view("shadow trunk", _scores(shadows[0].trunk, of_trunk.without(0), None), inside, groups, seed)
        yield _view("shadow model", _scores(shadows[0].model, of_model.without(0), None), inside, groups, seed)
    with_shadows = {name: release[name] for name in ATTACKS if name in release}
    yield from canary_views(released, task.rows, with_shadows)


def canary_views(
    released: Released, judged: NDArray[np.int64] = _NONE, with_shadows: Mapping[str, Floats] = MappingProxyType({})
) -> Iterator[View]:
    """The view of the canaries; nothing if there are none, or all of them are members or left out.

    judged, with_shadows : rows of the trunk's candidates, (n,), canaries among them, and their scores by attack
    """
    rows, is_member = canary_rows(released.whole, released.canaries)
    if is_member.all() or not is_member.any():
        return
    known = np.setdiff1d(released.trained.training_rows, rows)
    known = np.sort(np.random.default_rng(released.training.seed).permutation(known)[:_MOST_KNOWN])
    every = np.concatenate([known, rows])
    is_canary = np.arange(every.size) >= known.size
    candidates = Candidates(released.whole.x[every], MeasuredTasks.of(released.whole, every), is_canary)
    last, first = (_of_canaries(released, trunk, candidates) for trunk in (released.trunk, released.first_trunk))
    scores = {GAINED: (last - first)[is_canary], CONFIDENCE: last[is_canary]}
    if (trunks := released.trunks()) is not None:
        agreement = step_agreement(trunks, candidates, released.layout, released.trunk_settings, released.training)
        scores[AGREEMENT] = agreement[is_canary]
    scores |= {name: score[np.searchsorted(judged, rows)] for name, score in with_shadows.items()}
    view = _view("canaries", scores, is_member, [], released.training.seed, {GAINED: first[is_canary]})
    attacks = tuple(replace(attack, epsilon=epsilon_bound(scores[attack.name], is_member)) for attack in view.attacks)
    yield replace(view, attacks=attacks)


def _of_canaries(released: Released, trunk: NDArray[np.float32], candidates: Candidates) -> Floats:
    """Confidence of heads that are fitted to a trunk on all but the canaries; 0 for other compounds."""
    hidden = hidden_inputs(candidates.x, trunk, released.layout, released.trunk_settings, released.training)
    heads = fit_heads(hidden, candidates.targets, ~candidates.halves)
    return judged_fit(hidden, candidates.targets, [(heads, candidates.halves)]).confidence


def _scores(target: Fit, shadows: ShadowScores | None, untrained: Fit | None) -> Mapping[str, Floats]:
    """Scores of each attack on a target, the main one first.

    Without shadows a compound's difficulty is taken from the first trunk (Watson et al., "On the Importance of
    Difficulty Calibration in Membership Inference Attacks", ICLR 2022).
    """
    scores: dict[str, Floats] = {}
    if shadows:
        scores |= {name: attack(target.confidence, target.likelihood, shadows) for name, attack in ATTACKS.items()}
    if untrained is not None and untrained is not target:
        scores[GAINED] = target.confidence - untrained.confidence
    return scores | {CONFIDENCE: target.confidence}


def _view(
    name: str,
    scores: Mapping[str, Floats],
    is_member: Flags,
    groups: list[tuple[str, Flags]],
    seed: int,
    untrained: Mapping[str, Floats] | None = None,
) -> View:
    main = next(iter(scores))
    control = permuted(is_member, np.random.default_rng(seed))
    without = (untrained or {}).get(main, (untrained or {}).get(CONFIDENCE))
    return View(
        name=name,
        attacks=tuple(Attack(attack, membership_rates(score, is_member)) for attack, score in scores.items()),
        permuted=membership_rates(scores[main], control),
        untrained=None if without is None else membership_rates(without, is_member),
        groups=tuple(
            Group(group, membership_rates(scores[main][flags], is_member[flags]))
            for group, flags in groups
            if min(is_member[flags].sum(), (~is_member[flags]).sum()) >= _FEWEST
        ),
    )
