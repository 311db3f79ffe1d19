"""A made-up partner's models of assays, fitted and kept in a file."""

import os
import signal
from functools import cache
from pathlib import Path
from typing import Any

from partners.files import checkpoint
from partners.models.take_home import FittedModels, TrunkAndHeads, fit_models
from partners.training.partner_data import PartnerData
from partners.training_data.prepared_data import training_set
from tests.support.partners.made_up_assays import FOLDS, LAYOUT, TRAINING, TRUNK, made_up_assays, trained

PREPARED = made_up_assays(n_compounds=150, described=True)
OWN = PartnerData(training_set(PREPARED, FOLDS, TRAINING), TRAINING, "digest", workers=2)


@cache
def network(seed: int) -> TrunkAndHeads:
    """A trained network; 1 is the local, 2 the federated one."""
    return trained(OWN.training_set, seed)


def fit(file: Path, **changes: Any) -> FittedModels:  # noqa: ANN401 -- any argument
    """Fit, or read, with some arguments changed."""
    given: dict[str, Any] = {"prepared": PREPARED, "own": OWN, "local": network(1), "federated": network(2)}
    return fit_models(**given | changes, layout=LAYOUT, settings=TRUNK, file=file)


def fit_until_killed(file: Path) -> None:
    """Fit, and be killed when half of the file is written."""

    def half(_arrays: object, path: Path, **_options: object) -> None:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_file = half
    fit(file)
