"""The matrices that `hocket try` works with: the federation's, or before the deal others under this partner's keys."""

from pathlib import Path

from data_prep.prepared import Prepared
from pipeline.home.paths import Home
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import Plan
from pipeline.runs.preparation import matrices_under
from pipeline.runtime.progress import ProgressReporter
from secure.ciphertexts.parameters import seal_parameters
from secure.keys.group import GroupSecret
from secure.keys.keys import load_private_keys

_PURPOSE = "hocket/try/v1"


def matrices_of(
    config: PartnerConfig, plan: Plan, home: Home, reporter: ProgressReporter
) -> tuple[Prepared, Path, bool]:
    """The matrices, their folder, and whether their folds are the federation's."""
    own_home = Home(config.home_folder, plan.folder)
    keys = load_private_keys(home.keys, config.passphrase())
    is_of_group = own_home.group_secret.exists()
    if is_of_group:
        group = GroupSecret.load(own_home.group_secret, seal_parameters(plan.seal), keys)
        root, seed = home.prepared, group.structure_seed
    else:
        root, seed = home.tries / "prepared", keys.seed(_PURPOSE, {"name": keys.name})
    matrices = matrices_under(config, plan, seed, root, reporter)
    return matrices, root / str(matrices.manifest["digest"]), is_of_group
