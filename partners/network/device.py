"""Device, number of threads and precision of a partner's arithmetic."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from partners.errors import DeviceMissing
from partners.settings import Training
from partners.training_data.aligned_arrays import is_sharable


@contextmanager
def use_threads(n_threads: int) -> Iterator[None]:
    """Use this many torch threads inside the block; no other code changes torch's thread count."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_of(training: Training) -> str:
    """The device that the settings mean: "cuda", or "cpu".

    "auto" is looked up each time, so that a home may move to a machine with a GPU or without one.
    """
    if training.device != "auto":
        return training.device
    usable = torch.cuda.is_available() and (training.precision != "bfloat16" or torch.cuda.is_bf16_supported())
    return "cuda" if usable else "cpu"


@contextmanager
def arithmetic(training: Training) -> Iterator[None]:
    """Use the settings' number of threads and precision of dense products inside the block.

    Raises DeviceMissing if this machine does not have the device or the precision.
    """
    _require_device(training)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if training.precision == "tf32" else "highest")
    try:
        with use_threads(training.n_threads):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def tensor_of(array: NDArray[np.float32], device: str, *, shared: bool = False) -> torch.Tensor:
    """Tensor of an array's values on a device; with `shared` in the array's own memory, if torch can compute there."""
    if shared and device == "cpu" and is_sharable(array):
        return torch.from_numpy(array)
    return torch.tensor(array, device=device)


def _require_device(training: Training) -> None:
    if training.device != "cuda":
        return
    if not torch.cuda.is_available():
        error = DeviceMissing("training.device: found no CUDA device that this build of torch can use, expected one")
        error.add_note(
            'set device = "auto" or "cpu", or install a CUDA build of torch and check torch.cuda.is_available()'
        )
        raise error
    if training.precision == "bfloat16" and not torch.cuda.is_bf16_supported():
        error = DeviceMissing("training.precision: this CUDA device has no bfloat16, expected float32 or tf32")
        error.add_note('set precision = "float32"')
        raise error
