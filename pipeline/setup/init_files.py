"""`hocket init`: make plan.toml, partner.toml and aggregator.toml with comments, and check them before writing."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.home.paths import Home
from pipeline.plan.commented_toml import commented_toml
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.plan.plan import FEWEST_PARTNERS, Plan
from pipeline.plan.toml_schema import AnySchema, check_table
from pipeline.runtime.outputs import writing
from secure.files import atomic_file
from secure.keys.keys import Card, read_card

_PLAN_TITLE = (
    "The plan, on which all members agree. Every member has the same file; its digest (`hocket key show plan.toml`) is "
    "part of every signature, mask and tag, so compare it by telephone. All settings are listed, defaults too, so that "
    "a later version of hocket reads the same plan."
)
_PARTNER_TITLE = "A partner's own settings: they need not be agreed on with the others."
_AGGREGATOR_TITLE = "The aggregator adds sealed updates: it needs no data, and no key but the one it signs with."
_DEFAULTS = "A setting in a comment (#) has its default."


def plan_text(cards: Sequence[Card], values: Mapping[str, object], remarks: Mapping[str, str] | None = None) -> str:
    """The text of plan.toml for these members.

    values : settings by dotted key; others have their default, or one that fits the number of partners
    Raises ConfigError for settings or members that make no plan.
    """
    n_partners = max(FEWEST_PARTNERS, sum(card.role == "partner" for card in cards))
    fitting = {"rounds.min_partners": n_partners, "seal.max_partners": n_partners}
    settings = commented_toml(Plan, {**fitting, **values}, title=_PLAN_TITLE, whole=True, remarks=remarks)
    text = f"{settings}\n# The members' cards, as `hocket key new` printed them.\n"
    text += "\n".join(f"[[card]]\n{card.to_text()}" for card in cards)
    return _checked(text, Plan, "the plan")


def partner_text(values: Mapping[str, object]) -> str:
    """The text of partner.toml with these values (by dotted key). Raises ConfigError for an impossible value."""
    title = f"{_PARTNER_TITLE} {_DEFAULTS}"
    return _checked(commented_toml(PartnerConfig, values, title=title, whole=False), PartnerConfig, "partner.toml")


def aggregator_text(values: Mapping[str, object]) -> str:
    """The text of aggregator.toml with these values (by dotted key). Raises ConfigError for an impossible value."""
    text = commented_toml(AggregatorConfig, values, title=f"{_AGGREGATOR_TITLE} {_DEFAULTS}", whole=False)
    return _checked(text, AggregatorConfig, "aggregator.toml")


def _checked(text: str, schema: type[AnySchema], where: str) -> str:
    """Return the text after checking that it can be read back."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where}: a name or path is not UTF-8 text, which every setting must be") from error
    check_table(tomllib.loads(text), schema, where)
    return text


def read_cards(files: Sequence[Path]) -> list[Card]:
    """The members' cards, partners first, each sorted by name.

    Raises secure.errors.BadCard for a file that is no card, ConfigError for one that is no text.
    """
    cards = []
    for file in files:
        try:
            cards.append(read_card(file))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{file}: is not UTF-8 text, expected a card from `hocket key new`") from error
    return sorted(cards, key=lambda card: (card.role != "partner", card.name))


def name_on_card(home: Path) -> str | None:
    """The member's name on the card in a home, None if there is no card."""
    file = Home(home).keys / "card.toml"
    return read_cards([file])[0].name if file.exists() else None


def path_from(folder: Path, path: str) -> str:
    """Convert a path relative to the working directory into one relative to `folder`; URLs and absolute paths stay."""
    if "://" in path or Path(path).is_absolute():
        return path
    file = Path(path)
    # links are resolved in the folder only: a table may be a link that will point to newer data
    file = file.resolve() if file.name in ("", "..") else file.parent.resolve() / file.name
    return os.path.relpath(file, folder.resolve())


def check_replaceable(file: Path, *, replace: bool) -> None:
    """Raise ConfigError if the file exists and may not be replaced, or cannot be looked up."""
    with writing(file):
        exists = file.exists()
    if exists and not replace:
        error = ConfigError(f"{file}: exists, and is not replaced")
        error.add_note("--force replaces it")
        raise error


def write_file(file: Path, text: str, *, replace: bool) -> None:
    """Write a configuration file whole or not at all.

    Raises ConfigError if it exists and may not be replaced, or cannot be written.
    """
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_file(file, is_new=not replace) as opened:
                opened.write(text.encode())
        except FileExistsError:
            check_replaceable(file, replace=replace)
            raise


def write_files(texts: Mapping[Path, str], *, replace: bool) -> None:
    """Write files that belong together, as write_file does; if one cannot be written, the new ones are removed."""
    for file in texts:
        check_replaceable(file, replace=replace)
    new: list[Path] = []
    try:
        for file, text in texts.items():
            is_new = not file.exists()
            write_file(file, text, replace=replace)
            new += [file] if is_new else []
    except ConfigError:
        for file in new:
            file.unlink(missing_ok=True)
        raise
