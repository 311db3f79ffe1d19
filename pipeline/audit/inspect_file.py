"""`hocket inspect`: what any hocket file is, without a key."""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.runtime.redact import without_password
from secure.ciphertexts.parameters import seal_parameters
from secure.inspect import inspect_file as inspect_sealed

# pages and figures: what they are, what stands near their beginning, and how they end
_PICTURES = {
    ".html": ("page of a report", b'name="generator" content="hocket', b"</html>"),
    ".svg": ("figure of a report", b"hocket", b"</svg>\n"),
    ".png": ("figure of a report", b"hocket", b"IEND\xaeB`\x82"),
}
_PICTURE_HEAD = 4096  # bytes in which a page or figure says who made it
_RECORD = "step-NNNN.json"
_MANIFEST = "manifest.json"  # of prepared matrices; it stands for every file beside it
# what each small JSON file of a home is, and what it must hold
_NOTES: dict[str, tuple[str, set[str]]] = {
    "report.json": ("report of a partner (private)", {"partner", "plan", "summary", "tasks"}),
    "summary.json": ("summary of a partner's report (may be shared)", {"partner", "plan", "summary"}),
    _MANIFEST: ("prepared matrices of a partner (private)", {"kind", "digest", "files"}),
    "consortium.json": ("partners' shareable summaries, merged", {"federation", "plan", "partners"}),
    "catalogue.json": ("how many partners hold each task of the catalogue (private)", {"plan", "counts"}),
    "model.json": ("description of a partner's finished model (private)", {"partner", "federation"}),
    "finished.json": ("end of a member's run", {"plan"}),
    "tracked.json": ("end of a member's MLflow run", {"run"}),
    "sent.json": ("files that a member's MLflow run has", {"run", "files", "left"}),
    _RECORD: ("record of a member's step, for MLflow (private)", {"step", "at", "metrics"}),
}
_STATES = {
    "start.safetensors": "state at the start of a round (private)",
    "trained.safetensors": "what a partner trained in an attempt (private)",
    "leftover.safetensors": "what sealing an update left over (private)",
    "federated.safetensors": "federated model of a partner (private)",
    "compounds.safetensors": "fingerprints of a partner's training compounds (private)",
    "local.safetensors": "local-only model of a partner (private)",
    "local.best.safetensors": "local-only model of a partner after its best round (private)",
}
_MATRICES = {".npz", ".npy", ".parquet", ".csv"}
_SQLITE, _SQLITE_HEAD = b"SQLite format 3\0", 100  # first bytes, length of the header


def describe_file(path: Path) -> dict[str, Any]:
    """What a file is ("what") and its facts, no values of anything private.

    Raises ConfigError for a file that is none of ours, secure.errors.SecureError for a damaged one of secure's.
    """
    if path.suffix == ".toml" and path.name != "card.toml":
        return _settings(path)
    by_suffix = dict.fromkeys(_PICTURES, _picture) | {".safetensors": _state, ".cache": _cache}
    if path.suffix in by_suffix:
        return by_suffix[path.suffix](path)
    kind = re.sub(r"step-\d{4,}", "step-NNNN", path.name)
    if (path.suffix in _MATRICES or path.name == "summary.json") and path.with_name(_MANIFEST).exists():
        return _matrices(path)
    if kind in _NOTES:
        return _note(path, *_NOTES[kind])
    found: dict[str, Any] = inspect_sealed(path)
    return found


def _picture(path: Path) -> dict[str, Any]:
    """A page or figure of a report; a private page and one that may be shared look alike from outside."""
    what, sign, end = _PICTURES[path.suffix]
    content = path.read_bytes()
    if sign not in content[:_PICTURE_HEAD] or not content.endswith(end):
        raise ConfigError(f"{path}: expected a whole {what} that hocket made")
    return {"what": f"{what} (as private as its folder)", "bytes": len(content)}


def as_lines(found: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Lines for a person: a fact each, what belongs to one below it."""
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from as_lines(value, indent + "  ")
        else:
            yield f"{indent}{key}: {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def _settings(path: Path) -> dict[str, Any]:
    """A plan or a configuration, validated."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    if "federation" in table:
        return _plan(read_plan(path))
    config = PartnerConfig.read(path) if "data" in table else AggregatorConfig.read(path)
    return {
        "what": f"configuration of {'partner' if isinstance(config, PartnerConfig) else 'aggregator'}",
        "name": config.name,
        "plan": str(config.plan_file),
        "home": str(config.home_folder),
        "exchange": without_password(config.exchange_url),
    }


def _plan(plan: Plan) -> dict[str, Any]:
    """What the consortium agreed on, and what follows from it for the sealed files."""
    parameters, n_params = seal_parameters(plan.seal), plan.layout.n_params
    n_chunks = parameters.n_chunks(n_params)
    catalogue = {"tasks": len(plan.catalogue.tasks), "min_partners": plan.catalogue.min_partners}
    return {
        "what": "plan",
        "federation": plan.federation.name,
        "digest": plan.digest,
        "continues": plan.continues.model_dump() if plan.continues else None,
        "partners": plan.partner_names,
        "aggregator": plan.aggregator_name,
        "custodian": plan.federation.custodian,
        "fingerprints": {name: card.fingerprint for name, card in sorted(plan.cards.items())},
        "n_rounds": plan.rounds.n_rounds,
        "min_partners": plan.rounds.min_partners,
        "trunk_parameters": plan.layout.trunk.n_params,
        "catalogue": catalogue if plan.catalogue.tasks else None,
        "sealed_with": parameters.to_dict(),
        "bytes_per_parameter": {
            "update": round(n_chunks * parameters.update_chunk_bytes / n_params, 3),
            "sum": round(n_chunks * parameters.sum_chunk_bytes / n_params, 3),
        },
    }


def _state(path: Path) -> dict[str, Any]:
    """Names and shapes of a state's arrays, no values; the whole file is compared with its own SHA-256."""
    from partners.errors import CheckpointDamaged  # noqa: PLC0415 -- the same
    from partners.files.checkpoint import checkpoint_shapes  # noqa: PLC0415 -- safetensors: partners only

    try:
        shapes = checkpoint_shapes(path)
    except CheckpointDamaged as error:
        raise ConfigError(f"{path}: is no state of a partner, or damaged: {error}") from error
    return {"what": _STATES.get(path.name, "state of a partner (private)"), "tensors": shapes}


def _cache(path: Path) -> dict[str, Any]:
    """The file in which a partner's structures are remembered."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_SQLITE_HEAD)
    page = int.from_bytes(head[16:18], "big")  # sqlite.org/fileformat.html: page size, 1 for 65536, and number of pages
    whole = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    if not head.startswith(_SQLITE) or size != whole:
        raise ConfigError(f"{path}: is no SQLite file, or damaged; it can be removed, structures are made again")
    return {"what": "structures that a partner standardised before (private)", "size": size}


def _note(path: Path, what: str, needed: set[str]) -> dict[str, Any]:
    """A small JSON file of a home: its plain facts, no tables or lists."""
    table = _table(path)
    if not needed <= set(table):
        raise ConfigError(f"{path}: has no {', '.join(sorted(needed - set(table)))}, expected a {what}")
    return {"what": what, **{key: value for key, value in table.items() if not isinstance(value, list | dict)}}


def _matrices(path: Path) -> dict[str, Any]:
    """A file of a prepared folder, as the folder's manifest lists it."""
    manifest = _table(path.with_name(_MANIFEST))
    files = manifest.get("files")
    if not isinstance(files, dict) or path.name not in files:
        raise ConfigError(f"{path}: is none of the files that manifest.json beside it lists")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != files[path.name]:
        raise ConfigError(
            f"{path}: has SHA-256 {found[:12]}, manifest.json beside it lists {str(files[path.name])[:12]}"
        )
    facts = {"prepared": manifest.get("digest"), "sha256": found, "size": path.stat().st_size}
    return {"what": "part of prepared matrices (private)", **facts}


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: found a JSON {type(table).__name__}, expected an object")
    return table
