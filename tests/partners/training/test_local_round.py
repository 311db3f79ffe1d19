"""The arithmetic of a partner's round equals the trainer, the server step and the scores that it consists of."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from partners.errors import BadFolds, TrainingDiverged
from partners.network.inference import predict
from partners.network.input_columns import InputColumns
from partners.network.server_state import initial_server_state
from partners.network.shared_head_rows import HolderCounts
from partners.network.state import HEAD_BIAS, HEAD_WEIGHT
from partners.network.trunk import CATALOGUE_BIAS, CATALOGUE_WEIGHT, INPUT_WEIGHT, initial_trunk, trunk_layout
from partners.settings import ServerOptimiser
from partners.training.local_round import RoundSettings, step_server, train_locally, validation_scores
from partners.training.partner_data import PartnerData
from partners.training.server_step import server_step
from partners.training.training import train_round
from tests.support.partners.synthetic import N_INPUTS, TRAINING, hybrid_set, small_set, small_trunk

N_STEPS, N_PLACES = 4, 2
_, _, TRUNK = small_trunk(12)
PLAIN = RoundSettings(trunk_layout(N_INPUTS, (12,)), TRUNK, ServerOptimiser(), N_STEPS)
WITH_ROWS = replace(PLAIN, layout=trunk_layout(N_INPUTS, (12,), n_rows=N_PLACES))
COUNTS = HolderCounts((3, 1, 4), frozenset({"P1", "P2", "P3", "P4"}), 3)
OWN = PartnerData(hybrid_set(), TRAINING, "digest")
HOLDER = replace(OWN, held={0: (5,), 1: (2,), 2: (0,)}, counts=COUNTS)  # row 1 is not shared and has no place


def pieces(vector: np.ndarray, size: int = 7) -> Iterator[tuple[slice, np.ndarray]]:
    """Copies of a vector's parts, a few values at a time."""
    kept = vector.copy()
    for start in range(0, vector.size, size):
        place = slice(start, min(start + size, vector.size))
        yield place, kept[place]


def first_vector(agreed: RoundSettings) -> np.ndarray:
    """First vector of all partners."""
    return initial_trunk(agreed.layout, 1)


def test_without_a_catalogue_it_is_the_trainers_round():
    """Change, heads and mean loss are equal to the last bit, in the first round and in the next."""
    vector, private, kept = first_vector(PLAIN), None, None
    for round_no in (1, 2):
        seed = OWN.seed(round_no)
        expected = train_round(OWN.training_set, vector, kept, PLAIN.layout, TRUNK, TRAINING, seed, N_STEPS)
        result = train_locally(OWN, PLAIN, vector.copy(), pieces(vector), private, seed)
        np.testing.assert_array_equal(result.change, expected.trunk_change)
        assert result.loss == expected.losses.mean()
        for name, head in expected.state.heads.items():
            np.testing.assert_array_equal(result.private.heads[name], head)
        vector, private, kept = vector + result.change, result.private, expected.state


def test_counted_columns_train_as_one_network_and_only_flagged_ones_are_sent():
    """Two rounds by hand: the trainer on the whole trunk, whose flagged columns and other tensors make the change."""
    rng = np.random.default_rng(3)
    counts, kind = rng.integers(0, 5, N_INPUTS), rng.integers(0, 3, N_INPUTS)
    flagged, withheld = np.flatnonzero(kind == 0), np.flatnonzero(kind == 1)
    columns = InputColumns(HolderCounts(tuple(counts.tolist()), COUNTS.partners, 3), flagged, withheld, trunk_seed=1)
    own = replace(OWN, columns=columns)
    agreed = replace(PLAIN, layout=trunk_layout(N_INPUTS, (12,), n_columns=columns.n_columns))
    shared = np.flatnonzero(counts >= 3)
    sent = np.isin(shared, flagged)
    whole, kept, private = initial_trunk(PLAIN.layout, 1), None, None
    vector = initial_trunk(agreed.layout, 1, shared)
    for round_no in (1, 2):
        seed = own.seed(round_no)
        expected = train_round(own.training_set, whole, kept, PLAIN.layout, TRUNK, TRAINING, seed, N_STEPS)
        result = train_locally(own, agreed, vector.copy(), pieces(vector), private, seed)
        assert result.loss == expected.losses.mean()
        change = agreed.layout.views(result.change)
        trained = PLAIN.layout.views(whole + expected.trunk_change)
        at = PLAIN.layout.views(whole)[INPUT_WEIGHT][shared[sent]]
        np.testing.assert_allclose(change[INPUT_WEIGHT][sent], trained[INPUT_WEIGHT][shared[sent]] - at, atol=1e-7)
        assert change[INPUT_WEIGHT][sent].any()
        assert not change[INPUT_WEIGHT][~sent].any()
        np.testing.assert_allclose(result.private.columns, trained[INPUT_WEIGHT][columns.own], atol=1e-7)
        vector, private, kept = vector + result.change, result.private, expected.state
        whole = columns.trunk(agreed.layout, vector, private)
        is_kept = np.ones(N_INPUTS, dtype=bool)
        is_kept[np.setdiff1d(shared, np.union1d(flagged, withheld))] = False
        np.testing.assert_allclose(
            PLAIN.layout.views(whole)[INPUT_WEIGHT][is_kept], trained[INPUT_WEIGHT][is_kept], atol=1e-7
        )
    scores = validation_scores(own, agreed, vector, private)
    assert scores == validation_scores(OWN, PLAIN, whole, replace(private, columns=None))


def test_shared_rows_start_from_the_vector_and_their_change_is_sent():
    """A held and shared row is set and sent; a place whose row is not held stays zero."""
    vector = first_vector(WITH_ROWS)
    result = train_locally(HOLDER, WITH_ROWS, vector.copy(), pieces(vector), None, HOLDER.seed(1))
    before, change = WITH_ROWS.layout.views(vector), WITH_ROWS.layout.views(result.change)
    for place, task in ((0, 5), (1, 0)):
        for shared, head in ((CATALOGUE_WEIGHT, HEAD_WEIGHT), (CATALOGUE_BIAS, HEAD_BIAS)):
            expected = result.private.heads[head][task] - before[shared][place]
            np.testing.assert_array_equal(change[shared][place], expected)
            assert change[shared][place].any()
    other = replace(HOLDER, held={1: (2,), 2: (0,)})
    change = WITH_ROWS.layout.views(
        train_locally(other, WITH_ROWS, vector.copy(), pieces(vector), None, other.seed(1)).change
    )
    assert not change[CATALOGUE_WEIGHT][0].any()
    assert not change[CATALOGUE_BIAS][0]


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_the_heads_of_one_row_stay_equal(optimiser: str):
    """After each of several rounds all heads of a row are the row's start and its change, to the last bit."""
    training = replace(TRAINING, optimiser=optimiser, weight_decay=0.01)
    own = replace(HOLDER, training=training, held={0: (5, 1, 3), 1: (2, 4), 2: (0, 6)})
    vector, private = first_vector(WITH_ROWS), None
    for round_no in (1, 2, 3):
        result = train_locally(own, WITH_ROWS, vector.copy(), pieces(vector), private, own.seed(round_no))
        before, change = WITH_ROWS.layout.views(vector), WITH_ROWS.layout.views(result.change)
        for shared, name in ((CATALOGUE_WEIGHT, HEAD_WEIGHT), (CATALOGUE_BIAS, HEAD_BIAS)):
            heads = result.private.heads[name]
            for row, (first, *others) in ((0, (5, 1, 3)), (1, (0, 6))):
                np.testing.assert_array_equal(change[shared][row], heads[first] - before[shared][row])
                for other in others:
                    np.testing.assert_array_equal(heads[other], heads[first])
            assert (heads[2] != heads[4]).all()  # their row is not shared
        vector = vector + result.change
        private = own.shared_rows(WITH_ROWS.layout).from_vector(vector, result.private)


def test_heads_that_were_private_for_a_while_are_not_sent():
    """A revision stops sharing a row, a later one shares it again: they start from the vector."""
    vector, strict = first_vector(WITH_ROWS), replace(COUNTS, least=5, least_when_counted=3)
    own = replace(HOLDER, held={0: (5, 1), 2: (0,)})
    alone = train_locally(replace(own, counts=strict), WITH_ROWS, vector.copy(), pieces(vector), None, own.seed(1))
    for name in (CATALOGUE_WEIGHT, CATALOGUE_BIAS):
        assert not WITH_ROWS.layout.views(alone.change)[name].any()
    kept = alone.private.copied()
    kept.heads[HEAD_WEIGHT][[5, 1, 0]] = 7.0
    sent, expected = (
        train_locally(own, WITH_ROWS, vector.copy(), pieces(vector), private, own.seed(2)).change
        for private in (kept, own.shared_rows(WITH_ROWS.layout).from_vector(vector, alone.private))
    )
    np.testing.assert_array_equal(sent, expected)


def test_the_trunk_of_a_partner_without_rows_does_not_depend_on_the_catalogue():
    """The same trunk and seed give the same change of the trunk, and rows that stay zero."""
    alone, vector = first_vector(PLAIN), first_vector(WITH_ROWS)
    plain = train_locally(OWN, PLAIN, alone.copy(), pieces(alone), None, OWN.seed(1))
    result = train_locally(OWN, WITH_ROWS, vector.copy(), pieces(vector), None, OWN.seed(1))
    np.testing.assert_array_equal(result.change[: alone.size], plain.change)
    assert not result.change[alone.size :].any()


def test_a_later_attempt_and_a_revision_have_fresh_chance():
    """No two attempts at a round have the same seed; attempt and revision are counted from 1."""
    seeds = [OWN.seed(1), OWN.seed(2), OWN.seed(1, 2), OWN.seed(1, 1, 2), OWN.seed(1, 2, 2)]
    assert len(set(seeds)) == len(seeds)
    assert OWN.seed(1) == OWN.seed(1, 1, 1) == (TRAINING.seed, 0, 0)


def test_chance_that_only_the_partner_knows_changes_its_heads_and_what_it_sends():
    """Without the partner's number the first heads and the change of round 1 cannot be made again."""
    vector = first_vector(PLAIN)

    def trained(chance: tuple[int, ...]) -> np.ndarray:
        own = replace(OWN, chance=chance)
        result = train_locally(own, PLAIN, vector.copy(), pieces(vector), None, own.seed(1))
        return np.concatenate([result.change, *(head.ravel() for head in result.private.heads.values())])

    np.testing.assert_array_equal(trained((1 << 255,)), trained((1 << 255,)))
    assert np.mean(trained((1 << 255,)) != trained((1 << 254,))) > 0.5
    assert np.mean(trained((1 << 255,)) != trained(())) > 0.5
    assert str(1 << 255) not in repr(replace(OWN, chance=(1 << 255,)))


@pytest.mark.parametrize("method", ["mean", "momentum", "adam"])
def test_the_server_step_is_taken_on_the_mean_over_holders(method: str):
    """Each catalogue row's mean is multiplied by its factor first; norm and next vector are of that mean."""
    agreed = replace(WITH_ROWS, server=ServerOptimiser(method=method))
    vector, rng = first_vector(agreed), np.random.default_rng(4)
    mean = rng.normal(0, 0.01, vector.size).astype(np.float32)
    state = initial_server_state(agreed.server, vector.size)
    factors = np.array([4 / 3, 0])
    expected = mean.copy()
    rows = agreed.layout.views(expected)
    rows[CATALOGUE_WEIGHT][:] = rows[CATALOGUE_WEIGHT] * factors[:, np.newaxis]
    rows[CATALOGUE_BIAS][:] = rows[CATALOGUE_BIAS] * factors
    step = step_server(agreed, vector, state, mean.copy(), factors)
    np.testing.assert_array_equal(step.vector, server_step(vector, expected, agreed.server, state)[0])
    assert step.change_norm == pytest.approx(float(np.linalg.norm(expected)))
    assert step.server.n_steps == 1


def test_a_step_to_infinite_values_is_refused():
    """A server step to values that are not finite is refused."""
    agreed = replace(PLAIN, server=ServerOptimiser(learning_rate=1e30))
    vector = first_vector(agreed)
    state = initial_server_state(agreed.server, vector.size)
    with pytest.raises(TrainingDiverged):
        step_server(agreed, vector, state, np.full_like(vector, 1e30), np.zeros(0))


def test_validation_scores_are_means_on_the_validation_fold():
    """The mean AUC-ROC is scikit-learn's over the tasks with both classes there; regression only where there is any."""
    vector = first_vector(PLAIN)
    state = OWN.first_state(PLAIN.layout, vector, OWN.seed(1))
    scores = validation_scores(OWN, PLAIN, vector, state)
    data = OWN.training_set
    rows = data.rows_of(data.validation_fold)
    logits = predict(data.x[rows], vector, state, PLAIN.layout, TRUNK, TRAINING).logits
    labels, areas, weights = data.y[rows].toarray(), [], []
    for task in range(data.n_tasks):
        known = labels[:, task] != 0
        if len(set(labels[known, task])) == 2:
            areas.append(roc_auc_score(labels[known, task], logits[known, task]))
            weights.append(data.aggregation_weight[task])
    assert scores["validation_roc_auc"] == pytest.approx(np.average(areas, weights=weights))
    assert {"validation_loss", "validation_average_precision", "validation_r2", "validation_rmse"} <= set(scores)
    plain = replace(OWN, training_set=small_set())
    without = validation_scores(plain, PLAIN, vector, plain.first_state(PLAIN.layout, vector, OWN.seed(1)))
    assert not {"validation_r2", "validation_rmse"} & set(without)


def test_without_a_labelled_compound_in_the_fold_there_is_nothing_to_score():
    """A fold without labels raises BadFolds before any prediction."""
    data = small_set()
    folds = np.where(data.folding == data.validation_fold, 2, data.folding)
    own = replace(OWN, training_set=replace(data, folding=folds))
    vector = first_vector(PLAIN)
    with pytest.raises(BadFolds):
        validation_scores(own, PLAIN, vector, own.first_state(PLAIN.layout, vector, own.seed(1)))


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (50, [5])])
def test_rounds_are_validated_at_the_interval_and_at_the_end(every: int, expected: list[int]):
    """Rounds are validated by their number."""
    own = replace(OWN, validate_every=every)
    assert [round_no for round_no in range(1, 6) if own.is_validated(round_no, 5)] == expected
