"""A consortium in memory: keys, cards, group secret, pair keys, and rounds with the real classes."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from secure.ciphertexts.parameters import SealParameters, SealSettings, seal_parameters
from secure.encoding.canonical import digest
from secure.encoding.roster import Roster
from secure.keys.group import GroupSecret, deal_group_secret, receive_group_secret
from secure.keys.keys import Card, PrivateKeys
from secure.keys.pairing import PairKey, PairSeeds, open_pair_seed, pair_key, seal_pair_seeds
from secure.sealing.add import AddReport, add_updates
from secure.sealing.open_sum import OpenedSum, open_sum
from secure.sealing.release import ReleaseSeed
from secure.sealing.seal import SealReport, seal_update

NAMES = ("ash", "birch", "cedar", "date", "elm", "fir", "gum", "hazel", "iris", "jade")
MANY_NAMES = (*NAMES, *(f"plant-{i:03d}" for i in range(len(NAMES), 128)))
PLAN = digest(b"a plan")


@dataclass
class Consortium:
    """All members of a federation with their secrets."""

    settings: SealSettings
    parameters: SealParameters
    plan: str
    keys: dict[str, PrivateKeys]  # of the partners
    aggregator: PrivateKeys
    group: GroupSecret
    pair_keys: dict[str, dict[str, PairKey]]  # pair_keys[i][j], as i sees it
    cards: dict[str, Card] = field(default_factory=dict)  # of partners and aggregator

    @property
    def partners(self) -> tuple[str, ...]:
        """Names of the partners, sorted."""
        return tuple(sorted(self.keys))

    def roster(self, *members: str, round_no: int = 1, attempt: int = 0) -> Roster:
        """Roster of some partners, or of all."""
        chosen = tuple(sorted(members or self.partners))
        text = f"{self.plan} {round_no} {attempt} {chosen}"
        return Roster(self.plan, round_no, attempt, chosen, digest(text.encode()))

    def release(self, me: str, roster: Roster | None = None) -> ReleaseSeed:
        """A member's release seed for a roster, the same each time."""
        chosen = roster or self.roster()
        return ReleaseSeed(hashlib.sha256(f"{chosen.digest} {me}".encode()).digest(), chosen, me)

    def seal(self, me: str, change: np.ndarray, path: Path, roster: Roster | None = None, **more: object) -> SealReport:
        """Seal for a member; by default one tensor with the first bound, and seed 0."""
        options: dict[str, object] = {
            "weight": 1,
            "bounds": np.array([self.settings.first_bound]),
            "slices": [slice(0, len(change))],
            "residual": None,
            "rng": np.random.default_rng(0),
            "parameters": self.parameters,
            "release": self.release(me, roster),
        }
        return seal_update(
            change,
            roster=roster or self.roster(),
            me=me,
            pair_keys=self.pair_keys[me],
            group=self.group,
            path=path,
            **(options | more),
        )

    def open(self, path: Path, n_params: int, roster: Roster | None = None, **more: object) -> OpenedSum:
        """Open a sum; by default one tensor with the first bound."""
        options: dict[str, object] = {"bounds": np.array([self.settings.first_bound]), "slices": [slice(0, n_params)]}
        options["seeds"] = [self.release(name, roster) for name in (roster or self.roster()).members]
        return open_sum(
            path, roster=roster or self.roster(), group=self.group, parameters=self.parameters, **(options | more)
        )

    def seal_all(self, folder: Path, changes: dict[str, np.ndarray], roster: Roster | None = None) -> list[Path]:
        """Seal the updates of all members of the roster, and return their files."""
        files = []
        for name in (roster or self.roster()).members:
            files.append(folder / f"{name}-{(roster or self.roster()).attempt}.update")
            self.seal(name, changes[name], files[-1], roster)
        return files

    def add(self, files: list[Path], path: Path, **more: object) -> AddReport:
        """Add updates as the aggregator does."""
        return add_updates(files, self.parameters, path, **more)


def make_consortium(
    n_partners: int = 3, *, plan: str = PLAN, group: GroupSecret | None = None, **settings: object
) -> Consortium:
    """Enrol n partners with the real envelopes; by default without weights."""
    chosen = SealSettings(**({"weights": "equal"} | settings))
    parameters = seal_parameters(chosen)
    keys = {name: PrivateKeys.generate(name, "partner") for name in MANY_NAMES[:n_partners]}
    cards = [key.card() for key in keys.values()]
    deal = deal_group_secret(group or GroupSecret.generate(parameters), plan, NAMES[0], cards)
    received = [receive_group_secret(deal, plan, NAMES[0], key, parameters) for key in keys.values()]
    seeds = {name: PairSeeds.generate(name, [n for n in keys if n != name]) for name in keys}
    posted = {name: seal_pair_seeds(seeds[name], plan, name, cards) for name in keys}
    aggregator = PrivateKeys.generate("hub", "aggregator")
    return Consortium(
        settings=chosen,
        parameters=parameters,
        plan=plan,
        keys=keys,
        aggregator=aggregator,
        group=received[-1],
        pair_keys={
            i: {
                j: pair_key(seeds[i].for_partner(j), open_pair_seed(posted[j], plan, j, keys[i]), i, j, plan)
                for j in keys
                if j != i
            }
            for i in keys
        },
        cards={card.name: card for card in [*cards, aggregator.card()]},
    )
