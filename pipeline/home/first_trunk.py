"""The trunk that a federation begins from, if its plan names a file of one: checked once, then kept in the home."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.folds.keyed import bit_permutation
from partners.errors import TrainingError
from partners.files.checkpoint import read_facts
from partners.files.round_checkpoint import TrunkFile
from partners.files.trunk_file import permuted, read_trunk
from partners.network.trunk import TrunkLayout, initial_trunk, trunk_digest
from pipeline.errors import ConfigError, WrongTrunk
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan
from secure.encoding.canonical import digest

_DIGEST, _ORDER = "start_digest", "order"  # of the plan's file; of the structure seed that orders the columns


def expect_start(plan_file: Path, plan: Plan, home: Home) -> None:
    """Check the file that the plan begins from, before anything is posted, unless the home has kept this trunk.

    Raises ConfigError for a file that is missing or cannot be read, or for other layers, WrongTrunk for another trunk
    than the plan's, partners.errors.CheckpointDamaged for a damaged one in the home.
    """
    if plan.trunk.start and _kept(plan, home).get(_DIGEST) != plan.trunk.start_digest:
        _read(plan_file, plan)


def keep_start(plan_file: Path, plan: Plan, home: Home, structure_seed: bytes) -> None:
    """Keep the plan's first trunk in the home, its rows in the order of this federation's columns.

    One of another digest or structure seed is written again.

    Raises what `expect_start` raises.
    """
    file = home.first_trunk(plan.trunk.start_digest)
    made_from = {_DIGEST: plan.trunk.start_digest, _ORDER: digest(structure_seed)}
    if plan.trunk.start and _kept(plan, home) != made_from:
        places = bit_permutation(structure_seed, plan.layout.n_inputs)
        TrunkFile.write(file, permuted(_read(plan_file, plan), plan.layout.trunk, places), made_from)


def started_trunk(plan: Plan, home: Home) -> TrunkFile | None:
    """The kept file of the whole first trunk; None if the plan draws it from the seed."""
    if not plan.trunk.start:
        return None
    return TrunkFile(home.first_trunk(plan.trunk.start_digest), plan.layout.trunk)


def first_vector(plan: Plan, home: Home, layout: TrunkLayout) -> NDArray[np.float32]:
    """The shared vector (n_params,) before any training, with all input columns."""
    started = started_trunk(plan, home)
    return initial_trunk(layout, plan.federation.seed, start=started.read() if started else None)


def _kept(plan: Plan, home: Home) -> Mapping[str, Any]:
    """What the kept first trunk was made from; empty if there is none."""
    file = home.first_trunk(plan.trunk.start_digest)
    return read_facts(file) if file.exists() else {}


def _read(plan_file: Path, plan: Plan) -> NDArray[np.float32]:
    file, expected = plan_file.parent / plan.trunk.start, plan.trunk.start_digest
    try:
        trunk = read_trunk(file, plan.layout.trunk)
    except FileNotFoundError:
        missing = ConfigError(f"{file}: is missing, expected the trunk that the plan's trunk.start names")
        missing.add_note("take it from the member who sent the plan")
        raise missing from None
    except OSError as cause:
        unreadable = ConfigError(f"{file}: cannot be read: {cause.strerror or cause}, expected a trunk's file")
        unreadable.add_note("trunk.start names a file in safetensors, which you may read")
        raise unreadable from cause
    except TrainingError as wrong:
        raise ConfigError(f"{file}: {wrong}") from wrong
    if (found := trunk_digest(trunk)) != expected:
        error = WrongTrunk(f"{file}: found a trunk with digest {found}, the plan expects {expected}")
        error.add_note("the file is not the one agreed on: take it from the member who sent the plan")
        raise error
    return trunk
