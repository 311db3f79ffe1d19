"""Remove secrets from texts before they are shown: logins and signed queries of URLs, addresses of notices."""

import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from typing import Any

# greedy: a password may contain any of these signs, and too much removed is better than too little
_LOGIN = re.compile(r"://[^\s\"'<>]*@")
_QUERY = re.compile(r"(://[^\s\"'<>?]*)\?[^\s\"'<>]*")

_NOTIFY = "notify"
_BLANK: dict[str, Any] = {"command": [], "webhook": ""}  # settings of [notify] that may hold a token


def without_password(text: str) -> str:
    """The text without the login and the query of every URL in it."""
    return _QUERY.sub(r"\1?***", _LOGIN.sub("://***@", text))


def without_notify(configuration: str) -> str:
    """The TOML file of a member with an empty command and webhook in `[notify]`, all else as it is.

    A remainder that is not TOML is left out.
    """
    header, statements = "", []
    for statement in _statements(configuration):
        if statement.lstrip().startswith("["):
            header = statement
            statements.append(header)
        else:
            statements.append(_blanked(header, statement))
    return "".join(statements)


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
    """The statement, or the same settings with blanks if it sets command or webhook of `[notify]`.

    header : the line with the name of its table; "" at the top of the file, where it may be `notify.webhook = ...`
    """
    settings = tomllib.loads(header + statement).get(_NOTIFY, {})
    if not settings.keys() & _BLANK.keys():
        return statement
    blanked = settings | {key: value for key, value in _BLANK.items() if key in settings}
    prefix = "" if header else f"{_NOTIFY}."
    return "".join(f"{prefix}{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in blanked.items())
