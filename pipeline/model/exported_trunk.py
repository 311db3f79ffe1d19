"""`hocket export trunk`: the trunk that all partners share, as a file from which another federation can begin."""

from pathlib import Path
from typing import Any

import numpy as np

from data_prep.folds.keyed import bit_permutation
from partners.files.round_checkpoint import RoundStart
from partners.files.trunk_file import permuted, write_trunk
from partners.network.input_columns import InputColumns
from partners.network.trunk import INPUT_WEIGHT, trunk_digest
from pipeline.errors import ConfigError, NotYet
from pipeline.home.catalogue_counts import known_holders
from pipeline.home.first_trunk import first_vector
from pipeline.home.paths import Home
from pipeline.model.rebuild import group_secret
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan


def export_trunk(config_file: Path, output: Path) -> dict[str, Any]:
    """Write the trunk at the start of the newest round and return facts about it; the same file at every partner.

    Input columns that few partners hold are as in the first trunk: what a partner's own learned stays at home.
    Raises NotYet before the first sum was opened here, ConfigError if the output exists.
    """
    if output.exists():
        raise ConfigError(f"{output}: exists already, expected a new file to write to")
    config = PartnerConfig.read(config_file)
    plan = read_plan(config.plan_file)
    home = Home(config.home_folder, plan.folder)
    with home.alone():
        round_no = max(home.rounds_started(), default=0)
        holders = known_holders(plan, home) if round_no else None
        if holders is None:
            raise NotYet(f"{config.name}: no trunk yet, expected at least one round of which the sum was opened")
        layout, columns = holders.layout(plan), InputColumns(holders.columns).shared
        start = RoundStart.read(home.start_file(round_no), layout, to_predict=True)
        trunk, whole = first_vector(plan, home, plan.layout.trunk), plan.layout.trunk
        for name, values in whole.views(trunk).items():
            is_part = name == INPUT_WEIGHT and columns is not None
            values[columns if is_part else slice(None)] = layout.views(start.vector)[name]
        places = bit_permutation(group_secret(config, plan).structure_seed, whole.n_inputs)
        exported = permuted(trunk, whole, np.argsort(places))
        write_trunk(output, exported, whole)
    return {
        "trunk": str(output),
        "digest": trunk_digest(exported),
        "rounds_done": round_no - 1,
        "inputs": whole.n_inputs,
        "hidden": list(whole.hidden),
    }
