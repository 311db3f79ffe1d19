"""Check a member's plan, home, keys, enrolment and tracking store."""

import base64
import os
import sqlite3
import stat
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from pipeline.errors import ConfigError, ExitCode
from pipeline.exchange.begun import deal_explained, deal_of
from pipeline.exchange.mailbox import Outbox
from pipeline.exchange.storage import Exchange
from pipeline.home.paths import Home
from pipeline.plan.member_configs import MemberConfig, PartnerConfig
from pipeline.plan.plan import Plan
from pipeline.plan.privacy import expect_fitting
from pipeline.protocol.enrolment import expect_dealt_for
from pipeline.runtime.redact import without_password
from pipeline.setup.findings import Finding, note, refused, wrong
from secure.ciphertexts.parameters import seal_parameters
from secure.errors import WrongKey
from secure.keys.group import GroupSecret
from secure.keys.keys import KEY_FILE, PrivateKeys, load_private_keys, read_card
from secure.keys.pairing import PairSeeds
from secure.messages.message_name import MessageName
from secure.messages.messages import Expected, Manifest, verify_manifest

_SHARED = stat.S_IRWXG | stat.S_IRWXO
_SERVER_S = 5.0  # seconds until a tracking server must answer


def examine_plan(config: MemberConfig, plan: Plan) -> Iterator[Finding]:
    """Show the plan's digest, and check that this member is in the plan."""
    members = f"{len(plan.partner_names)} partners, aggregator {plan.aggregator_name}"
    yield Finding("plan", f"{plan.federation.name}, {members}, custodian {plan.federation.custodian}")
    yield Finding("plan", f"digest {plan.digest}: compare it with the others by telephone")
    role = "partner" if isinstance(config, PartnerConfig) else "aggregator"
    card = plan.cards.get(config.name)
    if card is None or card.role != role:
        of_role = [member.name for member in plan.card if member.role == role]
        actual = "is not in it" if card is None else f"is its {card.role}"
        raise ConfigError(f"{config.plan_file}: {config.name} {actual}, expected a {role}, one of {of_role}")
    yield Finding("plan", f"fingerprint of {config.name}: {card.fingerprint}: the others compare it with their plan's")
    yield from _privacy(config, plan)
    fewest, n_partners = plan.rounds.min_partners, len(plan.partner_names)
    if fewest < n_partners - 2:
        advice = "the sum of a small roster hides little: agree on a higher number"
        yield note("plan", f"min_partners is {fewest} of {n_partners}", advice)


def _privacy(config: MemberConfig, plan: Plan) -> Iterator[Finding]:
    """Show the plan's differential privacy, and check that this partner's training fits it."""
    if plan.privacy is None:
        return
    n_steps = plan.rounds.n_rounds * plan.rounds.local_steps
    yield Finding("privacy", f"{plan.privacy} for one compound of a partner, over {n_steps:,} noised steps")
    if isinstance(config, PartnerConfig):
        try:
            expect_fitting(config.training, config.name)
        except ConfigError as error:
            yield refused("privacy", error)


def examine_home(config: MemberConfig) -> Iterator[Finding]:
    """Check the home's file modes; a run refuses a home that others can read."""
    home = Home(config.home_folder)
    if not home.folder.is_dir():
        raise _no_keys(config, f"{home.folder}: no such home")
    home.make()
    yield Finding("home", f"{home.folder}: mode 0700")
    if not os.access(home.folder, os.W_OK | os.X_OK):
        yield wrong("home", f"{home.folder}: cannot be written", "it must belong to the user who runs hocket")
    secrets = (home.keys / KEY_FILE, home.group_secret, home.pair_seeds)
    for file in (path for secret in secrets for path in (secret, home.folder / secret.name) if path.exists()):
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & _SHARED:
            advice = f"chmod 600 {file}; if somebody may have read it, treat it as stolen: secure/KEYS.md"
            yield wrong("home", f"{file}: has mode {mode:04o}, expected 0600", advice, ExitCode.SECURITY)
    if home.finished.exists():
        yield Finding("home", "the federation is finished here")


def open_keys(config: MemberConfig) -> PrivateKeys:
    """The member's private keys.

    Raises ConfigError if there are none or they are another member's, and the errors of load_private_keys.
    """
    home = Home(config.home_folder)
    if not (home.keys / KEY_FILE).exists():
        raise _no_keys(config, f"{home.keys}: holds no {KEY_FILE}")
    keys = load_private_keys(home.keys, config.passphrase())
    if keys.name != config.name:
        error = ConfigError(f"{home.keys}: keys of {keys.name}, but the configuration's name is {config.name}")
        error.add_note("put the right name or the right home into the configuration")
        raise error
    return keys


def examine_keys(config: MemberConfig, keys: PrivateKeys, plan: Plan | None) -> Iterator[Finding]:
    """Check that the private keys fit the card in the home and the card in the plan."""
    home = Home(config.home_folder)
    lock = "unlocked by the passphrase file" if config.passphrase_file else "without a passphrase"
    lock = "unlocked by the passphrase command" if config.keys.passphrase_command else lock
    yield Finding("keys", f"private keys of {keys.name} ({keys.role}), {lock}")
    card_file = home.keys / "card.toml"
    if card_file.exists():
        keys.expect_card(read_card(card_file), str(home.keys))
    else:
        yield note("keys", f"{card_file}: is missing", f"`hocket key new {keys.name} --home HOME` writes it again")
    if plan is not None and config.name in plan.cards:
        keys.expect_card(plan.cards[config.name], str(home.keys))
        yield Finding("keys", f"they belong to the card of {keys.name} in the plan")


def _no_keys(config: MemberConfig, message: str) -> ConfigError:
    error = ConfigError(message)
    role = "" if isinstance(config, PartnerConfig) else " --role aggregator"
    error.add_note(f"`hocket key new {config.name} --home {config.home_folder}{role}` makes keys and prints the card")
    return error


def examine_enrolment(config: MemberConfig, plan: Plan, keys: PrivateKeys, exchange: Exchange) -> Iterator[Finding]:
    """Check the group secret and the pairings, in the home and in the exchange.

    Raises secure.errors.SecureError for a message of another plan or signer, or a group secret that was not dealt.
    """
    home = Home(config.home_folder, plan.folder)
    with deal_explained(plan, home, keys.name):
        deal = _posted(plan, exchange, deal_of(plan))
    if keys.role == "aggregator":
        if home.group_secret.exists():
            advice = "remove it, and make a revision with a new one: the aggregator must not be able to open updates"
            yield wrong("enrolment", f"{home.group_secret}: the aggregator holds it", advice, ExitCode.SECURITY)
    else:
        yield from _group_secret(config, plan, keys, deal)
    pairings = {name: _posted(plan, exchange, MessageName("pairing", 0, 0, name)) for name in plan.partner_names}
    missing = [name for name, manifest in pairings.items() if manifest is None]
    if missing:
        n_enrolled = len(pairings) - len(missing)
        enrolled = f"{n_enrolled} of {len(pairings)} partners have enrolled; missing: {', '.join(missing)}"
        yield note("enrolment", enrolled, "`hocket partner run` of each enrols it")
    else:
        yield Finding("enrolment", f"all {len(pairings)} partners have enrolled")


def _posted(plan: Plan, exchange: Exchange, name: MessageName) -> Manifest | None:
    data = exchange.read(name.manifest)
    expected = Expected(kind=name.kind, plan=plan.digest, round_no=0, attempt=0)
    if data is None:
        return None
    return verify_manifest(data, plan.cards[name.sender], expected, exchange.where(name.manifest))


def _group_secret(config: MemberConfig, plan: Plan, keys: PrivateKeys, deal: Manifest | None) -> Iterator[Finding]:
    home, custodian = Home(config.home_folder, plan.folder), plan.federation.custodian
    if home.pair_seeds.exists():
        PairSeeds.load(home.pair_seeds, keys)
    if keys.name == custodian:
        expect_dealt_for(Outbox(plan, keys, home, time.time))
    if home.group_secret.exists():
        group = GroupSecret.load(home.group_secret, seal_parameters(plan.seal), keys)
        if deal is not None and deal.text("group") != group.digest():
            raise WrongKey(f"{home.group_secret}: is not the group secret that {custodian} dealt")
        yield Finding("enrolment", f"group secret {group.digest()[:16]}, unlocked by the keys")
        if deal is None:
            yield note(
                "enrolment", "the deal is not in the exchange yet", f"`hocket partner run` of {custodian} posts it"
            )
    elif keys.name == custodian:
        command = f"hocket key deal {config.plan_file} --home {config.home_folder}"
        yield wrong("enrolment", f"{custodian} is the custodian and has not dealt the group secret", command)
    elif deal is None:
        yield note(
            "enrolment",
            f"the deal of {custodian} is awaited",
            f"{custodian} runs `hocket key deal`, then `hocket partner run`",
        )
    else:
        yield Finding("enrolment", f"{custodian} has dealt the group secret; the next run reads it")


def examine_tracking(config: MemberConfig) -> Iterator[Finding]:
    """Check that the MLflow store answers; a failure is only a note, because a run goes on without it."""
    uri, default = config.tracking.uri, Home(config.home_folder).folder / "mlflow.db"
    shown = without_password(uri)
    if uri.startswith(("http://", "https://")):
        yield _server(uri, shown)
    elif not uri or uri.startswith("sqlite:///"):
        yield _sqlite(Path(uri.removeprefix("sqlite:///")) if uri else default)
    else:
        yield note("tracking", f"{shown}: not checked", "`hocket ui` shows it after the start of a run")


def _health(uri: str) -> urllib.request.Request:
    """The request for the server's health page; urllib needs the URL's login in a header."""
    parts = urlsplit(uri)
    login, _, host = parts.netloc.rpartition("@")
    headers = {"Authorization": f"Basic {base64.b64encode(unquote(login).encode()).decode()}"} if login else {}
    url = urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/health", "", ""))
    return urllib.request.Request(url, headers=headers)  # noqa: S310 -- http(s)


def _server(uri: str, shown: str) -> Finding:
    try:
        with urllib.request.urlopen(_health(uri), timeout=_SERVER_S) as answer:  # noqa: S310 -- http(s)
            return Finding("tracking", f"{shown}: answers ({answer.status})")
    except (OSError, ValueError, HTTPException) as error:
        advice = "runs go on without it and log everything later"
        return note("tracking", f"{shown}: does not answer ({type(error).__name__})", advice)


def _sqlite(file: Path) -> Finding:
    """Check that an SQLite file can be read, or that one can be made."""
    if not file.exists():
        if not os.access(file.parent, os.W_OK):
            return note("tracking", f"{file}: cannot be made", "choose another tracking.uri")
        return Finding("tracking", f"{file}: the first run makes it")
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return note(
            "tracking", f"{file}: is not a readable SQLite file ({error})", "move it away: the next run makes a new one"
        )
    return Finding("tracking", f"{file}: can be read")
