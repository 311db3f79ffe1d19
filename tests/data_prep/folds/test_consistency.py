"""The consistency digest: equal for equal preparations, different for any difference."""

import csv
from dataclasses import replace
from importlib.resources import files

import polars as pl
import pytest
import rdkit
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcNumRings

from data_prep.errors import StructureSeedError
from data_prep.folds import consistency
from data_prep.folds.compounds import make_compounds
from data_prep.folds.consistency import consistency_digest, reference_results, reference_smiles
from data_prep.settings import Activities, Chemistry, Fingerprint, Folds, Preparation
from tests.support.data_prep.small_tables import FAST, SEED


def test_equal_setups_agree():
    """The digest is 64 hexadecimal digits and the same every time."""
    digest = consistency_digest(FAST, SEED)
    consistency._standardised.cache_clear()
    assert digest == consistency_digest(FAST, SEED)
    assert len(bytes.fromhex(digest)) == 32


@pytest.mark.parametrize(
    "settings",
    [
        Preparation(chemistry=Chemistry(), fingerprint=FAST.fingerprint, activities=FAST.activities),
        Preparation(chemistry=FAST.chemistry, fingerprint=Fingerprint(n_bits=2048), activities=FAST.activities),
        Preparation(chemistry=FAST.chemistry, fingerprint=FAST.fingerprint),
        replace(FAST, folds=Folds(scaffold_balanced=True)),
        replace(FAST, folds=Folds(method="random")),
        replace(FAST, folds=Folds(method="lsh", lsh_bits=(1, 2, 3))),
        Preparation(
            chemistry=FAST.chemistry,
            fingerprint=FAST.fingerprint,
            folds=Folds(test=3),
            activities=Activities(evaluation_min_active=1, evaluation_min_inactive=1),
        ),
    ],
)
def test_any_other_setting_differs(settings):
    """Changing chemistry, fingerprint, folds or activities changes the digest."""
    assert consistency_digest(settings, SEED) != consistency_digest(FAST, SEED)


def test_another_seed_version_or_result_differs(monkeypatch):
    """Another seed, RDKit version, code version or result of one structure changes the digest."""
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


def kinds() -> dict[str, list[int]]:
    """Indices of the reference structures of each kind."""
    with files("data_prep.folds").joinpath("reference_structures.csv").open(encoding="utf-8") as table:
        kinds_in_table = [row["kind"] for row in csv.DictReader(table)]
    return {kind: [i for i, other in enumerate(kinds_in_table) if other == kind] for kind in kinds_in_table}


def test_reference_set_covers_the_difficult_kinds():
    """At least 50 structures cover all kinds on which preparations may differ; all but the invalid are accepted."""
    by_kind = kinds()
    assert set(by_kind) >= {
        "salt",
        "tautomer",
        "charged",
        "isotope",
        "metal",
        "macrocycle",
        "stereo",
        "rings",
        "acyclic",
    }
    assert len(reference_smiles()) >= 50
    results = reference_results(FAST, SEED)
    refused = [i for i, result in enumerate(results) if result["reason"]]
    assert refused == by_kind["refused"]
    assert {results[i]["reason"] for i in refused} == {"unparsable", "empty", "too_large", "too_complex"}


@pytest.mark.parametrize("kind", ["salt", "tautomer", "charged", "isotope", "metal", "stereo"])
def test_standardising_has_work_to_do_on_the_kinds_made_for_it(kind):
    """Of each kind, a result differs from RDKit's own SMILES, so that a missing step would change the digest."""
    results = reference_results(Preparation(), SEED)
    smiles = [reference_smiles()[i] for i in kinds()[kind]]
    plain = [Chem.CanonSmiles(text) for text in smiles]
    changed = [results[i]["smiles"] != text for i, text in zip(kinds()[kind], plain, strict=True)]
    assert sum(changed) >= 2


def test_reference_set_has_scaffolds_to_take_apart_and_duplicates():
    """The structures include more than three rings, acyclic ones, equal structures and equal fingerprints."""
    results = reference_results(FAST, SEED)
    cut = [result for result in results if result.get("murcko") != result.get("scaffold")]
    assert len(cut) >= 5
    assert all(CalcNumRings(Chem.MolFromSmiles(result["murcko"])) > 3 for result in cut)
    assert len({results[i]["smiles"] for i in kinds()["duplicate"]}) == 1
    twins = [results[i] for i in kinds()["twin"]]
    assert len({twin["smiles"] for twin in twins}) == 4
    assert len({tuple(twin["bits"]) for twin in twins}) == 2
    assert len({twin["murcko"] for twin in twins}) == 3


@pytest.mark.parametrize(
    "folds", [Folds(scaffold_balanced=True), Folds(method="random"), Folds(method="lsh", lsh_bits=(1, 5, 900))]
)
def test_results_are_those_of_the_preparation(folds):
    """Bits and fold of every accepted reference structure are those that make_compounds gives it, for each method."""
    settings = replace(FAST, folds=folds)
    results = reference_results(settings, SEED)
    smiles = reference_smiles()
    ids = [str(i) for i in range(len(smiles))]
    table = pl.DataFrame({"input_compound_id": ids, "smiles": smiles}).with_row_index("input_row", offset=1)
    compounds = make_compounds(table, settings, SEED)
    for row, name, canonical, fold in compounds.rows.iter_rows():
        result = results[int(name)]
        assert (result["smiles"], result["fold"]) == (canonical, fold)
        assert result["bits"] == compounds.x[row].indices.tolist()
    refused = dict(compounds.rejected.select("input_compound_id", "reason").iter_rows())
    assert {str(i): result["reason"] for i, result in enumerate(results) if result["reason"]} == refused


def test_each_part_of_the_results_enters_the_digest(monkeypatch):
    """Changing one value in the results of one structure changes the digest."""
    whole = consistency_digest(FAST, SEED)
    results = reference_results(FAST, SEED)
    assert set(results[0]) == {"reason", "smiles", "murcko", "scaffold", "bits", "values", "fold"}
    digests = {whole}
    for key, value in results[0].items():
        altered = [results[0] | {key: [value, "x"]}, *results[1:]]
        monkeypatch.setattr(consistency, "reference_results", lambda *_, altered=altered: altered)
        digests.add(consistency_digest(FAST, SEED))
    assert len(digests) == len(results[0]) + 1


def test_the_digest_shows_nothing_of_the_seed():
    """The digest is keyed, of a text that begins unlike those for bits and folds; seeds that differ in a bit differ."""
    digest = consistency_digest(FAST, SEED)
    other = consistency_digest(FAST, bytes([SEED[0] ^ 1, *SEED[1:]]))
    assert 70 < (int(digest, 16) ^ int(other, 16)).bit_count() < 186
    assert SEED.hex() not in digest
