"""The arms of the gain benchmark, and how they are scored."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, r2_score

from data_prep.prepared import Task
from partners.network.trunk import trunk_layout
from partners.training.training import round_seed, train_round
from partners.training_data.training_set import TrainingSet
from tests.benchmarks import federation_gain
from tests.benchmarks.gain import arms
from tests.benchmarks.gain.arms import Model
from tests.benchmarks.gain.catalogue import held_catalogue
from tests.benchmarks.gain.gains import gain, gated, gates, interval
from tests.benchmarks.gain.partners import Known, Partner, labels_only, load_partners, permuted
from tests.benchmarks.gain.runs import Setting, obtain
from tests.benchmarks.gain.scores import Scores, averaged
from tests.support.clear_rounds import Agreed, Member
from tests.support.partner_tables import write_tables
from tests.support.partners.synthetic import N_INPUTS, TRAINING, hybrid_set, small_set, small_trunk

_LAYOUT, _FIRST, _SETTINGS = small_trunk(12)
_AGREED = Agreed(_LAYOUT, _SETTINGS, trunk_seed=1, n_rounds=2, local_steps=3)
_TASK = Task(
    task_id=0, input_assay_id="A", catalog_assay_id=None, parent_assay_id=None, assay_type="PANEL", threshold=6.0,
    threshold_method="expert", direction="high", is_auxiliary=False, n_active=30, n_inactive=30, min_fold_active=5,
    min_fold_inactive=5, evaluated=True, training_weight=1.0, aggregation_weight=1.0,
)  # fmt: skip
_FEDERATED = Setting(
    arm="federated", data="made up", bits=N_INPUTS, hidden=(8,), rounds=2, steps=2, seed=0,
    server_rate=1.0, method="mean", weights="size", seal_bits=8,
)  # fmt: skip


class FoldScores:
    """Keeps every model that an arm reports."""

    def __init__(self) -> None:
        self.models: dict[tuple[int, str], Model] = {}

    def __call__(self, n_done: int, name: str, model: Model) -> None:
        """Keep one partner's model after some rounds."""
        self.models[n_done, name] = model


def _partner(training_set: TrainingSet) -> Partner:
    targets = tuple(f"T{column // 2}" for column in range(training_set.n_tasks))
    keys = tuple(f"{target} {column % 2}" for column, target in enumerate(targets))
    measured = tuple(f"T{column}" for column in range(training_set.n_regressions))
    tasks = tuple(replace(_TASK, task_id=column, threshold=6.0 + column % 2) for column in range(training_set.n_tasks))
    return Partner(
        training_set,
        Known(np.ones(training_set.n_tasks, dtype=bool), targets, keys),
        Known(np.ones(training_set.n_regressions, dtype=bool), measured, measured),
        tasks,
        declared=("",) * len(tasks),
    )


def _three() -> dict[str, Member]:
    return {f"P{i:02d}": Member(small_set(seed=i), TRAINING) for i in range(1, 4)}


@pytest.mark.parametrize("training_set", [small_set(), hybrid_set()], ids=["classes", "hybrid"])
def test_one_partner_jointly_is_one_partner_locally(training_set: TrainingSet):
    """With a single partner *joint* takes the same steps as `train_round`."""
    alone = {"P01": Member(training_set, TRAINING)}
    agreed = Agreed(_LAYOUT, _SETTINGS, trunk_seed=1, n_rounds=1, local_steps=5)
    seen = FoldScores()
    arms.together(alone, arms.private_columns(alone), agreed, seen)
    expected = train_round(training_set, _FIRST, None, _LAYOUT, _SETTINGS, TRAINING, round_seed(0, 0), 5)
    model = seen.models[1, "P01"]
    np.testing.assert_array_equal(model.trunk, _FIRST + expected.trunk_change)
    for name, head in expected.state.heads.items():
        np.testing.assert_array_equal(model.state.heads[name], head)


def test_stacking_gives_every_partner_as_many_rows():
    """Small partners' compounds are repeated until they are as many as the largest's; none is held out."""
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


def test_stacking_keeps_values_and_their_bounds_together():
    """Measured values, stored zeros too, and censoring marks are in the columns of their own partner."""
    first, second = hybrid_set(seed=1), hybrid_set(seed=2)
    first.y_regr.data[:5] = 0.0
    members = {"P01": Member(first, TRAINING), "P02": Member(second, TRAINING)}
    both = arms.stacked(members, arms.private_columns(members))
    n_rows = max(first.training_rows.size, second.training_rows.size)
    for start, own, tasks in ((0, first, slice(0, 4)), (n_rows, second, slice(4, 8))):
        part, rows = slice(start, start + n_rows), np.resize(own.training_rows, n_rows)
        for matrix in ("y_regr", "y_censor"):
            mine, expected = getattr(both, matrix)[part], getattr(own, matrix)[rows]
            np.testing.assert_array_equal(mine.toarray()[:, tasks], expected.toarray())
            assert mine.nnz == expected.nnz
        np.testing.assert_array_equal(both.regr_weight[tasks], own.regr_weight)
        np.testing.assert_array_equal(both.censored_weight[tasks], own.censored_weight)


def test_two_tasks_of_a_partner_are_never_pooled_into_one():
    """Pooling them is refused, because labels of two columns would be added up."""
    alone = {"P01": Member(small_set(), TRAINING)}
    with pytest.raises(ValueError, match="same task"):
        arms.stacked(alone, arms.pooled_columns({"P01": ["same"] * 7}, {"P01": [f"T{i}" for i in range(4)]}))


def test_every_arm_tells_of_every_partner_after_every_round():
    """Local, joint, pooled and federated give each partner a model of its own tasks in each round."""
    members, everyone = _three(), {(n, f"P{i:02d}") for n in (1, 2) for i in (1, 2, 3)}
    keys = {name: _partner(member.training_set).classes.keys for name, member in members.items()}
    for arm in (
        lambda seen: arms.local(members, _AGREED, seen),
        lambda seen: arms.federated(members, _AGREED, seen),
        lambda seen: arms.together(members, arms.private_columns(members), _AGREED, seen),
        lambda seen: arms.together(members, arms.pooled_columns(keys, dict.fromkeys(members, ())), _AGREED, seen),
    ):
        seen = FoldScores()
        arm(seen)
        assert set(seen.models) == everyone
        assert {model.state.n_tasks for model in seen.models.values()} == {7}


def test_only_arms_with_one_trunk_have_one_trunk():
    """Partners end with equal trunks in *joint* and *federated*, with their own in *local*."""
    members = _three()
    for arm, n_trunks in ((arms.local, 3), (arms.federated, 1)):
        seen = FoldScores()
        arm(members, _AGREED, seen)
        assert len({seen.models[2, name].trunk.tobytes() for name in members}) == n_trunks


def test_pooling_makes_equal_tasks_one_head():
    """Two partners with the same keys share head rows in *pooled*, and share none in *joint*."""
    members = _three()
    keys = {name: _partner(member.training_set).classes.keys for name, member in members.items()}
    keys["P03"] = tuple(f"other {key}" for key in keys["P03"])
    seen = FoldScores()
    arms.together(members, arms.pooled_columns(keys, dict.fromkeys(members, ())), _AGREED, seen)
    heads = {name: seen.models[2, name].state.heads["classification.weight"] for name in members}
    np.testing.assert_array_equal(heads["P01"], heads["P02"])
    assert not np.isclose(heads["P01"], heads["P03"]).all(axis=1).any()
    columns = np.concatenate([column.classes for column in arms.private_columns(members).values()])
    np.testing.assert_array_equal(np.sort(columns), np.arange(21))


def test_values_of_one_target_are_one_regression_head():
    """*pooled* shares regression rows and their normalisation by target, *joint* shares none."""
    members = {f"P{i:02d}": Member(hybrid_set(seed=i), TRAINING) for i in (1, 2)}
    partners = {name: _partner(member.training_set) for name, member in members.items()}
    classes = {name: partner.classes.keys for name, partner in partners.items()}
    regressions = {"P01": partners["P01"].regressions.keys, "P02": ("T2", "T0", "other", "T9")}
    for columns, shares in (
        (arms.pooled_columns(classes, regressions), True),
        (arms.private_columns(members), False),
    ):
        seen = FoldScores()
        arms.together(members, columns, _AGREED, seen)
        first, second = (seen.models[2, name].state for name in members)
        for array in (first.heads["regression.weight"], first.normalisation["mean"]):
            assert array.shape[0] == 4
        assert np.array_equal(first.heads["regression.weight"][[2, 0]], second.heads["regression.weight"][:2]) == shares
        assert np.array_equal(first.normalisation["mean"][[2, 0]], second.normalisation["mean"][:2]) == shares
        assert not np.isclose(first.normalisation["mean"], second.normalisation["mean"]).any()


def test_permuting_touches_training_labels_only():
    """Compounds, number of actives in each task and held-out folds do not change; the training labels do."""
    before = small_set(n_compounds=400)
    after = permuted(before, np.random.default_rng(0))
    np.testing.assert_array_equal(after.x.toarray(), before.x.toarray())
    old, new = before.y.toarray(), after.y.toarray()
    np.testing.assert_array_equal(old != 0, new != 0)
    np.testing.assert_array_equal(old.sum(axis=0), new.sum(axis=0))
    held_out = np.isin(before.folding, (0, 1))
    np.testing.assert_array_equal(old[held_out], new[held_out])
    assert 0.2 < (old != new)[~held_out].sum() / np.count_nonzero(old[~held_out]) < 0.7


def test_permuted_values_keep_their_bounds():
    """A value moves with its mark, in the training folds, within its task."""
    before = hybrid_set(n_compounds=400)
    after = permuted(before, np.random.default_rng(0))
    held_out = np.isin(before.folding, (0, 1))
    for task in range(before.n_regressions):
        old, new = (
            np.column_stack([each.y_regr.toarray()[:, task], each.y_censor.toarray()[:, task]])
            for each in (before, after)
        )
        np.testing.assert_array_equal(old[held_out], new[held_out])
        assert sorted(map(tuple, old)) == sorted(map(tuple, new))
        assert (old != new).any()


def test_without_regression_a_partner_is_what_it_was():
    """The labels alone do not depend on the measured values."""
    assert labels_only(hybrid_set()).digest() == small_set().digest()


def test_the_honest_partner_alone_keeps_its_labels():
    """*shuffled* reports honest partners only, and their trunk differs from that with honest others."""
    members, seen, plain = _three(), FoldScores(), FoldScores()
    arms.shuffled(members, _AGREED, seen, ["P02"])
    arms.federated(members, _AGREED, plain)
    assert set(seen.models) == {(1, "P02"), (2, "P02")}
    assert not np.array_equal(seen.models[2, "P02"].trunk, plain.models[2, "P02"].trunk)


def _scores(values: np.ndarray, count: int = 20) -> Scores:
    counts = np.full(values.size, float(count))
    fields = {"average_precision": values, "n_active": counts, "n_inactive": counts}
    return Scores({f"P01/test/{name}": array for name, array in fields.items()})


def test_the_gain_is_the_mean_over_seeds_and_tasks():
    """Two seeds, seven tasks: the plain mean of arm minus local, over scored tasks with enough labels."""
    rng = np.random.default_rng(0)
    local, arm = ([rng.random(7) for _ in range(2)] for _ in range(2))
    partner = _partner(small_set())
    partner.classes.is_scored[3] = False
    gains = gain(
        [_scores(a) for a in arm], [_scores(a) for a in local], {"P01": partner}, "test", "average_precision", 10
    )
    rows = [0, 1, 2, 4, 5, 6]
    assert gains.gain == pytest.approx((np.mean(arm, axis=0) - np.mean(local, axis=0))[rows].mean())
    assert gains.mean == pytest.approx(np.mean(arm, axis=0)[rows].mean())
    assert gains.n_tasks == 6
    assert gains.by_partner["P01"][0] == pytest.approx(gains.gain)
    assert gains.interval[0] < gains.gain < gains.interval[1]


def test_a_regression_task_counts_with_twice_as_many_exact_values():
    """Tasks with fewer, and those without an R2, are left out of the mean."""
    after, before = np.array([0.5, 0.6, np.nan, 0.9]), np.array([0.4, 0.3, 0.2, 0.1])
    n_exact = np.array([20.0, 40.0, 40.0, 19.0])

    def run(values: np.ndarray) -> Scores:
        return Scores({"P01/test/r2": values, "P01/test/n_exact": n_exact})

    gains = gain([run(after)], [run(before)], {"P01": _partner(hybrid_set())}, "test", "r2", 10)
    assert (gains.n_tasks, gains.mean, gains.gain) == (2, pytest.approx(0.55), pytest.approx(0.2))


def test_a_gate_hears_of_its_own_partner_only():
    """The gate of a partner whose federated scores all fell is "worse", independent of the other partners."""
    low, high = np.linspace(0.4, 0.5, 14), np.linspace(0.7, 0.8, 14)
    sets = {name: _partner(small_set(n_tasks=14)) for name in ("P01", "P02")}

    def run(first: np.ndarray, second: np.ndarray) -> Scores:
        return Scores({"P01/validation/average_precision": first, "P02/validation/average_precision": second})

    def outcomes(arm: list[Scores], local: list[Scores]) -> dict[str, list[str]]:
        return {name: [result.outcome for result in seeds] for name, seeds in gates(arm, local, sets).items()}

    assert outcomes([run(low, high)], [run(high, low)]) == {"P01": ["worse"], "P02": ["better"]}
    assert outcomes([run(low, low)] * 2, [run(high, low)] * 2) == {"P01": ["worse"] * 2, "P02": ["undecided"] * 2}
    (kept,) = gated([run(low, high)], [run(high, low)], sets)
    for name in sets:
        np.testing.assert_array_equal(kept.of(name, "validation", "average_precision"), high)


def test_tasks_of_a_target_are_drawn_together():
    """Copies of every task under the same target do not narrow the interval."""
    change, target = np.random.default_rng(0).normal(size=30), np.array([f"T{i}" for i in range(30)])
    assert interval(np.repeat(change, 8), np.repeat(target, 8)) == pytest.approx(interval(change, target))


def test_a_run_is_done_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same setting is read from its file the second time; another seed has another file."""
    partners = {f"P{i:02d}": _partner(small_set(seed=i)) for i in (1, 2, 3)}
    first = obtain(_FEDERATED, partners, tmp_path)
    assert [n for n, _ in first.curve] == [1, 2]
    monkeypatch.setattr(arms, "federated", None)
    again = obtain(_FEDERATED, partners, tmp_path)
    assert again.facts == first.facts
    for name, values in first.tasks.items():
        np.testing.assert_array_equal(again.tasks[name], values)
    assert len(list(tmp_path.iterdir())) == 1


def test_runs_kept_before_there_was_more_to_set_are_still_found():
    """The text that names a setting's file has not changed; new choices change it."""
    before = (
        '{"arm": "federated", "batch": 500, "bits": 96, "data": "made up", "dropout": 0.6, "hidden": [8], '
        '"honest": null, "learning_rate": 0.001, "method": "mean", "rounds": 2, "seal_bits": 8, "seed": 0, '
        '"server_rate": 1.0, "steps": 2, "weight_decay": 0.0, "weights": "size"}'
    )
    assert _FEDERATED.as_json() == before
    others = {replace(_FEDERATED, regression_weight=0.5), replace(_FEDERATED, catalogue="common", min_holders=2)}
    assert len({each.as_json() for each in (*others, _FEDERATED, replace(_FEDERATED, min_holders=3))}) == 4
    assert len({each.label for each in (*others, _FEDERATED)}) == 3


def test_a_run_without_predictions_is_done_again_when_they_are_needed(tmp_path: Path):
    """Predictions are kept with the scores; for scores alone an old file is good enough."""
    partners = {f"P{i:02d}": _partner(small_set(seed=i)) for i in (1, 2, 3)}
    assert obtain(_FEDERATED, partners, tmp_path).has_predictions
    (file,) = tmp_path.iterdir()
    with np.load(file) as stored:
        old = {name: stored[name] for name in stored if not name.endswith("/logits")}
    np.savez(file, **old)
    assert not obtain(_FEDERATED, partners, tmp_path).has_predictions
    again = obtain(_FEDERATED, partners, tmp_path, predictions=True)
    assert again.has_predictions
    np.testing.assert_array_equal(again.of("P01", "test", "roc_auc"), old["P01/test/roc_auc"])


def test_scores_come_from_the_predictions_kept(tmp_path: Path):
    """R2 of a hybrid run, and average precision, are scikit-learn's on the values and labels of the test fold."""
    partners = {f"P{i:02d}": _partner(hybrid_set(seed=i)) for i in (1, 2, 3)}
    run = obtain(replace(_FEDERATED, regression_weight=0.4), partners, tmp_path)
    own = partners["P02"].training_set
    rows = own.rows_of(0)
    y, values, marks = own.y[rows], own.y_regr[rows], own.y_censor[rows]
    for task in range(own.n_tasks):
        measured = y.indices == task
        expected = average_precision_score(y.data[measured] > 0, run.of("P02", "test", "logits")[measured])
        assert run.of("P02", "test", "average_precision")[task] == pytest.approx(expected)
    for task in range(own.n_regressions):
        measured = (values.indices == task) & (marks.data == 0)
        expected = r2_score(values.data[measured], run.of("P02", "test", "values")[measured])
        assert run.of("P02", "test", "r2")[task] == pytest.approx(expected, abs=1e-6)
        assert run.of("P02", "test", "n_exact")[task] == measured.sum()


def test_without_a_weight_nothing_of_regression_is_trained(tmp_path: Path):
    """The run equals that of a partner without measured values."""
    hybrid, plain = ({f"P{i:02d}": _partner(make(seed=i)) for i in (1, 2, 3)} for make in (hybrid_set, small_set))
    with_values, without_values = obtain(_FEDERATED, hybrid, tmp_path / "1"), obtain(_FEDERATED, plain, tmp_path / "2")
    assert with_values.tasks.keys() == without_values.tasks.keys()
    for name, values in with_values.tasks.items():
        np.testing.assert_array_equal(values, without_values.tasks[name])


def test_averaging_means_probabilities(tmp_path: Path):
    """One run averaged is itself; two are scored by the mean of their probabilities and of their values."""
    partners = {f"P{i:02d}": _partner(hybrid_set(seed=i)) for i in (1, 2, 3)}
    runs = [obtain(replace(_FEDERATED, regression_weight=0.4, seed=seed), partners, tmp_path) for seed in (0, 1)]
    alone, both = averaged(runs[:1], partners), averaged(runs, partners)
    for metric in ("average_precision", "roc_auc", "r2", "spearman", "n_active", "n_exact"):
        np.testing.assert_allclose(alone.of("P03", "test", metric), runs[0].of("P03", "test", metric), rtol=1e-6)
    own = partners["P03"].training_set
    y, values = own.y[own.rows_of(0)], own.y_regr[own.rows_of(0)]
    mean = np.mean([expit(run.of("P03", "test", "logits")) for run in runs], axis=0)
    measured = y.indices == 2
    expected = average_precision_score(y.data[measured] > 0, mean[measured])
    assert both.of("P03", "test", "average_precision")[2] == pytest.approx(expected)
    measured = (values.indices == 1) & (own.y_censor[own.rows_of(0)].data == 0)
    expected = r2_score(
        values.data[measured], np.mean([run.of("P03", "test", "values") for run in runs], axis=0)[measured]
    )
    assert both.of("P03", "test", "r2")[1] == pytest.approx(expected, abs=1e-6)


def _with_ids(declared: str, prepared: str, seed: int) -> Partner:
    """A partner whose seven tasks have these ids, a letter each, "-" for none; thresholds alternate."""
    partner = _partner(small_set(seed=seed))
    tasks = [
        replace(task, catalog_assay_id=None if id_ == "-" else id_)
        for task, id_ in zip(partner.tasks, prepared, strict=True)
    ]
    return replace(partner, tasks=tuple(tasks), declared=tuple("" if id_ == "-" else id_ for id_ in declared))


def test_a_catalogue_lists_what_partners_have_in_common():
    """Rows by id and threshold; rows with too few holders and auxiliary tasks stay private."""
    partners = {
        "P01": _with_ids("AABB---", "A------", 1),
        "P02": _with_ids("AAB-C--", "A------", 2),
        "P03": _with_ids("A------", "-------", 3),
    }
    declared = held_catalogue("declared", partners, 3)
    assert [(task.id, task.threshold) for task in declared.catalogue.tasks] == [("A", 6), ("A", 7), ("B", 6)]
    assert declared.counts.counts == (3, 2, 2)
    assert declared.counts.shared_rows == [0]
    assert (declared.n_rows, declared.n_heads) == (3, 3)
    assert declared.held == {"P01": {0: (0,), 1: (1,), 2: (2,)}, "P02": {0: (0,), 1: (1,), 2: (2,)}, "P03": {0: (0,)}}
    assert held_catalogue("declared", partners, 2).counts.shared_rows == [0, 1, 2]
    assert held_catalogue("prepared", partners, 2).counts.counts == (2,)
    common = held_catalogue("common", partners, 3)
    assert common.counts.counts == (3,) * 7
    first = replace(partners["P01"].tasks[0], is_auxiliary=True)
    partners["P01"] = replace(partners["P01"], tasks=(first, *partners["P01"].tasks[1:]))
    assert held_catalogue("declared", partners, 3).counts.shared_rows == []


def test_rows_that_travel_are_equal_at_their_holders(tmp_path: Path):
    """Only shared rows are equal; they count in the bytes of a round."""
    ids = {"P01": "AABB---", "P02": "AA-----", "P03": "A------"}
    partners = {name: _with_ids(declared, "-------", int(name[1:])) for name, declared in ids.items()}
    rows = held_catalogue("declared", partners, 2)
    members = {name: Member(each.training_set, TRAINING, rows.held[name]) for name, each in partners.items()}
    agreed = replace(_AGREED, layout=trunk_layout(N_INPUTS, (12,), rows.counts.n_places), counts=rows.counts)
    seen = FoldScores()
    arms.federated(members, agreed, seen)
    heads = [seen.models[2, name].state.heads["classification.weight"] for name in members]
    for task, n_holders in ((0, 3), (1, 2), (2, 0)):
        for other in (1, 2):
            assert np.array_equal(heads[0][task], heads[other][task]) == (other < n_holders)
    plain, with_rows = (
        obtain(replace(_FEDERATED, hidden=(4096,), **more), partners, tmp_path)
        for more in ({}, {"catalogue": "common", "min_holders": 2})
    )
    assert with_rows.facts["bytes_up"] > plain.facts["bytes_up"]


def test_rows_of_regression_heads_are_shared_where_asked():
    """After the rounds all holders of a row have the same one, and nobody else."""
    members = {
        name: Member(hybrid_set(seed=i), replace(TRAINING, regression_weight=0.4))
        for i, name in enumerate(("P01", "P02", "P03"), 1)
    }
    seen = FoldScores()
    arms.federated(members, _AGREED, seen, [{"P01": [0], "P02": [1, 2]}])
    for part in ("weight", "bias"):
        heads = [seen.models[2, name].state.heads[f"regression.{part}"] for name in members]
        np.testing.assert_array_equal(heads[1][[1, 2]], heads[0][[0, 0]])
        assert not np.array_equal(heads[2][0], heads[0][0])
        assert not np.array_equal(heads[1][0], heads[0][0])


def test_the_whole_benchmark_prints_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """From tables to gains: every arm, hybrid, with a catalogue, seeds averaged."""
    for number in (1, 2, 3):
        write_tables(tmp_path / "small" / f"P{number:02d}", f"P{number:02d}", seed=number, catalogue=["X1"])
    truth = ["partner,input_assay_id,target,endpoint"]
    truth += [f"P{n:02d},P{n:02d}-{a},CHEMBL{a},Ki" for n in (1, 2, 3) for a in ("A1", "A2", "X1")]
    (tmp_path / "small" / "truth.csv").write_text("\n".join(truth) + "\n")
    asked = "--data small --bits 256 --hidden 8 --rounds 2 --steps 2 --seeds 0 1 --least 1 --fold test --average-seeds"
    asked += " --arms joint federated pooled shuffled --honest P02 --regression-weight 0.4 --catalogue none declared"
    monkeypatch.setattr(sys, "argv", ["", *asked.split(), "--shared", str(tmp_path), "--work", str(tmp_path / "work")])
    federation_gain.main()
    classes, groups, values = capsys.readouterr().out.split("gains over local")[1:]
    for arm in ("local", "joint", "pooled", "federated rate 2", "shuffled rate 2"):
        assert f" {arm}" in classes
        assert f" {arm}" in values
    assert "AUC-PR" in classes
    assert "own labels" in groups
    assert "Spearman" in values
    assert "nan" not in classes + values


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
        assert len(partner.classes.keys) == len(partner.tasks) == partner.training_set.n_tasks > 0
        assert len(partner.regressions.keys) == partner.training_set.n_regressions > 0
        assert set(partner.classes.targets) == set(partner.regressions.targets) == {"CHEMBL1 Ki", "CHEMBL2 Ki"}
