"""Open a member's mailbox: read plan and keys, open the exchange, check that they match. Needs no torch or rdkit."""

import time
from collections.abc import Callable
from itertools import product

from partners.settings import ClassificationHead
from pipeline.errors import ConfigError, Equivocation
from pipeline.exchange.mailbox import Mailbox
from pipeline.exchange.storage import open_exchange
from pipeline.home.paths import Home
from pipeline.plan.member_configs import AggregatorConfig, MemberConfig, PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from secure.keys.keys import load_private_keys


def open_partner_mailbox(config: PartnerConfig, clock: Callable[[], float] = time.time) -> Mailbox:
    """Read a partner's plan and keys and open its exchange.

    Raises ConfigError for a partner that is not in the plan, Equivocation for one that has
    released though a revision lists it as unreleased, secure.errors.WrongKey for another member's keys.
    """
    plan = read_plan(config.plan_file)
    if config.name not in plan.partner_names:
        _expect_unreleased(config, plan)
        raise ConfigError(f"{config.plan_file}: {config.name} is not one of the partners {plan.partner_names}")
    _check_heads(config, plan)
    return _open(config, plan, clock)


def open_aggregator_mailbox(config: AggregatorConfig, clock: Callable[[], float] = time.time) -> Mailbox:
    """Read the aggregator's plan and keys and open its exchange.

    Raises ConfigError for another aggregator than the plan's, secure.errors.WrongKey for another member's keys.
    """
    plan = read_plan(config.plan_file)
    if config.name != plan.aggregator_name:
        raise ConfigError(f"{config.plan_file}: the plan's aggregator is {plan.aggregator_name}, not {config.name}")
    return _open(config, plan, clock)


def _expect_unreleased(config: PartnerConfig, plan: Plan) -> None:
    """Raise Equivocation if the plan lists this partner as one that has not released, but it has."""
    if plan.continues is None or config.name not in plan.continues.unreleased:
        return
    rounds = range(plan.starts_with, plan.first_round + 1)
    for home, round_no in product(Home(config.home_folder).of_every_plan(), rounds):
        for path in home.outbox(f"round-{round_no:04d}").glob(f"*/release.{config.name}.json"):
            raise Equivocation(f"{path}: {config.name} has released, but continues.unreleased of the plan lists it")


def _check_heads(config: PartnerConfig, plan: Plan) -> None:
    """Raise ConfigError for extra head layers under a catalogue: shared head rows take the trunk's output."""
    head, plain = config.training.classification, ClassificationHead()
    if plan.catalogue.tasks and (head.hidden, head.non_linearity) != (plain.hidden, plain.non_linearity):
        error = ConfigError(
            f"{config.name}: training.classification has extra layers {list(head.hidden)} and {head.non_linearity}, "
            f"expected no extra layer and {plain.non_linearity}, since the plan has a catalogue"
        )
        error.add_note(
            "head rows of the catalogue's tasks are shared, so they follow the trunk directly at every partner"
        )
        raise error


def _open(config: MemberConfig, plan: Plan, clock: Callable[[], float]) -> Mailbox:
    home = Home(config.home_folder, plan.folder)
    keys = load_private_keys(home.keys, config.passphrase())
    keys.expect_card(plan.cards[config.name], str(home.keys))
    return Mailbox(plan, keys, home, open_exchange(config.exchange_url).below(plan.folder), clock)
