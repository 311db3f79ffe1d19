"""The tables of a small partner: 60 structures, one assay with enough labels to train and one without."""

from pathlib import Path

from data_prep.settings import Activities, Chemistry, Fingerprint, Preparation

SEED = bytes(range(32))

FAST = Preparation(
    chemistry=Chemistry(tautomers="keep"),
    fingerprint=Fingerprint(n_bits=1024),
    activities=Activities(evaluation_min_active=1, evaluation_min_inactive=1),
)
"""Settings with which preparation takes milliseconds."""

RINGS = ("c1ccccc1", "c1ccncc1", "c1ccsc1", "C1CCCCC1", "c1ccc2ccccc2c1", "C1CCNCC1")
STRUCTURES = tuple(f"{'C' * (i // 6 + 1)}O{RINGS[i % 6]}" for i in range(60))

T0 = "input_assay_id,assay_type,use_in_regression,is_binary,expert_threshold_1,direction\n"
T1 = "input_compound_id,input_assay_id,standard_qualifier,standard_value\n"
T2 = "input_compound_id,smiles\n"


def t0_rows() -> list[str]:
    return ["A1,OTHER,true,false,6,high\n", "A2,OTHER,true,false,,\n"]


def t1_rows() -> list[str]:
    rows = [f"C{i},A1,=,{5 + (i * 7 % 20) / 10}\n" for i in range(len(STRUCTURES))]
    return rows + [f"C{i},A2,<,5\n" for i in range(3)]


def t2_rows() -> list[str]:
    return [f"C{i},{smiles}\n" for i, smiles in enumerate(STRUCTURES)]


def write_tables(
    folder: Path, t0: list[str] | None = None, t1: list[str] | None = None, t2: list[str] | None = None
) -> tuple[Path, Path, Path]:
    """Write T0.csv, T1.csv and T2.csv, with the small partner's rows by default."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "T0.csv": T0 + "".join(t0_rows() if t0 is None else t0),
        "T1.csv": T1 + "".join(t1_rows() if t1 is None else t1),
        "T2.csv": T2 + "".join(t2_rows() if t2 is None else t2),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "T0.csv", folder / "T1.csv", folder / "T2.csv"
