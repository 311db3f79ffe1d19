"""Fixtures that every part of the tests may use."""

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the peers' golden values and real data; beside the checkout, or where HOCKET_SHARED says."""
    folder = Path(os.environ.get("HOCKET_SHARED", _ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the golden files and data of {folder}, which is not here (set HOCKET_SHARED)")
    return folder
