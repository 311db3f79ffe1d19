"""Write an archive of NumPy arrays batch by batch: each array grows in a separate file until the end."""

import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest of a zip file: the same arrays give the same bytes


class GrowingArrays:
    """Arrays of which some rows come at a time, in any number of dimensions, numbers or texts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]] = {}  # type, shape of a row, rows so far
        self._texts: dict[str, list[str]] = {}

    def append(self, rows: Mapping[str, NDArray[Any] | list[str]]) -> None:
        """Append rows to every array; the first call decides types and shapes."""
        for name, part in rows.items():
            if isinstance(part, list):
                self._texts.setdefault(name, []).extend(part)
                continue
            dtype, shape, n_rows = self._numbers.get(name, (part.dtype, part.shape[1:], 0))
            with (self._folder / name).open("ab") as file:
                file.write(np.ascontiguousarray(part, dtype).data if part.size else b"")
            self._numbers[name] = (dtype, shape, n_rows + part.shape[0])

    def write(self, path: Path) -> None:
        """Write all arrays to an uncompressed .npz file, as numpy.load reads it without pickle."""
        with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
            for name, texts in self._texts.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w") as file:
                    npy.write_array(file, np.array(texts, dtype=np.str_), allow_pickle=False)
            for name, (dtype, shape, n_rows) in self._numbers.items():
                header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (n_rows, *shape)}
                with archive.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w", force_zip64=True) as file:
                    npy.write_array_header_2_0(file, header)
                    with (self._folder / name).open("rb") as rows:
                        shutil.copyfileobj(rows, file)


@contextmanager
def growing_arrays(path: Path) -> Iterator[GrowingArrays]:
    """Open arrays that are written to `path` at the end; temporary files are in a folder next to it."""
    folder = path.with_suffix(".arrays")
    folder.mkdir()
    arrays = GrowingArrays(folder)
    yield arrays
    arrays.write(path)
    shutil.rmtree(folder)
