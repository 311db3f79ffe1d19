"""The public benchmark divided among partners, tested with a tiny wheel in place of the real one."""

import zipfile
from itertools import product
from pathlib import Path

import polars as pl
import pytest
from rdkit import Chem

from data_prep.errors import BenchmarkError
from data_prep.samples.benchmark_split import split_benchmark
from data_prep.structures.standardise import murcko_scaffold

_RINGS = (
    "c1ccccc1",
    "c1ccncc1",
    "c1ccsc1",
    "C1CCCCC1",
    "C1CCNCC1",
    "c1cnoc1",
    "c1ccc2ccccc2c1",
    "C1CCOC1",
    "c1cnc[nH]1",
)
_SIZES = ("C", "CC", "CCC", "OC", "NC", "ClC", "NC(=O)", "OC(=O)C", "FC", "OCC")
_SMILES = [f"{group}{'C' * n}{ring}" for ring, group, n in product(_RINGS, _SIZES, range(4))]
_ASSAYS = ("CHEMBL1_Ki", "CHEMBL2_EC50", "CHEMBL3_Ki", "CHEMBL4_Ki")


def _wheel(path: Path, header="smiles,exp_mean [nM],y,cliff_mol,split", extra=()) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MoleculeACE/__init__.py", "")
        for k, assay in enumerate(_ASSAYS):
            rows = [f"{s},{10.0 ** (i % 5)},0,0,train" for i, s in enumerate(_SMILES) if (i + k) % 3]
            archive.writestr(f"MoleculeACE/Data/benchmark_data/{assay}.csv", "\n".join([header, *rows, *extra]) + "\n")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return _wheel(tmp_path_factory.mktemp("wheel") / "MoleculeACE-3.0.0-py3-none-any.whl")


def _tables(folder: Path) -> list[pl.DataFrame]:
    return [pl.read_csv(folder / f"T{i}.csv") for i in range(3)]


def _scaffold(smiles: str) -> str | None:
    return murcko_scaffold(Chem.MolFromSmiles(smiles))


def test_partners_tables(wheel, tmp_path):
    """Tables are whole: ids match, thresholds are 6, 7, 8, values are pXC50, sizes fall, every compound has a value."""
    partners = split_benchmark(wheel, 3, 1.0, 5, tmp_path / "data")
    assert [p.name for p in partners] == ["P01", "P02", "P03"]
    sizes = []
    for partner in partners:
        assays, activities, compounds = _tables(partner)
        assert set(activities["input_assay_id"]) == set(assays["input_assay_id"])
        assert set(activities["input_compound_id"]) == set(compounds["input_compound_id"])
        assert assays.select("assay_type", "expert_threshold_1", "expert_threshold_3", "direction").unique().rows() == [
            ("OTHER", 6, 8, "high")
        ]
        assert set(activities["standard_value"]) <= {9.0, 8.0, 7.0, 6.0, 5.0}
        assert all(name.startswith(f"{partner.name}-C0") for name in compounds["input_compound_id"])
        sizes.append(compounds.height)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.2 * sizes[1] > 1.2 * sizes[2]


def test_scaffolds_are_disjoint_but_for_a_few_shared_compounds(wheel, tmp_path):
    """5 to 10 % of the compounds have two partners; without them no scaffold has two partners."""
    partners = split_benchmark(wheel, 4, 1.0, 6, tmp_path / "data")
    held = [set(_tables(partner)[2]["smiles"]) for partner in partners]
    everything = set.union(*held)
    twice = {smiles for smiles in everything if sum(smiles in mine for mine in held) == 2}
    assert sum(map(len, held)) == len(everything) + len(twice)
    assert 0.05 <= len(twice) / len(everything) <= 0.10
    homes: dict[str | None, set[int]] = {}
    for partner, mine in enumerate(held):
        for smiles in mine - twice:
            homes.setdefault(_scaffold(smiles), set()).add(partner)
    assert all(len(home) == 1 for home in homes.values())


def test_truth_maps_assays_and_most_targets_are_shared(wheel, tmp_path):
    """truth.csv names the target of each assay, and most targets are at several partners under different ids."""
    partners = split_benchmark(wheel, 3, 1.0, 7, tmp_path / "data")
    truth = pl.read_csv(tmp_path / "data/truth.csv")
    assert truth.columns == ["partner", "input_assay_id", "target", "endpoint"]
    assert set(truth["input_assay_id"]) == {a for p in partners for a in _tables(p)[0]["input_assay_id"]}
    assert set(truth["target"].str.replace("CHEMBL", "").cast(pl.Int64)) <= {1, 2, 3, 4}
    shared = truth.group_by("target", "endpoint").len().filter(pl.col("len") > 1)
    assert shared.height > truth.select("target", "endpoint").n_unique() / 2


def test_share_and_seed(wheel, tmp_path):
    """A share takes that part of the compounds; another seed takes others; the same arguments give the same bytes."""
    files = {}
    for name, share, seed in (("a", 0.5, 1), ("b", 0.5, 1), ("c", 0.5, 2)):
        split_benchmark(wheel, 3, share, seed, tmp_path / name)
        files[name] = {str(f.relative_to(tmp_path / name)): f.read_bytes() for f in (tmp_path / name).rglob("*.csv")}
    assert files["a"] == files["b"] != files["c"]
    smiles = {s for p in ("P01", "P02", "P03") for s in _tables(tmp_path / "a" / p)[2]["smiles"]}
    n_all = len({Chem.CanonSmiles(s) for s in _SMILES})
    assert 0.4 * n_all < len(smiles) <= 0.5 * len(_SMILES)


def test_same_structures_are_one_compound(tmp_path):
    """Two spellings of a structure in different tables become one compound with both values."""
    wheel = _wheel(tmp_path / "w.whl", extra=["C(C)(C)Oc1ccc(I)cc1,1,0,0,train", "Ic1ccc(OC(C)C)cc1,100,0,0,train"])
    held = []
    for partner in split_benchmark(wheel, 3, 1.0, 1, tmp_path / "data"):
        _, activities, compounds = _tables(partner)
        ids = compounds.filter(pl.col("smiles") == "CC(C)Oc1ccc(I)cc1")["input_compound_id"].to_list()
        held += ids
        assert all(set(activities.filter(input_compound_id=i)["standard_value"]) == {9.0, 7.0} for i in ids)
    assert len(held) in {1, 2}


def test_again_and_other(wheel, tmp_path):
    """The same split again is a no-op, another one into the same folder is refused."""
    partners = split_benchmark(wheel, 3, 0.5, 1, tmp_path / "data")
    before = (partners[0] / "T2.csv").stat().st_mtime_ns
    assert split_benchmark(wheel, 3, 0.5, 1, tmp_path / "data") == partners
    assert (partners[0] / "T2.csv").stat().st_mtime_ns == before
    with pytest.raises(BenchmarkError, match="found other content"):
        split_benchmark(wheel, 3, 0.5, 2, tmp_path / "data")


def test_wrong_files_are_refused_and_leave_nothing(wheel, tmp_path):
    """No zip, half a zip, a zip without tables, tables without the columns: each is named, no folder appears."""
    whole = wheel.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"train") + 40] ^= 0xFF
    wrong = {
        "text": (b"no zip at all", "damaged zip"),
        "half": (whole[: len(whole) // 2], "damaged zip"),
        "flipped": (bytes(flipped), "damaged zip|expected columns"),
    }
    for name, (content, message) in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BenchmarkError, match=message):
            split_benchmark(tmp_path / name, 3, 1.0, 1, tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "empty", "w") as archive:
        archive.writestr("other.txt", "")
    with pytest.raises(BenchmarkError, match="found no tables"):
        split_benchmark(tmp_path / "empty", 3, 1.0, 1, tmp_path / "data")
    with pytest.raises(BenchmarkError, match="smiles, exp_mean"):
        split_benchmark(_wheel(tmp_path / "w", header="a,b,c,d,e"), 3, 1.0, 1, tmp_path / "data")
    with pytest.raises(BenchmarkError, match="cannot be read"):
        split_benchmark(tmp_path / "none", 3, 1.0, 1, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("n_partners", "share"), [(2, 0.5), (100, 0.5), (3, 0.0), (3, 1.5)])
def test_senseless_arguments_are_refused(wheel, tmp_path, n_partners, share):
    """Fewer than three partners or a share outside 0 to 1 raises ValueError."""
    with pytest.raises(ValueError, match=r"n_partners|share"):
        split_benchmark(wheel, n_partners, share, 1, tmp_path / "data")
