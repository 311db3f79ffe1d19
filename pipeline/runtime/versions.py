"""The versions that matter when two machines behave differently."""

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
    """Version of an installed distribution, read without importing it; None where it is absent."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """hocket, Python, the system and the libraries; None for what is not installed."""
    own = {"hocket": installed("hocket"), "python": platform.python_version(), "system": platform.platform()}
    return own | {library: installed(library) for library in LIBRARIES}


def version_lines() -> list[str]:
    """`hocket --version`: hocket's own first."""
    found = versions()
    width = max(map(len, LIBRARIES))
    lines = [f"{name:{width}}  {number or 'not installed'}" for name, number in found.items() if name != "hocket"]
    return [f"hocket, version {found['hocket'] or 'not installed'}", *lines]
