"""Connect mirrors within one process instead of over NVFlare: dictionaries by call, files by copying."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import TransferFailed, WrongSite
from pipeline.plan.plan import read_plan
from pipeline.transport.endpoints import ServerEndpoint, SiteEndpoint
from pipeline.transport.mirror import Mirror
from pipeline.transport.sync import MirrorSync, Wire, rules_at_server, rules_at_site
from tests.support.federation import AGGREGATOR, Federation

SERVER = "server"  # common name of its certificate


class Porter:
    """Files by copying, of one end of one link; `spoil` may change a copy before the receiver sees it."""

    def __init__(self, peer: Callable[[], "Porter"], spoil: Callable[[Path], None] = lambda _: None) -> None:
        self._peer, self._spoil = peer, spoil
        self._offered: dict[str, Path] = {}  # this end's alone: another link's peer may still need the same file
        self.n_pulled = 0

    def offer(self, file: Path) -> str:
        """The path will do as a reference."""
        reference = str(file)[-200:]
        self._offered[reference] = file
        return reference

    def withdraw(self, file: Path) -> None:
        """Forget it."""
        self._offered.pop(str(file)[-200:], None)

    def pull(self, reference: str, target: Path, n_bytes: int) -> None:
        """Copy the file."""
        source = self._peer()._offered.get(reference)
        if source is None or source.stat().st_size > n_bytes:
            raise TransferFailed(f"{target.name}: not offered, or too large")
        self.n_pulled += 1
        shutil.copy(source, target)
        self._spoil(target)


class Voucher:
    """Proves any name without a signature."""

    def __init__(self, name: str) -> None:
        self.name = name

    def prove(self, to: str, plan: str, nonce: str) -> dict[str, Any]:
        """Everything that a signature would cover."""
        return {"says": (self.name, to, plan, nonce)}

    def check(self, proof: object, *, expected: str, plan: str, nonce: str) -> None:
        """Compare it."""
        if proof != {"says": (expected, self.name, plan, nonce)}:
            raise WrongSite(f"{expected}: is another")


class IdleRun:
    """A member's run that the test steps itself."""

    code: int | None = None
    stopped = False

    def poll(self) -> int | None:
        """Exit code as the test says."""
        return self.code

    def stop(self) -> None:
        """Note it."""
        self.stopped = True


class Line:
    """A server and its sites, joined."""

    def __init__(self, federation: Federation, *, spoil: Callable[[Path], None] = lambda _: None) -> None:
        self.federation = federation
        self.plan = read_plan(federation.plan_file)
        self.reports: list[str] = []
        self.runs = {name: IdleRun() for name in federation.partners}
        self.waits: dict[str, list[Callable[[], bool]]] = {name: [] for name in federation.partners}
        self.at_start: dict[str, list[str]] = {}  # messages in a site's mirror when its run started
        self.now = 0.0
        self.spoil = spoil
        self.porters: dict[str, Porter] = {}  # of the sites
        self.servers_porters: dict[str, Porter] = {}  # of the server's link to each
        self.sides = {name: self.side(name) for name in federation.partners}
        self.links = {name: self.link(name) for name in federation.partners}

    def mirror(self, name: str) -> Mirror:
        """A member's mirror, beside its configuration."""
        return Mirror(self.plan, self.federation.config(name).parent / "mirror")

    def side(self, name: str) -> SiteEndpoint:
        """A site, as its executor would open it."""
        self.porters[name] = Porter(lambda: self.servers_porters[name])
        sync = MirrorSync(
            self.mirror(name),
            self.porters[name],
            rules_at_site(AGGREGATOR),
            me=name,
            report=self.reports.append,
            clock=lambda: self.now,
        )

        def start() -> IdleRun:
            self.at_start[name] = self.mirror(name).paths()
            return self.runs[name]

        return SiteEndpoint(
            sync, Voucher(name), start, plan=self.plan.digest, server=SERVER, wait_for_news=self.waits[name].append
        )

    def link(self, name: str, ask: Callable[[Wire], object | None] | None = None) -> ServerEndpoint:
        """The server's link to it."""
        porter = self.servers_porters[name] = Porter(lambda: self.porters[name], self.spoil)
        return ServerEndpoint(
            name,
            ask=ask or self.sides[name].answer,
            open_sync=lambda: MirrorSync(
                self.mirror(AGGREGATOR),
                porter,
                rules_at_server(name),
                me=AGGREGATOR,
                report=self.reports.append,
                clock=lambda: self.now,
            ),
            prover=Voucher(SERVER),
            plan=self.plan.digest,
            report=self.reports.append,
            clock=lambda: self.now,
        )

    def turn(self) -> bool:
        """Turns with all sites until nothing moves any more; whether anything did."""
        before = self._moved()
        idle = 0
        until = time.monotonic() + 240
        while idle < 3:
            moved = self._moved()
            for link in self.links.values():
                if not link.refused:
                    link.turn()
            busy = any(side._sync._pulling for side in self.sides.values())
            busy = busy or any(link._sync._pulling for link in self.links.values() if link._sync)
            idle = 0 if busy or self._moved() != moved else idle + 1
            assert time.monotonic() < until, self.reports
        return self._moved() != before

    def _moved(self) -> int:
        sides = sum(side._sync.n_moved for side in self.sides.values())
        return sides + sum(link.n_moved for link in self.links.values())

    def close(self) -> None:
        """End the threads."""
        for side in self.sides.values():
            side.close()
        for link in self.links.values():
            link.close()
