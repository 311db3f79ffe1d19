"""A storage that shows what was written only after it was asked for a while, and payloads later than manifests."""

from collections import Counter
from typing import Any, ClassVar

from fsspec.implementations.memory import MemoryFileSystem

_LOOKS = {"json": 4}  # before the file is seen
_LOOKS_OF_PAYLOADS = 9


class LaggingFileSystem(MemoryFileSystem):
    """An object store with late reads and late listings, deterministic: time is counted in looks at the file."""

    protocol = ("lagging", "memory")  # an object store for the exchange
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    looks: ClassVar[Counter[str]] = Counter()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("lagging://", "memory://"))

    def _is_late(self, path: str) -> bool:
        if path not in self.store:
            return False
        self.looks[path] += 1
        return self.looks[path] <= _LOOKS.get(path.rsplit(".", 1)[-1], _LOOKS_OF_PAYLOADS)

    def info(self, path: str, **how: Any) -> dict[str, Any]:  # noqa: ANN401 -- as fsspec has it
        """What is late is not there."""
        path = self._strip_protocol(path)
        if self._is_late(path):
            raise FileNotFoundError(path)
        return dict(super().info(path, **how))

    def _open(self, path: str, mode: str = "rb", **how: Any) -> Any:  # noqa: ANN401
        path = self._strip_protocol(path)
        if "r" in mode and self._is_late(path):
            raise FileNotFoundError(path)
        return super()._open(path, mode=mode, **how)

    def ls(self, path: str, detail: bool = True, **how: Any) -> list[Any]:  # noqa: ANN401, FBT001, FBT002
        """Files that are late are not listed."""
        found = super().ls(path, detail=True, **how)
        seen = [one for one in found if one["type"] == "directory" or not self._is_late(one["name"])]
        return seen if detail else [one["name"] for one in seen]

    def find(self, path: str, *depth: Any, **how: Any) -> Any:  # noqa: ANN401
        """The same for all files below."""
        return [name for name in super().find(path, *depth, **how) if not self._is_late(name)]
