"""A mock partner's round, in its own process: `python -m pipeline.runs.tries.mock_partner CONFIG MATRICES N FOLDER`.

It trains on one of N parts of the compounds, seals the same change for all N, lets another process add the updates, and
opens the sum. Its keys are made here and forgotten. What it measured is JSON on its standard output.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from data_prep.prepared import read_prepared
from partners.network.trunk import initial_trunk, trunk_layout
from partners.training.evaluation import evaluate
from partners.training.training import train_round
from partners.training_data.column_flags import compounds_by_column
from partners.training_data.prepared_data import training_set
from partners.training_data.training_set import TrainingSet
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.runtime.memory import most_memory
from secure.ciphertexts.parameters import SealParameters, seal_parameters
from secure.encoding.canonical import digest
from secure.encoding.roster import Roster
from secure.keys.group import GroupSecret
from secure.keys.pairing import PairKey, PairSeeds, pair_key
from secure.sealing.open_sum import open_sum
from secure.sealing.release import ReleaseSeed
from secure.sealing.seal import seal_update

_MOST_STEPS = 20  # that are measured; the first are slower, as memory is touched for the first time
_FIRST_STEPS = 2

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class MockGroup:
    """Secrets of N mock partners, made by one process and worth nothing: no other federation uses them."""

    roster: Roster
    parameters: SealParameters
    group: GroupSecret
    pair_keys: dict[str, dict[str, PairKey]]
    releases: dict[str, ReleaseSeed]

    @classmethod
    def make(cls, plan: Plan, n_partners: int) -> "MockGroup":
        """Draw all secrets from the operating system's randomness."""
        names = tuple(f"M{i:03d}" for i in range(n_partners))
        parameters, mock = seal_parameters(plan.seal), digest(f"dry run of {plan.digest}".encode())
        roster = Roster(mock, 1, 1, names, digest(b"a mock roster"))
        seeds = {name: PairSeeds.generate(name, [other for other in names if other != name]) for name in names}

        def key(i: str, j: str) -> PairKey:
            return pair_key(seeds[i].for_partner(j), seeds[j].for_partner(i), i, j, mock)

        return cls(
            roster,
            parameters,
            GroupSecret.generate(parameters),
            {i: {j: key(i, j) for j in names if j != i} for i in names},
            {name: ReleaseSeed.generate(roster, name) for name in names},
        )


def part_of(data: TrainingSet, number: int, n_parts: int) -> TrainingSet:
    """Every n-th compound, with all of its labels."""
    rows = np.arange(number, data.n_compounds, n_parts)
    matrices = {name: getattr(data, name)[rows] for name in ("x", "y", "y_regr", "y_censor", "folding")}
    return replace(data, **matrices)


def shared_columns(plan: Plan, parts: list[TrainingSet]) -> int | None:
    """Number of input columns that enough mock partners hold; None if the plan counts none."""
    if not plan.columns.are_counted:
        return None
    flags = np.array([compounds_by_column(part) >= plan.columns.min_compounds for part in parts])
    return max(1, int((flags.sum(axis=0) >= min(plan.columns.min_partners, len(parts))).sum()))


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """The result of a call and its seconds by the clock."""
    started = time.monotonic()
    result = call()
    return result, time.monotonic() - started


def measure(config: PartnerConfig, plan: Plan, matrices: Path, n_partners: int, scratch: Path) -> dict[str, Any]:
    """Do the work of one round and return seconds, bytes and memory."""
    whole = training_set(read_prepared(matrices), plan.preparation.folds, config.training)
    parts = [part_of(whole, number, n_partners) for number in range(n_partners)]
    n_columns, part = shared_columns(plan, parts), max(parts, key=lambda each: each.n_training_labels)
    change, seconds = _train(config, plan, part)
    layout = trunk_layout(plan.preparation.fingerprint.n_bits, plan.trunk.hidden, n_columns=n_columns)
    change = change[change.size - layout.n_params :]  # what is not sent are rows of the first tensor
    mock = MockGroup.make(plan, n_partners)
    slices = [tensor.place for tensor in layout.tensors]
    weight = min(max(1, part.n_training_labels), plan.seal.max_weight)
    seal = partial(_seal, mock, plan, config, change, slices, weight)
    files = [scratch / f"{name}.arrow" for name in mock.roster.members]
    seconds["seal"] = min(timed(partial(seal, file))[1] for file in files)
    total = scratch / "sum.arrow"
    added = _add(mock, config, files, total)
    bounds = np.full(len(slices), plan.seal.first_bound)
    seconds["open"] = timed(
        lambda: open_sum(
            total,
            roster=mock.roster,
            group=mock.group,
            parameters=mock.parameters,
            seeds=list(mock.releases.values()),
            slices=slices,
            bounds=bounds,
            workers=config.n_workers,
        )
    )[1]
    return {
        "n_compounds": int(part.training_rows.size),
        "n_parameters": layout.n_params,
        "n_columns": n_columns,
        "steps_measured": min(plan.rounds.local_steps, _MOST_STEPS),
        "seconds": seconds | {"add": added["seconds"]},
        "upload_bytes": files[0].stat().st_size,
        "download_bytes": total.stat().st_size,
        "partner_bytes": most_memory(),
        "aggregator_bytes": added["memory"],
    }


def _train(config: PartnerConfig, plan: Plan, part: TrainingSet) -> tuple[NDArray[np.float32], dict[str, float]]:
    """The change after a few steps, and the seconds of a whole round's training and of one validation."""
    layout = plan.layout.trunk
    first, n_steps = initial_trunk(layout, plan.federation.seed), min(plan.rounds.local_steps, _MOST_STEPS)
    train_round(part, first, None, layout, plan.trunk, config.training, 0, _FIRST_STEPS)
    trained, train_s = timed(lambda: train_round(part, first, None, layout, plan.trunk, config.training, 1, n_steps))
    seconds = {"train": train_s * plan.rounds.local_steps / n_steps}
    if part.rows_of(part.validation_fold).size:
        trunk = first + trained.trunk_change
        validate_s = timed(
            lambda: evaluate(part, part.validation_fold, trunk, trained.state, layout, plan.trunk, config.training)
        )[1]
        seconds["validate"] = validate_s / config.tracking.validate_every
    return trained.trunk_change, seconds


def _seal(
    mock: MockGroup,
    plan: Plan,
    config: PartnerConfig,
    change: NDArray[np.float32],
    slices: list[slice],
    weight: int,
    file: Path,
) -> None:
    name = file.stem
    seal_update(
        change,
        weight=weight,
        bounds=np.full(len(slices), plan.seal.first_bound),
        slices=slices,
        residual=None,
        roster=mock.roster,
        me=name,
        pair_keys=mock.pair_keys[name],
        release=mock.releases[name],
        group=mock.group,
        parameters=mock.parameters,
        rng=np.random.default_rng(0),
        path=file,
        workers=config.n_workers,
    )


def _add(mock: MockGroup, config: PartnerConfig, files: list[Path], total: Path) -> dict[str, Any]:
    """Let another process add the updates, as the aggregator does, and return its seconds and memory."""
    roster, task_file = mock.roster, total.with_name("task.json")
    task = {
        "plan": str(config.plan_file),
        "workers": config.n_workers,
        "roster": [roster.plan, roster.round_no, roster.attempt, roster.members, roster.digest],
        "files": [str(file) for file in files],
        "sum": str(total),
    }
    task_file.write_text(json.dumps(task))
    command = [sys.executable, "-P", "-m", "pipeline.runs.tries.mock_aggregator", str(task_file)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def main(config_file: str, matrices: str, n_partners: str, scratch: str) -> None:
    """Measure, and write the result to standard output."""
    config = PartnerConfig.read(Path(config_file))
    result = measure(config, read_plan(config.plan_file), Path(matrices), int(n_partners), Path(scratch))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
