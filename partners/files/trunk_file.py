"""A trunk as one public file: safetensors with its tensors by name, for another federation to begin from.

Rows of `trunk.0.weight` are in the order of the fingerprint's bits, before a federation's keyed permutation, so the
file fits any federation with the same fingerprint and layers.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from partners.errors import CheckpointDamaged, CheckpointMismatch
from partners.network.trunk import INPUT_WEIGHT, TrunkLayout, check_trunk
from partners.training_data.aligned_arrays import copied, empty
from secure.files import atomic_path, open_plain


def write_trunk(path: Path, trunk: NDArray[np.float32], layout: TrunkLayout) -> None:
    """Write a trunk (n_params,) whose rows are in the order of the bits, atomically; layout: of the trunk alone."""
    check_trunk(trunk, layout)
    with atomic_path(path) as unfinished:
        save_file(layout.views(trunk), unfinished)
        unfinished.chmod(0o600)  # whoever exports it decides who may read it


def read_trunk(path: Path, layout: TrunkLayout) -> NDArray[np.float32]:
    """Read a trunk (n_params,), rows in the order of the bits; layout: of the trunk alone.

    Raises FileNotFoundError, CheckpointDamaged, or CheckpointMismatch for other layers than the layout's.
    """
    open_plain(path).close()  # a named pipe would be waited for
    trunk = empty((layout.n_params,))
    views = layout.views(trunk)
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 -- no mapping
            types = {file.get_slice(name).get_dtype() for name in shapes}
            expected = {name: view.shape for name, view in views.items()}
            if shapes != expected or types != {"F32"}:
                found = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))[:200]
                raise CheckpointMismatch(f"{path.name}: found {found}, expected float32 of {expected}")
            for name, view in views.items():
                view[:] = file.get_tensor(name)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointDamaged(f"{path.name}: cannot be read as safetensors ({error})") from None
    if not np.isfinite(trunk).all():
        raise CheckpointDamaged(f"{path.name}: holds values that are not finite")
    return trunk


def permuted(trunk: NDArray[np.float32], layout: TrunkLayout, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Copy of a trunk whose input row of bit i is now at places[i], (n_inputs,)."""
    moved = copied(trunk)
    layout.views(moved)[INPUT_WEIGHT][places] = layout.views(trunk)[INPUT_WEIGHT]
    return moved
