"""One round with real members, and an adversary that is the aggregator and some of the partners.

Each honest partner sees an exchange of its own, in which the adversary puts what it likes; it knows whatever anybody
ever posted. Partners send nine numbers instead of a trunk; all else is the code of the rounds.
"""

import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.errors import NotYet, PipelineError
from pipeline.exchange.mailbox import Mailbox
from pipeline.exchange.storage import Exchange
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan, read_plan
from pipeline.protocol.enrolment import Enrolment
from pipeline.protocol.round_seal import RoundSeal
from pipeline.protocol.sealed_round import SealedRound
from pipeline.runtime.progress import ProgressReporter
from secure.ciphertexts.parameters import SealParameters, seal_parameters
from secure.encoding.canonical import digest
from secure.encoding.roster import Roster
from secure.errors import SecureError
from secure.keys.group import GroupSecret
from secure.keys.keys import PrivateKeys, load_private_keys
from secure.keys.pairing import PairKey, pair_key
from secure.messages.confirmations import confirmations
from secure.messages.message_name import MessageName
from secure.messages.messages import Manifest, manifest_digest, parse_manifest, payload_digest, sign_manifest
from secure.sealing.add import add_updates
from secure.sealing.open_sum import CheckedSum, OpenedSum, open_sum
from secure.sealing.release import ReleaseSeed, released_seed
from tests.support.federation import AGGREGATOR, Federation

N = 9
BOUNDS = np.array([0.1])
TRUNK, PREPARATION = digest(b"trunk"), digest(b"preparation")
PARTNERS = ("P01", "P02", "P03", "P04")
VALUES = {name: np.float32(0.01 * number) for number, name in enumerate(PARTNERS, 1)}  # what each sends, nine times


@dataclass(frozen=True)
class World:
    """Four partners and an aggregator after their enrolment."""

    plan: Plan
    keys: dict[str, PrivateKeys]
    seals: dict[str, RoundSeal]
    deal: bytes
    parameters: SealParameters
    group: GroupSecret


@cache
def world() -> World:
    """Make all keys once; the folder that they came from is removed."""
    with tempfile.TemporaryDirectory() as folder:
        made = Federation(Path(folder), n_partners=4, max_attempts=3, extra='[seal]\nweights = "equal"')
        plan = read_plan(made.plan_file)
        keys = {name: load_private_keys(made.home(name).keys) for name in (*PARTNERS, AGGREGATOR)}
        parameters = seal_parameters(plan.seal)
        group = GroupSecret.load(made.home("P01").group_secret, parameters, keys["P01"])
        deal = made.home("P01").outbox("enrol/deal.P01.json").read_bytes()

    def key(i: str, j: str) -> PairKey:
        return pair_key(digest(i.encode())[:32].encode(), digest(j.encode())[:32].encode(), i, j, plan.digest)

    pairs = {i: {j: key(min(i, j), max(i, j)) for j in PARTNERS if j != i} for i in PARTNERS}
    seals = {name: RoundSeal(name, Enrolment(group, pairs[name]), parameters, [slice(0, N)]) for name in PARTNERS}
    return World(plan, keys, seals, deal, parameters, group)


class Honest:
    """A partner that runs the real code of a round, in a home and before an exchange of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder / name
        self.exchange = self.folder / "exchange"
        self.opened: OpenedSum | None = None
        self.snapshots: list[Path] = []
        self.before_release = 0  # number of the last backup that has no release
        self.put("enrol/deal.P01.json", world().deal)
        self.home.make()
        self.restart()

    @property
    def home(self) -> Home:
        """Its home."""
        return Home(self.folder / "home")

    def put(self, path: str, data: bytes) -> None:
        """Show it a file under this path, in place of what it saw there."""
        (self.exchange / path).parent.mkdir(parents=True, exist_ok=True)
        (self.exchange / path).write_bytes(data)

    def restart(self) -> None:
        """Begin the round again as a new process does."""
        here = world()
        mailbox = Mailbox(
            here.plan, here.keys[self.name], self.home, Exchange(f"file://{self.exchange}"), lambda: 1_750_000_000.0
        )
        self.round = SealedRound(
            mailbox,
            here.seals[self.name],
            1,
            trunk=TRUNK,
            preparation=PREPARATION,
            reporter=ProgressReporter(self.name),
        )

    def advance(self) -> PipelineError | SecureError | None:
        """Do steps until it waits, stops with an error, or has opened a sum; the error, if it stopped."""
        while self.opened is None:
            try:
                openable = self.round.advance(self)
            except NotYet:
                return None
            except (PipelineError, SecureError) as error:
                self.restart()
                return error
            if openable is not None:
                self.opened = world().seals[self.name].open(openable.checked, openable.seeds, BOUNDS)
        return None

    def snapshot(self) -> None:
        """Back up the home."""
        self.snapshots.append(self.folder / f"backup-{len(self.snapshots)}")
        shutil.copytree(self.home.folder, self.snapshots[-1])

    def restore(self, number: int) -> None:
        """Restore the home from a backup."""
        shutil.rmtree(self.home.folder)
        shutil.copytree(self.snapshots[number], self.home.folder)
        self.restart()

    # -- what it does between the messages: pipeline.protocol.sealed_round.Work

    def prepare(self) -> None:
        """The numbers are there."""

    def seal(self, roster: Roster, release: ReleaseSeed) -> Path:
        """Seal the numbers, the same in each attempt."""
        path = self.home.training(1) / "update.unposted"
        return seal_numbers(self.name, roster, release, path)

    def check(self, sum_file: Path, roster: Roster) -> CheckedSum:
        """Decrypt a sum and check its tag."""
        return world().seals[self.name].check(sum_file, roster)


def seal_numbers(name: str, roster: Roster, release: ReleaseSeed, path: Path) -> Path:
    """Seal a partner's numbers for a roster."""
    numbers, rng = np.full(N, VALUES[name], np.float32), np.random.default_rng(0)
    world().seals[name].seal(numbers, roster, path, release=release, bounds=BOUNDS, rng=rng)
    return path


class Adversary:
    """The aggregator and some partners, with all their keys, in the middle of all lines."""

    def __init__(self, folder: Path, colluders: tuple[str, ...]) -> None:
        self.folder, self.colluders = folder, colluders
        self.honest = {name: Honest(name, folder) for name in PARTNERS if name not in colluders}
        self.rosters: dict[str, Roster] = {}  # that it signed, by digest
        self.signed: dict[str, bytes] = {}  # their files
        self.updates: dict[tuple[str, str], tuple[bytes, bytes]] = {}  # manifest and payload, by roster and sender
        self.posted: dict[str, bytes] = {}  # the first version of each manifest of an honest partner, by path
        self.releases: dict[tuple[str, str], Manifest] = {}  # by roster and sender, of honest partners
        self.seeds: dict[tuple[str, str], ReleaseSeed] = {}  # its own, by roster and colluder
        self._sums: dict[str, tuple[bytes, bytes]] = {}

    # -- what it knows ------------------------------------------------------------------------------------------------

    def harvest(self) -> None:
        """Take note of everything that honest partners have posted."""
        for name, member in self.honest.items():
            for path in sorted(member.exchange.glob(f"round-0001/*/*.{name}.json")):
                manifest = parse_manifest(path.read_bytes(), path.name)
                self.posted.setdefault(str(path.relative_to(member.exchange)), path.read_bytes())
                if manifest.kind == "update":
                    sealed = path.with_suffix(".arrow").read_bytes()
                    self.updates.setdefault((manifest.text("roster"), name), (path.read_bytes(), sealed))
                elif manifest.kind == "release":
                    self.releases.setdefault((manifest.text("roster"), name), manifest)

    def openable(self) -> list[Roster]:
        """Rosters whose sum it can open: it has every update, and every seed."""
        return [
            roster
            for roster in self.rosters.values()
            if all((roster.digest, name) in self.updates for name in roster.members)
            and all((roster.digest, name) in self.releases for name in roster.members if name in self.honest)
        ]

    def open(self, roster: Roster) -> OpenedSum:
        """Open the sum of an openable roster, with the group secret of a colluder."""
        seeds = [self.seed_of(roster, name) for name in roster.members]
        path = self.folder / "opened.sum"
        path.write_bytes(self.sum_of(roster)[1])
        here = world()
        return open_sum(
            path,
            roster=roster,
            group=here.group,
            parameters=here.parameters,
            seeds=seeds,
            slices=[slice(0, N)],
            bounds=BOUNDS,
        )

    def seed_of(self, roster: Roster, name: str) -> ReleaseSeed:
        """A member's seed, its own or a released one."""
        if name in self.colluders:
            return self.seeds[roster.digest, name]
        update = parse_manifest(self.updates[roster.digest, name][0], "update")
        return released_seed(self.releases[roster.digest, name], update, roster, "release")

    # -- what it signs ------------------------------------------------------------------------------------------------

    def sign(self, kind: str, sender: str, attempt: int, body: dict[str, object], payload: Path | None = None) -> bytes:
        """Sign a message of round 1 as the aggregator or a colluder; each roster differs by its time."""
        return sign_manifest(
            world().keys[sender],
            kind=kind,
            plan=world().plan.digest,
            round_no=1,
            attempt=attempt,
            time=1_750_000_000 + len(self.rosters),
            body=body,
            payload=payload and payload_digest(payload),
        )

    def ready(self, name: str, attempt: int) -> bytes | None:
        """A partner's ready, None if it has posted none."""
        if name in self.colluders:
            pairs = world().seals[name].enrolment.pair_keys
            confirmed = confirmations(pairs, world().plan.digest, 1, name)
            body = {"trunk": TRUNK, "preparation": PREPARATION, "confirmations": confirmed}
            return sign_manifest(
                world().keys[name],
                kind="ready",
                plan=world().plan.digest,
                round_no=1,
                attempt=attempt,
                time=1_750_000_000,
                body=body,
            )
        return self.posted.get(MessageName("ready", 1, attempt, name).manifest)

    def call(self, members: tuple[str, ...], attempt: int) -> Roster | None:
        """Sign a roster of members that are ready; None if one is not."""
        readies = {name: self.ready(name, attempt) for name in sorted(members)}
        if None in readies.values() or len(readies) < 3:
            return None
        digests = {name: digest(data or b"") for name, data in readies.items()}
        data = self.sign("roster", AGGREGATOR, attempt, {"members": digests, "trunk": TRUNK})
        roster = parse_manifest(data, "roster").as_roster(manifest_digest(data))
        self.rosters[roster.digest], self.signed[roster.digest] = roster, data
        for name in set(roster.members) & set(self.colluders):
            self._seal(name, roster)
        return roster

    def _seal(self, name: str, roster: Roster) -> None:
        seed, path = ReleaseSeed.generate(roster, name), self.folder / "colluder.update"
        seal_numbers(name, roster, seed, path)
        body: dict[str, object] = {"roster": roster.digest, "release_commitment": seed.commitment}
        manifest = self.sign("update", name, roster.attempt, body, path)
        self.seeds[roster.digest, name] = seed
        self.updates[roster.digest, name] = (manifest, path.read_bytes())

    def sum_of(self, roster: Roster) -> tuple[bytes, bytes]:
        """Sign the sum of a roster all of whose updates it has; manifest and payload."""
        if roster.digest not in self._sums:
            files = []
            for name in roster.members:
                files.append(self.folder / f"{name}.to-add")
                files[-1].write_bytes(self.updates[roster.digest, name][1])
            path = self.folder / "made.sum"
            added = add_updates(files, world().parameters, path, roster=roster)
            listed = {name: found.sha256 for name, found in added.updates.items()}
            body: dict[str, object] = {"roster": roster.digest, "updates": listed}
            self._sums[roster.digest] = self.sign("sum", AGGREGATOR, roster.attempt, body, path), path.read_bytes()
        return self._sums[roster.digest]

    # -- what it shows ------------------------------------------------------------------------------------------------

    def lead(self, name: str, roster: Roster, *, with_releases: bool = True) -> None:
        """Show a partner all there is of a roster: readies, roster, updates' manifests, sum, perhaps releases."""
        member, attempt = self.honest[name], roster.attempt

        def show(kind: str, sender: str, data: bytes, payload: bytes | None = None) -> None:
            message = MessageName(kind, 1, attempt, sender)
            if payload is not None:
                member.put(message.payload, payload)
            member.put(message.manifest, data)

        (member.exchange / MessageName("void", 1, attempt, AGGREGATOR).manifest).unlink(missing_ok=True)
        show("roster", AGGREGATOR, self.signed[roster.digest])
        for other in roster.members:
            ready, (update, _) = self.ready(other, attempt), self.updates.get((roster.digest, other), (None, None))
            for kind, data in (("ready", ready), ("update", update)):
                if other != name and data is not None:
                    show(kind, other, data)
            if with_releases and other != name:
                self._show_release(name, roster, other)
        if all((roster.digest, other) in self.updates for other in roster.members):
            show("sum", AGGREGATOR, *self.sum_of(roster))

    def _show_release(self, name: str, roster: Roster, other: str) -> None:
        """Show a member's release, if there is one; colluders release to whoever may open."""
        path = MessageName("release", 1, roster.attempt, other).manifest
        if other in self.colluders:
            body: dict[str, object] = {"roster": roster.digest, "seed": self.seeds[roster.digest, other].to_text()}
            self.honest[name].put(path, self.sign("release", other, roster.attempt, body))
        elif (roster.digest, other) in self.releases and path in self.posted:
            self.honest[name].put(path, self.posted[path])

    def void(self, name: str, roster: Roster) -> None:
        """Show a partner that an attempt is void, and take away the sum that it may have seen."""
        member = self.honest[name]
        missing = next(other for other in roster.members if other != name)
        total = MessageName("sum", 1, roster.attempt, AGGREGATOR)
        for path in (total.manifest, total.payload):
            (member.exchange / path).unlink(missing_ok=True)
        body: dict[str, object] = {"roster": roster.digest, "missing": [missing]}
        void = self.sign("void", AGGREGATOR, roster.attempt, body)
        member.put(MessageName("void", 1, roster.attempt, AGGREGATOR).manifest, void)

    def hide(self, name: str, kind: str, attempt: int) -> None:
        """Hide a partner's own message from it."""
        message = MessageName(kind, 1, attempt, name)
        for path in (message.manifest, message.payload):
            (self.honest[name].exchange / path).unlink(missing_ok=True)

    def advance(self, name: str) -> PipelineError | SecureError | None:
        """Back up a partner's home, let it advance, and take note of what it posts."""
        member = self.honest[name]
        member.snapshot()
        if not any(sender == name for _, sender in self.releases):
            member.before_release = len(member.snapshots) - 1
        error = member.advance()
        self.harvest()
        return error
