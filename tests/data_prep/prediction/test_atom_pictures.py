"""Drawings of atoms' contributions: colours say sign and size, and the file is SVG."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.prediction.atom_pictures import AtomPicture, atom_colours, draw_atoms

ATOMS = AtomPicture("CCO", (0.5, 0.0, -1.0), "A1@6: probability 0.5\nblue raises")
ELLIPSE = "{http://www.w3.org/2000/svg}ellipse"


@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), max_size=30))
def test_colours(contributions: list[float]) -> None:
    """White for 0, bluer than red above, redder than blue below; the largest has the full colour."""
    colours = atom_colours(contributions)
    largest = max(map(abs, contributions), default=0)
    for contribution, (red, green, blue) in zip(contributions, colours, strict=True):
        assert all(0 <= part <= 1 for part in (red, green, blue))
        if abs(contribution) > 1e-3 * largest:
            assert (blue > red) == (contribution > 0)
        if contribution == 0:
            assert (red, green, blue) == (1, 1, 1)
        if contribution == largest != 0:
            assert (red, green, blue) == pytest.approx((0, 0.45, 0.7))


def test_a_drawing_is_svg_with_a_circle_for_each_atom() -> None:
    """In the atoms' colours; the same picture is drawn with the same bytes."""
    first, again = draw_atoms([ATOMS, ATOMS])
    assert first is not None
    assert first == again
    circles = list(ET.fromstring(first).iter(ELLIPSE))  # noqa: S314 -- our own
    styles = [circle.get("style") or "" for circle in circles]
    assert [style.split("fill:")[1][:7] for style in styles] == ["#7FB8D8", "#FFFFFF", "#E59E00"]


def test_what_cannot_be_drawn() -> None:
    """None in its place."""
    assert draw_atoms([AtomPicture("C1CC", (1.0, 1.0, 1.0), "")]) == [None]
    assert draw_atoms([]) == []
