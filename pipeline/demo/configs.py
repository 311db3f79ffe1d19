"""The plan and the members' configurations of a demo, as `hocket init` writes them, with the demo's settings."""

from collections.abc import Mapping, Sequence

from pipeline.setup.init_files import aggregator_text, partner_text, plan_text
from secure.keys.keys import parse_card

_PLAN = {
    "federation.name": "hocket demo",
    "rounds.local_steps": 25,
    "preparation.chemistry.tautomers": "keep",
    "preparation.fingerprint.n_bits": 4096,
    "preparation.activities.training_min_active": 10,
    "preparation.activities.training_min_inactive": 10,
    "preparation.activities.evaluation_min_active": 3,
    "preparation.activities.evaluation_min_inactive": 3,
    "trunk.hidden": (256,),
    "seal.max_weight": 50_000,
}
_REMARKS = {
    "preparation.chemistry.tautomers": "These public structures were standardised at their source (MoleculeACE).",
    "preparation.fingerprint.n_bits": "Fewer bits and units keep the demo short.",
    "preparation.activities.training_min_active": "A demo's tables are small; the defaults are for real ones.",
}
_POLL_S = 0.05  # short, because members on one machine see messages at once


def plan_toml(federation_id: str, seed: int, n_rounds: int, partners: Sequence[str], cards: Sequence[str]) -> str:
    """The text of the demo's plan.toml; cards : the texts that `hocket key new` prints."""
    values = {
        "federation.id": federation_id,
        "federation.custodian": partners[0],
        "federation.seed": seed,
        "rounds.n_rounds": n_rounds,
    }
    return plan_text([parse_card(card, "card") for card in cards], _PLAN | values, _REMARKS)


def partner_toml(name: str, seed: int, tables: Mapping[str, str]) -> str:
    """The text of a partner.toml, with one worker process, because all partners share this machine."""
    data = {"data.assays": tables["T0"], "data.activities": tables["T1"], "data.structures": tables["T2"]}
    training = {"training.batch_size": 200, "training.seed": seed, "training.keyed_chance": False}
    return partner_text(_member(name) | {"workers": 1} | data | training)


def aggregator_toml(name: str) -> str:
    """The text of the aggregator.toml."""
    return aggregator_text(_member(name))


def _member(name: str) -> dict[str, object]:
    return {"name": name, "plan": "../plan.toml", "home": "home", "exchange": "../exchange", "poll_s": _POLL_S}
