"""Which of RDKit's descriptors are used, and why others are not. Needs no RDKit.

All are functions of the molecular graph: those that need a conformer are in another list of RDKit's, Descriptors3D,
and are not used, because a conformer depends on the order of atoms and on chance. What decides was measured on
1,985 structures of ChEMBL and of ADMET assays, each with its atoms in three orders, and on some forty odd ones (metals,
radicals, ions, single atoms, 900 atoms).
"""

from importlib.resources import files

DESCRIPTORS_VERSION = 1
"""Incremented when the list or its order changes; a new RDKit is noticed by its own version."""

DESCRIPTORS = tuple(files("data_prep.descriptors").joinpath("listed.txt").read_text(encoding="utf-8").split())
"""RDKit's names of the descriptors, in the order of the columns: listed.txt, a name per line."""

_OVERFLOW = "overflows: of a large structure 1e22 or no number, and another one with its atoms in another order"
_CHARGE = "no number for a structure with an element that has no Gasteiger parameters, such as Se, As or Sn"
_MATRIX = f"{_CHARGE}, or of a single atom"

LEFT_OUT = {
    "Ipc": _OVERFLOW,
    "AvgIpc": _OVERFLOW,
    **dict.fromkeys(("MaxPartialCharge", "MinPartialCharge", "MaxAbsPartialCharge", "MinAbsPartialCharge"), _CHARGE),
    **dict.fromkeys(("BCUT2D_MWHI", "BCUT2D_MWLOW", "BCUT2D_CHGHI", "BCUT2D_CHGLO"), _MATRIX),
    **dict.fromkeys(("BCUT2D_LOGPHI", "BCUT2D_LOGPLOW", "BCUT2D_MRHI", "BCUT2D_MRLOW"), _MATRIX),
    "qed": "a score made of other descriptors and of structural alerts; a quarter of the time of all",
}
"""RDKit's other descriptors, and the reason for each."""
