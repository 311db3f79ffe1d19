"""Enrolment, a partner's first step: the group secret from the custodian, a pair key with every other partner."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import ConfigError, NotYet
from pipeline.exchange.mailbox import Mailbox, Outbox
from secure.ciphertexts.parameters import SealParameters
from secure.errors import BadKeyFile, WrongKey
from secure.files import write_atomically
from secure.keys.group import GroupSecret, receive_group_secret
from secure.keys.pairing import PairKey, PairSeeds, open_pair_seed, pair_key, seal_pair_seeds
from secure.messages.message_name import MessageName


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The keys with which a partner seals updates and opens sums."""

    group: GroupSecret
    pair_keys: Mapping[str, PairKey]  # by the other partner's name


def enrol(mailbox: Mailbox, parameters: SealParameters) -> Enrolment:
    """Receive the group secret, post this partner's pairing and receive the others'.

    Raises NotYet while the deal or another partner's pairing is awaited.
    """
    group = obtain_group_secret(mailbox, parameters)
    seeds = _post_pairing(mailbox, group)
    others = [name for name in mailbox.plan.partner_names if name != mailbox.me]
    keys = {name: _pair_key(mailbox, seeds, group, name) for name in others}
    return Enrolment(group, keys)


def obtain_group_secret(mailbox: Mailbox, parameters: SealParameters) -> GroupSecret:
    """The group secret from the home, or from the custodian's deal the first time.

    Raises NotYet while the deal is awaited, ConfigError for a custodian that has not dealt,
    secure.errors.WrongKey if the home holds another group's secret.
    """
    custodian = mailbox.plan.federation.custodian
    name = MessageName("deal", 0, 0, custodian)
    if mailbox.me == custodian:
        expect_dealt_for(mailbox)
        if not mailbox.repost(name):
            folder = mailbox.home.folder
            error = ConfigError(f"{folder}: {custodian} is the custodian and has not dealt the group secret")
            error.add_note("run `hocket key deal PLAN --home HOME` once, then start again")
            raise error
        dealt = mailbox.own(name).text("group")
    else:
        manifest = mailbox.expect(name)
        dealt = manifest.text("group")
        if not mailbox.home.group_secret.exists():
            payload = mailbox.fetch_payload(name, manifest).read_bytes()
            secret = receive_group_secret(payload, mailbox.plan.digest, custodian, mailbox.keys, parameters)
            _check_group(secret, dealt, mailbox.exchange.where(name.payload))
            secret.save(mailbox.home.group_secret, mailbox.keys)
    secret = GroupSecret.load(mailbox.home.group_secret, parameters, mailbox.keys)
    _check_group(secret, dealt, str(mailbox.home.group_secret))
    return secret


def expect_dealt_for(outbox: Outbox) -> None:
    """Check that the custodian's deal, if there is one, is for its present plan.

    Raises secure.errors.WrongPlan if the plan was changed since, with notes on how to deal again.
    """
    name = MessageName("deal", 0, 0, outbox.me)
    if outbox.has(name):
        outbox.own(name)


def _check_group(secret: GroupSecret, dealt: str, where: str) -> None:
    if secret.digest() != dealt:
        raise WrongKey(f"{where}: group secret {secret.digest()[:12]}..., the custodian's deal says {dealt[:12]}...")


def _post_pairing(mailbox: Mailbox, group: GroupSecret) -> PairSeeds:
    """Make the seeds for the other partners once, keep them in the home, then post them as this partner's pairing."""
    name = MessageName("pairing", 0, 0, mailbox.me)
    payload_file = mailbox.home.outbox(name.payload)
    if not mailbox.home.pair_seeds.exists():
        if payload_file.exists():  # new seeds would not match those that the others hold: no sum would open
            error = BadKeyFile(f"{mailbox.home.pair_seeds}: is missing, but {payload_file} was made from it")
            error.add_note("restore this file; if it is lost, the plan needs a revision: see secure/KEYS.md")
            raise error
        others = [name for name in mailbox.plan.partner_names if name != mailbox.me]
        PairSeeds.generate(mailbox.me, others).save(mailbox.home.pair_seeds, mailbox.keys)
    seeds = PairSeeds.load(mailbox.home.pair_seeds, mailbox.keys)
    if not payload_file.exists():
        cards = [mailbox.plan.cards[other] for other in mailbox.plan.partner_names if other != mailbox.me]
        write_atomically(payload_file, seal_pair_seeds(seeds, mailbox.plan.digest, mailbox.me, cards))
    mailbox.post(name, {"group": group.digest()})
    return seeds


def _pair_key(mailbox: Mailbox, seeds: PairSeeds, group: GroupSecret, other: str) -> PairKey:
    name = MessageName("pairing", 0, 0, other)
    manifest = mailbox.receive(name)
    if manifest is None:
        raise NotYet(f"waiting for {other} to enrol")
    theirs = manifest.text("group")
    if theirs != group.digest():
        raise WrongKey(
            f"{name.manifest}: {other} holds group secret {theirs[:12]}..., expected {group.digest()[:12]}... as here"
        )
    payload = mailbox.fetch_payload(name, manifest).read_bytes()
    seed = open_pair_seed(payload, mailbox.plan.digest, other, mailbox.keys)
    return pair_key(seeds.for_partner(other), seed, mailbox.me, other, mailbox.plan.digest)
