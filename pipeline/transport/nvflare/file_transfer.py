"""Transfer files with NVFlare's file downloader: the receiver pulls chunk by chunk, so memory stays small."""

import gc
import threading
from pathlib import Path
from typing import Any, BinaryIO

from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.streaming.download_service import Consumer, ProduceRC, download_object
from nvflare.fuel.f3.streaming.file_downloader import FileDownloadable
from nvflare.fuel.f3.streaming.obj_downloader import ObjectDownloader

from pipeline.errors import BadTransfer, TransferFailed

_OFFERED_S = 3600.0  # seconds without a request, after which a file is offered again under a new reference
_REQUEST_S = 60.0  # seconds for one chunk, before it is requested again
_CHUNKS_KEPT = 4  # chunks of a file that stay in memory after sending, at most
_RECEIVED = "received_bytes"  # NVFlare's word in nvflare.fuel.f3.streaming.file_downloader


def keep_loaded() -> None:
    """Exclude all objects that exist now from garbage collection: a collection then takes 5 ms instead of 80."""
    gc.freeze()


class FileTransfer:
    """Offers files to one peer and pulls those that it offers."""

    def __init__(self, cell: Cell, peer: str, stop: Signal) -> None:
        self._cell, self._peer, self._stop = cell, peer, stop
        self._offered: dict[Path, tuple[str, ObjectDownloader]] = {}
        self._lock = threading.Lock()

    def offer(self, file: Path) -> str:
        """Return a reference with which the peer may pull the file; the same one while it is valid."""
        with self._lock:
            if file in self._offered:
                return self._offered[file][0]
            downloader = ObjectDownloader(
                self._cell,
                timeout=_OFFERED_S,
                num_receivers=1,
                transaction_done_cb=lambda *_args, **_kwargs: self._forget(file),
            )
            reference = str(downloader.add_object(_Offer(file)))
            self._offered[file] = (reference, downloader)
            return reference

    def withdraw(self, file: Path) -> None:
        """End the offer: the peer has the file or no longer needs it."""
        with self._lock:
            offered = self._offered.pop(file, None)
        if offered:
            offered[1].delete_transaction()

    def pull(self, reference: str, target: Path, n_bytes: int) -> None:
        """Write the peer's file to a temporary path, as of `secure.files.atomic_path`.

        Raises TransferFailed, BadTransfer for more than n_bytes, OSError if it cannot be written.
        """
        with target.open("wb") as file:
            consumer = _Writer(file, n_bytes, target.name)
            self._download(reference, consumer)
        if consumer.error:
            raise consumer.error
        if consumer.failure:
            raise TransferFailed(f"transfer from {self._peer} failed: {consumer.failure}")

    def _download(self, reference: str, consumer: "_Writer") -> None:
        try:
            download_object(
                from_fqcn=self._peer,
                ref_id=reference,
                consumer=consumer,
                per_request_timeout=_REQUEST_S,
                cell=self._cell,
                abort_signal=self._stop,
            )
        except (AssertionError, TypeError, ValueError) as error:  # the peer's answer is not in NVFlare's form
            consumer.download_failed(reference, f"NVFlare does not understand its answer: {error}")

    def _forget(self, file: Path) -> None:
        with self._lock:
            self._offered.pop(file, None)


class _Offer(FileDownloadable):  # type: ignore[misc] # NVFlare ships no types
    """A file that the peer may pull; chunks that were sent are freed.

    NVFlare leaves each chunk in a cycle of references, and allocates too few other objects for Python to collect them:
    measured, the memory of a site that sent 1 GB grew by 1 GB.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._n_chunks = 0

    def produce(self, state: dict[str, Any], requester: str) -> Any:  # noqa: ANN401 -- NVFlare's triple
        """Return the next chunk."""
        produced = super().produce(state, requester)
        self._n_chunks += 1
        if self._n_chunks % _CHUNKS_KEPT == 0 or produced[0] == ProduceRC.EOF:
            gc.collect()
        return produced


class _Writer(Consumer):  # type: ignore[misc] # NVFlare ships no types
    """Writes received chunks, up to a limit."""

    supports_pipelining = True  # the next chunk is requested while this one is written

    def __init__(self, file: BinaryIO, n_bytes: int, name: str) -> None:
        super().__init__()
        self._file, self._n_allowed, self._name, self._received = file, n_bytes, name, 0
        self.failure = "it ended before the download began"  # NVFlare's reason
        self.error: BadTransfer | OSError | None = None  # NVFlare's own reason is only "consuming data"

    def consume(self, ref_id: str, state: dict[str, Any], data: bytes) -> dict[str, Any]:  # noqa: ARG002
        """Write a chunk; NVFlare ends the download if this raises."""
        self._n_allowed -= len(data)
        if self._n_allowed < 0:
            self.error = BadTransfer(f"{self._name}: more bytes than in its manifest")
        else:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        if self.error:
            raise self.error
        self._received += len(data)
        return {_RECEIVED: self._received}

    def download_completed(self, ref_id: str) -> None:  # noqa: ARG002
        """Note that the whole file has come."""
        self.failure = ""

    def download_failed(self, ref_id: str, reason: str) -> None:  # noqa: ARG002
        """Note why the download failed."""
        self.failure = reason
