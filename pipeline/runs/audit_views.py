"""The views of an audit: what each release tells about membership."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from partners.audit.attacks import ATTACKS, ShadowScores
from partners.audit.canaries import canary_rows
from partners.audit.frozen_trunk import Fit, MeasuredTasks, fit_heads, hidden_inputs, judged_fit
from partners.audit.groups import groups_of
from partners.audit.rates import Rates, epsilon_bound, membership_rates, permuted
from partners.audit.shadows import Shadow, ShadowTask, joined
from partners.audit.trunk_steps import Candidates, step_agreement
from pipeline.report.audit.schema import (
    AuditAttack,
    AuditEpsilon,
    AuditGroup,
    AuditRates,
    AuditView,
    ViewName,
)
from pipeline.runs.audit_subject import AuditSubject

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CONFIDENCE, GAINED, AGREEMENT = "confidence", "confidence gained", "agreement with the steps"
_NONE = np.empty(0, dtype=np.int64)
_MOST_KNOWN = 30_000  # compounds that heads are fitted to, for canaries
_FEWEST = 5  # members, and others, of a group


def membership_views(
    subject: AuditSubject, task: ShadowTask, is_member: Flags, shadows: list[Shadow]
) -> Iterator[AuditView]:
    """The views of trunk, network, steps, a shadow as target, and canaries; is_member: (n,) of the candidates."""
    seed = subject.training.seed
    groups = list(groups_of(task.data, task.rows, joined(shadows, "model") if shadows else None))
    first = task.fit_of_trunk(subject.first_trunk)
    trunk, model = task.fit_of_trunk(subject.trunk), task.fit_of_model(subject.own_trunk, subject.heads)
    of_trunk, of_model = (joined(shadows, view) if shadows else None for view in ("trunk", "model"))
    without_training = _scores(first, of_trunk, first)
    release = _scores(trunk, of_trunk, first)
    yield _view("trunk", release, is_member, groups, seed, without_training)
    yield _view("model", _scores(model, of_model, None), is_member, groups, seed)
    if (trunks := subject.trunks()) is not None:
        agreement = step_agreement(trunks, task.candidates, task.layout, task.trunk_settings, task.training)
        yield _view("sums", {AGREEMENT: agreement}, is_member, groups, seed)
    if of_trunk and of_model:
        inside = shadows[0].inside
        yield _view("shadow trunk", _scores(shadows[0].trunk, of_trunk.without(0), None), inside, groups, seed)
        yield _view("shadow model", _scores(shadows[0].model, of_model.without(0), None), inside, groups, seed)
    with_shadows = {name: release[name] for name in ATTACKS if name in release}
    yield from canary_views(subject, task.rows, with_shadows)


def canary_views(
    subject: AuditSubject, judged: NDArray[np.int64] = _NONE, with_shadows: Mapping[str, Floats] = MappingProxyType({})
) -> Iterator[AuditView]:
    """The view of the canaries; nothing if there are none, or all of them are members or left out.

    judged, with_shadows : rows of the trunk's candidates, (n,), canaries among them, and their scores by attack
    """
    rows, is_member = canary_rows(subject.whole, subject.canaries)
    if is_member.all() or not is_member.any():
        return
    known = np.setdiff1d(subject.trained.training_rows, rows)
    known = np.sort(np.random.default_rng(subject.training.seed).permutation(known)[:_MOST_KNOWN])
    every = np.concatenate([known, rows])
    is_canary = np.arange(every.size) >= known.size
    candidates = Candidates(subject.whole.x[every], MeasuredTasks.of(subject.whole, every), is_canary)
    last, first = (_of_canaries(subject, trunk, candidates) for trunk in (subject.trunk, subject.first_trunk))
    scores = {GAINED: (last - first)[is_canary], CONFIDENCE: last[is_canary]}
    if (trunks := subject.trunks()) is not None:
        agreement = step_agreement(trunks, candidates, subject.layout, subject.plan.trunk, subject.training)
        scores[AGREEMENT] = agreement[is_canary]
    scores |= {name: score[np.searchsorted(judged, rows)] for name, score in with_shadows.items()}
    view = _view("canaries", scores, is_member, [], subject.training.seed, {GAINED: first[is_canary]})
    attacks = [
        AuditAttack(name=name, rates=_rates(score, is_member), epsilon=_epsilon(score, is_member))
        for name, score in scores.items()
    ]
    yield view.model_copy(update={"attacks": attacks})


def _of_canaries(subject: AuditSubject, trunk: NDArray[np.float32], candidates: Candidates) -> Floats:
    """Confidence of heads that are fitted to a trunk on all but the canaries; 0 for other compounds."""
    hidden = hidden_inputs(candidates.x, trunk, subject.layout, subject.plan.trunk, subject.training)
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
    name: ViewName,
    scores: Mapping[str, Floats],
    is_member: Flags,
    groups: list[tuple[str, Flags]],
    seed: int,
    untrained: Mapping[str, Floats] | None = None,
) -> AuditView:
    main = next(iter(scores))
    control = permuted(is_member, np.random.default_rng(seed))
    without = (untrained or {}).get(main, (untrained or {}).get(CONFIDENCE))
    return AuditView(
        name=name,
        attacks=[AuditAttack(name=attack, rates=_rates(score, is_member)) for attack, score in scores.items()],
        permuted=_rates(scores[main], control),
        untrained=None if without is None else _rates(without, is_member),
        groups=[
            AuditGroup(name=group, rates=_rates(scores[main][flags], is_member[flags]))
            for group, flags in groups
            if min(is_member[flags].sum(), (~is_member[flags]).sum()) >= _FEWEST
        ],
    )


def _rates(scores: Floats, is_member: Flags) -> AuditRates:
    rates: Rates = membership_rates(scores, is_member)
    return AuditRates.model_validate(asdict(rates) | {"at": [asdict(rate) for rate in rates.at]})


def _epsilon(scores: Floats, is_member: Flags) -> AuditEpsilon:
    return AuditEpsilon.model_validate(asdict(epsilon_bound(scores, is_member)))
