"""Fold scaffolds equal the peer's, and those of RDKit's whole scaffold network."""

import polars as pl
import pytest
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Scaffolds import rdScaffoldNetwork

from data_prep.structures.scaffolds import _closest_nodes, _network_settings, _preference, fold_scaffold
from data_prep.structures.structures import fold_scaffolds


def _from_whole_network(murcko: str) -> str:
    network = rdScaffoldNetwork.CreateScaffoldNetwork([Chem.MolFromSmiles(murcko)], _network_settings())
    return min((str(node) for node in network.nodes), key=_preference)


def test_golden_fold_scaffolds(golden, standardised):
    """All golden structures get the peer's fold scaffold."""
    of_murcko = fold_scaffolds(standardised.murcko)
    assert [str(of_murcko[murcko]) for murcko in standardised.murcko] == golden["fold_scaffold"].fill_null(
        "None"
    ).to_list()


def test_golden_scaffold_pairs(shared):
    """The 504 pairs of the peer's unit test hold."""
    pairs = pl.read_csv(shared / "golden/tuner/scaffold_folds.csv", infer_schema_length=None)
    of_murcko = fold_scaffolds(pairs["murcko_smiles"])
    assert [of_murcko[murcko] for murcko in pairs["murcko_smiles"]] == pairs["sn_smiles"].to_list()


@pytest.mark.parametrize(
    "murcko",
    [
        "c1ccc(-c2ccc(-c3ccc(-c4ccccc4)cc3)cc2)cc1",
        "c1ccc(N(c2ccccc2)c2ccc(N(c3ccccc3)c3ccccc3)cc2)cc1",
        "O=C(Nc1ccccc1)C(c1ccccc1)(c1ccncc1)c1ccc(Cn2ccnc2)cc1",
        "c1ccc(-n2cc(-n3ccnc3)c(-c3ccoc3)n2)cc1",
        "C1CC2CC1C1C2C2CC1C1CCC2C1",
        "O=C1CCC(=Cc2ccc(-c3ccc(-c4ccccc4)s3)o2)C1",
        "c1ccc(-c2cc[n+](Cc3ccc(-c4ccccc4)cc3)cc2)cc1",
        "[O-][S+](c1ccc(-c2ccccc2)cc1)c1ccc(-c2ccccc2)cc1",
        "C1CC2(C1)CCN(c1nc(N3CCOCC3)c3ccccc3n1)C2",
    ],
)
def test_taking_apart_down_to_three_rings_finds_the_networks_choice(murcko):
    """Stopping at three rings gives the same node as the whole network."""
    murcko = Chem.CanonSmiles(murcko)
    assert fold_scaffold(murcko) == _from_whole_network(murcko)


def test_real_scaffolds_by_both_ways(golden):
    """For a sample of real scaffolds of more than three rings, the node is that of the whole network."""
    large = [
        m
        for m in golden["murcko_scaffold"].drop_nulls().unique().sort()
        if rdMolDescriptors.CalcNumRings(Chem.MolFromSmiles(m)) > 3
    ]
    assert len(large) > 300
    for murcko in large[::6]:
        assert fold_scaffold(murcko) == _from_whole_network(murcko)


def test_small_scaffolds_stand_for_themselves():
    """Up to three rings a scaffold is its own fold scaffold, and acyclic structures have none."""
    assert fold_scaffold("c1ccc(-c2ccccc2)cc1") == "c1ccc(-c2ccccc2)cc1"
    assert fold_scaffolds([None, "c1ccccc1", None]) == {None: None, "c1ccccc1": "c1ccccc1"}


def test_a_star_of_many_rings_costs_milliseconds():
    """The number of nodes that become molecules stays small for a star-shaped scaffold of 12 rings."""
    star = "c1ccc(N(c2ccccc2)c2cc(N(c3ccccc3)c3ccccc3)c(N(c3ccccc3)c3ccccc3)c(N(c3ccccc3)c3ccccc3)c2)cc1"
    assert len(_closest_nodes(Chem.MolFromSmiles(star))) <= 12


def test_scaffolds_rdkit_cannot_read_are_missing():
    """A scaffold that cannot be fragmented has a reason and does not stop the run."""
    assert fold_scaffolds(["c1ccccc1", "c1ccc"]) == {None: None, "c1ccccc1": "c1ccccc1"}
