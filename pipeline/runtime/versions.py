"""Versions of hocket, Python, the system and the libraries: the first thing to compare if two machines differ."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "numpy",
    "scipy",
    "rdkit",
    "polars",
    "torch",
    "scikit-learn",
    "crepes",
    "safetensors",
    "tenseal",
    "cryptography",
    "pyarrow",
    "pydantic",
    "fsspec",
    "s3fs",
    "distributed",
    "mlflow",
    "click",
)
_FOLDERS = ("data_prep", "partners", "pipeline", "secure")
_SOURCES = {".py", ".csv", ".txt"}  # code, and the tables that it reads


def sources_digest() -> str:
    """SHA-256, hexadecimal, of hocket's code as installed: equal for equal code, wherever it is installed.

    It is that of one line for each file, by name: the SHA-256 of its bytes, two spaces, its path.
    """
    root = Path(__file__).parents[2]
    files = (path for folder in _FOLDERS for path in (root / folder).rglob("*") if path.suffix in _SOURCES)
    digests = {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def installed(distribution: str) -> str | None:
    """Version of an installed distribution, read without importing it; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Version of hocket, Python, the system and each library; None if it is not installed."""
    own = {"hocket": installed("hocket"), "python": platform.python_version(), "system": platform.platform()}
    return own | {library: installed(library) for library in LIBRARIES}


def version_lines() -> list[str]:
    """The lines of `hocket --version`, hocket's own first."""
    by_name = versions()
    width = max(map(len, LIBRARIES))
    lines = [f"{name:{width}}  {number or 'not installed'}" for name, number in by_name.items() if name != "hocket"]
    return [f"hocket, version {by_name['hocket'] or 'not installed'}", *lines]
