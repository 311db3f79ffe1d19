"""The views of an audit, as audit.json has them."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from partners.audit import views
from partners.audit.shadows import Shadow, ShadowTask
from pipeline.report.audit.schema import AuditView
from pipeline.runs.audit_subject import AuditSubject


def membership_views(
    subject: AuditSubject, task: ShadowTask, is_member: NDArray[np.bool_], shadows: list[Shadow]
) -> Iterator[AuditView]:
    """The views of trunk, network, steps, a shadow as target, and canaries; is_member: (n,) of the candidates."""
    yield from map(_written, views.membership_views(_released(subject), task, is_member, shadows))


def canary_views(subject: AuditSubject) -> Iterator[AuditView]:
    """The view of the canaries; nothing if there are none, or all of them are members or left out."""
    yield from map(_written, views.canary_views(_released(subject)))


def _released(subject: AuditSubject) -> views.Released:
    return views.Released(
        whole=subject.whole,
        trained=subject.trained,
        training=subject.training,
        canaries=subject.canaries,
        layout=subject.layout,
        trunk_settings=subject.plan.trunk,
        first_trunk=subject.first_trunk,
        trunk=subject.trunk,
        own_trunk=subject.own_trunk,
        heads=subject.heads,
        trunks=subject.trunks,
    )


def _written(view: views.View) -> AuditView:
    return AuditView.model_validate(asdict(view), strict=False)
