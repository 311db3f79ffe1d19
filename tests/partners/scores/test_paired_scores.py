"""Scores of both models side by side, and their comparison in several metrics."""

from dataclasses import replace

import numpy as np

from partners.scores.comparison import compare, holm
from partners.scores.paired_scores import PairedScores, compare_metrics

LOCAL = [0.5, None, 0.25, 0.75, 0.5]
FEDERATED = [0.75, 0.5, 0.5, None, 0.375]
ASSAYS = ["a", "b", "a", "c", "d"]


def test_only_tasks_with_both_scores_are_kept():
    """A task that one model has no score for is left out; the others keep their scores and their assays."""
    scores = PairedScores.of(LOCAL, FEDERATED, ASSAYS)
    assert scores.is_scored.tolist() == [True, False, True, False, True]
    kept = scores.scored()
    assert kept.local.tolist() == [0.5, 0.25, 0.5]
    assert kept.change.tolist() == [0.25, 0.25, -0.125]
    assert kept.group.tolist() == [0, 0, 1]


def test_mean_change_of_some_tasks():
    """The mean is over the tasks, its interval over their assays."""
    kept = PairedScores.of(LOCAL, FEDERATED, ASSAYS).scored()
    mean = kept.mean_change(np.array([0, 1]), seed=3)
    assert (mean.change, mean.interval, mean.n_groups) == (0.25, (0.25, 0.25), 1)
    assert kept.mean_change(np.array([0, 2]), seed=3).n_groups == 2


def test_metrics_are_corrected_together():
    """Each kind draws anew from the seed; p-values are corrected over the metrics of all kinds that were tested."""
    rng = np.random.default_rng(0)
    first, second, third = (PairedScores(*rng.random((2, 20)), np.arange(20) // 2) for _ in range(3))
    empty = PairedScores.of([None], [0.5], ["a"])
    compared = compare_metrics([{"x": first, "y": second}, {"z": third, "none": empty}], seed=5)
    assert compared["none"] is None
    rng = np.random.default_rng(5)
    alone = {"x": first.compare(rng), "y": second.compare(rng), "z": third.compare(np.random.default_rng(5))}
    corrected = holm({metric: found.p_tasks for metric, found in alone.items() if found})
    of_assays = holm({metric: found.p_groups for metric, found in alone.items() if found})
    for metric, found in alone.items():
        assert found
        expected = replace(found, p_tasks_holm=corrected[metric], p_groups_holm=of_assays[metric])
        assert compared[metric] == expected


def test_compared_as_arrays_are():
    """It is `compare` with the scores, the groups and whether less is better."""
    scores = PairedScores.of(LOCAL, FEDERATED, ASSAYS, is_error=True)
    expected = compare(
        scores.local, scores.federated, np.random.default_rng(1), is_error=True, groups=np.array([0, 1, 0, 2, 3])
    )
    assert scores.compare(np.random.default_rng(1)) == expected
