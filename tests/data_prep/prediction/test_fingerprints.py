"""Fingerprints for a finished model are those of training."""

from pathlib import Path

import numpy as np
import polars as pl

from data_prep.descriptors.listed import DESCRIPTORS
from data_prep.folds.keyed import bit_permutation
from data_prep.prediction.fingerprints import fingerprint
from data_prep.prediction.new_structures import prepare_new
from data_prep.settings import Chemistry, Fingerprint, Preparation
from data_prep.structures.structures import describe_all

SEED = b"k" * 32
SMILES = ["CCO", "not", "c1ccccc1O", None, "CCO", "OCC", "CC(=O)[O-].[Na+]"]


def test_they_are_those_of_prepare(tmp_path: Path) -> None:
    """Rows and reasons equal those of `hocket prepare --structures` with the group's seed."""
    pl.DataFrame({"input_compound_id": [f"c{i}" for i in range(7)], "smiles": SMILES}).write_csv(tmp_path / "t.csv")
    settings = Preparation(fingerprint=Fingerprint(n_bits=512))
    old = prepare_new(tmp_path / "t.csv", settings, SEED)
    new = fingerprint(SMILES, settings.chemistry, settings.fingerprint, bit_permutation(SEED, 512))
    assert (new.x != old.x).nnz == 0
    assert (new.accepted + 1).tolist() == old.rows["input_row"].to_list() == [1, 3, 5, 6, 7]
    assert [reason for reason in new.reasons if reason] == old.rejected["reason"].to_list() == ["unparsable", "empty"]


def test_descriptors_if_asked(tmp_path: Path) -> None:
    """One row per accepted structure, as describe_all gives it for the canonical SMILES; the fingerprints stay."""
    chemistry, settings, positions = Chemistry(), Fingerprint(n_bits=64), np.arange(64)
    assert fingerprint(SMILES, chemistry, settings, positions).descriptors is None
    for _ in range(2):  # computed, then from the cache
        new = fingerprint(SMILES, chemistry, settings, positions, cache=tmp_path / "cache", descriptors=True)
        expected = describe_all(["CCO", "Oc1ccccc1", "CCO", "CCO", "CC(=O)O"])
        assert new.descriptors is not None
        assert new.descriptors.tobytes() == expected.tobytes()
    assert (new.x != fingerprint(SMILES, chemistry, settings, positions).x).nnz == 0
    empty = fingerprint(["not"], chemistry, settings, positions, descriptors=True).descriptors
    assert empty is not None
    assert empty.shape == (0, len(DESCRIPTORS))


def test_none_gives_no_row() -> None:
    """An empty list and a list of rejected structures give no rows and no error."""
    for smiles in ([], ["not"]):
        fingerprints = fingerprint(smiles, Chemistry(), Fingerprint(n_bits=64), np.arange(64))
        assert fingerprints.x.shape == (0, 64)
        assert len(fingerprints.reasons) == len(smiles)
