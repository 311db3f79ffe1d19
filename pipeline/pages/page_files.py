"""A page and its figures on disk."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.pages.page import Page, files_of
from secure.files import write_atomically


def write_page(folder: Path, page: Page, name: str, source: str) -> None:
    """Write a page's figures and then the page; figures of an earlier page are removed."""
    files = files_of(page, name, source)
    for path, content in files.items():
        write_atomically(folder / path, content)
    for old in (folder / "figures").glob("*.*"):
        if old.suffix in {".png", ".svg"} and f"figures/{old.name}" not in files:
            old.unlink(missing_ok=True)


def page_digest(source: Mapping[str, Any]) -> str:
    """SHA-256, hexadecimal, of the JSON that a page is made from."""
    return hashlib.sha256(json.dumps(source, sort_keys=True, allow_nan=False).encode()).hexdigest()
