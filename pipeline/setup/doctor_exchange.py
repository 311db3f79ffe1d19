"""Whether this member can use the exchange: a small file is listed around, written, read and removed again."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fsspec.core import url_to_fs

from pipeline.errors import ExchangeError
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.runtime.redact import without_password
from pipeline.setup.findings import Finding, note, wrong
from secure.messages.messages import utc

_ABOUT = "exchange"
_CLOCK_S = 60.0  # by how much this clock and the storage's may differ without a word


def probe_exchange(url: str, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """List, write, read and remove a file whose name the members overlook, and compare the storage's clock with ours.

    Raises ExchangeError where one of the first three fails.
    """
    shown = without_password(url)
    if url.startswith("file://") and not Path(url.removeprefix("file://")).exists():
        yield note(_ABOUT, f"{shown}: is not there yet", "whoever starts first makes it; is it spelt as the others do?")
        return
    exchange = open_exchange(url)
    n_files = len(exchange.list_files())
    name = f".hocket-doctor-{secrets.token_hex(8)}"
    before = clock()
    try:
        _write_and_read(exchange, name)
        yield Finding(_ABOUT, f"{shown}: can be listed ({n_files} files), written and read")
        yield from _compare_clocks(url, name, before, clock())
    finally:
        left = _remove(url, name)
    if left:
        text = f"{shown}/{name}: cannot be removed ({left})"
        yield note(_ABOUT, text, "no run removes anything there; the file is harmless, remove it when you like")


def _write_and_read(exchange: Exchange, name: str) -> None:
    content = secrets.token_bytes(64)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "probe").write_bytes(content)
        exchange.send(Path(folder) / "probe", name)
    if (found := exchange.read(name)) != content:
        what = "nothing" if found is None else "something else"
        error = ExchangeError(f"{exchange.where(name)}: {what} is read where this was just written")
        error.add_note("the storage must show a file as soon as it is written; look for a cache in between")
        raise error


def _compare_clocks(url: str, name: str, before: float, after: float) -> Iterator[Finding]:
    """The storage stamps the file with its own time, or with ours where it is this machine."""
    files, root = url_to_fs(url, use_listings_cache=False)
    try:
        stamp = float(files.modified(f"{root.rstrip('/')}/{name}").timestamp())
    except (NotImplementedError, OSError, AttributeError, KeyError):
        return  # not every protocol knows
    off = max(before - stamp, stamp - after)
    if off > _CLOCK_S:
        text = f"this clock says {utc(int(after))}, the storage's {utc(int(stamp))}"
        yield wrong("clock", text, "set this machine's clock, best by NTP: times are signed, and others are warned")
    else:
        yield Finding("clock", f"{utc(int(after))}, as the storage of the exchange says too")


def _remove(url: str, name: str) -> str:
    """Remove the probe; why not, where that fails."""
    files, root = url_to_fs(url, use_listings_cache=False)
    path = f"{root.rstrip('/')}/{name}"
    try:
        if files.exists(path):
            files.rm_file(path)
    except (OSError, NotImplementedError) as error:
        return str(error) or type(error).__name__
    return ""
