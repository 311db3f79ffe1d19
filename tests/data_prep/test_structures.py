"""Many structures at once: independent of processes, of order and of the other structures."""

import numpy as np
import pytest

from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures import standardise_all

KEEP = Chemistry(tautomers="keep")


def by_smiles(smiles, found):
    return {
        text: (
            found.smiles[i],
            found.murcko[i],
            found.reasons[i],
            found.bits[found.starts[i] : found.starts[i + 1]].tolist(),
        )
        for i, text in enumerate(smiles)
    }


def test_partner_independence(golden):
    """Split at random among three, shuffled, in one process or two: each structure comes out the same."""
    smiles = [*golden["smiles"].gather_every(3), "no structure", "", "CC.[Na+]"]
    whole = by_smiles(smiles, standardise_all(smiles, KEEP, Fingerprint()))
    rng = np.random.default_rng(3)
    order = rng.permutation(len(smiles))
    for workers, part in zip((1, 2, 1), np.array_split(order, 3), strict=True):
        mine = [smiles[i] for i in part]
        found = by_smiles(mine, standardise_all(mine, KEEP, Fingerprint(), workers=workers))
        assert found == {text: whole[text] for text in mine}


def test_progress_counts_structures():
    """The callback hears how many of how many are done, and the last call says all."""
    heard = []
    standardise_all(["CC"] * 600, KEEP, Fingerprint(), progress=lambda done, total: heard.append((done, total)))
    assert heard == [(256, 600), (512, 600), (600, 600)]


def test_nothing_gives_nothing():
    """No structures give empty results, and no workers are refused."""
    found = standardise_all([], KEEP, Fingerprint())
    assert (found.smiles, found.bits.size, found.starts.tolist()) == ([], 0, [0])
    with pytest.raises(ValueError, match="workers: found 0"):
        standardise_all(["C"], KEEP, Fingerprint(), workers=0)
