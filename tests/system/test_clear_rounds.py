"""Rounds without sealing give the same results as the real protocol."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.prepared import read_prepared
from partners.files.round_checkpoint import RoundStart
from partners.network.trunk import trunk_digest
from partners.training_data.prepared_data import training_set
from pipeline.home.catalogue_counts import Holders, held_rows, known_holders
from pipeline.home.own_columns import input_columns
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan
from tests.support.clear_rounds import Agreed, Member, clear_rounds
from tests.support.federation import Federation, run_rounds
from tests.support.partners.synthetic import TRAINING, small_set, small_trunk

HOLDERS = {"ONE": ["P01"], "TWO": ["P01", "P02", "P02"], "THREE": ["P01", "P02", "P03"]}
CATALOGUE = "[catalogue]\ntasks = [{}]\nmin_partners = 2\n".format(
    ", ".join(f'{{id = "{shared}", threshold = 6.0}}' for shared in HOLDERS)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "extra", "training"),
    [
        ("min_partners = 0", "", ""),
        ("withhold = 0.2", '[seal]\nbits = 8\nweights = "size"\nmax_weight = 1000\n[server]\nmethod = "adam"', ""),
        ("min_partners = 4\nmin_compounds = 2", CATALOGUE, "regression_weight = 0.3"),
    ],
    ids=["mean", "columns, 8 bits and adam", "columns, catalogue and hybrid"],
)
def test_the_real_protocol_ends_with_the_same_vectors(columns: str, extra: str, training: str, tmp_path: Path):
    """Every vector, the last heads and columns are equal bit for bit: sealing does not change the arithmetic."""
    federation = Federation(tmp_path / "f", n_partners=4, n_rounds=3, columns=columns, extra=extra, holders=HOLDERS)
    for name in federation.partners:
        with federation.config(name).open("a") as config:
            config.write(training)
    run_rounds(federation)
    plan = read_plan(federation.plan_file)
    members, holders = {}, Holders()
    for name in federation.partners:
        (folder,) = (path for path in federation.home(name).prepared.iterdir() if path.is_dir())
        config, prepared = PartnerConfig.read(federation.config(name)), read_prepared(folder)
        held = held_rows(plan.catalogue, prepared.tasks)
        home, data = federation.home(name), training_set(prepared, plan.preparation.folds, config.training)
        holders = known_holders(plan, home) or holders
        members[name] = Member(data, config.training, held, input_columns(plan, home, holders))
    agreed = Agreed(
        holders.layout(plan), plan.trunk, plan.federation.seed, plan.rounds.n_rounds,
        plan.rounds.local_steps, plan.server, plan.seal, holders.rows,
    )  # fmt: skip
    seen = []
    last = clear_rounds(members, agreed, lambda round_no, state: seen.append((round_no, trunk_digest(state.vector))))
    assert [round_no for round_no, _ in seen] == [1, 2, 3]
    for round_no, digest in seen:
        assert federation.trunks(round_no) == {digest}
    for name in federation.partners:
        final = RoundStart.read(federation.home(name).start_file(4), agreed.layout)
        assert final.private is not None
        assert final.private.heads.keys() == last.private[name].heads.keys()
        for tensor, values in final.private.heads.items():
            np.testing.assert_array_equal(last.private[name].heads[tensor], values)
        if plan.columns.are_counted:
            np.testing.assert_array_equal(last.private[name].columns, final.private.columns)


def test_changes_that_agree_have_cosine_one():
    """Partners with the same data and the same seed change the trunk alike."""
    layout, _, settings = small_trunk(12)
    same = {name: Member(small_set(), TRAINING) for name in ("P01", "P02", "P03")}
    agreed = Agreed(layout, settings, trunk_seed=1, n_rounds=1, local_steps=3)
    assert clear_rounds(same, agreed).cosine == pytest.approx(1.0, abs=1e-5)
    other = same | {"P03": Member(small_set(seed=9), TRAINING)}
    assert 0 < clear_rounds(other, agreed).cosine < 0.95
    assert np.isfinite(clear_rounds(other, agreed).vector).all()
