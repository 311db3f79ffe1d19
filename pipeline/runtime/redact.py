"""Remove secrets from texts before they are shown: logins and queries of URLs, commands, addresses of notices."""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import StringIO
from typing import Any

# greedy: a password may contain any of these signs, and too much removed is better than too little
_LOGIN = re.compile(r"://[^\s\"'<>]*@")
_QUERY = re.compile(r"(://[^\s\"'<>?]*)\?[^\s\"'<>]*")

# settings that may hold a token, by their table
_BLANK: dict[str, dict[str, Any]] = {
    "notify": {"command": [], "webhook": ""},
    "keys": {"passphrase_command": []},
}


def without_password(text: str) -> str:
    """The text without the login and the query of every URL in it."""
    return _QUERY.sub(r"\1?***", _LOGIN.sub("://***@", text))


def may_hold_secret(loc: Sequence[str | int]) -> bool:
    """Whether the value at a place of a configuration must not be shown, as it is or belongs to such a setting.

    loc : names of table and setting, then places in its value; `[notify]` or `[keys]` as a whole too
    """
    blank = _BLANK.get(str(loc[0])) if loc else None
    return blank is not None and (len(loc) == 1 or loc[1] in blank)


def without_commands(configuration: str) -> str:
    """The TOML file of a member with empty commands and webhook in `[notify]` and `[keys]`, all else as it is.

    Comments in these tables, and those that name such a setting, are left out: one may be a setting that was switched
    off. So is a remainder that is not TOML.
    """
    header, statements = "", []
    for statement in _statements(configuration):
        if statement.lstrip().startswith("["):
            header = statement
            statements.append(_uncommented(header) if _is_blank_table(header) else header)
        elif not _is_secret_comment(header, statement):
            statements.append(_blanked(header, statement))
    return "".join(statements)


def _is_blank_table(header: str) -> bool:
    return bool(header) and not _BLANK.keys().isdisjoint(tomllib.loads(header))


def _uncommented(header: str) -> str:
    """The header without a comment behind it."""
    return header.partition("#")[0].rstrip() + "\n"


def _is_secret_comment(header: str, statement: str) -> bool:
    """Whether a statement is a comment that may hold a command or an address: it has the table or the name of one."""
    if not statement.lstrip().startswith("#"):
        return False
    return _is_blank_table(header) or any(key in statement for blank in _BLANK.values() for key in blank)


def _statements(text: str) -> Iterator[str]:
    """Comments, headers and settings of a TOML file, each with all its lines: fewer are not TOML."""
    statement = ""
    for line in StringIO(text):
        statement += line
        with suppress(tomllib.TOMLDecodeError):
            tomllib.loads(statement)
            yield statement
            statement = ""


def _blanked(header: str, statement: str) -> str:
    """The statement, or the same settings with blanks if it sets commands or a webhook of `[notify]` or `[keys]`.

    header : the line with the name of its table; "" at the top of the file, where it may be `notify.webhook = ...`
    """
    tables = tomllib.loads(header + statement)
    for table, blank in _BLANK.items():
        settings = tables.get(table, {})
        if settings.keys() & blank.keys():
            blanked = settings | {key: value for key, value in blank.items() if key in settings}
            prefix = "" if header else f"{table}."
            return "".join(
                f"{prefix}{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in blanked.items()
            )
    return statement
