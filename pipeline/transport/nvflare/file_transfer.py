"""Sealed files over NVFlare's file downloader: the receiver pulls chunk by chunk, so memory stays small."""

import gc
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.streaming.download_service import Consumer, ProduceRC, download_object
from nvflare.fuel.f3.streaming.file_downloader import FileDownloadable
from nvflare.fuel.f3.streaming.obj_downloader import ObjectDownloader

from pipeline.errors import BadTransfer, TransferFailed

_OFFERED_S = 3600.0  # without a request for it, after which a file is offered anew
_REQUEST_S = 60.0  # for one chunk, before it is asked for again
_CHUNKS_KEPT = 4  # of each file, at most, after they were sent
_RECEIVED = "received_bytes"  # NVFlare's word in nvflare.fuel.f3.streaming.file_downloader


def keep_loaded() -> None:
    """Let what is loaded by now stay for good: left out, a collection of what is sent takes 5 ms instead of 80."""
    gc.freeze()


class FileCourier:
    """Offers files to one peer and pulls those that it offers."""

    def __init__(self, cell: Cell, peer: str, stop: Signal) -> None:
        self._cell, self._peer, self._stop = cell, peer, stop
        self._offered: dict[Path, tuple[str, ObjectDownloader]] = {}
        self._lock = threading.Lock()

    def offer(self, file: Path) -> str:
        """A reference by which the peer may pull the file; the same again while it holds."""
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
        """The peer has the file, or needs it no more."""
        with self._lock:
            offered = self._offered.pop(file, None)
        if offered:
            offered[1].delete_transaction()

    def pull(self, reference: str, target: Path, n_bytes: int) -> None:
        """Bring the peer's file, whole and on the disk, or leave nothing.

        Raises TransferFailed, BadTransfer for more than n_bytes, OSError where it cannot be written.
        """
        with ExitStack() as undo:
            undo.callback(target.unlink, missing_ok=True)
            with target.open("wb") as file:
                consumer = _Gather(file, n_bytes, target.name)
                self._download(reference, consumer)
                if consumer.error:
                    raise consumer.error
                if consumer.failure:
                    raise TransferFailed(f"did not come whole from {self._peer}: {consumer.failure}")
                file.flush()
                os.fsync(file.fileno())
            undo.pop_all()

    def _download(self, reference: str, consumer: "_Gather") -> None:
        try:
            download_object(
                from_fqcn=self._peer,
                ref_id=reference,
                consumer=consumer,
                per_request_timeout=_REQUEST_S,
                cell=self._cell,
                abort_signal=self._stop,
            )
        except (AssertionError, TypeError, ValueError) as error:  # where the peer's answer is not of NVFlare's form
            consumer.download_failed(reference, f"it answered what NVFlare does not understand: {error}")

    def _forget(self, file: Path) -> None:
        with self._lock:
            self._offered.pop(file, None)


class _Offer(FileDownloadable):  # type: ignore[misc] # NVFlare ships no types
    """A file to be pulled, whose chunks do not pile up once they are sent.

    NVFlare leaves each chunk in a cycle of references, and allocates too little else for Python to look for cycles:
    measured, a site that sent 1 GB grew by as much.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._n_chunks = 0

    def produce(self, state: dict[str, Any], requester: str) -> Any:  # noqa: ANN401 -- NVFlare's triple
        """The next chunk."""
        produced = super().produce(state, requester)
        self._n_chunks += 1
        if self._n_chunks % _CHUNKS_KEPT == 0 or produced[0] == ProduceRC.EOF:
            gc.collect()
        return produced


class _Gather(Consumer):  # type: ignore[misc] # NVFlare ships no types
    """Writes what comes, up to a limit."""

    supports_pipelining = True  # the next chunk is asked for while this one is written: `consume` keeps NVFlare's state

    def __init__(self, file: BinaryIO, n_bytes: int, name: str) -> None:
        super().__init__()
        self._file, self._left, self._name, self._received = file, n_bytes, name, 0
        self.failure = "it ended before the download began"  # as NVFlare says it
        self.error: BadTransfer | OSError | None = None  # what NVFlare says as "consuming data" alone

    def consume(self, ref_id: str, state: dict[str, Any], data: bytes) -> dict[str, Any]:  # noqa: ARG002
        """Write a chunk; NVFlare ends the download where this raises."""
        self._left -= len(data)
        if self._left < 0:
            self.error = BadTransfer(f"{self._name}: more bytes than its manifest announces")
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
        """The peer has no more."""
        self.failure = ""

    def download_failed(self, ref_id: str, reason: str) -> None:  # noqa: ARG002
        """The peer is gone, or has no such file."""
        self.failure = reason
