"""Check that this member can use the exchange: list it, then write, read and remove a small file."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fsspec.core import url_to_fs

from pipeline.errors import ExchangeError
from pipeline.exchange.begun import advice, deal_of, nothing_here
from pipeline.exchange.storage import Exchange, open_exchange
from pipeline.home.paths import Home
from pipeline.plan.member_configs import MemberConfig
from pipeline.plan.plan import Plan
from pipeline.runtime.redact import without_password
from pipeline.setup.findings import Finding, note, wrong
from secure.messages.messages import utc

_ABOUT = "exchange"
_CLOCK_S = 60.0  # largest difference of this clock and the storage's that is right


def probe_exchange(url: str, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """List the exchange, write, read and remove a file that members ignore, and compare the storage's clock.

    Raises ExchangeError if listing, writing or reading fails.
    """
    shown = without_password(url)
    if url.startswith("file://") and not Path(url.removeprefix("file://")).exists():
        yield note(
            _ABOUT, f"{shown}: does not exist yet", "the first run makes it; check that the others use this path"
        )
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
        failure = _remove(url, name)
    if failure:
        text = f"{shown}/{name}: cannot be removed ({failure})"
        yield note(_ABOUT, text, "harmless: members ignore the file, and runs need no right to remove files")


def examine_begun(config: MemberConfig, plan: Plan) -> Iterator[Finding]:
    """Whether the exchange has messages of this plan; a path that is mistyped or not mounted has none.

    A deal of another plan is no finding here: the member's enrolment is examined with it.
    Raises ExchangeError if it cannot be looked up.
    """
    exchange = open_exchange(config.exchange_url).below(plan.folder)
    if exchange.has(deal_of(plan).manifest):
        return
    if Home(config.home_folder, plan.folder).has_received:
        text = f"{nothing_here(plan, exchange)}, but this home has received messages from it"
        yield wrong(_ABOUT, text, "mount it, or correct the path in the configuration")
    else:
        yield note(_ABOUT, nothing_here(plan, exchange), advice(plan))


def _write_and_read(exchange: Exchange, name: str) -> None:
    content = secrets.token_bytes(64)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "probe").write_bytes(content)
        exchange.send(Path(folder) / "probe", name)
    if (read := exchange.read(name)) != content:
        result = "no file" if read is None else "other bytes"
        error = ExchangeError(f"{exchange.where(name)}: read {result}, expected the 64 bytes that were just written")
        error.add_note("the storage must show a file as soon as it is written; is there a cache in between?")
        raise error


def _compare_clocks(url: str, name: str, before: float, after: float) -> Iterator[Finding]:
    """Compare the time of the written file, which is the storage's, with this machine's clock."""
    files, root = url_to_fs(url, use_listings_cache=False)
    try:
        stamp = float(files.modified(f"{root.rstrip('/')}/{name}").timestamp())
    except (NotImplementedError, OSError, AttributeError, KeyError):
        return  # this storage gives no time
    difference_s = max(before - stamp, stamp - after)
    if difference_s > _CLOCK_S:
        text = f"this machine's clock: {utc(int(after))}, the storage's: {utc(int(stamp))}"
        yield wrong("clock", text, "set this machine's clock, best by NTP: a wrong time gives the others warnings")
    else:
        yield Finding("clock", f"{utc(int(after))}, the same as the storage's")


def _remove(url: str, name: str) -> str:
    """Remove the written file; return why if that fails, else an empty text."""
    files, root = url_to_fs(url, use_listings_cache=False)
    path = f"{root.rstrip('/')}/{name}"
    try:
        if files.exists(path):
            files.rm_file(path)
    except (OSError, NotImplementedError) as error:
        return str(error) or type(error).__name__
    return ""
