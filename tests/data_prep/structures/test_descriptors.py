"""Descriptors against RDKit called directly; odd structures; any order of atoms; workers, cache and limits."""

import csv
import sqlite3
from contextlib import closing
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdMolDescriptors

from data_prep.descriptors.listed import DESCRIPTORS
from data_prep.settings import Chemistry, Fingerprint
from data_prep.structures import steps, structures
from data_prep.structures.cache import keys_of
from data_prep.structures.descriptors import descriptors_of
from data_prep.structures.standardise import standardiser
from data_prep.structures.steps import CRASHED, TIMEOUT, DescriptorStep, Step, StepResult
from data_prep.structures.structures import describe_all, standardise_all

ROWS = list(csv.DictReader(files("data_prep.folds").joinpath("reference_structures.csv").read_text().splitlines()))
KEEP = Chemistry(tautomers="keep")
REFERENCE = [text for text in standardise_all([row["smiles"] for row in ROWS], KEEP, Fingerprint()).smiles if text]
ODD = [
    *("[Fe]", "[Na+]", "[He]", "[H][H]", "[H+]", "[CH3]", "C[O]", "CC1(C)CCCC(C)(C)N1[O]", "[N]=O"),
    *(
        "C[Se]C",
        "C[As](C)C",
        "[CH3][Sn]([CH3])([CH3])[CH3]",
        "[O]=[U]=[O]",
        "*c1ccccc1",
        "S1SSSSSSS1",
        "FS(F)(F)(F)(F)F",
    ),
    *("N.[Cl-]", "[C-]#[O+]", "B1BBB1", "C" * 300, "NCC(=O)" * 25 + "O"),
]
NO_HEAVY_ATOM = {"[H][H]", "[H+]"}


def of(smiles: str, name: str) -> float:
    return float(descriptors_of(smiles)[DESCRIPTORS.index(name)])


def test_every_value_is_rdkits_own():
    """Each descriptor of each public structure is what RDKit's function gives for a fresh molecule, in float32."""
    functions = dict(Descriptors.descList)
    for smiles in REFERENCE:
        expected = [np.float32(functions[name](Chem.MolFromSmiles(smiles))) for name in DESCRIPTORS]
        np.testing.assert_array_equal(descriptors_of(smiles), expected, err_msg=smiles)


def test_well_known_values():
    """Aspirin by RDKit's C++ functions, found under the names of the list."""
    aspirin, mol = "CC(=O)Oc1ccccc1C(=O)O", Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    assert of(aspirin, "HeavyAtomCount") == 13
    assert of(aspirin, "TPSA") == np.float32(rdMolDescriptors.CalcTPSA(mol))
    assert of(aspirin, "MolLogP") == np.float32(rdMolDescriptors.CalcCrippenDescriptors(mol)[0])
    assert of(aspirin, "fr_ester") == 1


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(REFERENCE + ODD), st.randoms(use_true_random=False))
def test_the_order_of_atoms_does_not_matter(smiles, random):
    """The same structure with its atoms in another order has the same descriptors, to the last digits of a float32."""
    mol = Chem.MolFromSmiles(smiles)
    order = random.sample(range(mol.GetNumAtoms()), mol.GetNumAtoms())
    other = Chem.MolToSmiles(Chem.RenumberAtoms(mol, order), canonical=False)
    np.testing.assert_allclose(descriptors_of(other), descriptors_of(smiles), rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(REFERENCE), st.randoms(use_true_random=False))
def test_after_standardisation_not_a_byte_differs(smiles, random):
    """Any spelling of a structure ends in one canonical SMILES, so in the same bytes."""
    mol = Chem.MolFromSmiles(smiles)
    order = random.sample(range(mol.GetNumAtoms()), mol.GetNumAtoms())
    other = Chem.MolToSmiles(Chem.RenumberAtoms(mol, order), canonical=False)
    forms = [standardiser(KEEP, Fingerprint()).structure(text).smiles for text in (smiles, other)]
    assert forms[0] == forms[1]
    assert descriptors_of(forms[0]).tobytes() == descriptors_of(forms[1]).tobytes()


@pytest.mark.parametrize("smiles", ODD, ids=lambda smiles: smiles[:20])
def test_odd_structures_have_numbers(smiles):
    """Metals, radicals, ions, single atoms, rare elements and large chains: no error, nothing infinite, no -0."""
    values = descriptors_of(smiles)
    assert (values.dtype, values.shape) == (np.float32, (len(DESCRIPTORS),))
    missing = {name for name, value in zip(DESCRIPTORS, values, strict=True) if np.isnan(value)}
    assert missing == ({"SPS"} if smiles in NO_HEAVY_ATOM else set())
    assert np.isfinite(values[~np.isnan(values)]).all()
    assert not np.signbit(values[values == 0]).any()


@pytest.mark.parametrize("text", ["C(", "c1ccc", "é"])
def test_what_rdkit_cannot_read_has_no_numbers(text):
    """NaN throughout; the standardiser gives no such text."""
    with rdBase.BlockLogs():
        assert np.isnan(descriptors_of(text)).all()


def test_a_failing_or_overflowing_descriptor_is_nan(monkeypatch):
    """An error, an infinity, or a number too large for float32 becomes NaN, and the others stay."""

    def failing(_mol: Chem.Mol) -> float:
        raise ZeroDivisionError

    made = {"MolWt": failing, "TPSA": lambda _: 1e39, "MolLogP": lambda _: np.inf, "MolMR": lambda _: -0.0}
    expected = descriptors_of("CCO")
    for name, function in made.items():
        monkeypatch.setitem(module_functions(), name, function)
        expected[DESCRIPTORS.index(name)] = 0 if name == "MolMR" else np.nan
    assert descriptors_of("CCO").tobytes() == expected.tobytes()


def module_functions() -> dict[str, object]:
    from data_prep.structures import descriptors  # noqa: PLC0415 - its name is that of many variables here

    return descriptors._FUNCTIONS


def test_any_number_of_workers_and_any_order():
    """Two processes and one give the rows of descriptors_of; equal structures get equal rows."""
    smiles = [*REFERENCE[:20], *REFERENCE[:3]]
    expected = np.array([descriptors_of(text) for text in smiles])
    for workers in (1, 2):
        described = describe_all(smiles, workers=workers)
        assert (described.dtype, described.tobytes()) == (np.float32, expected.tobytes())
    assert describe_all([]).shape == (0, len(DESCRIPTORS))


def listened(monkeypatch) -> list[str | None]:
    """Record what is computed from now on, since the cache lacks it."""
    log: list[str | None] = []

    def made(step: Step, texts: list[str], _timeout_s: float) -> list[StepResult]:
        log.extend(texts)
        return [step.make(text) for text in texts]

    monkeypatch.setattr(structures, "guarded", made)
    return log


def test_what_is_in_the_cache_is_not_computed_again(tmp_path, monkeypatch):
    """Descriptors from the cache are the same bytes; structures cached without them are not standardised again."""
    cache = tmp_path / "structures.cache"
    known = standardise_all(["OCC", "CCN"], KEEP, Fingerprint(), cache=cache)
    log = listened(monkeypatch)
    assert standardise_all(["OCC", "CCN"], KEEP, Fingerprint(), cache=cache).smiles == known.smiles == ["CCO", "CCN"]
    assert log == []
    fresh = describe_all(["CCO", "CCN", "CCO"], cache=cache)
    assert log == ["CCO", "CCN"]
    assert describe_all(["CCO", "CCN", "CCO"], cache=cache).tobytes() == fresh.tobytes()
    assert describe_all(["CCS", "CCN"], cache=cache)[1].tobytes() == fresh[1].tobytes()
    assert log == ["CCO", "CCN", "CCS"]


def test_another_list_rdkit_or_code_is_another_key(monkeypatch):
    """Cached descriptors hold for one version of the list, of RDKit and of the code."""
    keys = keys_of(DescriptorStep(), ["C", "CC"])
    for name in ("DESCRIPTORS_VERSION", "CODE_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(steps, name, "another")
            keys += keys_of(DescriptorStep(), ["C", "CC"])
    with monkeypatch.context() as patch:
        patch.setattr(steps.rdkit, "__version__", "another")
        keys += keys_of(DescriptorStep(), ["C", "CC"])
    assert len(set(keys)) == len(keys) == 8


@pytest.mark.parametrize("reason", [TIMEOUT, CRASHED])
def test_a_structure_that_takes_too_long_or_crashes_has_a_row_without_numbers(monkeypatch, reason):
    """It is no reason to reject the compound."""

    def made(step: Step, texts: list[str], _timeout_s: float) -> list[StepResult]:
        return [StepResult(reason=reason) if text == "CCN" else step.make(text) for text in texts]

    monkeypatch.setattr(structures, "guarded", made)
    described = describe_all(["CCO", "CCN"])
    assert np.isnan(described[1]).all()
    np.testing.assert_array_equal(described[0], descriptors_of("CCO"))


def test_damaged_cached_descriptors_are_computed_again(tmp_path, monkeypatch):
    """Of rows with a flipped byte, another row's content or a cut end none is believed; the others are."""
    cache, smiles = tmp_path / "structures.cache", ["CCO", "CCN", "CCS", "CCC"]
    fresh = describe_all(smiles, cache=cache)
    keys = keys_of(DescriptorStep(), smiles)
    with closing(sqlite3.connect(cache)) as file, file:
        content = dict(file.execute("SELECT * FROM outcomes_1"))
        flipped = bytearray(content[keys[0]])
        flipped[len(flipped) // 2] ^= 1
        for key, wrong in zip(keys, [bytes(flipped), content[keys[3]], content[keys[2]][:-4]], strict=False):
            file.execute("UPDATE outcomes_1 SET content = ? WHERE key = ?", (wrong, key))
    log = listened(monkeypatch)
    assert describe_all(smiles, cache=cache).tobytes() == fresh.tobytes()
    assert log == ["CCO", "CCN", "CCS"]
