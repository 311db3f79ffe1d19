"""The worked example of secure/FORMAT.md: three partners and an aggregator with known keys, two rounds.

`python -m tests.support.secure.worked_example` writes tests/secure/example. All of it follows from the names below but
the envelopes and the sealed updates, whose randomness is the libraries': those are kept if they are there.
"""

import hashlib
import tempfile
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from pipeline.plan.plan import Plan, read_plan
from secure.ciphertexts.coefficients import pack_coefficients
from secure.ciphertexts.parameters import N_SLOTS, SealParameters, seal_parameters
from secure.encoding.roster import Roster
from secure.keys.group import GroupSecret, deal_group_secret
from secure.keys.keys import Card, PrivateKeys
from secure.keys.pairing import PairKey, PairSeeds, pair_key, seal_pair_seeds
from secure.messages.confirmations import confirmations
from secure.messages.messages import Expected, Manifest, parse_manifest, payload_digest, sign_manifest
from secure.messages.provenance import Provenance, SummedRound, sign_provenance
from secure.sealing.add import add_updates
from secure.sealing.open_sum import OpenedSum, open_sum
from secure.sealing.release import ReleaseSeed
from secure.sealing.seal import seal_update
from tests.support.secure.plain_reader import evaluate_at_odd_powers

FOLDER = Path(__file__).parents[2] / "secure" / "example"
PARTNERS, HUB = ("ash", "birch", "cedar"), "hub"
WEIGHTS = {"ash": 1, "birch": 2, "cedar": 4}
N_PARAMS = 51  # a trunk of 16 inputs and 3 units
TIME = 1_750_000_000
PLAN = """\
format = 1
[federation]
name = "worked example"
id = "00112233445566778899aabbccddeeff"
custodian = "ash"
seed = 1
[rounds]
n_rounds = 2
local_steps = 1
min_partners = 3
update_deadline_s = 60
[preparation.fingerprint]
n_bits = 16
[trunk]
hidden = [3]
[columns]
min_partners = 0
[seal]
first_bound = 0.03124904632568359375  # 32767 steps of 2^-20
weights = "size"
max_weight = 4
"""


def known_bytes(what: str, size: int) -> bytes:
    """Return the bytes of a public secret of the example."""
    return hashlib.shake_256(f"hocket example {what}".encode()).digest(size)


def integers(name: str) -> np.ndarray:
    """Return the integers that a partner sends, (51,) int, in steps."""
    i = np.arange(N_PARAMS)
    return {"ash": i, "birch": -600 * i, "cedar": 32767 - i}[name]


def change_of(name: str) -> np.ndarray:
    """(51,) float32: the change of the trunk of which exactly these integers are sent, times weight / max_weight."""
    return (integers(name) * 2.0**-20 * 4 / WEIGHTS[name]).astype(np.float32)


class Example:
    """All members of the example with their secrets, and its files below a folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.keys = {name: PrivateKeys(name, "partner", known_bytes(name, 128)) for name in PARTNERS}
        self.keys[HUB] = PrivateKeys(HUB, "aggregator", known_bytes(HUB, 32))
        self.cards: dict[str, Card] = {name: keys.card() for name, keys in self.keys.items()}
        self.seeds = {
            i: PairSeeds(i, {j: known_bytes(f"{i} to {j}", 32) for j in PARTNERS if j != i}) for i in PARTNERS
        }

    @cached_property
    def plan(self) -> Plan:
        """The example's plan."""
        return read_plan(self.folder / "plan.toml")

    @cached_property
    def parameters(self) -> SealParameters:
        """The encryption parameters of the example's settings."""
        return seal_parameters(self.plan.seal)

    @cached_property
    def group(self) -> GroupSecret:
        """A secret whose BFV key has known coefficients -1, 0 and 1."""
        q = self.parameters.q
        coefficients = np.array([byte % 3 - 1 for byte in known_bytes("bfv key", N_SLOTS)], dtype=object)
        key = pack_coefficients(
            evaluate_at_odd_powers(coefficients, q).astype(np.uint64)[None, :], self.parameters.q.bit_length()
        )
        return GroupSecret(
            ring=bytes.fromhex(self.parameters.ring_digest()),
            tag_seed=known_bytes("tag seed", 32),
            structure_seed=known_bytes("structure seed", 32),
            bfv_key=key.tobytes(),
        )

    @cached_property
    def pair_keys(self) -> dict[str, dict[str, PairKey]]:
        """Pair keys, by partner and other partner."""

        def key(i: str, j: str) -> PairKey:
            return pair_key(self.seeds[i].for_partner(j), self.seeds[j].for_partner(i), i, j, self.plan.digest)

        return {i: {j: key(i, j) for j in PARTNERS if j != i} for i in PARTNERS}

    def path(self, kind: str, sender: str, suffix: str = "json", round_no: int | None = None) -> Path:
        """Return a path in the exchange, by default of round 1."""
        folders = {"deal": "enrol", "pairing": "enrol", "alive": "signs", "trouble": "signs"}
        return self.folder / folders.get(kind, f"round-{round_no or 1:04d}/attempt-01") / f"{kind}.{sender}.{suffix}"

    def manifest(self, kind: str, sender: str) -> Manifest:
        """A message of round 1 or the enrolment, unverified."""
        return parse_manifest(self.path(kind, sender).read_bytes(), kind)

    def expected(self, kind: str, round_no: int = 1) -> Expected:
        """Return the expected kind, plan, round and attempt of a message of the example."""
        outside = kind in ("deal", "pairing", "alive", "trouble")
        return Expected(kind, self.plan.digest, *((0, 0) if outside else (round_no, 1)))

    @property
    def roster(self) -> Roster:
        """The roster of round 1."""
        found = hashlib.sha256(self.path("roster", HUB).read_bytes()).hexdigest()
        return Roster(self.plan.digest, 1, 1, PARTNERS, found)

    def release(self, name: str) -> ReleaseSeed:
        """The seed that a partner releases in round 1."""
        return ReleaseSeed(known_bytes(f"release seed of {name}", 32), self.roster, name)

    def update(self, name: str) -> Path:
        """A sealed update of round 1."""
        return self.path("update", name, "arrow")

    def add(self, target: Path) -> Path:
        """The sealed sum of round 1: it follows from the updates, byte for byte."""
        add_updates([self.update(name) for name in PARTNERS], self.parameters, target, roster=self.roster)
        return target

    def open(self, path: Path) -> OpenedSum:
        """Open a sum of round 1."""
        return open_sum(
            path,
            roster=self.roster,
            group=self.group,
            parameters=self.parameters,
            seeds=[self.release(name) for name in PARTNERS],
            slices=[tensor.place for tensor in self.plan.layout.tensors],
            bounds=np.full(2, self.plan.seal.first_bound),
        )

    def provenance(self) -> bytes:
        """What ash signs of a model that it made after round 1; no file of the exchange."""
        total = self.path("sum", HUB).read_bytes()

        def digest_of(what: str) -> str:
            return hashlib.sha256(f"the example's {what}".encode()).hexdigest()

        provenance = Provenance(
            partner="ash",
            plan=self.plan.digest,
            trunk=digest_of("second trunk"),
            members={name: card.fingerprint.replace(" ", "") for name, card in self.cards.items()},
            rounds=(
                SummedRound(self.plan.digest, 1, 1, self.roster.digest, hashlib.sha256(total).hexdigest(), PARTNERS),
            ),
            data={what: digest_of(what) for what in ("T0", "T1", "T2", "prepared", "trained")},
            version="1.0",
            sources=digest_of("sources"),
            libraries={"numpy": "2.0"},
            model=digest_of("model"),
            files={"federated.safetensors": digest_of("weights")},
        )
        return sign_provenance(self.keys["ash"], provenance)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write all files; files with random parts only if they are missing."""
        cards = "".join(f"[[card]]\n{self.cards[name].to_text()}" for name in (*PARTNERS, HUB))
        self._put(self.folder / "plan.toml", (PLAN + cards).encode())
        self._write_enrolment()
        trunk = hashlib.sha256(b"the example's trunk").hexdigest()
        self._write_roster(1, trunk)
        for name in PARTNERS:
            self._keep(self.update(name), self.roster.digest, partial(self._seal, name))
            committed = {"roster": self.roster.digest, "release_commitment": self.release(name).commitment}
            self.sign("update", name, committed, payload=self.update(name))
        with tempfile.TemporaryDirectory() as folder:
            total = self.add(Path(folder) / "sum")
            updates = {name: payload_digest(self.update(name)).sha256 for name in PARTNERS}
            self.sign("sum", HUB, {"roster": self.roster.digest, "updates": updates}, payload=total)
        for name in PARTNERS:
            self.sign("release", name, {"roster": self.roster.digest, "seed": self.release(name).to_text()})
        self._write_roster(2, hashlib.sha256(b"the example's second trunk").hexdigest())
        voided = hashlib.sha256(self.path("roster", HUB, round_no=2).read_bytes()).hexdigest()
        self.sign("void", HUB, {"roster": voided, "missing": ["cedar"]}, round_no=2)
        self.sign("alive", HUB, {"round": 2, "attempt": 2, "step": "waiting"})
        self.sign("trouble", "cedar", {"round": 2, "attempt": 1, "step": "training", "exit_code": 5})

    def _write_enrolment(self) -> None:
        cards = [self.cards[name] for name in PARTNERS]
        deal = self.path("deal", "ash", "envelopes")
        self._keep(deal, self.plan.digest, lambda: deal_group_secret(self.group, self.plan.digest, "ash", cards))
        self.sign("deal", "ash", {"group": self.group.digest()}, payload=deal)
        for name in PARTNERS:
            pairing = self.path("pairing", name, "envelopes")
            make = partial(seal_pair_seeds, self.seeds[name], self.plan.digest, name, cards)
            self._keep(pairing, self.plan.digest, make)
            self.sign("pairing", name, {"group": self.group.digest()}, payload=pairing)

    def _write_roster(self, round_no: int, trunk: str) -> None:
        ready: dict[str, object] = {
            "trunk": trunk,
            "preparation": hashlib.sha256(b"the example's preparation").hexdigest(),
        }
        for name in PARTNERS:
            confirmed = confirmations(self.pair_keys[name], self.plan.digest, round_no, name)
            self.sign("ready", name, ready | {"confirmations": confirmed}, round_no=round_no)
        readies = {name: self.path("ready", name, round_no=round_no).read_bytes() for name in PARTNERS}
        members = {name: hashlib.sha256(data).hexdigest() for name, data in readies.items()}
        self.sign("roster", HUB, {"members": members, "trunk": trunk}, round_no=round_no)

    def sign(
        self, kind: str, sender: str, body: dict[str, object], *, payload: Path | None = None, round_no: int = 1
    ) -> None:
        """Sign and write a message."""
        expected = self.expected(kind, round_no)
        data = sign_manifest(
            self.keys[sender],
            kind=kind,
            plan=expected.plan,
            round_no=expected.round_no,
            attempt=expected.attempt,
            time=TIME,
            body=body,
            payload=payload and payload_digest(payload),
        )
        self._put(self.path(kind, sender, round_no=round_no), data)

    def _seal(self, name: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            seal_update(
                change_of(name),
                weight=WEIGHTS[name],
                bounds=np.full(2, self.plan.seal.first_bound),
                slices=[tensor.place for tensor in self.plan.layout.tensors],
                residual=None,
                roster=self.roster,
                me=name,
                pair_keys=self.pair_keys[name],
                release=self.release(name),
                group=self.group,
                parameters=self.parameters,
                rng=np.random.default_rng(0),
                path=Path(folder) / "update",
            )
            return (Path(folder) / "update").read_bytes()

    def _keep(self, path: Path, digest: str, make: Callable[[], bytes]) -> None:
        """Write a file unless it exists and is bound to this plan or roster."""
        if not path.exists() or digest.encode() not in path.read_bytes():
            self._put(path, make())

    @staticmethod
    def _put(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    Example().write()
