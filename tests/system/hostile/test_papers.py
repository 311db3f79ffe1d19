"""Plans and cards that come from others, before anybody has agreed to them: refused in time, without much memory."""

import gzip
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from tests.support.hostile import changes as c
from tests.support.hostile.kinds import Bench, Change, Kind, by_name

pytestmark = pytest.mark.slow

SHOW = "key show plan.toml"
CARDS = " ".join(f"{name}/home/keys/card.toml" for name in ("P01", "P02", "P03", "agg"))
NEW_PLAN = f"init plan {CARDS} --name new --custodian P01 --output new.toml"
UNUSABLE, REFUSED, TAKEN = ExitCode.CONFIGURATION, ExitCode.SECURITY, ExitCode.DONE
SPECIAL = ("a named pipe", "a socket", "a folder", "a link to a device", "a link to itself", "empty", "cut in half")
DOTS = "a" + ".a" * 100_000 + " = 1\n"
BOMBS = {
    "1 GiB long": c.sparse,
    "with a key of 100,000 parts": lambda path: c.holding(DOTS + path.read_text())(path),
    "with arrays 100,000 deep": lambda path: c.holding("x = " + "[" * 100_000 + path.read_text())(path),
    "with tables 100,000 deep": lambda path: c.holding("x = " + "{a = " * 100_000 + path.read_text())(path),
    "with a number of 100,000 digits": lambda path: c.holding("x = " + "9" * 100_000 + "\n" + path.read_text())(path),
    "with a NUL byte": lambda path: c.holding(path.read_bytes() + b'x = "\0"\n')(path),
    "in UTF-16": lambda path: c.holding(path.read_text().encode("utf-16"))(path),
    "in Latin-1": lambda path: c.holding(path.read_bytes() + b"# \xe4\n")(path),
    "with a key twice": lambda path: c.holding(path.read_text().split("\n")[0] + "\n" + path.read_text())(path),
}
EDITS = {
    "n_rounds of 400 digits": ("n_rounds = 2", "n_rounds = " + "9" * 400),
    "n_rounds 0": ("n_rounds = 2", "n_rounds = 0"),
    "n_rounds 2.0": ("n_rounds = 2", "n_rounds = 2.0"),
    "n_rounds true": ("n_rounds = 2", "n_rounds = true"),
    "n_rounds 10,000": ("n_rounds = 2", "n_rounds = 10000"),
    "no steps": ("local_steps = 4", "local_steps = 0"),
    "rosters of two": ("min_partners = 3", "min_partners = 2"),
    "rosters of four": ("min_partners = 3", "min_partners = 4"),
    "a deadline that is NaN": ("ready_deadline_s = 3600.0", "ready_deadline_s = nan"),
    "an endless deadline": ("ready_deadline_s = 3600.0", "ready_deadline_s = inf"),
    "a deadline before its time": ("update_deadline_s = 3600.0", "update_deadline_s = -1.0"),
    "a deadline that is a date": ("update_deadline_s = 3600.0", "update_deadline_s = 2030-01-01"),
    "100 attempts": ("max_attempts = 5", "max_attempts = 100"),
    "another format": ("format = 1", "format = 2"),
    "a format that is true": ("format = 1", "format = true"),
    "a setting that there is not": ("format = 1", "format = 1\nsecret = 1"),
    "a section that there is not": ("[rounds]", "[backdoor]\nx = 1\n[rounds]"),
    "a name with a terminal's escape": ('name = "small"', r'name = "\u001b[31m"'),
    "a name of 65 characters": ('name = "small"', f'name = "{"x" * 65}"'),
    "an id in capitals": ('id = "abab', 'id = "ABab'),
    "an id of 31 digits": ('id = "abab', 'id = "bab'),
    "a seed of 2^63": ("seed = 3", f"seed = {1 << 63}"),
    "a custodian that is no member": ('custodian = "P01"', 'custodian = "P09"'),
    "a custodian that is the aggregator": ('custodian = "P01"', 'custodian = "agg"'),
    "no hidden layer": ("hidden = [16]", "hidden = []"),
    "a hidden layer of no unit": ("hidden = [16]", "hidden = [0]"),
    "a dropout of 1": ("dropout = 0.2", "dropout = 1.0"),
    "no bits": ("n_bits = 512", "n_bits = 0"),
    "columns of one partner": ("[columns]\nmin_partners = 0", "[columns]\nmin_partners = 1"),
    "columns of four partners": ("[columns]\nmin_partners = 0", "[columns]\nmin_partners = 4"),
    "a chance to withhold of 2": ("[columns]", "[columns]\nwithhold = 2.0"),
    "7 bits": ("[columns]", "[seal]\nbits = 7\n[columns]"),
    "at most two partners": ("[columns]", "[seal]\nmax_partners = 2\n[columns]"),
    "at most 129 partners": ("[columns]", "[seal]\nmax_partners = 129\n[columns]"),
    "a weight of 2^33": ("[columns]", f"[seal]\nmax_weight = {1 << 33}\n[columns]"),
    "a first bound of 0": ("[columns]", "[seal]\nfirst_bound = 0.0\n[columns]"),
    "a catalogue's task twice": (
        "[columns]",
        '[catalogue]\ntasks = [{id = "A", threshold = 6.0}, {id = "A", threshold = 6.0}]\n[columns]',
    ),
    "a catalogue's threshold that is NaN": (
        "[columns]",
        '[catalogue]\ntasks = [{id = "A", threshold = nan}]\n[columns]',
    ),
    "revision 1": ("[columns]", f'[continues]\nplan = "{"0" * 64}"\nrevision = 1\nround = 1\n[columns]'),
    "revision 100": ("[columns]", f'[continues]\nplan = "{"0" * 64}"\nrevision = 100\nround = 1\n[columns]'),
    "a revision beyond the last round": (
        "[columns]",
        f'[continues]\nplan = "{"0" * 64}"\nrevision = 2\nround = 3\n[columns]',
    ),
    "an unreleased member with a card": (
        "[columns]",
        f'[continues]\nplan = "{"0" * 64}"\nrevision = 2\nround = 1\nunreleased = ["P01"]\n[columns]',
    ),
}
# plans that nobody should agree to, but that cost who looks at them nothing
HARMLESS = {
    "a trunk of 10^12 units": ("hidden = [16]", f"hidden = [{10**12}]"),
    "10,000 layers": ("hidden = [16]", f"hidden = [{', '.join(['16'] * 10_000)}]"),
    "10^18 steps": ("local_steps = 4", f"local_steps = {10**18}"),
    "deadlines beyond all dates": ("update_deadline_s = 3600.0", "update_deadline_s = 1e300"),
    "lines that end as on Windows": ("\n", "\r\n"),
    "a byte order mark": ("format = 1", "\ufeffformat = 1"),
}


def plans() -> Iterator[Kind]:
    """A plan, changed in any way."""
    for how in SPECIAL:
        yield Kind(f"plan: {how}", c.at("plan.toml", c.FILE_CHANGES[how]), UNUSABLE, "plan.toml")
    yield Kind("plan: missing", c.at("plan.toml", c.missing), UNUSABLE, "plan.toml")
    for how, change in BOMBS.items():
        yield Kind(f"plan: {how}", c.at("plan.toml", change), UNUSABLE, "plan.toml")
    for how, (old, new) in EDITS.items():
        yield Kind(f"plan: {how}", c.at("plan.toml", c.replaced(old, new)), UNUSABLE, "plan.toml")
    for how, (old, new) in HARMLESS.items():
        for command in (SHOW, "inspect plan.toml"):
            yield Kind(f"plan: {how}, {command}", c.at("plan.toml", c.replaced(old, new)), TAKEN, command=command)


def in_cards(edit: Callable[[list[str]], list[str]]) -> Change:
    """The change of the plan's cards: of P01, P02, P03 and the aggregator, as texts."""

    def change(path: Path) -> None:
        head, *cards = path.read_text().split("[[card]]")
        path.write_text("[[card]]".join([head, *edit(cards)]))

    return c.at("plan.toml", change)


def flipped_key(key: str, card: str) -> str:
    """The card with another value of a base64 key."""
    value = next(line for line in card.split("\n") if line.startswith(f"{key} = ")).split('"')[1]
    data = bytearray(b64decode(value))
    data[0] ^= 1
    return card.replace(value, b64encode(data).decode())


def small_order(card: str) -> str:
    """The card with a signing key of small order and the signature that fits every message under it."""
    values = {"signing": bytes([1, *bytes(31)]), "signature": bytes([1, *bytes(63)])}
    lines = [line for line in card.split("\n") if not line.startswith(tuple(values))]
    return "\n".join([*lines, *(f'{key} = "{b64encode(value).decode()}"' for key, value in values.items()), ""])


def cards_in_plan() -> Iterator[Kind]:
    """Cards in a plan that somebody else wrote."""
    kinds: dict[str, tuple[Callable[[list[str]], list[str]], ExitCode]] = {
        "none": (lambda _: [], UNUSABLE),
        "two partners": (lambda cards: [cards[0], cards[1], cards[3]], UNUSABLE),
        "no aggregator": (lambda cards: cards[:3], UNUSABLE),
        "one card twice": (lambda cards: [*cards, cards[1]], UNUSABLE),
        "a name in small letters": (lambda cards: [*cards, cards[1].replace('"P02"', '"p02"')], UNUSABLE),
        "P03's card under P02's name": (
            lambda cards: [cards[0], cards[2].replace('"P03"', '"P02"'), *cards[2:]],
            REFUSED,
        ),
        "a partner as aggregator": (
            lambda cards: [cards[0].replace('"partner"', '"aggregator"'), *cards[1:3]],
            UNUSABLE,
        ),
        "an aggregator as partner": (
            lambda cards: [*cards[:3], cards[3].replace('"aggregator"', '"partner"')],
            UNUSABLE,
        ),
        "another signing key": (lambda cards: [flipped_key("signing", cards[0]), *cards[1:]], REFUSED),
        "another agreement key": (lambda cards: [flipped_key("agreement", cards[0]), *cards[1:]], REFUSED),
        "another signature": (lambda cards: [flipped_key("signature", cards[0]), *cards[1:]], REFUSED),
        "a signing key of small order": (lambda cards: [*cards[:3], small_order(cards[3])], REFUSED),
        "a name with a path": (lambda cards: [*cards[:2], cards[2].replace('"P03"', '"../P03"'), cards[3]], REFUSED),
        "a card without a signature": (lambda cards: [cards[0].split("signature")[0], *cards[1:]], UNUSABLE),
        "a card with a field more": (lambda cards: [cards[0] + "note = 1\n", *cards[1:]], UNUSABLE),
    }
    for how, (edit, code) in kinds.items():
        yield Kind(f"cards of a plan: {how}", in_cards(edit), code, "card" if code == REFUSED else "plan.toml")


def long_gzip(path: Path) -> None:
    """A small file that unpacks to 1 GiB."""
    path.write_bytes(gzip.compress(bytes(1 << 26)) * 16)


def catalogues() -> Iterator[Kind]:
    """A catalogue, in the plan or in the file that it names."""

    def named(file: str, more: str = "") -> Change:
        return c.at("plan.toml", c.replaced("[columns]", f'[catalogue]\nfile = "{file}"\n{more}[columns]'))

    rows = ", ".join(f'{{id = "T{i}", threshold = 6.0}}' for i in range(60_000))
    listed = c.replaced("[columns]", f"[catalogue]\ntasks = [{rows}]\n[columns]")
    yield Kind("catalogue: 60,000 tasks in the plan", c.at("plan.toml", listed), TAKEN)
    sha256 = f'sha256 = "{"0" * 64}"\n'
    files = {
        "a list without its SHA-256": (c.holding("id,threshold\nA,6.0\n"), ""),
        "a list of another SHA-256": (c.holding("id,threshold\nA,6.0\n"), sha256),
        "an empty file": (c.holding(""), ""),
        "a list of other columns": (c.holding("a,b\n1,2\n"), ""),
        "a threshold that is no number": (c.holding("id,threshold\nA,x\n"), ""),
        "1 GiB of zeros in a small gzip": (long_gzip, ""),
        "half of a gzip": (c.holding(gzip.compress(b"id,threshold\n" * 1_000)[:40]), ""),
    }
    for how, (make, more) in files.items():
        change = c.each(c.at("list.csv", make), named("list.csv", more))
        yield Kind(f"catalogue: {how}", change, UNUSABLE, "list.csv")
    for how in ("a named pipe", "a socket", "a folder", "a link to a device", "a link to itself"):
        change = c.each(c.at("list.csv", c.FILE_CHANGES[how]), named("list.csv", sha256))
        yield Kind(f"catalogue: {how}", change, UNUSABLE, "list.csv")
    yield Kind("catalogue: no file", named("list.csv", sha256), UNUSABLE, "list.csv")
    yield Kind("catalogue: an endless device", named("/dev/zero", sha256), UNUSABLE, "/dev/zero")
    yield Kind(
        "catalogue: another member's secret", named("P02/home/keys/private.key", sha256), UNUSABLE, "private.key"
    )


CARD = "P02/home/keys/card.toml"


def card_files() -> Iterator[Kind]:
    """A card that another member sent for a new plan."""
    for how in SPECIAL:
        code = UNUSABLE if how in SPECIAL[:5] else REFUSED
        yield Kind(f"card: {how}", c.at(CARD, c.FILE_CHANGES[how]), code, "card.toml", NEW_PLAN)
    yield Kind("card: missing", c.at(CARD, c.missing), UNUSABLE, "card.toml", NEW_PLAN)
    for how, change in BOMBS.items():
        code = UNUSABLE if how.startswith("in ") else REFUSED
        yield Kind(f"card: {how}", c.at(CARD, change), code, "card.toml", NEW_PLAN)
    edits: dict[str, Callable[[str], str]] = {
        "another signature": lambda card: flipped_key("signature", card),
        "another signing key": lambda card: flipped_key("signing", card),
        "another agreement key": lambda card: flipped_key("agreement", card),
        "a signing key of small order": small_order,
        "another name": lambda card: card.replace('"P02"', '"P05"'),
        "a name with a path": lambda card: card.replace('"P02"', '"../P02"'),
        "a name of 33 characters": lambda card: card.replace('"P02"', f'"{"P" * 33}"'),
        "a name with a terminal's escape": lambda card: card.replace('"P02"', r'"\u001b[31m"'),
        "a name that is a list": lambda card: card.replace('"P02"', '["P02"]'),
        "another role": lambda card: card.replace('"partner"', '"auditor"'),
        "a role that is a list": lambda card: card.replace('"partner"', '["partner"]'),
        "a key more": lambda card: card + "note = 1\n",
        "no signature": lambda card: card.split("signature")[0],
        "a key that is no base64": lambda card: card.replace('signing = "', 'signing = "!'),
    }
    for how, edit in edits.items():
        change = c.at(CARD, lambda path, edit=edit: c.void_of(path.write_text(edit(path.read_text()))))
        yield Kind(f"card: {how}", change, REFUSED, "card", NEW_PLAN)
    twice = c.copied("P01/home/keys/card.toml", CARD)
    yield Kind("card: another member's", twice, UNUSABLE, "", NEW_PLAN)


TABLE = by_name(list(plans()), list(cards_in_plan()), list(catalogues()), list(card_files()))


@pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
def test_a_hostile_plan_or_card_is_refused(bench: Bench, kind: Kind):
    """`key show` and `init plan` end with exit code 2, or 4 for keys, and name the file; no plan is written."""
    bench.check(kind, "enrolled", kind.command or SHOW, output="new.toml")
