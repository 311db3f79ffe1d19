"""The list of descriptors is fixed: it changes only with its version, and RDKit has no descriptor that it overlooks."""

import hashlib
import subprocess
import sys

from rdkit.Chem import Descriptors

from data_prep.descriptors.listed import DESCRIPTORS, DESCRIPTORS_VERSION, LEFT_OUT


def test_the_list_changes_only_with_its_version():
    """Names and order of version 1 are these; another list needs another version, and a line here."""
    digest = hashlib.sha256("\n".join(DESCRIPTORS).encode()).hexdigest()[:16]
    assert (DESCRIPTORS_VERSION, len(DESCRIPTORS), digest) == (1, 202, "c323a2aca368aa37")


def test_every_descriptor_of_rdkit_is_listed_or_left_out_with_a_reason():
    """RDKit's 217 two-dimensional descriptors are in exactly one of the two lists."""
    assert sorted([*DESCRIPTORS, *LEFT_OUT]) == sorted(name for name, _ in Descriptors.descList)
    assert all(len(reason) > 20 for reason in LEFT_OUT.values())


def test_names_and_scaling_need_no_rdkit():
    """Whoever reads and scales stored descriptors loads no RDKit."""
    code = "import sys, data_prep.descriptors.listed, data_prep.descriptors.scaling; sys.exit('rdkit' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
