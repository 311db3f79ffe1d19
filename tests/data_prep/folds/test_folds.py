"""Folds equal MELLODDY-TUNER's, depend on the structure alone, and never split one fingerprint over two folds."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from data_prep.folds.compounds import Compounds, make_compounds
from data_prep.folds.folds import (
    _at_most_one_ring,
    assign_folds,
    balance_warnings,
    fold_balance,
    needs_fold_scaffolds,
)
from data_prep.folds.keyed import keyed_digest, scaffold_folds
from data_prep.settings import LSH_BITS, Chemistry, Fingerprint, Folds, Preparation
from data_prep.structures.structures import Structures, fold_scaffolds, standardise_all
from tests.support.data_prep.small_tables import FAST, SEED

KEY = b"melloddy"
METHODS = {
    "scaffold": Folds(),
    "balanced": Folds(scaffold_balanced=True),
    "lsh": Folds(method="lsh", lsh_bits=(3, 80, 314, 511, 700, 902, 1017)),
    "random": Folds(method="random"),
}


def structures_of(fingerprints: list[list[int]], murcko: list[str | None]) -> Structures:
    """Structures with these bits and scaffolds."""
    starts = np.cumsum([0, *map(len, fingerprints)])
    bits = np.array([bit for row in fingerprints for bit in sorted(row)], np.int32)
    n = len(murcko)
    return Structures([f"C{i}" for i in range(n)], murcko, [None] * n, bits, np.ones_like(bits), starts)


def folds_of(structures: Structures, chosen: Folds, seed: bytes = SEED) -> list[int]:
    scaffolds = {scaffold: scaffold for scaffold in structures.murcko}
    return assign_folds(structures, np.arange(len(structures.smiles)), scaffolds, chosen, seed).tolist()


def t2_table(smiles: list[str]) -> pl.DataFrame:
    columns = {"input_compound_id": smiles, "smiles": smiles}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).with_row_index("input_row", offset=1)


# ---------------------------------------------------------------------------------------------------- the peer's values


@pytest.mark.slow
def test_golden_scaffold_folds(golden, standardised):
    """All golden structures get MELLODDY-TUNER's folds."""
    indices = np.arange(golden.height)
    folding = assign_folds(standardised, indices, fold_scaffolds(standardised.murcko, workers=2), Folds(), KEY)
    differ = folding != golden["fold_id"].to_numpy()
    shared = golden.with_columns(ours=folding).group_by("bits").agg(pl.col("fold_id").n_unique())
    assert not differ.any()
    assert (shared["fold_id"] == 1).all()  # so the rule for equal fingerprints had nothing to do


def test_golden_lsh_folds():
    """Structures with no LSH bit and with all LSH bits get MELLODDY-TUNER's folds 4 and 0."""
    structures = structures_of([[], [1, 5], list(LSH_BITS), [*LSH_BITS, 1]], [None] * 4)
    assert folds_of(structures, Folds(method="lsh"), KEY) == [4, 4, 0, 0]


def test_lsh_folds_of_real_structures_are_those_of_their_bits(golden):
    """LSH folds follow the peer's rule by hand: RDKit's fingerprint, 16 characters in the bits' order, one draw."""
    smiles = golden["canonical_smiles"].to_list()[:300]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=32_000)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in smiles]
    strings = ["".join(str(int(fp.GetBit(bit))) for bit in LSH_BITS) for fp in prints]
    structures = standardise_all(smiles, Chemistry(tautomers="keep"), Fingerprint())
    assert structures.smiles == smiles
    assert len(set(strings)) > 20
    assert folds_of(structures, Folds(method="lsh"), KEY) == scaffold_folds(KEY, strings, 5)


# ------------------------------------------------------------------------------ functions of the structure and the seed


def prepared_folds(smiles: list[str], chosen: Folds, workers: int = 1) -> dict[str, tuple[int, bytes]]:
    """Fold and bits of each canonical SMILES."""
    compounds = compounds_of(smiles, chosen, workers)
    bits = [compounds.x[i].indices.tobytes() for i in range(compounds.x.shape[0])]
    rows = compounds.rows.unique("canonical_smiles")
    return {text: (fold, bits[row]) for row, text, fold in rows.select("row", "canonical_smiles", "fold").iter_rows()}


def compounds_of(smiles: list[str], chosen: Folds, workers: int = 1) -> Compounds:
    return make_compounds(t2_table(smiles), replace(FAST, folds=chosen), SEED, workers=workers)


@pytest.fixture(scope="module")
def smiles(golden: pl.DataFrame) -> list[str]:
    """600 real structures, some acyclic and some of one ring."""
    few_rings = [f"{'C' * n}{end}" for n in range(1, 20) for end in ("O", "N", "c1ccccc1", "C1CCNC1")]
    return [*golden["canonical_smiles"].to_list()[:524], *few_rings]


@pytest.mark.parametrize("method", METHODS)
def test_three_partners_agree(smiles: list[str], method: str):
    """Split at random among three partners, shuffled, one with two workers: the same canonical SMILES, bits and folds.

    In this set no two scaffolds share a fingerprint, the one case in which other structures decide a scaffold's fold.
    """
    rng = np.random.default_rng(7)
    everything = prepared_folds(smiles, METHODS[method])
    owner = rng.integers(0, 3, len(smiles))
    parts = [[smiles[i] for i in rng.permutation(np.flatnonzero(owner == p))] for p in range(3)]
    together: dict[str, tuple[int, bytes]] = {}
    for part in parts:
        together |= prepared_folds(part, METHODS[method], workers=1 + (part is parts[2]))
    assert together == everything
    assert len({fold for fold, _ in everything.values()}) == 5


_FINGERPRINTS = st.lists(st.integers(0, 1023), max_size=4, unique=True)
_SCAFFOLDS = st.sampled_from([None, "c1ccccc1", "C1CCCCC1", "c1ccc2ccccc2c1", "c1ccc(-c2ccccc2)cc1"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_FINGERPRINTS, _SCAFFOLDS), min_size=1, max_size=30), st.sampled_from(list(METHODS)))
def test_no_fingerprint_sits_in_two_folds(structures: list[tuple[list[int], str | None]], method: str):
    """For every method, bits and scaffolds, equal fingerprints share a fold from 0 to n_folds - 1."""
    together = structures_of([sorted(bits) for bits, _ in structures], [scaffold for _, scaffold in structures])
    folds = folds_of(together, METHODS[method])
    fold_of: dict[tuple[int, ...], int] = {}
    for (bits, _), fold in zip(structures, folds, strict=True):
        assert fold_of.setdefault(tuple(sorted(bits)), fold) == fold in range(5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_FINGERPRINTS, _SCAFFOLDS), min_size=1, max_size=30), st.sampled_from(["lsh", "random"]))
def test_other_structures_never_decide_where_fingerprints_do(structures, method: str):
    """By LSH bits or at random each structure has the fold that it has alone, even if fingerprints are shared."""
    together = structures_of([sorted(bits) for bits, _ in structures], [scaffold for _, scaffold in structures])
    alone = [folds_of(structures_of([sorted(bits)], [scaffold]), METHODS[method])[0] for bits, scaffold in structures]
    assert folds_of(together, METHODS[method]) == alone


def test_the_first_of_equal_fingerprints_decides_between_scaffolds():
    """Two scaffolds with one fingerprint get the fold of the first, the documented exception."""
    scaffolds = ["c1ccc2ccccc2c1", "c1ccc2ncccc2c1", "c1ccc(-c2ccccc2)cc1"]
    alone = scaffold_folds(SEED, scaffolds, 5)
    assert len(set(alone)) > 1
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        structures = structures_of([[5, 9]] * 3, [scaffolds[i] for i in order])
        assert folds_of(structures, Folds()) == [alone[order[0]]] * 3


def test_folds_by_fingerprint_are_keyed_digests():
    """A random fold is the keyed digest of the 32-bit bit numbers modulo n_folds, with a prefix of its own."""
    structures = structures_of([[1, 700], [3]], [None, None])
    prefix = b"hocket fold of a fingerprint\0"
    rows = [np.array(bits, "<i4").tobytes() for bits in ([1, 700], [3])]
    expected = [int.from_bytes(keyed_digest(SEED, prefix + row)[:8], "big") % 5 for row in rows]
    assert folds_of(structures, Folds(method="random")) == expected


@pytest.mark.slow
def test_another_seed_gives_other_folds(smiles: list[str]):
    """Another seed gives other folds, for every method."""
    for chosen in METHODS.values():
        here = make_compounds(t2_table(smiles), replace(FAST, folds=chosen), SEED)
        there = make_compounds(t2_table(smiles), replace(FAST, folds=chosen), SEED[::-1])
        assert (here.folding != there.folding).mean() > 0.5


# ------------------------------------------------------------------------------------------------------------- balance


def test_balanced_folds_spread_few_rings_and_keep_larger_scaffolds_together(smiles: list[str]):
    """Compounds of at most one ring are spread over folds; compounds of a larger Murcko scaffold share one fold."""
    peer, balanced = (compounds_of(smiles, METHODS[name]) for name in ("scaffold", "balanced"))
    table = balanced.rows.unique("canonical_smiles").sort("row")
    murcko = standardise_all(table["canonical_smiles"].to_list(), FAST.chemistry, FAST.fingerprint).murcko
    rings = [rdMolDescriptors.CalcNumRings(Chem.MolFromSmiles(text or "")) for text in murcko]
    table = table.with_columns(murcko=pl.Series(murcko), few=pl.Series(rings) <= 1, before=peer.folding)
    assert table.filter("few").filter(pl.col("murcko").is_null())["before"].n_unique() == 1
    assert table.filter("few").filter(pl.col("murcko").is_null())["fold"].n_unique() == 5
    assert table.filter(murcko="c1ccccc1")["fold"].n_unique() >= 3
    larger = table.filter(~pl.col("few")).group_by("murcko").agg(pl.col("fold").n_unique(), n=pl.len())
    assert (larger["fold"] == 1).all()
    assert larger["n"].max() > 10


@pytest.mark.slow
def test_golden_structures_are_balanced_better(golden, standardised):
    """The peer puts 36 % of the golden structures into one fold under its own key; balanced folds stay below 30 %."""
    indices = np.arange(golden.height)
    folding = assign_folds(standardised, indices, {}, Folds(scaffold_balanced=True), KEY)
    assert np.bincount(golden["fold_id"].to_numpy()).max() > 0.35 * golden.height
    assert np.bincount(folding).max() < 0.30 * golden.height


def test_rings_are_counted_as_rdkit_does(standardised):
    """Ring counts from a scaffold's SMILES equal RDKit's, with two-digit closures and brackets."""
    murcko = [*{s for s in standardised.murcko if s}, "c1ccccc1", "C%10CCCC%10", "C1CC[NH2+]C1", "C1CC2CCC1C2"]
    rings = [rdMolDescriptors.CalcNumRings(Chem.MolFromSmiles(text)) for text in murcko]
    assert _at_most_one_ring([*murcko, None]).tolist() == [*(n <= 1 for n in rings), True]
    assert {n <= 1 for n in rings} == {True, False}


def test_the_balance_counts_every_compound_once():
    """Compounds, shares and scaffolds of each fold, even an empty one, are as counted by hand."""
    folding = np.array([0, 0, 2, 2, 2, 0])
    balance = fold_balance(folding, ["a", "a", None, "b", "c", "b"], 4)
    assert balance == [
        {"fold": 0, "compounds": 3, "share": 0.5, "scaffolds": 2},
        {"fold": 1, "compounds": 0, "share": 0.0, "scaffolds": 0},
        {"fold": 2, "compounds": 3, "share": 0.5, "scaffolds": 3},
        {"fold": 3, "compounds": 0, "share": 0.0, "scaffolds": 0},
    ]
    assert [row["compounds"] for row in fold_balance(np.zeros(0, np.int64), [], 3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("sizes", "warned"),
    [([20] * 5, []), ([40, 15, 15, 15, 15], []), ([41, 15, 15, 15, 14], [0]), ([10, 22, 22, 23, 23], []),
     ([9, 22, 23, 23, 23], [0]), ([0, 100, 0, 0, 0], [0, 1, 2, 3, 4])],
)  # fmt: skip
def test_uneven_folds_are_warned_of(sizes: list[int], warned: list[int]):
    """A fold gets a warning beyond twice or half of an even share, not at it; the advice fits the method."""
    balance = fold_balance(np.repeat(np.arange(5), sizes), [None] * 100, 5)
    for chosen in METHODS.values():
        warnings = balance_warnings(balance, chosen)
        assert [text.split(" holds")[0] for text in warnings] == [f"fold {fold}" for fold in warned]
        assert all(("scaffold_balanced" in text) == needs_fold_scaffolds(chosen) for text in warnings)


def test_make_compounds_counts_its_folds(smiles: list[str]):
    """The balance of compounds is that of their folds and fold scaffolds."""
    compounds = compounds_of(smiles, Folds())
    assert [row["compounds"] for row in compounds.balance] == np.bincount(compounds.folding, minlength=5).tolist()
    assert sum(row["share"] for row in compounds.balance) == pytest.approx(1, abs=0.001)
    murcko = standardise_all(compounds.rows["canonical_smiles"].to_list(), FAST.chemistry, FAST.fingerprint).murcko
    series = fold_scaffolds(murcko)
    expected = {(fold, series[scaffold]) for fold, scaffold in zip(compounds.rows["fold"], murcko, strict=True)}
    assert sum(row["scaffolds"] for row in compounds.balance) == len(expected)


# ------------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Folds(method="series"), "method: found 'series'"),
        (lambda: Folds(method="lsh", scaffold_balanced=True), "scaffold_balanced: found True"),
        (lambda: Folds(lsh_bits=()), "lsh_bits: found"),
        (lambda: Folds(lsh_bits=(1, 1)), "lsh_bits: found"),
        (lambda: Folds(lsh_bits=(-1, 1)), "lsh_bits: found"),
        (lambda: Folds(lsh_bits=tuple(range(33))), "lsh_bits: found"),
    ],
)
def test_wrong_settings_are_refused(make, message: str):
    """The error names the setting and the value found."""
    with pytest.raises(ValueError, match=message):
        make()


def test_lsh_bits_must_belong_to_the_fingerprint():
    """The default LSH bits are refused for another fingerprint, and so are bits beyond its length."""
    assert Preparation(folds=Folds(method="lsh")).folds.lsh_bits == LSH_BITS
    for other in (Fingerprint(radius=2), Fingerprint(n_bits=65_536)):
        with pytest.raises(ValueError, match=r"lsh_bits.*\bradius 3\b.*\b32,000 bits"):
            Preparation(fingerprint=other, folds=Folds(method="lsh"))
        assert Preparation(fingerprint=other, folds=Folds(method="lsh", lsh_bits=(0, 31_999)))
        assert Preparation(fingerprint=other)
    with pytest.raises(ValueError, match=r"places below fingerprint\.n_bits, 1024"):
        Preparation(fingerprint=Fingerprint(n_bits=1024), folds=Folds(method="lsh", lsh_bits=(1024,)))
    assert Preparation(fingerprint=Fingerprint(n_bits=1024), folds=Folds(method="lsh", lsh_bits=(1023,)))


def test_fold_lengths_fit(standardised):
    """A selection in another order gives the same folds in that order, if no fingerprint is shared."""
    bits = [standardised.bits[a:b].tobytes() for a, b in pairwise(standardised.starts)]
    indices = np.array([i for i, row in enumerate(bits) if bits.count(row) == 1][:200])
    scaffolds = {scaffold: scaffold for scaffold in standardised.murcko}
    for chosen in (Folds(), Folds(scaffold_balanced=True), Folds(method="lsh"), Folds(method="random")):
        folding = assign_folds(standardised, indices, scaffolds, chosen, SEED)
        np.testing.assert_array_equal(assign_folds(standardised, indices[::-1], scaffolds, chosen, SEED), folding[::-1])
