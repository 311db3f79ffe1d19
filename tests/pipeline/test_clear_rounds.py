"""The rounds in the clear against the real protocol."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.prepared import read_prepared
from partners.trunk import trunk_digest
from pipeline.configs import PartnerConfig
from pipeline.plan import read_plan
from pipeline.preparation import training_set
from tests.partners.synthetic import TRAINING, small_set, small_trunk
from tests.pipeline.clear_rounds import Agreed, Member, clear_rounds
from tests.pipeline.federation import Federation, run_all


@pytest.mark.parametrize(
    "extra", ["", '[seal]\nbits = 8\nweights = "size"\nmax_weight = 1000\n[server]\nmethod = "adam"']
)
def test_the_real_protocol_ends_with_the_same_trunks(extra: str, tmp_path: Path):
    """Every round's trunk, bit for bit: sealing adds nothing to the arithmetic and takes nothing away."""
    federation = Federation(tmp_path / "f", n_partners=4, n_rounds=3, extra=extra)
    run_all(federation.members())
    plan = read_plan(federation.plan_file)
    members = {}
    for name in federation.partners:
        (folder,) = federation.home(name).prepared.iterdir()
        config = PartnerConfig.read(federation.config(name))
        members[name] = Member(training_set(read_prepared(folder), plan, config.training), config.training)
    agreed = Agreed(
        plan.layout, plan.trunk, plan.federation.seed, plan.rounds.n_rounds, plan.rounds.local_steps,
        plan.server, plan.seal,
    )  # fmt: skip
    seen = []
    clear_rounds(members, agreed, lambda round_no, state: seen.append((round_no, trunk_digest(state.trunk))))
    assert [round_no for round_no, _ in seen] == [1, 2, 3]
    for round_no, digest in seen:
        assert federation.trunks(round_no) == {digest}


def test_changes_that_agree_have_cosine_one():
    """Partners with the same data and the same chance change the trunk alike."""
    layout, _, settings = small_trunk(12)
    same = {name: Member(small_set(), TRAINING) for name in ("P01", "P02", "P03")}
    agreed = Agreed(layout, settings, trunk_seed=1, n_rounds=1, local_steps=3)
    assert clear_rounds(same, agreed).cosine == pytest.approx(1.0, abs=1e-5)
    other = same | {"P03": Member(small_set(seed=9), TRAINING)}
    assert 0 < clear_rounds(other, agreed).cosine < 0.95
    assert np.isfinite(clear_rounds(other, agreed).trunk).all()
