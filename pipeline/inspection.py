"""`hocket inspect`: what any hocket file is, without a key."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pipeline.configs import AggregatorConfig, PartnerConfig
from pipeline.errors import ConfigError
from pipeline.plan import read_plan
from secure.inspect import inspect_file as inspect_sealed

_LARGEST_HEADER = 1 << 24  # bytes of a state file's JSON header
_NOTES = {
    "report.json": "report of a partner (private)",
    "summary.json": "summary of a partner's report (may be shared)",
    "manifest.json": "prepared matrices of a partner (private)",
    "finished.json": "end of a member's run",
}
_RECORD = re.compile(r"step-\d{4,}\.json")
_MATRICES = {".npz", ".npy", ".parquet", ".csv"}


def inspect_file(path: Path) -> dict[str, Any]:
    """What a file is ("what") and its facts, no values of anything private.

    Raises ConfigError for a file that is none of ours, secure.errors.SecureError for a damaged one of secure's.
    """
    if path.suffix == ".toml" and path.name != "card.toml":
        return _settings(path)
    if path.suffix == ".safetensors":
        return _state(path)
    if path.name in _NOTES or _RECORD.fullmatch(path.name):
        return _note(path)
    if path.suffix in _MATRICES and path.with_name("manifest.json").exists():
        return _matrices(path)
    found: dict[str, Any] = inspect_sealed(path)
    return found


def _settings(path: Path) -> dict[str, Any]:
    """A plan or a configuration, validated."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    if "federation" in table:
        plan = read_plan(path)
        return {
            "what": "plan",
            "federation": plan.federation.name,
            "digest": plan.digest,
            "partners": plan.partner_names,
            "aggregator": plan.aggregator_name,
            "custodian": plan.federation.custodian,
            "n_rounds": plan.rounds.n_rounds,
            "trunk_parameters": plan.layout.n_params,
        }
    config = PartnerConfig.read(path) if "data" in table else AggregatorConfig.read(path)
    role = "partner" if isinstance(config, PartnerConfig) else "aggregator"
    return {"what": f"configuration of {role}", "name": config.name, "plan": str(config.plan_file)}


def _state(path: Path) -> dict[str, Any]:
    """A safetensors file's own header: names and shapes, no values."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size) if size <= _LARGEST_HEADER else b""
    try:
        tensors = {name: tensor for name, tensor in json.loads(header).items() if name != "__metadata__"}
        shapes = {name: tensor["shape"] for name, tensor in tensors.items()}
        expected = 8 + size + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no state of a partner: its header cannot be read") from error
    if path.stat().st_size != expected:
        raise ConfigError(f"{path}: has {path.stat().st_size} bytes, its header says {expected}")
    return {"what": "state of a partner (private)", "tensors": shapes}


def _note(path: Path) -> dict[str, Any]:
    """A small JSON file of a home: its plain facts, no tables or lists."""
    kept = {key: value for key, value in _table(path).items() if not isinstance(value, list | dict)}
    return {"what": _NOTES.get(path.name, "record of a member's step, for MLflow (private)"), **kept}


def _matrices(path: Path) -> dict[str, Any]:
    """A file of a prepared folder, as the folder's manifest lists it."""
    manifest = _table(path.with_name("manifest.json"))
    files = manifest.get("files")
    if not isinstance(files, dict) or path.name not in files:
        raise ConfigError(f"{path}: is none of the files that manifest.json beside it lists")
    return {
        "what": "part of prepared matrices (private)",
        "prepared": manifest.get("digest"),
        "sha256": files[path.name],
        "size": path.stat().st_size,
    }


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: found a JSON {type(table).__name__}, expected an object")
    return table
