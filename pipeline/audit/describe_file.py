"""`hocket inspect`: describe any hocket file without a key."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.audit.provenance import check_files
from pipeline.errors import ConfigError
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.plan.toml_schema import read_table
from pipeline.runtime.redact import without_password
from secure.ciphertexts.parameters import seal_parameters
from secure.errors import UnknownFile
from secure.files import open_plain, read_plain
from secure.inspect import inspect_file
from secure.messages.provenance import MAX_BYTES, PROVENANCE_FILE, parse_provenance

# pages and figures: description, text near the beginning, last bytes
_PICTURES = {
    ".html": ("page of a report or an audit", b'name="generator" content="hocket', b"</html>"),
    ".svg": ("figure of a report", b"hocket", b"</svg>\n"),
    ".png": ("figure of a report", b"hocket", b"IEND\xaeB`\x82"),
}
_PICTURE_HEAD = 4096  # bytes in which a page or figure names hocket
_RECORD = "step-NNNN.json"
_MANIFEST = "manifest.json"  # of prepared matrices; lists the other files in its folder
# small JSON files of a home: description and required keys
_NOTES: dict[str, tuple[str, set[str]]] = {
    "report.json": ("report of a partner (private)", {"partner", "plan", "summary", "tasks"}),
    "summary.json": ("summary of a partner's report (may be shared)", {"partner", "plan", "summary"}),
    _MANIFEST: ("prepared matrices of a partner (private)", {"kind", "digest", "files"}),
    "consortium.json": ("partners' shareable summaries, merged", {"federation", "plan", "partners"}),
    "catalogue.json": ("how many partners hold each catalogue task and input column (private)", {"plan", "counts"}),
    "columns.json": ("input columns that a partner flagged or withheld (private)", {"flagged", "withheld"}),
    "rows.json": ("rows of the catalogue that a partner flagged (private)", {"plan", "tasks"}),
    "model.json": ("description of a partner's finished model (private)", {"partner", "federation"}),
    "added.json": ("assays that a partner added to its model (private)", {"kind", "added", "refused"}),
    "audit.json": ("what the result tells about a partner's compounds (private)", {"partner", "columns", "views"}),
    "canaries.json": ("canaries of a partner (private)", {"canaries"}),
    "incoming.json": ("sizes of the trunks that a partner trained on (private)", {"looks"}),
    "finished.json": ("end of a member's run", {"plan"}),
    "tracked.json": ("end of a member's MLflow run", {"run"}),
    "notified.json": ("notices that a member's run has sent", set()),
    "tries.json": ("settings that a partner tried, with their scores (private)", {"plan", "trials"}),
    "sent.json": ("files that a member's MLflow run has", {"run", "files", "left"}),
    _RECORD: ("record of a member's step, for MLflow (private)", {"step", "at", "metrics"}),
}
_STATES = {
    "start.safetensors": "state at the start of a round (private)",
    "trained.safetensors": "what a partner trained in an attempt (private)",
    "leftover.safetensors": "residual of sealing an update (private)",
    "federated.safetensors": "federated model of a partner (private)",
    "compounds.safetensors": "fingerprints of a partner's training compounds (private)",
    "local.safetensors": "local-only model of a partner (private)",
    "assay_models.safetensors": "models of a partner's single assays (private)",
    "trunk.safetensors": "trunk at the start of a round, kept for the audit (private)",
    "trial.safetensors": "network of a partner's trial of settings (private)",
    "shadow.safetensors": "scores of an audit's shadow model (private)",
    "local.best.safetensors": "local-only model of a partner after its best round (private)",
}
_KEPT = re.compile(r"(trunk|shadow|trial)-\d+")  # of a round, a shadow model or a trial of settings
_ADDED = "assay-"  # beginning of the name of an added assay's file
_STATES[_ADDED] = "models of an assay that a partner added to its model (private)"
_SIGNED_OR_SECRET = (".json", ".arrow", ".envelopes", ".key", ".secret", ".seeds")  # another name is no damaged one
_MATRICES = {".npz", ".npy", ".parquet", ".csv"}
_MOST_JSON = 1 << 28  # bytes; a report of 100,000 tasks has less
_SQLITE, _SQLITE_HEAD = b"SQLite format 3\0", 100  # first bytes, length of the header


def describe_file(path: Path) -> dict[str, Any]:
    """The facts about a file, with its description under "what", and no private values.

    Raises ConfigError for a file that hocket did not write, secure.errors.SecureError for a damaged message or key, and
    for a file that is called as one and is none.
    """
    open_plain(path).close()  # a named pipe would be waited for
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
    try:
        facts: dict[str, Any] = inspect_file(path)
    except UnknownFile as error:
        if path.suffix in _SIGNED_OR_SECRET:
            raise
        refused = ConfigError(str(error))
        for line in getattr(error, "__notes__", ()):
            refused.add_note(line)
        raise refused from error
    return facts | _model_beside(path)


def _model_beside(path: Path) -> dict[str, Any]:
    """Whether the model next to a provenance is the one that it lists; raises WrongProvenance if it is not."""
    if path.name != PROVENANCE_FILE or not path.with_name("model.json").exists():
        return {}
    check_files(path.parent, parse_provenance(read_plain(path, MAX_BYTES), str(path)))
    return {"files": "the model beside it is the one that is listed"}


def _picture(path: Path) -> dict[str, Any]:
    """Facts about a page or figure of a report; the file does not show whether it is private or shareable."""
    description, mark, end = _PICTURES[path.suffix]
    with open_plain(path) as file:
        head, n_bytes = file.read(_PICTURE_HEAD), file.seek(0, os.SEEK_END)
        file.seek(max(0, n_bytes - len(end)))
        is_whole = file.read() == end
    if mark not in head or not is_whole:
        raise ConfigError(f"{path}: expected a complete {description} that hocket made")
    return {"what": f"{description} (as private as its folder)", "bytes": n_bytes}


def as_lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """The facts as lines of text, nested facts indented below theirs."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from as_lines(value, indent + "  ")
        else:
            yield f"{indent}{key}: {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def _settings(path: Path) -> dict[str, Any]:
    """Facts about a plan or a configuration, after validating it."""
    table = read_table(path)
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
    """Facts about a plan, and the size of sealed files that follows from it."""
    parameters, n_params = seal_parameters(plan.seal), plan.layout.n_params
    n_chunks = parameters.n_chunks(n_params)
    catalogue = {"tasks": len(plan.catalogue.tasks), "min_partners": plan.catalogue.min_partners}
    return {
        "what": "plan",
        "federation": plan.federation.name,
        "digest": plan.digest,
        "continues": plan.continues.agreed() if plan.continues else None,
        "partners": plan.partner_names,
        "aggregator": plan.aggregator_name,
        "custodian": plan.federation.custodian,
        "fingerprints": {name: card.fingerprint for name, card in sorted(plan.cards.items())},
        "n_rounds": plan.rounds.n_rounds,
        "min_partners": plan.rounds.min_partners,
        "trunk_parameters": plan.layout.trunk.n_params,
        "catalogue": catalogue if plan.catalogue.tasks else None,
        "columns": plan.columns.model_dump() if plan.columns.are_counted else None,
        "sealed_with": parameters.to_dict(),
        "bytes_per_parameter": {
            "update": round(n_chunks * parameters.update_chunk_bytes / n_params, 3),
            "sum": round(n_chunks * parameters.sum_chunk_bytes / n_params, 3),
        },
    }


def _state(path: Path) -> dict[str, Any]:
    """Names and shapes of a state's arrays, no values; the file is checked against the SHA-256 in it."""
    from partners.errors import CheckpointDamaged  # noqa: PLC0415 -- the same
    from partners.files.checkpoint import checkpoint_shapes  # noqa: PLC0415 -- safetensors: partners only

    try:
        shapes = checkpoint_shapes(path)
    except CheckpointDamaged as error:
        raise ConfigError(f"{path}: is not a state of a partner, or is damaged: {error}") from error
    name = _ADDED if path.name.startswith(_ADDED) else _KEPT.sub(r"\1", path.name)
    return {"what": _STATES.get(name, "state of a partner (private)"), "tensors": shapes}


def _cache(path: Path) -> dict[str, Any]:
    """Size of the cache of a partner's standardised structures."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_SQLITE_HEAD)
    page = int.from_bytes(head[16:18], "big")  # sqlite.org/fileformat.html: page size, 1 for 65536, and number of pages
    whole = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    if not head.startswith(_SQLITE) or size != whole:
        raise ConfigError(f"{path}: is no SQLite file, or damaged; it can be removed, the next run makes it again")
    return {"what": "cache of a partner's standardised structures (private)", "size": size}


def _note(path: Path, description: str, needed: set[str]) -> dict[str, Any]:
    """The single values of a small JSON file of a home, without its tables and lists."""
    table = _table(path)
    if not needed <= set(table):
        raise ConfigError(f"{path}: has no {', '.join(sorted(needed - set(table)))}, expected a {description}")
    return {"what": description, **{key: value for key, value in table.items() if not isinstance(value, list | dict)}}


def _matrices(path: Path) -> dict[str, Any]:
    """Facts about a file of a prepared folder, checked against the folder's manifest."""
    manifest = _table(path.with_name(_MANIFEST))
    files = manifest.get("files")
    if not isinstance(files, dict) or path.name not in files:
        raise ConfigError(f"{path}: is not in the list of manifest.json in this folder")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != files[path.name]:
        raise ConfigError(
            f"{path}: has SHA-256 {sha256[:12]}, manifest.json in this folder lists {str(files[path.name])[:12]}"
        )
    facts = {"prepared": manifest.get("digest"), "sha256": sha256, "size": path.stat().st_size}
    return {"what": "part of prepared matrices (private)", **facts}


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(read_plain(path, _MOST_JSON).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: found a JSON {type(table).__name__}, expected an object")
    return table
