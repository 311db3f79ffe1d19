"""Small valid tables T0, T1 and T2, with rows enough for a scored task; all values are invented.

Four known drugs show the columns. The other compounds are amides of two rings, and their values in the assay KIN-17 are
sums of one part for each ring, so that there is something to learn. A scored task needs 10 actives and 10 inactives in
each of five folds, which are made of whole scaffolds.
"""

from itertools import product

_T0 = """\
input_assay_id,assay_type,use_in_regression,is_binary,expert_threshold_1,expert_threshold_2,direction,catalog_assay_id
KIN-17,OTHER,true,false,6,7,high,
HERG,CATALOG-PANEL,true,false,5,,high,CHEMBL240
HLM-CL,ADME,true,false,,,low,
AMES,OTHER,false,true,,,,
"""
_T1 = """\
input_compound_id,input_assay_id,standard_qualifier,standard_value
C-0001,KIN-17,=,7.32
C-0001,KIN-17,=,7.41
C-0002,KIN-17,=,5.87
C-0003,KIN-17,>,6.05
C-0004,KIN-17,<,4.52
C-0001,HERG,<,5
C-0002,HERG,=,4.81
C-0004,HERG,=,5.66
C-0001,HLM-CL,=,1.38
C-0003,HLM-CL,=,0.92
C-0001,AMES,=,-1
C-0003,AMES,=,1
"""
_T2 = """\
input_compound_id,smiles
C-0001,CC(=O)Oc1ccccc1C(=O)O
C-0002,Cn1c(=O)c2c(ncn2C)n(C)c1=O
C-0003,CC(C)Cc1ccc(cc1)C(C)C(=O)O
C-0004,CN(C)CCOC(c1ccccc1)c1ccccc1.Cl
"""
_RINGS = {  # SMILES from the atom that is bound: its part of the value as amine and as acid, log units
    "c1ccccc1": (0.31, 0.12),
    "c1ccncc1": (0.84, -0.47),
    "c1cccnc1": (-0.23, 0.58),
    "c1ccccn1": (-0.66, 0.94),
    "c1ccco1": (0.07, -0.81),
    "c1cccs1": (0.42, 0.29),
    "c1cncnc1": (0.93, -0.16),
    "C1CCCC1": (-0.91, 0.03),
    "C1CCCCC1": (-0.38, -0.64),
    "C1CCOCC1": (-0.74, 0.37),
    "C1CCNCC1": (0.18, -0.92),
    "c1ccc2ccccc2c1": (0.56, 0.73),
    "c1ccc2ncccc2c1": (0.69, 0.45),
    "c1ccc2[nH]ccc2c1": (-0.09, -0.28),
}
_CENTRE = 5.98  # log units
_FIRST = 5  # number of the first amide


def _amides() -> tuple[str, str]:
    """Return the rows of T1 and of T2 for the amides of every ring with every ring."""
    t1 = t2 = ""
    for number, ((amine, (first, _)), (acid, (_, second))) in enumerate(product(_RINGS.items(), repeat=2), _FIRST):
        t1 += f"C-{number:04},KIN-17,=,{_CENTRE + first + second:.2f}\n"
        t2 += f"C-{number:04},O=C(N{amine}){acid}\n"
    return t1, t2


def sample_tables() -> dict[str, str]:
    """Return the text of each file, by its name."""
    t1, t2 = _amides()
    return {"T0.csv": _T0, "T1.csv": _T1 + t1, "T2.csv": _T2 + t2}
