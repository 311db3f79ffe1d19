"""Versions of hocket, Python, the system and the libraries: the first thing to compare if two machines differ."""

import platform
from importlib.metadata import PackageNotFoundError, version

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
