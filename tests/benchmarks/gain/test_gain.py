"""The arms of the benchmark of gain, and how they are judged."""

from pathlib import Path

import numpy as np
import pytest

from partners.training import round_seed, train_round
from partners.training_set import TrainingSet
from tests.benchmarks.gain import arms
from tests.benchmarks.gain.arms import Model
from tests.benchmarks.gain.judge import gain, gates, interval
from tests.benchmarks.gain.partners import Partner, load_partners, permuted
from tests.benchmarks.gain.runs import Scores, Setting, obtain
from tests.partners.synthetic import N_INPUTS, TRAINING, small_set, small_trunk
from tests.pipeline.clear_rounds import Agreed, Member
from tests.pipeline.tables import write_tables

_LAYOUT, _FIRST, _SETTINGS = small_trunk(12)
_AGREED = Agreed(_LAYOUT, _SETTINGS, trunk_seed=1, n_rounds=2, local_steps=3)


class Seen:
    """Remembers what an arm tells of."""

    def __init__(self) -> None:
        self.models: dict[tuple[int, str], Model] = {}

    def __call__(self, n_done: int, name: str, model: Model) -> None:
        """Called by an arm."""
        self.models[n_done, name] = model


def _partner(training_set: TrainingSet) -> Partner:
    targets = tuple(f"T{column // 2}" for column in range(training_set.n_tasks))
    keys = tuple(f"{target} {column % 2}" for column, target in enumerate(targets))
    return Partner(training_set, np.ones(training_set.n_tasks, dtype=bool), targets, keys)


def _three() -> dict[str, Member]:
    return {f"P{i:02d}": Member(small_set(seed=i), TRAINING) for i in range(1, 4)}


def test_one_partner_jointly_is_one_partner_locally():
    """With a single partner *joint* takes the very steps of `train_round`."""
    alone = {"P01": Member(small_set(), TRAINING)}
    agreed = Agreed(_LAYOUT, _SETTINGS, trunk_seed=1, n_rounds=1, local_steps=5)
    seen = Seen()
    arms.together(alone, arms.private_columns(alone), agreed, seen)
    expected = train_round(small_set(), _FIRST, None, _LAYOUT, _SETTINGS, TRAINING, round_seed(0, 0), 5)
    model = seen.models[1, "P01"]
    np.testing.assert_array_equal(model.trunk, _FIRST + expected.trunk_change)
    for name, head in expected.state.heads.items():
        np.testing.assert_array_equal(model.state.heads[name], head)


def test_stacking_gives_every_partner_as_many_rows():
    """Small partners' compounds come again until they are as many as the largest's; no held-out compound comes."""
    members = {"P01": Member(small_set(seed=1), TRAINING), "P02": Member(small_set(seed=2, n_compounds=40), TRAINING)}
    both = arms.stacked(members, arms.private_columns(members))
    n_rows = members["P01"].training_set.training_rows.size
    assert both.n_compounds == 2 * n_rows
    for start, (member, tasks) in zip(
        (0, n_rows), ((members["P01"], slice(0, 7)), (members["P02"], slice(7, 14))), strict=True
    ):
        part, own = slice(start, start + n_rows), member.training_set
        place = np.resize(own.training_rows, n_rows)
        np.testing.assert_array_equal(both.x[part].toarray(), own.x[place].toarray())
        np.testing.assert_array_equal(both.y[part].toarray()[:, tasks], own.y[place].toarray())
        assert both.y[part].nnz == own.y[place].nnz


def test_two_tasks_of_a_partner_are_never_pooled_into_one():
    """Labels of two columns would be added up, so it is refused."""
    alone = {"P01": Member(small_set(), TRAINING)}
    with pytest.raises(ValueError, match="same task"):
        arms.stacked(alone, {"P01": np.zeros(7, dtype=np.int64)})


def test_every_arm_tells_of_every_partner_after_every_round():
    """Local, joint, pooled and federated give each partner a model of its own tasks in each round."""
    members, everyone = _three(), {(n, f"P{i:02d}") for n in (1, 2) for i in (1, 2, 3)}
    keys = {name: _partner(member.training_set).keys for name, member in members.items()}
    for arm in (
        lambda seen: arms.local(members, _AGREED, seen),
        lambda seen: arms.federated(members, _AGREED, seen),
        lambda seen: arms.together(members, arms.private_columns(members), _AGREED, seen),
        lambda seen: arms.together(members, arms.pooled_columns(keys), _AGREED, seen),
    ):
        seen = Seen()
        arm(seen)
        assert set(seen.models) == everyone
        assert {model.state.n_tasks for model in seen.models.values()} == {7}


def test_only_arms_with_one_trunk_have_one_trunk():
    """Partners end with equal trunks in *joint* and *federated*, with their own in *local*."""
    members = _three()
    for arm, n_trunks in ((arms.local, 3), (arms.federated, 1)):
        seen = Seen()
        arm(members, _AGREED, seen)
        assert len({seen.models[2, name].trunk.tobytes() for name in members}) == n_trunks


def test_pooling_makes_equal_tasks_one_head():
    """Two partners with the same keys share head rows in *pooled*, and share none in *joint*."""
    members = _three()
    keys = {name: _partner(member.training_set).keys for name, member in members.items()}
    keys["P03"] = tuple(f"other {key}" for key in keys["P03"])
    seen = Seen()
    arms.together(members, arms.pooled_columns(keys), _AGREED, seen)
    heads = {name: seen.models[2, name].state.heads["classification.weight"] for name in members}
    np.testing.assert_array_equal(heads["P01"], heads["P02"])
    assert not np.isclose(heads["P01"], heads["P03"]).all(axis=1).any()
    columns = np.concatenate(list(arms.private_columns(members).values()))
    np.testing.assert_array_equal(np.sort(columns), np.arange(21))


def test_permuting_touches_training_labels_only():
    """Same compounds, same number of actives in each task, held-out folds as they were; the labels are not."""
    before = small_set(n_compounds=400)
    after = permuted(before, np.random.default_rng(0))
    np.testing.assert_array_equal(after.x.toarray(), before.x.toarray())
    one, other = before.y.toarray(), after.y.toarray()
    np.testing.assert_array_equal(one != 0, other != 0)
    np.testing.assert_array_equal(one.sum(axis=0), other.sum(axis=0))
    held_out = np.isin(before.folding, (0, 1))
    np.testing.assert_array_equal(one[held_out], other[held_out])
    assert 0.2 < (one != other)[~held_out].sum() / np.count_nonzero(one[~held_out]) < 0.7


def test_the_honest_partner_alone_keeps_its_labels():
    """*shuffled* tells of honest partners only, and their trunk is another than with honest others."""
    members, seen, plain = _three(), Seen(), Seen()
    arms.shuffled(members, _AGREED, seen, ["P02"])
    arms.federated(members, _AGREED, plain)
    assert set(seen.models) == {(1, "P02"), (2, "P02")}
    assert not np.array_equal(seen.models[2, "P02"].trunk, plain.models[2, "P02"].trunk)


def _scores(values: np.ndarray, count: int = 20) -> Scores:
    counts = np.full(values.size, float(count))
    fields = {"average_precision": values, "n_active": counts, "n_inactive": counts}
    return Scores({f"P01/test/{name}": array for name, array in fields.items()})


def test_the_gain_is_the_mean_over_seeds_and_tasks():
    """Two seeds, seven tasks: the plain mean of arm minus local, over tasks that are judged and have enough labels."""
    rng = np.random.default_rng(0)
    local, arm = ([rng.random(7) for _ in range(2)] for _ in range(2))
    partner = _partner(small_set())
    partner.judged[3] = False
    found = gain(
        [_scores(a) for a in arm], [_scores(a) for a in local], {"P01": partner}, "test", "average_precision", 10
    )
    rows = [0, 1, 2, 4, 5, 6]
    assert found.gain == pytest.approx((np.mean(arm, axis=0) - np.mean(local, axis=0))[rows].mean())
    assert found.mean == pytest.approx(np.mean(arm, axis=0)[rows].mean())
    assert found.n_tasks == 6
    assert found.by_partner["P01"][0] == pytest.approx(found.gain)
    assert found.interval[0] < found.gain < found.interval[1]


def test_a_gate_hears_of_its_own_partner_only():
    """A partner whose federated scores all fell is told so, whatever the others see."""
    low, high = np.linspace(0.4, 0.5, 14), np.linspace(0.7, 0.8, 14)
    sets = {name: _partner(small_set(n_tasks=14)) for name in ("P01", "P02")}

    def run(first: np.ndarray, second: np.ndarray) -> Scores:
        return Scores({"P01/validation/average_precision": first, "P02/validation/average_precision": second})

    assert gates([run(low, high)], [run(high, low)], sets) == {"P01": ["worse"], "P02": ["better"]}
    assert gates([run(low, low)] * 2, [run(high, low)] * 2, sets) == {"P01": ["worse"] * 2, "P02": ["undecided"] * 2}


def test_tasks_of_a_target_are_drawn_together():
    """Copies of every task under the same target do not narrow the interval."""
    change, target = np.random.default_rng(0).normal(size=30), np.array([f"T{i}" for i in range(30)])
    assert interval(np.repeat(change, 8), np.repeat(target, 8)) == pytest.approx(interval(change, target))


def test_a_run_is_done_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second time the same setting is read from the file; another seed is another file."""
    partners = {f"P{i:02d}": _partner(small_set(seed=i)) for i in (1, 2, 3)}
    setting = Setting(
        arm="federated", data="made up", bits=N_INPUTS, hidden=(8,), rounds=2, steps=2, seed=0,
        server_rate=1.0, method="mean", weights="size", seal_bits=8,
    )  # fmt: skip
    first = obtain(setting, partners, tmp_path)
    assert [n for n, _ in first.curve] == [1, 2]
    monkeypatch.setattr(arms, "federated", None)
    again = obtain(setting, partners, tmp_path)
    assert again.facts == first.facts
    for name, values in first.tasks.items():
        np.testing.assert_array_equal(again.tasks[name], values)
    assert len(list(tmp_path.iterdir())) == 1


def test_partners_are_prepared_from_their_tables(tmp_path: Path):
    """Training sets as a partner would prepare them, with targets from the truth, the same bits for all."""
    for number in (1, 2):
        write_tables(tmp_path / "tables" / f"P{number:02d}", f"P{number:02d}", seed=number)
    truth = ["partner,input_assay_id,target,endpoint"]
    truth += [f"P{n:02d},P{n:02d}-A{a},CHEMBL{a},Ki" for n in (1, 2) for a in (1, 2)]
    (tmp_path / "tables" / "truth.csv").write_text("\n".join(truth) + "\n")
    partners = load_partners(tmp_path / "tables", 256, tmp_path, lambda _: None)
    assert list(partners) == ["P01", "P02"]
    for partner in partners.values():
        assert partner.training_set.n_inputs == 256
        assert len(partner.keys) == partner.training_set.n_tasks > 0
        assert set(partner.targets) <= {"CHEMBL1 Ki", "CHEMBL2 Ki"}
