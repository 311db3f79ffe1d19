"""The consistency digest: equal for equal set-ups, different for any difference."""

import csv
from importlib.resources import files

import pytest
import rdkit

from data_prep import consistency
from data_prep.consistency import consistency_digest, reference_smiles
from data_prep.errors import StructureSeedError
from data_prep.settings import Activities, Chemistry, Fingerprint, Folds, Preparation
from data_prep.standardise import Standardiser
from tests.data_prep.small_tables import FAST, SEED


def test_equal_setups_agree():
    """The digest is 64 hexadecimal digits and the same every time."""
    digest = consistency_digest(FAST, SEED)
    assert digest == consistency_digest(FAST, SEED)
    assert len(bytes.fromhex(digest)) == 32


@pytest.mark.parametrize(
    "settings",
    [
        Preparation(chemistry=Chemistry(), fingerprint=FAST.fingerprint, activities=FAST.activities),
        Preparation(chemistry=FAST.chemistry, fingerprint=Fingerprint(n_bits=2048), activities=FAST.activities),
        Preparation(chemistry=FAST.chemistry, fingerprint=FAST.fingerprint),
        Preparation(
            chemistry=FAST.chemistry,
            fingerprint=FAST.fingerprint,
            folds=Folds(test=3),
            activities=Activities(evaluation_min_active=1, evaluation_min_inactive=1),
        ),
    ],
)
def test_any_other_setting_differs(settings):
    """Chemistry, fingerprint, folds and activities are all covered."""
    assert consistency_digest(settings, SEED) != consistency_digest(FAST, SEED)


def test_another_seed_version_or_result_differs(monkeypatch):
    """Another seed, RDKit version or code version, or one structure that comes out differently, is noticed."""
    digest = consistency_digest(FAST, SEED)
    assert consistency_digest(FAST, SEED[::-1]) != digest
    with monkeypatch.context() as patch:
        patch.setattr(rdkit, "__version__", "1999.09.1")
        assert consistency_digest(FAST, SEED) != digest
    with monkeypatch.context() as patch:
        patch.setattr(consistency, "CODE_VERSION", 99)
        assert consistency_digest(FAST, SEED) != digest
    with monkeypatch.context() as patch:
        patch.setattr(consistency, "reference_smiles", lambda: [*reference_smiles()[:-1], "CCCN"])
        assert consistency_digest(FAST, SEED) != digest


def test_short_seeds_are_refused():
    """A guessable seed could be found from the digest, so it is refused."""
    with pytest.raises(StructureSeedError):
        consistency_digest(FAST, b"melloddy")


def test_reference_set_covers_the_difficult_kinds():
    """At least 50 structures, of all kinds on which set-ups may differ, and all of them are accepted."""
    with files("data_prep").joinpath("reference_structures.csv").open(encoding="utf-8") as table:
        kinds = {row["kind"] for row in csv.DictReader(table)}
    assert kinds >= {"salt", "tautomer", "charged", "isotope", "metal", "macrocycle", "stereo", "rings", "acyclic"}
    assert len(reference_smiles()) >= 50
    standardiser = Standardiser(FAST.chemistry, FAST.fingerprint)
    assert all(standardiser.structure(smiles).smiles for smiles in reference_smiles())
