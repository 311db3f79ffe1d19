"""The plan and the members' configurations of a demo, commented as a person would write them."""

from collections.abc import Mapping, Sequence

_PLAN = """\
# What the consortium agreed on. Every member holds this very file; its digest is bound into every signature.
format = 1

[federation]
name = "hocket demo"
id = "{id}"  # random: two federations never share a mask
custodian = "{custodian}"  # made the group secret and dealt it to the other partners
seed = {seed}  # the first trunk is drawn from it

[rounds]
n_rounds = {n_rounds}
local_steps = {local_steps}  # optimiser steps of every partner in every round, and of the local-only baseline
min_partners = {n_partners}  # the roster is the anonymity set: a smaller one is refused

[preparation.chemistry]
# These public structures were standardised at their source (MoleculeACE). Your own want "canonical",
# which costs some 15 ms per compound.
tautomers = "keep"

[preparation.fingerprint]
radius = 3
n_bits = {n_bits}  # MELLODDY's 32000 is the default; fewer bits keep the demo short

[preparation.activities]
# A demo's tables are small; the defaults (25 and 10) are for real ones.
training_min_active = 10
training_min_inactive = 10
evaluation_min_active = 3
evaluation_min_inactive = 3

[trunk]
hidden = [{hidden}]
dropout = {dropout}

[server]
method = "mean"
learning_rate = {server_rate}  # above 1: an over-relaxed mean

[seal]
bits = 16
max_partners = {n_partners}  # the fewer, the smaller the sealed updates
first_bound = {first_bound}  # largest change of a trunk parameter in the first round; adapts from then on
weights = "{weights}"  # the mean of the changes weighs partners by their training labels; only sums are seen
max_weight = {max_weight}  # labels; a partner with more counts as this many. Set it near the largest partner's number:
# a partner's change is scaled by its share of it before it is rounded, so a number far too large costs precision

"""

_PARTNER = """\
# {name}'s own business: nothing here is agreed on with anyone.
name = "{name}"
plan = "../plan.toml"
home = "home"  # keys, state, models, MLflow store: private
exchange = "../exchange"  # or any fsspec URL, s3://bucket/federation for one
poll_s = 0.05
workers = 1  # several partners share this machine; left out: one process per core

[data]
assays = "{T0}"
activities = "{T1}"
structures = "{T2}"

[training]
learning_rate = {learning_rate}
batch_size = {batch_size}
n_threads = 1
seed = {seed}
"""

_AGGREGATOR = """\
# The aggregator adds what it cannot read. It needs no data, no torch and no key but the one it signs with.
name = "{name}"
plan = "../plan.toml"
home = "home"
exchange = "../exchange"
poll_s = 0.05
"""

N_BITS = 4096
HIDDEN = 256
LOCAL_STEPS = 25


def plan_toml(federation_id: str, seed: int, n_rounds: int, partners: Sequence[str], cards: Sequence[str]) -> str:
    """The demo's plan.toml; cards are pasted in as the members sent them."""
    head = _PLAN.format(
        id=federation_id,
        custodian=partners[0],
        seed=seed,
        n_rounds=n_rounds,
        local_steps=LOCAL_STEPS,
        n_partners=len(partners),
        n_bits=N_BITS,
        hidden=HIDDEN,
        dropout=0.6,
        server_rate=2.0,
        first_bound=0.1,
        weights="size",
        max_weight=50_000,
    )
    return head + "\n".join(f"[[card]]\n{card}" for card in cards)


def partner_toml(name: str, seed: int, tables: Mapping[str, str]) -> str:
    """A partner's configuration."""
    return _PARTNER.format(name=name, seed=seed, learning_rate=0.001, batch_size=200, **tables)


def aggregator_toml(name: str) -> str:
    """The aggregator's configuration."""
    return _AGGREGATOR.format(name=name)
