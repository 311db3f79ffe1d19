"""Trunk, partner state and server state in one safetensors file, written whole or not at all.

The file's one metadata entry `hocket` is JSON: format version, counters, the caller's facts, and the SHA-256 of all
of this and of every array, so that a changed byte is found. No pickle anywhere.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from partners.errors import CheckpointDamaged, CheckpointMismatch, TrainingError
from partners.server_step import ServerState
from partners.state import HeadSizes, PartnerState, check_state
from partners.trunk import TrunkLayout, check_trunk

_FORMAT = 1
_KEY = "hocket"
_TRUNK, _HEAD, _FIRST, _SECOND, _SERVER = "trunk", "head/", "adam.first/", "adam.second/", "server/"
_VECTOR, _NORMALISATION, _OTHER = "vector/", "normalisation/", "other/"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a member stores between rounds; any part may be absent."""

    trunk: NDArray[np.float32] | None = None
    partner: PartnerState | None = None
    server: ServerState | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # JSON values of the caller: round, settings, digests
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # the caller's, each as long as the trunk
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # the caller's, of any shape; finite

    def need_trunk(self, path: Path) -> NDArray[np.float32]:
        """The trunk; raises CheckpointDamaged where the file holds none."""
        if self.trunk is None:
            raise CheckpointDamaged(f"{path.name}: found no trunk, expected one")
        return self.trunk

    def need_partner(self, path: Path) -> PartnerState:
        """The partner's state; raises CheckpointDamaged where the file holds none."""
        if self.partner is None:
            raise CheckpointDamaged(f"{path.name}: found no partner state, expected one")
        return self.partner


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file under a temporary name, sync and rename: `path` holds all of it or is left as it was."""
    arrays, facts = _arrays(checkpoint), _counters(checkpoint)
    header = {**facts, "sha256": _digest(arrays, facts)}
    waiting = path.with_name(f"{path.name}.tmp")
    try:
        save_file(arrays, waiting, metadata={_KEY: json.dumps(header, sort_keys=True)})
        _sync(waiting)
        waiting.replace(path)
    except SafetensorError as error:  # how a full disk shows itself here
        raise OSError(f"{path}: cannot be written: {error}") from error
    finally:
        waiting.unlink(missing_ok=True)
    _sync(path.parent)


def load_checkpoint(path: Path, layout: TrunkLayout, sizes: HeadSizes | None = None) -> Checkpoint:
    """Read a file of `save_checkpoint` and check names, shapes, digest and that all numbers are finite.

    sizes : of the heads; absent: whatever the file holds
    Raises FileNotFoundError, CheckpointDamaged, or CheckpointMismatch when the file is sound but does not fit.
    """
    arrays, facts = _read(path)
    try:
        return _checkpoint(arrays, facts, layout, sizes)
    except KeyError as error:
        raise CheckpointDamaged(f"{path.name}: found no {error}, expected a complete checkpoint") from None
    except TrainingError as error:
        raise CheckpointMismatch(f"{path.name}: {error}") from None


def checkpoint_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every array by name, of a file that is as it was written; raises CheckpointDamaged."""
    return {name: array.shape for name, array in _read(path)[0].items()}


def read_facts(path: Path) -> Mapping[str, Any]:
    """The caller's facts alone, from the file's header; that they are unchanged only `load_checkpoint` proves.

    Raises CheckpointDamaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(_header(file.metadata(), path)["facts"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointDamaged(f"{path.name}: cannot be read as a checkpoint ({error})") from None


def _arrays(checkpoint: Checkpoint) -> Arrays:
    arrays: Arrays = {}
    if checkpoint.trunk is not None:
        arrays[_TRUNK] = checkpoint.trunk
    if checkpoint.partner is not None:
        arrays |= {_HEAD + name: array for name, array in checkpoint.partner.heads.items()}
        arrays |= {_FIRST + name: array for name, array in checkpoint.partner.first_moment.items()}
        arrays |= {_SECOND + name: array for name, array in checkpoint.partner.second_moment.items()}
        arrays |= {_NORMALISATION + name: array for name, array in checkpoint.partner.normalisation.items()}
    if checkpoint.server is not None:
        arrays |= {_SERVER + name: array for name, array in checkpoint.server.arrays.items()}
    arrays |= {_VECTOR + name: array for name, array in checkpoint.vectors.items()}
    arrays |= {_OTHER + name: array for name, array in checkpoint.others.items()}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _counters(checkpoint: Checkpoint) -> dict[str, Any]:
    partner, server = checkpoint.partner, checkpoint.server
    return {
        "format": _FORMAT,
        "facts": dict(checkpoint.facts),
        "partner": None if partner is None else {"n_steps": partner.n_steps},
        "server": None
        if server is None
        else {"n_steps": server.n_steps, "beta1_power": server.beta1_power, "beta2_power": server.beta2_power},
    }


def _digest(arrays: Arrays, facts: Mapping[str, Any]) -> str:
    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        total.update(arrays[name].reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> tuple[Arrays, dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(file.metadata(), path)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- it is no mapping
    except (SafetensorError, ValueError) as error:
        raise CheckpointDamaged(f"{path.name}: cannot be read as a checkpoint ({error})") from None
    expected = header.pop("sha256", None)
    if _digest(arrays, header) != expected:
        raise CheckpointDamaged(f"{path.name}: the content differs from its SHA-256, expected the bytes once written")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointDamaged(f"{path.name}: {name} holds values that are not finite")
    return arrays, header


def _header(metadata: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
    header = json.loads((metadata or {}).get(_KEY, "null"))
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise CheckpointDamaged(f"{path.name}: found no header of format {_FORMAT}, expected a checkpoint of hocket")
    return header


def _checkpoint(arrays: Arrays, facts: Mapping[str, Any], layout: TrunkLayout, sizes: HeadSizes | None) -> Checkpoint:
    trunk = arrays.get(_TRUNK)
    if trunk is not None:
        check_trunk(trunk, layout)
    partner = None
    if facts["partner"] is not None:
        partner = PartnerState(
            heads=_part(arrays, _HEAD),
            first_moment=_part(arrays, _FIRST),
            second_moment=_part(arrays, _SECOND),
            n_steps=int(facts["partner"]["n_steps"]),
            normalisation=_part(arrays, _NORMALISATION),
        )
        check_state(partner, layout, partner.sizes if sizes is None else sizes)
    server = None
    if facts["server"] is not None:
        server = ServerState(**facts["server"], arrays=_part(arrays, _SERVER))
        _check_server(server, layout)
    vectors = _part(arrays, _VECTOR)
    for vector in vectors.values():
        check_trunk(vector, layout)
    return Checkpoint(trunk, partner, server, facts["facts"], vectors, _part(arrays, _OTHER))


def _part(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _check_server(server: ServerState, layout: TrunkLayout) -> None:
    for name, array in server.arrays.items():
        if array.shape != (layout.n_params,) or array.dtype != np.float64:
            raise CheckpointMismatch(
                f"server state: {name} is {array.dtype} of shape {array.shape}, "
                f"expected float64 of shape ({layout.n_params},)"
            )
