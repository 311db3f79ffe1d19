"""`hocket inspect`: what any hocket file is, without a key."""

import json
import tomllib
from pathlib import Path
from typing import Any

from pipeline.configs import AggregatorConfig, PartnerConfig
from pipeline.errors import ConfigError
from pipeline.plan import read_plan
from secure.inspect import inspect_file as inspect_sealed

_LARGEST_HEADER = 1 << 24  # bytes of a state file's JSON header


def inspect_file(path: Path) -> dict[str, Any]:
    """Kind and facts of a file.

    Raises ConfigError for a file that is none of ours, secure.errors.SecureError for a damaged one of secure's.
    """
    if path.suffix == ".toml" and path.name != "card.toml":
        return _settings(path)
    if path.suffix == ".safetensors":
        return _state(path)
    if path.name in ("report.json", "summary.json", "manifest.json"):
        return _json(path)
    found: dict[str, Any] = inspect_sealed(path)
    return found


def _settings(path: Path) -> dict[str, Any]:
    """A plan or a configuration, validated."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    if "federation" in table:
        plan = read_plan(path)
        return {
            "kind": "plan",
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
    return {"kind": f"configuration of {role}", "name": config.name, "plan": str(config.plan_file)}


def _state(path: Path) -> dict[str, Any]:
    """A safetensors file's own header: names and shapes, no values."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size) if size <= _LARGEST_HEADER else b""
    try:
        tensors = json.loads(header)
        shapes = {name: tensor["shape"] for name, tensor in tensors.items() if name != "__metadata__"}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is no state of a partner: its header cannot be read") from error
    return {"kind": "state of a partner (private)", "tensors": shapes}


def _json(path: Path) -> dict[str, Any]:
    """A report or the manifest of prepared matrices."""
    kinds = {"report.json": "report", "summary.json": "shareable summary", "manifest.json": "prepared matrices"}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
    kept = {key: value for key, value in table.items() if not isinstance(value, list | dict)}
    return {"kind": f"{kinds[path.name]} of a partner", **kept}
