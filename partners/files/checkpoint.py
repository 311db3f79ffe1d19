"""Checkpoints: trunk, partner state and server state in one safetensors file, written atomically.

The file's one metadata entry `hocket` is JSON: format version, counters, the caller's facts, and the SHA-256 of these
and of every array, so that a changed byte is detected. The file contains no pickle.
"""

import errno
import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from partners.errors import CheckpointDamaged, CheckpointMismatch, TrainingError
from partners.network.server_state import ServerState
from partners.network.state import HeadSizes, PartnerState, check_state
from partners.network.trunk import TrunkLayout, check_trunk
from partners.training_data.aligned_arrays import empty
from secure.files import atomic_path, open_plain

_FORMAT = 1
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # in messages of safetensors, which is written in Rust
_KEY = "hocket"
_TRUNK, _HEAD, _FIRST, _SECOND, _SERVER = "trunk", "head/", "adam.first/", "adam.second/", "server/"
_VECTOR, _NORMALISATION, _COLUMNS, _OTHER = "vector/", "normalisation/", "columns", "other/"

_PIECE = 1 << 23  # bytes read at a time
# safetensors' names of the types
_FLOATS: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_INTEGERS: dict[str, np.dtype[Any]] = {  # allowed in `others` only
    "U16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
}

Arrays = dict[str, NDArray[Any]]
Part = Literal["trunk", "heads", "moments", "server", "vectors", "others"]

_PARTS: dict[Part, tuple[str, ...]] = {  # prefixes of the names of each part's arrays
    "trunk": (_TRUNK,),
    "heads": (_HEAD, _NORMALISATION, _COLUMNS),
    "moments": (_FIRST, _SECOND),
    "server": (_SERVER,),
    "vectors": (_VECTOR,),
    "others": (_OTHER,),
}


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """State that a member stores between rounds; any part may be absent."""

    trunk: NDArray[np.float32] | None = None
    partner: PartnerState | None = None
    server: ServerState | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # the caller's JSON values: round, settings, digests
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # the caller's, each as long as the trunk
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # the caller's, of any shape; finite

    def need_trunk(self, path: Path) -> NDArray[np.float32]:
        """Return the trunk; raises CheckpointDamaged if the file holds none."""
        if self.trunk is None:
            raise CheckpointDamaged(f"{path.name}: found no trunk, expected one")
        return self.trunk

    def need_partner(self, path: Path) -> PartnerState:
        """Return the partner's state; raises CheckpointDamaged if the file holds none."""
        if self.partner is None:
            raise CheckpointDamaged(f"{path.name}: found no partner state, expected one")
        return self.partner


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file under a temporary name, sync and rename: `path` holds the whole checkpoint or is unchanged."""
    arrays, facts = _arrays(checkpoint), _counters(checkpoint)
    header = {**facts, "sha256": _digest(arrays, facts)}
    try:
        with atomic_path(path) as unfinished:
            save_file(arrays, unfinished, metadata={_KEY: json.dumps(header, sort_keys=True)})
    except SafetensorError as error:  # for example a full disk
        failure, number = OSError(f"{path}: cannot be written: {error}"), _OS_ERROR.search(str(error))
        failure.errno = int(number[1]) if number else errno.EIO
        raise failure from error


def load_checkpoint(
    path: Path, layout: TrunkLayout, sizes: HeadSizes | None = None, *, only: Collection[Part] = tuple(_PARTS)
) -> Checkpoint:
    """Read a file of `save_checkpoint` and check names, shapes, digest and that all numbers are finite.

    sizes : expected sizes of the heads; absent: any
    only  : parts to return; the others are checked and left out; `moments` only with `heads`
    Memory: the arrays returned, which are `aligned_arrays.is_sharable`, and some megabytes.
    Raises FileNotFoundError, CheckpointDamaged, or CheckpointMismatch if the file is undamaged but does not fit.
    """
    arrays, facts = _read(path, tuple(start for part in only for start in _PARTS[part]))
    wanted = {"partner": "heads", "server": "server"}
    facts |= {kind: None for kind, part in wanted.items() if part not in only}
    try:
        return _checkpoint(arrays, facts, layout, sizes)
    except KeyError as error:
        raise CheckpointDamaged(f"{path.name}: found no {error}, expected a complete checkpoint") from None
    except (TypeError, ValueError) as error:
        raise CheckpointDamaged(f"{path.name}: has counters of another kind than a checkpoint ({error})") from None
    except TrainingError as error:
        raise CheckpointMismatch(f"{path.name}: {error}") from None


def trunk_pieces(path: Path) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Positions and values of a file's trunk, in order, a piece at a time.

    The digest is not checked here; `load_checkpoint` checks it. Raises CheckpointDamaged.
    """
    with _reading(path):
        yield from _pieces(path, _TRUNK)


def checkpoint_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every array by name, after a check of the whole file; raises CheckpointDamaged."""
    with _reading(path), safe_open(path, framework="numpy") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 -- no mapping
    _read(path, ())
    return shapes


def trunk_length(path: Path) -> int:
    """Number of values of a file's trunk, from its header alone; raises CheckpointDamaged."""
    with _reading(path):
        return int(_shape_and_type(path, _TRUNK)[0][0])


def content_digest(checkpoint: Checkpoint) -> str:
    """SHA-256, hexadecimal, of a checkpoint's facts and arrays, as it stands in its file."""
    return _digest(_arrays(checkpoint), _counters(checkpoint))


def stored_digest(path: Path) -> str:
    """`content_digest` of a file, after a check of the whole file; raises CheckpointDamaged."""
    _read(path, ())
    with _reading(path), safe_open(path, framework="numpy") as file:
        return str(_header(file.metadata(), path)["sha256"])


def read_facts(path: Path) -> Mapping[str, Any]:
    """The caller's facts, from the file's header alone.

    The digest is not checked here; `load_checkpoint` checks it. Raises CheckpointDamaged.
    """
    open_plain(path).close()  # a named pipe would be waited for
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(_header(file.metadata(), path)["facts"])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
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
        arrays |= {} if checkpoint.partner.columns is None else {_COLUMNS: checkpoint.partner.columns}
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
        total.update(_array_label(name, arrays[name].dtype, arrays[name].shape))
        total.update(_bytes(arrays[name]))
    return total.hexdigest()


def _array_label(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    return f"{name} {dtype.str} {shape}".encode()


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _read(path: Path, wanted: tuple[str, ...]) -> tuple[Arrays, dict[str, Any]]:
    """Read the arrays with one of these prefixes, and the header; the whole file is checked."""
    with _reading(path):
        with safe_open(path, framework="numpy") as file:
            header, names = _header(file.metadata(), path), sorted(file.keys())
        expected = header.pop("sha256", None)
        total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        arrays = {name: _read_array(path, name, total.update, keep=name.startswith(wanted)) for name in names}
    if total.hexdigest() != expected:
        raise CheckpointDamaged(f"{path.name}: the content differs from its SHA-256, expected the bytes once written")
    return {name: array for name, array in arrays.items() if array is not None}, header


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    open_plain(path).close()  # a named pipe would be waited for
    try:
        yield
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointDamaged(f"{path.name}: cannot be read as a checkpoint ({error})") from None


def _read_array(
    path: Path, name: str, update_digest: Callable[[bytes | memoryview], None], *, keep: bool
) -> NDArray[Any] | None:
    shape, dtype = _shape_and_type(path, name)
    array = empty(shape, dtype) if keep else None
    update_digest(_array_label(name, dtype, shape))
    for rows, values in _pieces(path, name):
        update_digest(_bytes(values))
        if not np.isfinite(values).all():
            raise CheckpointDamaged(f"{path.name}: {name} holds values that are not finite")
        if array is not None:
            array[rows] = values
    return array


def _shape_and_type(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with safe_open(path, framework="numpy") as file:
        stored = file.get_slice(name)
        shape, kind = tuple(stored.get_shape()), stored.get_dtype()
    known = _FLOATS | _INTEGERS if name.startswith(_OTHER) else _FLOATS
    if not shape:
        raise CheckpointDamaged(f"{path.name}: {name} is a single number, expected an array")
    if kind not in known:
        raise CheckpointDamaged(f"{path.name}: {name} is {kind}, expected {' or '.join(known)}")
    return shape, known[kind]


def _pieces(path: Path, name: str) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Some rows of an array at a time; the file is opened for each, as its pages count as memory while it is open."""
    shape, dtype = _shape_and_type(path, name)
    n_rows = max(1, _PIECE // max(1, math.prod(shape[1:]) * dtype.itemsize))
    for start in range(0, shape[0] if math.prod(shape) else 0, n_rows):
        rows = slice(start, min(start + n_rows, shape[0]))
        with safe_open(path, framework="numpy") as file:
            values = file.get_slice(name)[rows]
        yield rows, values


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
            columns=arrays.get(_COLUMNS),
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
