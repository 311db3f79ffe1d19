"""The benchmark of GPUs: what it compares, on a machine with one and without."""

import io
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from rich.console import Console

from tests.benchmarks import gpu
from tests.support.partners.synthetic import TRAINING, small_set

_HIDDEN = (8, 8)  # two layers: bfloat16 rounds the second
_N_STEPS = 4


def test_a_machine_without_a_gpu_has_nothing_to_compare(capsys: pytest.CaptureFixture[str]):
    """It says so, makes no data and ends well."""
    with (
        mock.patch("torch.cuda.is_available", return_value=False),
        mock.patch.object(gpu, "data_sets", side_effect=AssertionError),
    ):
        assert gpu.main([]) == 0
    assert "no GPU" in capsys.readouterr().out


def test_one_device_beside_itself_is_equal_and_another_precision_is_not():
    """The difference is that of losses, and the tolerance is one that a wrong device would not keep."""
    exact = gpu.compare("made up", small_set(), _HIDDEN, (TRAINING, TRAINING), _N_STEPS)
    assert exact.difference == 0
    assert 0 < exact.control < gpu.TOLERANCE
    rounded = gpu.train(small_set(), _HIDDEN, replace(TRAINING, precision="bfloat16"), _N_STEPS)
    assert gpu.difference(rounded.losses, exact.cpu.losses) > exact.control
    console = Console(width=150, file=io.StringIO(), record=True)
    gpu.show([exact], TRAINING, _N_STEPS, console)
    assert {"made up, CPU", "made up, GPU"} <= {
        row.split("│")[1].strip() for row in console.export_text().splitlines()[4:6]
    }
    assert exact.n_per_epoch == 3  # 72 of 120 compounds in the training folds, batches of 32
    assert exact.cpu.host_mb > exact.cpu.device_mb == 0


@pytest.mark.parametrize(("differs", "code"), [(0.5, 0), (2.0, 1)])
def test_losses_that_differ_by_more_than_the_tolerance_end_with_1(differs: float, code: int):
    """Of any data set."""
    run = gpu.Trained(np.array([1.0, 1.0, 1.0]), 0.1, 100.0, 10.0)
    other = replace(run, losses=run.losses - [0, differs * gpu.TOLERANCE, 0])
    cases = iter([gpu.Compared("a", 3, run, run, 0.0), gpu.Compared("b", 3, run, other, 0.0)])
    with (
        mock.patch.object(gpu, "forked", return_value=True),
        mock.patch.object(gpu, "data_sets", return_value=[("a", small_set()), ("b", small_set())]),
        mock.patch.object(gpu, "compare", side_effect=lambda *_: next(cases)),
    ):
        assert gpu.main([]) == code


def test_made_up_compounds_are_like_fingerprints():
    """About 60 bits each, at most ten labels each of all tasks, and the same each time."""
    data = gpu.wide_set(2000, 40, n_inputs=4096)
    assert 50 < data.x.nnz / 2000 < 70
    assert data.x.has_canonical_format
    assert data.labels_per_row.max() == gpu.LABELS_EACH
    assert set(np.unique(data.y.indices)) == set(range(40))
    assert data.digest() == gpu.wide_set(2000, 40, n_inputs=4096).digest()
