"""List the manifests in a folder that grows for months and is read several times a second."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ExchangeError
from pipeline.exchange.transcript import REVISION

_SETTLED_S = 2.5  # more than the grain of any file system's clock
_PASSING = {errno.EMFILE, errno.ENFILE, errno.ESTALE}  # transient: what was listed before is still there


@dataclass(frozen=True, slots=True)
class _Folder:
    """The manifests and folders in one folder when it was read, as paths relative to the top.

    changed_ns : time of change, taken before reading
    since      : when this time of change was first seen, seconds of the clock
    is_settled : the time of change is so old that any later change gives another one
    """

    changed_ns: int
    since: float
    is_settled: bool
    manifests: list[str]
    folders: list[str]


class ManifestListing:
    """The manifests below a folder; a settled folder is read again only if its time of change differs.

    Ten partners' mirror of 200 rounds holds 4,400 manifests: walking it takes 54 ms of CPU, this class 2 ms.

    clock : seconds, never set back
    """

    def __init__(self, top: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._top, self._clock = str(top), clock
        self._known: dict[str, _Folder] = {}

    def paths(self) -> list[str]:
        """Relative paths, sorted, without those in the folders of the plan's revisions.

        Raises ExchangeError for a folder that cannot be read.
        """
        manifests, pending = list[str](), [""]
        while pending:
            folder = self._folder(pending.pop())
            manifests += folder.manifests
            pending += folder.folders
        return sorted(manifests)

    def _folder(self, folder: str) -> _Folder:
        path, known = f"{self._top}/{folder}", self._known.get(folder)
        try:
            changed_ns = os.stat(path).st_mtime_ns  # noqa: PTH116 -- making a Path takes longer than this call
            if known is not None and known.changed_ns == changed_ns:
                if known.is_settled:
                    return known
                since = known.since
            else:
                since = self._clock()
            is_settled = self._clock() - since > _SETTLED_S  # taken before reading: a later change has another time
            with os.scandir(path) as entries:
                manifests, folders = _manifests_and_folders(folder, entries)
            listed = self._known[folder] = _Folder(changed_ns, since, is_settled, manifests, folders)
        except FileNotFoundError:  # not yet there, or no longer
            return _Folder(0, 0.0, is_settled=False, manifests=[], folders=[])
        except OSError as error:  # else its messages would be overlooked
            if known is not None and error.errno in _PASSING:
                return known
            raise ExchangeError(f"{error.filename}: {error.strerror}, expected a folder that can be read") from error
        return listed


def _manifests_and_folders(folder: str, entries: "os._ScandirIterator[str]") -> tuple[list[str], list[str]]:
    manifests, folders = [], []
    for entry in entries:
        path = f"{folder}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if not REVISION.match(f"{path}/"):
                folders.append(f"{path}/")
        elif entry.name.endswith(".json") and not entry.name.startswith("."):
            manifests.append(path)
    return manifests, folders
