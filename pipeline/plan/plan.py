"""plan.toml: everything that must be equal for all members, and its digest."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from data_prep.settings import Preparation
from partners.network.trunk import TrunkLayout, initial_digests, initial_trunk, padded_rows, trunk_layout
from partners.settings import ServerOptimiser, TrunkSettings
from pipeline.plan.catalogue import Catalogue
from pipeline.plan.columns import Columns
from pipeline.plan.lengths import PossibleLengths
from pipeline.plan.privacy import Privacy
from pipeline.plan.toml_schema import Schema, read_toml
from secure.ciphertexts.parameters import SealParameters, SealSettings, seal_parameters
from secure.encoding.canonical import canonical_json, digest
from secure.errors import ParameterMismatch
from secure.keys.keys import Card, card_from_fields

FEWEST_PARTNERS = 3  # the sum of two partners shows each the other's update
_BYTES_PER_PARAMETER = 4 + 2 * 8  # in a handed-over state: a value, and Adam's two means
_BYTES_PER_COUNT = 1024  # the same: a task's id and threshold, and its count
COUNTING_ROUND = 0  # number of the round that counts the holders of catalogue tasks and input columns


def round_name(round_no: int, attempt: int | None = None) -> str:
    """A round, or an attempt at it, as shown to people."""
    named = "counting round" if round_no == COUNTING_ROUND else f"round {round_no}"
    return named if attempt is None else f"{named}, attempt {attempt}"


class Federation(Schema):
    """Which federation this is."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w .-]+$")
    """Letters, digits, spaces and . _ - up to 64 characters."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    """32 hexadecimal digits drawn at random, so that two federations never share a mask."""

    custodian: str
    """The partner who makes the group secret and deals it to the other partners."""

    seed: int = Field(ge=0, lt=2**63)
    """The first trunk is drawn from it, the same at every partner."""


class Rounds(Schema):
    """How many rounds, how long each, and who must take part."""

    n_rounds: int = Field(ge=1, le=9999)
    """Number of rounds."""

    local_steps: int = Field(ge=1)
    """Optimiser steps of every partner in every round."""

    min_partners: int = Field(ge=FEWEST_PARTNERS)
    """Smallest roster. A partner's update hides among those of its roster, so set this high, best to all partners."""

    ready_deadline_s: float = Field(default=86_400.0, gt=0)
    """Seconds after the first ready message; then the roster closes without the rest."""

    update_deadline_s: float = Field(default=86_400.0, gt=0)
    """Seconds after the roster; then the attempt is void, and the same updates are sealed for another roster."""

    max_attempts: int = Field(default=5, ge=1, le=99)
    """Most attempts at one round."""


class Continues(Schema):
    """Only in a revision, which continues an earlier plan: see secure/KEYS.md."""

    plan: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Digest of the plan under which the last sum was opened."""

    revision: int = Field(ge=2, le=99)
    """Number of this revision; the first plan is 1."""

    round: int = Field(ge=1, le=9999)
    """The first round under this plan."""

    unreleased: tuple[str, ...] = ()
    """Only if somebody has released for this round under the plan before: members of its roster that have not, as they
    confirmed outside the exchange. They have no card in this plan, so that the sum before is never opened."""

    joiners: tuple[str, ...] = ()
    """Partners that join with this revision: the sponsor hands the federation's state over to them."""

    sponsor: str = ""
    """The partner that hands it over, if somebody joins."""

    spare_holders: int | None = Field(default=None, ge=0)
    """Since somebody has joined: counts of the counting round are known, and used, up to min_partners and so many."""

    def agreed(self) -> dict[str, Any]:
        """The settings as JSON values; what is about joining only if somebody has joined."""
        about_joining = {"joiners", "sponsor", "spare_holders"} if self.spare_holders is None else set()
        return self.model_dump(mode="json", exclude=about_joining)


class CardTable(Schema):
    """A member's card in the plan."""

    name: str
    role: Literal["partner", "aggregator"]
    signing: str
    agreement: str | None = None
    signature: str


class Plan(Schema):
    """The plan, on which all members agree. Its digest is part of every signature, mask and tag."""

    format: Literal[1]
    """Version of this file's format."""

    federation: Federation
    continues: Continues | None = None
    rounds: Rounds
    preparation: Preparation = Preparation()
    trunk: TrunkSettings = TrunkSettings()
    server: ServerOptimiser = ServerOptimiser()
    seal: SealSettings = SealSettings()
    catalogue: Catalogue = Catalogue()
    columns: Columns = Columns()
    privacy: Privacy | None = None
    card: tuple[CardTable, ...]

    @field_validator("format", mode="before")
    @classmethod
    def _is_whole_number(cls, value: object) -> object:
        if type(value) is not int:  # a true is equal to 1 and would give the plan another digest
            raise ValueError("expected a whole number")
        return value

    @model_validator(mode="after")
    def _members_fit(self) -> Self:
        names = [card.name for card in self.card]
        if len({name.casefold() for name in names}) != len(names):  # a share that ignores case has one file for both
            raise ValueError(f"every member has one card, and names differ not only in case, found {sorted(names)}")
        aggregators = [card.name for card in self.card if card.role == "aggregator"]
        if len(aggregators) != 1:
            raise ValueError(f"a plan has exactly one aggregator card, found {len(aggregators)}")
        self._check_partners()
        if self.continues:
            self._check_continues(self.continues, set(self.partner_names))
        if self.first_round > self.rounds.n_rounds:
            raise ValueError(f"continues.round is {self.first_round}, but rounds.n_rounds is {self.rounds.n_rounds}")
        try:
            seal_parameters(self.seal)
        except ParameterMismatch as error:  # a sum could fail to decrypt
            raise ValueError(f"seal: {error}") from error
        if self.privacy:
            self._check_privacy()
        return self

    def _check_privacy(self) -> None:
        if self.trunk.start:
            raise ValueError(
                "trunk.start names a file, but [privacy] needs none: what that trunk tells of its training data is in "
                "no ledger, so the epsilon of this federation would be too small"
            )
        if self.seal.weights != "equal":
            raise ValueError(
                f'seal.weights is "{self.seal.weights}", but [privacy] needs "equal": it would reveal numbers of labels'
            )
        if self.columns.are_counted:
            raise ValueError(
                f"columns.min_partners is {self.columns.min_partners}, but [privacy] needs 0: whether a partner "
                "holds a bit can reveal a single compound, and no noise hides it"
            )
        if self.catalogue.tasks or self.catalogue.file:
            raise ValueError(
                "catalogue has tasks, but [privacy] needs none: whether a partner holds a task can tell of a single "
                "compound, and no noise hides it; leave [catalogue] out"
            )

    def _check_partners(self) -> None:
        partners = self.partner_names
        if len(partners) < FEWEST_PARTNERS:
            raise ValueError(f"a federation needs at least {FEWEST_PARTNERS} partners, found {len(partners)}")
        if len(partners) > self.seal.max_partners:
            raise ValueError(f"seal.max_partners is {self.seal.max_partners}, but {len(partners)} partners have cards")
        if self.rounds.min_partners > len(partners):
            raise ValueError(f"rounds.min_partners is {self.rounds.min_partners}, but only {len(partners)} have cards")
        if self.catalogue.min_partners > len(partners):
            raise ValueError(f"catalogue.min_partners is {self.catalogue.min_partners}, but {len(partners)} have cards")
        if self.columns.min_partners > len(partners):
            raise ValueError(f"columns.min_partners is {self.columns.min_partners}, but {len(partners)} have cards")
        if self.federation.custodian not in partners:
            raise ValueError(f"federation.custodian {self.federation.custodian!r} is not one of {partners}")

    @staticmethod
    def _check_continues(continues: Continues, partners: set[str]) -> None:
        joiners, sponsor = set(continues.joiners), continues.sponsor
        if odd := sorted(set(continues.unreleased) & partners):
            raise ValueError(
                f"continues.unreleased lists {', '.join(odd)}, but only members without a card belong there"
            )
        if odd := sorted(joiners - partners):
            raise ValueError(f"continues.joiners lists {', '.join(odd)}, but only partners with a card can join")
        if bool(joiners) != bool(sponsor) or (sponsor and sponsor not in partners - joiners):
            raise ValueError(f"continues.sponsor is {sponsor!r}, expected a partner of before if somebody joins")
        if joiners and (continues.round == 1 or continues.spare_holders is None):
            raise ValueError(
                f"continues.joiners lists {', '.join(sorted(joiners))}, expected none in round 1, where nothing is "
                "handed over, and spare_holders beside them"
            )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy as pydantic does, but without cached values: the copy has its own digest, cards and layout."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, of the canonical JSON of all settings and cards, defaults included."""
        catalogue = self.catalogue
        # the SHA-256 of a catalogue's file stands for its tasks, wherever the file is
        left_out = {"file", "tasks"} if catalogue.file else {"file", "sha256"}
        without: dict[str, Any] = {"catalogue": left_out if catalogue.file or catalogue.tasks else True}
        without |= {name: True for name in ("continues", "privacy") if getattr(self, name) is None}
        if self.continues and self.continues.spare_holders is None:
            without["continues"] = {"joiners", "sponsor", "spare_holders"}
        without |= {} if self.columns.are_counted else {"columns": True}
        without["trunk"] = {"start"} if self.trunk.start else {"start", "start_digest"}
        return digest(canonical_json(self.model_dump(mode="json", exclude=without)))

    @property
    def revision(self) -> int:
        """1 for the first plan of a federation."""
        return self.continues.revision if self.continues else 1

    @property
    def first_round(self) -> int:
        """The first round under this plan."""
        return self.continues.round if self.continues else 1

    @property
    def joiners(self) -> tuple[str, ...]:
        """Partners that join with this revision, sorted."""
        return tuple(sorted(self.continues.joiners)) if self.continues else ()

    @property
    def spare_holders(self) -> int | None:
        """Up to how many above the minimum counts are known since somebody has joined; None: exactly."""
        return self.continues.spare_holders if self.continues else None

    @property
    def most_state_bytes(self) -> int:
        """The most bytes of the state that is handed over: vector, server state, counts and what surrounds them."""
        longest, n_columns = self.possible_layouts[-1].n_params, self.layout.n_inputs
        return longest * _BYTES_PER_PARAMETER + (len(self.catalogue.tasks) + n_columns) * _BYTES_PER_COUNT + (1 << 20)

    @property
    def has_counting_round(self) -> bool:
        """Whether the plan begins with the counting round; a later revision keeps its counts."""
        return self.has_counts and self.first_round == 1

    @property
    def has_counts(self) -> bool:
        """Whether holders of catalogue tasks or of input columns are counted, under this plan or an earlier one."""
        return bool(self.catalogue.tasks) or self.columns.are_counted

    @property
    def starts_with(self) -> int:
        """The number of the plan's first round: that of the counting round, or the first round of training."""
        return COUNTING_ROUND if self.has_counting_round else self.first_round

    def min_roster(self, round_no: int) -> int:
        """Fewest members of a roster; in the counting round all, because every attempt sends the same flags."""
        return len(self.partner_names) if round_no == COUNTING_ROUND else self.rounds.min_partners

    def possible_lengths(self, round_no: int) -> PossibleLengths:
        """Lengths that the vector of a round can have: only partners know how many rows and columns are in it."""
        if round_no == COUNTING_ROUND:
            n_columns = self.preparation.fingerprint.n_bits if self.columns.are_counted else 0
            return PossibleLengths.one(len(self.catalogue.tasks) + n_columns)
        longest = [layout.n_params for layout in self.possible_layouts]
        if not self.columns.are_counted:
            return PossibleLengths.these(longest)
        n_units = self.trunk.hidden[0]
        n_fewer = (self.preparation.fingerprint.n_bits - 1) * n_units  # parameters of all input columns but one
        return PossibleLengths(tuple(range(most - n_fewer, most + 1, n_units) for most in longest))

    def seal_parameters(self, round_no: int) -> SealParameters:
        """Parameters of sealing in a round; in the counting round all partners weigh the same."""
        return seal_parameters(replace(self.seal, weights="equal") if round_no == COUNTING_ROUND else self.seal)

    @property
    def folder(self) -> str:
        """Folder of this plan's messages and secrets, in the exchange and in a home; "" for the first plan."""
        return f"revision-{self.revision:02d}" if self.continues else ""

    @property
    def partner_names(self) -> list[str]:
        """Names of the partners, sorted."""
        return sorted(card.name for card in self.card if card.role == "partner")

    @property
    def aggregator_name(self) -> str:
        """Name of the one aggregator."""
        return next(card.name for card in self.card if card.role == "aggregator")

    @cached_property
    def cards(self) -> Mapping[str, Card]:
        """Every member's card by name.

        Raises secure.errors.BadCard for a card with a wrong signature.
        """
        tables = [card.model_dump(exclude_none=True) for card in self.card]
        return {table["name"]: card_from_fields(table, f"plan, card of {table['name']}") for table in tables}

    @cached_property
    def layout(self) -> TrunkLayout:
        """Names and shapes of the trunk's tensors."""
        return self.layout_with(0)

    def layout_with(self, n_places: int, n_columns: int | None = None) -> TrunkLayout:
        """Layout of the shared vector: the trunk's tensors, then places for head rows, `HolderCounts.n_places`.

        n_columns : `InputColumns.n_columns`; None: all
        """
        return trunk_layout(self.preparation.fingerprint.n_bits, self.trunk.hidden, n_places, n_columns)

    @property
    def possible_layouts(self) -> list[TrunkLayout]:
        """Layouts with all input columns that the shared vector can have, the shortest first.

        Places for the catalogue's rows are 0 or a power of two, up to the whole catalogue.
        """
        most = padded_rows(len(self.catalogue.tasks))
        return [self.layout, *(self.layout_with(1 << power) for power in range(most.bit_length()))]

    @property
    def knows_first_vector(self) -> bool:
        """Whether the plan alone determines the first vector, but for its number of places.

        Only partners know which columns are in it, if these are counted, and the order of a file's rows.
        """
        return not self.columns.are_counted and not self.trunk.start

    def first_vector(self, layout: TrunkLayout) -> NDArray[np.float32]:
        """The shared vector before any training, (n_params,) float32, drawn from the seed; computed each time."""
        return initial_trunk(layout, self.federation.seed)

    def first_digest(self, layout: TrunkLayout) -> str:
        """Digest of the first vector, from which every partner starts; that in the plan if it begins from a file."""
        return self.trunk.start_digest or next(initial_digests([layout], self.federation.seed))

    def first_layout(self, trunk: str) -> TrunkLayout | None:
        """The layout whose first vector has this digest, None if no possible one has; computed each time.

        None, too, if only partners know the first vector, see `knows_first_vector`.
        """
        if not self.knows_first_vector:
            return None
        layouts = self.possible_layouts
        found = zip(layouts, initial_digests(layouts, self.federation.seed), strict=True)
        return next((layout for layout, first in found if first == trunk), None)


def read_plan(path: Path) -> Plan:
    """Read plan.toml and its catalogue's file, and check every card's signature.

    Raises ConfigError for a wrong setting or file, secure.errors.BadCard for a forged or damaged card.
    """
    plan = read_toml(path, Plan)
    if plan.catalogue.file:
        plan = plan.model_copy(update={"catalogue": plan.catalogue.with_file(path)})
    _ = plan.cards  # making them checks their signatures and that partners have agreement keys
    return plan
