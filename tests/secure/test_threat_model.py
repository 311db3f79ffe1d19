"""The tests that THREAT_MODEL.md names exist, and its table of parameters is computed by the code."""

import re
from pathlib import Path

import pytest

from secure.ciphertexts.parameters import N_SLOTS, SealSettings, seal_parameters

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "secure" / "THREAT_MODEL.md").read_text()
ROWS = re.findall(r"^\| (16|12|8) \| (\d+)(?: to (\d+))? \|(.*)\|$", TEXT, re.MULTILINE)


def test_the_tests_it_names_are_there():
    """Every test that THREAT_MODEL.md names exists."""
    defined = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 50
    assert named <= defined


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} bits, {row[1]}")
def test_the_parameters_it_gives_are_right(row):
    """Fields, moduli and bytes of every row of the table, at both ends of its range of partners."""
    bits, least, most, cells = row
    fields, t_bits, q_bits, up, down = (cell.strip() for cell in cells.split("|"))
    for partners in (int(least), int(most or least)):
        found = seal_parameters(SealSettings(bits=int(bits), max_partners=partners))
        assert (found.fields, found.q.bit_length()) == (int(fields), int(q_bits))
        assert f"{found.update_chunk_bytes / N_SLOTS / found.fields:.2f}" == up
        assert f"{found.sum_chunk_bytes / N_SLOTS / found.fields:.2f}" == down
        assert found.t.bit_length() in range(int(t_bits.split()[0]), int(t_bits.split()[-1]) + 1)


def test_the_table_is_found():
    """The table of parameters was found."""
    assert len(ROWS) >= 7
