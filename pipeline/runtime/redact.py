"""Remove logins and signed queries from URLs before they are shown."""

import re

# greedy: a password may contain any of these signs, and too much removed is better than too little
_LOGIN = re.compile(r"://[^\s\"'<>]*@")
_QUERY = re.compile(r"(://[^\s\"'<>?]*)\?[^\s\"'<>]*")


def without_password(text: str) -> str:
    """The text without the login and the query of every URL in it."""
    return _QUERY.sub(r"\1?***", _LOGIN.sub("://***@", text))
