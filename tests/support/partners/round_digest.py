"""Print the SHA-256 of the results of three small rounds; test_training runs it in separate processes."""

import hashlib
import sys

import numpy as np

from partners.settings import Training
from partners.training.evaluation import evaluate
from partners.training.training import round_seed, train_round
from tests.support.partners.synthetic import small_set, small_trunk


def rounds_digest(n_threads: int) -> str:
    """Digest of changes, losses, heads, moments and probabilities of three rounds."""
    total = hashlib.sha256()
    training = Training(batch_size=37, learning_rate=1e-2, n_threads=n_threads)
    # odd sizes on purpose: rows of a product then start at every alignment; sparse and dense labels take both routes
    for n_tasks, density in ((7, 0.3), (61, 0.04)):
        data = small_set(0, n_compounds=301, n_tasks=n_tasks, density=density)
        layout, trunk, settings = small_trunk(45, 19)
        state = None
        for round_no in range(3):
            result = train_round(data, trunk, state, layout, settings, training, round_seed(0, round_no), 9)
            trunk, state = trunk + result.trunk_change, result.state
            for arrays in (state.heads, state.first_moment, state.second_moment):
                for name in sorted(arrays):
                    total.update(np.ascontiguousarray(arrays[name]))
            total.update(result.trunk_change)
            total.update(result.losses)
        total.update(evaluate(data, 1, trunk, state, layout, settings, training).probabilities)
    return total.hexdigest()


if __name__ == "__main__":
    unaligned = [bytes(n) for n in range(1, int(sys.argv[1]))]  # shifts what the allocator hands out later
    print(rounds_digest(int(sys.argv[2])), len(unaligned))  # noqa: T201 -- the answer to the parent process
