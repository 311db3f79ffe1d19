"""Fixed point over several rounds with the real classes: nothing is lost, clipping is reported, training converges."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from secure.sealing.fixed_point import next_bounds
from secure.sealing.open_sum import OpenedSum
from tests.support.secure.ciphertexts import SCALE, exact_bounds
from tests.support.secure.consortium import Consortium, make_consortium

HALF_ULP = 2.0**-24  # of float32, relative


@dataclass
class Rounds:
    """Rounds of one consortium: bounds adapt, and residuals are carried unless switched off."""

    c: Consortium
    folder: Path
    slices: list[slice]
    bounds: np.ndarray
    feedback: bool = True
    residuals: dict[str, np.ndarray] = field(default_factory=dict)
    clipped: dict[str, float] = field(default_factory=dict)
    n_rounds: int = 0

    def run(self, changes: dict[str, np.ndarray], weights: dict[str, int] | None = None) -> OpenedSum:
        """Run one round and return its opened sum."""
        self.n_rounds += 1
        roster, files = self.c.roster(round_no=self.n_rounds), []
        shared = {"bounds": self.bounds, "slices": self.slices}
        for number, (name, change) in enumerate(changes.items()):
            files.append(self.folder / f"{name}-{self.n_rounds}")
            report = self.c.seal(
                name,
                change,
                files[-1],
                roster,
                weight=(weights or {}).get(name, 1),
                residual=self.residuals.get(name),
                rng=np.random.default_rng([self.n_rounds, number]),
                **shared,
            )
            self.clipped[name] = report.clipped_share
            if self.feedback:
                self.residuals[name] = report.residual
        self.c.add(files, self.folder / "sum")
        opened = self.c.open(self.folder / "sum", self.slices[-1].stop, roster, **shared)
        self.bounds = next_bounds(opened.sent_mean, self.slices, self.bounds, self.c.settings, len(files))
        return opened


@pytest.mark.parametrize("weights", [None, {"ash": 1000, "birch": 333, "cedar": 7}], ids=["equal", "size"])
@pytest.mark.parametrize("bits", [16, 12, 8])
def test_nothing_is_lost(tmp_path, bits, weights):
    """The decoded sums of six rounds and the last residuals add up to the changes, up to counted float32 roundings."""
    c = make_consortium(3, bits=bits, weights="size" if weights else "equal", max_weight=1000)
    slices = [slice(0, 5_000), slice(5_000, 20_000)]
    rounds, rng = Rounds(c, tmp_path, slices, np.array([0.1, 1e-5])), np.random.default_rng(bits)
    sent, wanted, roundings = np.zeros(20_000), np.zeros(20_000), np.zeros(20_000)
    first_clipped: dict[str, float] = {}
    for number in range(6):
        changes = {name: (rng.standard_normal(20_000) * 0.05 / (1 + number)).astype(np.float32) for name in c.partners}
        targets, before = {}, dict(rounds.residuals)
        for name, change in changes.items():
            scaled = change.astype(np.float64) * np.float32(weights[name] / 1000 if weights else 1)
            targets[name] = np.abs(scaled) + np.abs(before.get(name, 0))
            wanted += scaled
        opened = rounds.run(changes, weights)
        first_clipped = first_clipped or dict(rounds.clipped)
        for part, step in zip(slices, opened.grid.steps, strict=True):
            sent[part] += opened.total[part] * float(step)
        for name, target in targets.items():
            # rounded once each: weighing, adding what is carried, what is sent (at most target + left), what is left
            roundings += HALF_ULP * (3 * target + 2 * np.abs(rounds.residuals[name]))
    left = sum(residual.astype(np.float64) for residual in rounds.residuals.values())
    assert (np.abs(sent + left - wanted) <= roundings * (1 + 1e-6)).all()
    assert min(first_clipped.values()) > 0.7  # nearly all of the second tensor
    assert roundings.max() < 1e-6


@pytest.mark.parametrize("bits", [16, 8])
def test_clipping_is_told_and_made_good(tmp_path, bits):
    """The share beyond the bound is reported exactly, and sent later on; the bounds grow by a factor at most."""
    c = make_consortium(3, bits=bits)
    rounds = Rounds(c, tmp_path, [slice(0, 10_000)], exact_bounds(c.parameters))
    limit = c.parameters.limit
    integers = np.random.default_rng(0).integers(-limit, limit + 1, 10_000)
    integers[:123] = 50 * limit
    changes = dict.fromkeys(c.partners, (integers / SCALE).astype(np.float32))
    total = rounds.run(changes).mean.astype(np.float64)
    assert rounds.clipped == dict.fromkeys(c.partners, 123 / 10_000)
    for _ in range(8):
        before = rounds.bounds
        total += rounds.run(dict.fromkeys(c.partners, np.zeros(10_000, np.float32))).mean
        assert rounds.bounds[0] <= before[0] * 3 * c.settings.bound_factor * (1 + 2**-23)
        if not any(rounds.clipped.values()):
            break
    np.testing.assert_allclose(total, integers / SCALE, atol=2 * before[0] / limit)
    assert rounds.n_rounds < 6


def test_bounds_adapt_to_small_weights(tmp_path):
    """With weights far below max_weight the bounds follow what is sent; the mean is precise after a few rounds."""
    c = make_consortium(3, weights="size")
    weights, rng = {"ash": 100, "birch": 70, "cedar": 40}, np.random.default_rng(0)
    assert max(weights.values()) * 1000 <= c.parameters.max_weight
    rounds, errors = Rounds(c, tmp_path, [slice(0, 20_000)], np.array([c.settings.first_bound])), []
    for _ in range(10):
        changes = {name: rng.uniform(-0.01, 0.01, 20_000).astype(np.float32) for name in c.partners}
        mean = rounds.run(changes, weights).mean
        wanted = sum(weights[name] * changes[name] for name in c.partners) / 210
        errors.append(np.linalg.norm(mean - wanted) / np.linalg.norm(wanted))
    assert errors[0] > 0.1
    assert errors[-1] < 0.01
    assert rounds.bounds[0] < 1e-4


def train(rounds: Rounds | None) -> float:
    """Loss at the end of a training of three partners, each with its own optimum, by noisy gradients.

    A tenth of the parameters has gradients so noisy that they set the bound; the loss is that of the others, against
    the best there is. Without `rounds` the mean is computed in floats.
    """
    n, names, rng, rate = 4_000, ("ash", "birch", "cedar"), np.random.default_rng(0), 0.1
    optima = {name: 0.3 * rng.standard_normal(n) for name in names}
    best, trunk, losses = sum(optima.values()) / 3, np.zeros(n, np.float32), []
    noise = np.where(np.arange(n) < n // 10, 4.0, 0.15)
    for _ in range(40):
        gradients = {name: trunk - optima[name] + noise * rng.standard_normal(n) for name in names}
        changes = {name: (-rate * gradient).astype(np.float32) for name, gradient in gradients.items()}
        trunk = trunk + (rounds.run(changes).mean if rounds else sum(changes.values()) / np.float32(3))
        losses.append(np.mean((trunk - best)[n // 10 :] ** 2))
    return float(np.mean(losses[-12:]))


@pytest.mark.slow
def test_training_with_eight_bits(tmp_path):
    """With eight bits and error feedback training ends as with floats, and clearly worse without."""
    c, loss = make_consortium(3, bits=8, max_partners=3), {}
    for feedback in (True, False):
        folder = tmp_path / str(feedback)
        folder.mkdir()
        loss[feedback] = train(Rounds(c, folder, [slice(0, 4_000)], np.array([0.1]), feedback))
    exact = train(None)
    assert loss[True] < 1.12 * exact
    assert loss[False] > 1.3 * exact
