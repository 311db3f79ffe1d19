"""Compounds: one row per standardised structure, one fold per fingerprint."""

import numpy as np
import polars as pl

from data_prep.folds.compounds import make_compounds
from data_prep.settings import Chemistry, Fingerprint, Preparation
from tests.support.data_prep.small_tables import FAST, SEED, STRUCTURES


def t2_table(rows):
    return pl.DataFrame(
        [(i + 1, *row) for i, row in enumerate(rows)],
        schema={"input_row": pl.UInt32, "input_compound_id": pl.String, "smiles": pl.String},
        orient="row",
    )


def rows_of(*rows: object):
    return make_compounds(t2_table(rows), FAST, SEED)


def test_same_structure_same_row():
    """Ids with the same standardised structure share a row, for any salt or SMILES; other structures have their own."""
    compounds = rows_of(("a", "OCC"), ("b", "CCO.Cl"), ("c", "CCCO"), ("a", "C(C)O"))
    assert compounds.rows.select("row", "input_compound_id", "canonical_smiles").rows() == [
        (0, "c", "CCCO"),
        (1, "a", "CCO"),
        (1, "b", "CCO"),
    ]
    assert compounds.x.shape == (2, 1024)
    assert compounds.rejected.is_empty()


def test_an_id_with_two_structures_is_rejected():
    """All rows of an id with two structures are rejected; of an id with an unparsable row, only that row."""
    compounds = rows_of(("a", "CCO"), ("b", "C"), ("a", "CCCO"), ("b", "C("), ("c", None))
    assert compounds.rejected.sort("input_row").select("input_row", "reason").rows() == [
        (1, "conflicting_structures"),
        (3, "conflicting_structures"),
        (4, "unparsable"),
        (5, "empty"),
    ]
    assert compounds.rows["input_compound_id"].to_list() == ["b"]


def test_row_order_does_not_matter():
    """Shuffled input gives the same matrix, folds and rows."""
    rows = [(f"C{i}", smiles) for i, smiles in enumerate(STRUCTURES)]
    order = np.random.default_rng(1).permutation(len(rows))
    first, other = rows_of(*rows), rows_of(*(rows[i] for i in order))
    assert (first.x != other.x).nnz == 0
    np.testing.assert_array_equal(first.folding, other.folding)
    assert first.rows.equals(other.rows)


def test_equal_fingerprints_never_sit_in_two_folds():
    """Structures with the same bits take the fold of the first of them by canonical SMILES."""
    coarse = Preparation(chemistry=Chemistry(tautomers="keep"), fingerprint=Fingerprint(radius=0, n_bits=16))
    rings = [f"C1{'C' * n}C1" for n in range(1, 30)]
    compounds = make_compounds(t2_table([(f"C{i}", smiles) for i, smiles in enumerate(rings)]), coarse, SEED)
    alone = {
        smiles: make_compounds(t2_table([("x", smiles)]), coarse, SEED).folding[0]
        for smiles in compounds.rows["canonical_smiles"]
    }
    assert len(set(alone.values())) > 1
    assert len({compounds.x[i].indices.tobytes() for i in range(compounds.x.shape[0])}) == 1
    assert set(compounds.folding.tolist()) == {alone[compounds.rows["canonical_smiles"][0]]}


def test_another_seed_moves_bits_and_folds():
    """Under another seed the same structures have other bits and other folds, but as many of each."""
    rows = t2_table([(f"C{i}", smiles) for i, smiles in enumerate(STRUCTURES)])
    first, other = make_compounds(rows, FAST, SEED), make_compounds(rows, FAST, SEED[::-1])
    assert (first.x != other.x).nnz > 0
    assert first.x.nnz == other.x.nnz
    assert first.folding.tolist() != other.folding.tolist()


def test_nothing_accepted_gives_an_empty_matrix():
    """A table of invalid structures gives no rows of x, and all its rows are rejected."""
    compounds = rows_of(("a", "C("), ("b", ""))
    assert compounds.x.shape == (0, 1024)
    assert compounds.rejected.height == 2


def test_every_part_of_the_work_is_told():
    """Progress is reported for structures, then scaffolds, then folds, each up to its total."""
    calls: list[tuple[int, int, str]] = []
    rings = [(f"r{i}", f"C1CC1{'C' * i}C1CC1") for i in range(40)]
    make_compounds(t2_table(rings), FAST, SEED, progress=lambda done, total, note="": calls.append((done, total, note)))
    scaffolds = "scaffolds for the folds"
    tenths = [(done, 40) for done in (10, 20, 30, 40)]  # each kind of ring system has a scaffold of its own
    assert calls == [(*far, part) for part in ("", scaffolds) for far in tenths] + [(40, 40, "folds")]
