"""A disk without space."""

import errno
from pathlib import Path


def fill(folder: Path) -> Path:
    """Take all the space there is; the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 -- writing until then is the point
    return ballast
