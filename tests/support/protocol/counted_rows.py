"""A federation whose catalogue has rows of one to four holders, and its vectors."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.prepared import read_prepared
from partners.files.round_checkpoint import RoundStart
from partners.network.trunk import TrunkLayout
from pipeline.home.catalogue_counts import held_rows
from pipeline.plan.plan import COUNTING_ROUND, Plan
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation

ALL = ("P01", "P02", "P03", "P04")
HOLDERS = {"ONE": ALL[:1], "TWO": ALL[:2], "NONE": (), "THREE": ALL[:3], "FOUR": (*ALL, "P02")}  # two assays of P02
COUNTS = [len(set(names)) for names in HOLDERS.values()]
TRAVELLING = [3, 4]


def catalogue_of(*ids: str) -> str:
    """The plan's table of a catalogue."""
    return "[catalogue]\ntasks = [{}]\n".format(", ".join(f'{{id = "{shared}", threshold = 6.0}}' for shared in ids))


CATALOGUE = catalogue_of(*HOLDERS)
EQUAL = '[seal]\nweights = "equal"\n'  # so that plain sums are the oracle
ROSTER, SUM, VOID = (MessageName(kind, COUNTING_ROUND, 1, AGGREGATOR) for kind in ("roster", "sum", "void"))


def make(folder: Path, **changes: Any) -> Federation:  # noqa: ANN401 -- Federation's own
    """Four partners with a catalogue of five tasks, held by one, two, none, three and four of them."""
    settings = {"n_partners": 4, "n_rounds": 2, "extra": CATALOGUE + EQUAL, "holders": HOLDERS} | changes
    return Federation(folder, **settings)


def final(federation: Federation, plan: Plan, name: str, round_no: int) -> RoundStart:
    """A partner's state after a round."""
    return RoundStart.read(federation.home(name).start_file(round_no + 1), layout_of(plan))


def tasks_of(federation: Federation, plan: Plan, name: str) -> dict[int, tuple[int, ...]]:
    """Row of the catalogue to tasks, from a partner's prepared folder."""
    (folder,) = (path for path in federation.home(name).prepared.iterdir() if path.is_dir())
    return held_rows(plan.catalogue, read_prepared(folder).tasks)


def layout_of(plan: Plan) -> TrunkLayout:
    """Layout of the rounds' vector: a place for each row that travels, two."""
    return plan.layout_with(len(TRAVELLING))


def rows_of(plan: Plan, vector: np.ndarray) -> np.ndarray:
    """The rows in a vector, in the order of TRAVELLING, weights and bias: (n_places, hidden + 1)."""
    views = layout_of(plan).views(vector)
    return np.column_stack([views["catalogue.weight"], views["catalogue.bias"]])


def counts_in(federation: Federation, name: str) -> list[int]:
    """Number of holders of each row in a partner's home."""
    return list(json.loads(federation.home(name).catalogue.read_text())["counts"])
