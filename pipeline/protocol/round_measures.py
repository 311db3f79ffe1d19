"""Metrics of the round in progress: seconds of each part, bytes sent and received, losses and scores."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from partners.training.partner_data import PartnerData
from pipeline.exchange.mailbox import Mailbox
from pipeline.home.round_metrics import RoundRecord
from pipeline.plan.plan import Plan
from secure.messages.message_name import MessageName

_BUSY = ("train", "seal", "open", "validate")  # all other seconds of a round are waiting
_SHOWN = ("loss_train", "validation_loss", "validation_roc_auc", "validation_r2")  # in the log line of a round


class RoundMeasures:
    """The metrics of one round at a partner, since this process began."""

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}
        self._began = time.monotonic()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Measure the seconds of a part; an error gives none, and a repeated part adds to the first."""
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self._metrics[f"seconds_{part}"] = self._metrics.get(f"seconds_{part}", 0.0) + seconds

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add these metrics."""
        self._metrics |= metrics

    def finished(self) -> dict[str, float]:
        """All finite metrics, with the seconds of the whole round and of its waiting."""
        seconds = time.monotonic() - self._began
        busy = sum(self._metrics.get(f"seconds_{part}", 0.0) for part in _BUSY)
        metrics = self._metrics | {"seconds_round": seconds, "seconds_wait": seconds - busy}
        return {name: value for name, value in metrics.items() if math.isfinite(value)}


def roster_measures(plan: Plan, own: PartnerData, members: Sequence[str]) -> dict[str, float]:
    """Numbers of a roster's members, and of the head rows and input columns that they share."""
    measures: dict[str, float] = {"n_members": len(members)}
    if plan.catalogue.tasks:
        measures["catalogue_rows"] = int(np.count_nonzero(own.counts.factors(members)))
    if plan.columns.are_counted:
        measures["shared_columns"] = int(np.count_nonzero(own.columns.counts.is_sent(members)))
    return measures


def upload_measures(mailbox: Mailbox, update: MessageName, n_params: int) -> dict[str, float]:
    """Bytes of this partner's sealed update; nothing if it sent none."""
    if not mailbox.has(update):
        return {}
    payload = mailbox.own(update).payload
    n_bytes = payload.size if payload else 0
    return {"upload_bytes": n_bytes, "upload_bytes_per_parameter": n_bytes / n_params}


def shown_scores(record: RoundRecord) -> str:
    """The scores of a finished round for the log."""
    return ", ".join(f"{key} {record.metrics[key]:.4f}" for key in _SHOWN if key in record.metrics)
