"""`hocket init`: plan.toml, partner.toml and aggregator.toml, commented, and checked before they are written."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.home.paths import Home
from pipeline.plan.commented_toml import written
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.plan.plan import FEWEST_PARTNERS, Plan
from pipeline.plan.toml_schema import AnySchema, check_table
from secure.files import atomic_file
from secure.keys.keys import Card, parse_card

_PLAN_TITLE = (
    "What the consortium agreed on. Every member holds this very file; its digest (`hocket key show plan.toml`) is "
    "bound into every signature, mask and tag, so compare it by telephone. All settings stand here, the defaults too: "
    "a later version of hocket reads the same plan."
)
_PARTNER_TITLE = "A partner's own business: nothing here is agreed on with anyone."
_AGGREGATOR_TITLE = "The aggregator adds what it cannot read: it needs no data, and no key but the one it signs with."
_DEFAULTS = "A setting behind a # has the default that is shown."


def plan_text(cards: Sequence[Card], values: Mapping[str, object], remarks: Mapping[str, str] | None = None) -> str:
    """plan.toml for these members; what `values` (by dotted key) leaves out fits their number or has its default.

    Raises ConfigError for settings or members that make no plan.
    """
    n_partners = max(FEWEST_PARTNERS, sum(card.role == "partner" for card in cards))
    fitting = {"rounds.min_partners": n_partners, "seal.max_partners": n_partners}
    settings = written(Plan, {**fitting, **values}, title=_PLAN_TITLE, whole=True, remarks=remarks)
    text = f"{settings}\n# The members' cards, as `hocket key new` printed them.\n"
    text += "\n".join(f"[[card]]\n{card.to_text()}" for card in cards)
    return _checked(text, Plan, "the plan")


def partner_text(values: Mapping[str, object]) -> str:
    """partner.toml with these values (by dotted key). Raises ConfigError where they cannot be."""
    title = f"{_PARTNER_TITLE} {_DEFAULTS}"
    return _checked(written(PartnerConfig, values, title=title, whole=False), PartnerConfig, "partner.toml")


def aggregator_text(values: Mapping[str, object]) -> str:
    """aggregator.toml with these values (by dotted key). Raises ConfigError where they cannot be."""
    text = written(AggregatorConfig, values, title=f"{_AGGREGATOR_TITLE} {_DEFAULTS}", whole=False)
    return _checked(text, AggregatorConfig, "aggregator.toml")


def _checked(text: str, schema: type[AnySchema], where: str) -> str:
    """The text, if it can be read back as the file it will be."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where}: a name or path is not UTF-8 text, which every setting must be") from error
    check_table(tomllib.loads(text), schema, where)
    return text


def read_cards(files: Sequence[Path]) -> list[Card]:
    """The members' cards, partners first, each sorted by name.

    Raises secure.errors.BadCard for what is no card, ConfigError for what is no text.
    """
    cards = []
    for file in files:
        try:
            cards.append(parse_card(file.read_text(encoding="utf-8"), str(file)))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{file}: is no text, expected a card as `hocket key new` prints it") from error
    return sorted(cards, key=lambda card: (card.role != "partner", card.name))


def name_in(home: Path) -> str | None:
    """The member's name on the card in a home, where there is one."""
    file = Home(home).keys / "card.toml"
    return read_cards([file])[0].name if file.exists() else None


def seen_from(folder: Path, path: str) -> str:
    """How a file in `folder` names a path given relative to where the user is; URLs and absolute paths stay."""
    if "://" in path or Path(path).is_absolute():
        return path
    place = Path(path)
    # only the folder is followed: a table may be a link that will point to newer data
    place = place.resolve() if place.name in ("", "..") else place.parent.resolve() / place.name
    return os.path.relpath(place, folder.resolve())


def expect_free(file: Path, *, replace: bool) -> None:
    """Raise ConfigError where a file is in the way."""
    if file.exists() and not replace:
        error = ConfigError(f"{file}: exists, and is not replaced")
        error.add_note("--force replaces it")
        raise error


def write_file(file: Path, text: str, *, replace: bool) -> None:
    """Write a configuration file whole or not at all. Raises ConfigError where one is in the way."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_file(file, is_new=not replace) as opened:
            opened.write(text.encode())
    except FileExistsError:
        expect_free(file, replace=replace)
        raise
