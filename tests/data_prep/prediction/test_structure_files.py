"""Structure files: every kind gives the same records, and no row is lost."""

import gzip
import re
from pathlib import Path

import polars as pl
import pytest
from rdkit import Chem

from data_prep.errors import TableError
from data_prep.prediction.structure_files import StructureRecord, expect_structure_columns, read_batches

SMILES = {"aspirin": "CC(=O)Oc1ccccc1C(=O)O", "ethanol": "CCO", "alanine": "C[C@H](N)C(=O)O"}


def read(path: Path, n_rows: int = 100) -> list[StructureRecord]:
    """All records of a file."""
    return [record for batch in read_batches(path, n_rows) for record in batch]


def sd_record(smiles: str, title: str = "", fields: str = "") -> str:
    """One record of an SD file."""
    mol = Chem.MolFromSmiles(smiles)
    mol.SetProp("_Name", title)
    return f"{Chem.MolToMolBlock(mol)}{fields}\n$$$$\n"


def written(folder: Path, kind: str) -> Path:
    """The same structures as a file of some kind."""
    table = pl.DataFrame({"input_compound_id": list(SMILES), "smiles": list(SMILES.values()), "other": [1, 2, 3]})
    path = folder / f"new{kind}"
    if kind in (".parquet", ".xlsx"):
        (table.write_parquet if kind == ".parquet" else table.write_excel)(path)
        return path
    plain = {
        ".csv": table.write_csv(),
        ".semicolon.csv": table.write_csv(separator=";"),
        ".tsv": table.write_csv(separator="\t"),
        ".smi": "".join(f"{smiles} {name}\n" for name, smiles in SMILES.items()),
        ".tab.smi": "smiles\tname\tmore\n" + "".join(f"{s}\t{n}\tx y\n" for n, s in SMILES.items()),
        ".sdf": "".join(sd_record(smiles, name) for name, smiles in SMILES.items()),
    }[kind.removesuffix(".gz")]
    path.write_bytes(gzip.compress(plain.encode()) if kind.endswith(".gz") else plain.encode())
    return path


KINDS = [".csv", ".semicolon.csv", ".tsv", ".csv.gz", ".parquet", ".xlsx"]
KINDS += [".smi", ".smi.gz", ".tab.smi", ".sdf", ".sdf.gz"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_records(tmp_path: Path, kind: str) -> None:
    """Row numbers, ids and structures are the same, in batches of any size."""
    path = written(tmp_path, kind)
    records = read(path)
    assert [(r.input_row, r.compound_id, r.reason) for r in records] == [
        (i, name, None) for i, name in enumerate(SMILES, 1)
    ]
    assert [Chem.CanonSmiles(str(record.text)) for record in records] == [Chem.CanonSmiles(s) for s in SMILES.values()]
    assert read(path, n_rows=2) == records
    assert [len(batch) for batch in read_batches(path, 2)] == [2, 1]


def test_bad_rows_of_a_smiles_file_are_kept_with_their_reason(tmp_path: Path) -> None:
    """A line that is no UTF-8 is rejected, one without id takes its number; blank lines are no rows."""
    path = tmp_path / "new.smi"
    path.write_bytes(b"CCO one two\r\n\r\nCCC\nC\xff x\n  \nCCN last")
    assert read(path) == [
        StructureRecord(1, "one two", "CCO", None),
        StructureRecord(2, "2", "CCC", None),
        StructureRecord(3, None, None, "unreadable"),
        StructureRecord(4, "last", "CCN", None),
    ]


def test_bad_records_of_an_sd_file_are_kept_with_their_reason(tmp_path: Path) -> None:
    """Damaged blocks and a last record without its end line keep their numbers; a block without an id takes its own."""
    path = tmp_path / "new.sdf"
    named = "> <INPUT_COMPOUND_ID>\nby field\n"
    text = sd_record("CCO", "good") + "bad\n\n\nno block\nM  END\n$$$$\n" + sd_record("CCC")
    text += sd_record("CCN", fields=named) + "$$$$\n" + sd_record("CCF", "last").removesuffix("$$$$\n")
    path.write_text(text)
    assert [(r.input_row, r.compound_id, r.text, r.reason) for r in read(path)] == [
        (1, "good", "CCO", None),
        (2, "bad", None, "unparsable"),
        (3, "3", "CCC", None),
        (4, "by field", "CCN", None),
        (5, "5", None, "unparsable"),
        (6, "last", "CCF", None),
    ]


def test_bad_rows_of_a_table_are_kept_with_their_reason(tmp_path: Path) -> None:
    """Rows with too many fields are rejected; a missing id is the row's number, a missing structure no concern here."""
    path = tmp_path / "new.csv"
    path.write_text("smiles,input_compound_id\nCCO,a\nCCO,b,c\nCCC,\n,d\n")
    assert [(r.input_row, r.compound_id, r.text, r.reason) for r in read(path)] == [
        (1, "a", "CCO", None),
        (2, None, None, "unreadable"),
        (3, "3", "CCC", None),
        (4, "d", None, None),
    ]


@pytest.mark.parametrize("name", ["new.txt", "new", "new.gz", "new.xls"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    """The message names the kinds that can be read."""
    (tmp_path / name).write_text("CCO a\n")
    with pytest.raises(TableError, match=rf"^{re.escape(name)}: .*\.csv"):
        read(tmp_path / name)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A truncated gzip file, a table without its columns and a line without an end raise TableError."""
    whole = gzip.compress(b"CCO a\n" * 1000)
    for name, content in {"a.smi.gz": whole[:-20], "b.csv": b"x,y\n1,2\n", "c.smi": b"C" * (1 << 20)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TableError, match=name):
            read(tmp_path / name)


def test_stereo_of_a_mol_block_is_kept(tmp_path: Path) -> None:
    """Stereo marks of a mol block are kept in its SMILES."""
    (tmp_path / "new.sdf").write_text(sd_record(SMILES["alanine"], "a"))
    assert "@" in str(read(tmp_path / "new.sdf")[0].text)


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".xlsx"])
def test_columns_of_other_names(tmp_path: Path, kind: str) -> None:
    """Chosen columns are read whatever else the table has; a chosen column that is not there is named."""
    structures = {"smiles": ["C(", "C("], "Structure": ["CCO", "CCN"]}
    table = pl.DataFrame({**structures, "CMPD": ["a", ""], "input_compound_id": ["x", "y"]})
    path = tmp_path / f"new{kind}"
    {".csv": table.write_csv, ".parquet": table.write_parquet, ".xlsx": table.write_excel}[kind](path)
    names = {"smiles": ("structure",), "input_compound_id": ("cmpd",)}
    (records,) = read_batches(path, 9, names=names)
    assert records == [StructureRecord(1, "a", "CCO", None), StructureRecord(2, "2", "CCN", None)]
    with pytest.raises(TableError, match=r"missing column input_compound_id \(named Compound\)"):
        list(read_batches(path, 9, names={"input_compound_id": ("Compound",)}))


def test_a_table_without_ids_takes_row_numbers(tmp_path: Path) -> None:
    """A file of structures alone is enough; nearly the right name of the column of structures is named."""
    (tmp_path / "new.csv").write_text("SMILES,mw\nCCO,46\nCCN,45\n")
    assert [record.compound_id for record in read(tmp_path / "new.csv")] == ["1", "2"]
    (tmp_path / "new.csv").write_text("SMILE,mw\nCCO,46\n")
    with pytest.raises(TableError, match=r"missing column smiles \(nearest: SMILE\)"):
        read(tmp_path / "new.csv")


def test_a_chosen_field_of_an_sd_file_names_its_records(tmp_path: Path) -> None:
    """The field goes before the title line, which goes before the row number."""
    fields = "> <Compound No>\nfield\n"
    (tmp_path / "new.sdf").write_text(sd_record("CCO", "title", fields) + sd_record("CCN", "title") + sd_record("CCC"))
    (records,) = read_batches(tmp_path / "new.sdf", 9, names={"input_compound_id": ("compound no",)})
    assert [record.compound_id for record in records] == ["field", "title", "3"]


def test_a_smiles_file_has_no_columns_to_choose() -> None:
    """A choice that would change nothing is refused."""
    expect_structure_columns(Path("new.sdf"))
    with pytest.raises(TableError, match=r"^new\.smi: .*no named columns"):
        expect_structure_columns(Path("new.smi"))
