"""A baseline that a test starts in a process of its own, to kill it at a step that it chooses."""

import dataclasses
from pathlib import Path

from partners.training.baseline import Baseline, Budget, train_baseline
from tests.support.partners.synthetic import TRAINING, hybrid_set, small_trunk


def baseline_that_counts(file: Path) -> Baseline:
    """A hybrid run with patience, a falling rate and parts, that prints every step and every round."""
    training = dataclasses.replace(TRAINING, lr_steps=(2, 3), internal_batch_max=10, patience=3)
    layout, first, settings = small_trunk(12)
    return train_baseline(
        hybrid_set(),
        first,
        layout,
        settings,
        training,
        Budget(n_rounds=6, n_steps=3),
        file,
        progress=lambda done, _total, _note: print(done, flush=True),  # noqa: T201 -- for the parent process
    )
