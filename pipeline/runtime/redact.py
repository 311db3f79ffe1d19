"""What URLs hold that nobody else may see: logins and signed queries."""

import re

# greedy: a password may hold any of these signs, and too much hidden is better than too little
_LOGIN = re.compile(r"://[^\s\"'<>]*@")
_QUERY = re.compile(r"(://[^\s\"'<>?]*)\?[^\s\"'<>]*")


def without_password(text: str) -> str:
    """The text with the login and the query of every URL in it left out."""
    return _QUERY.sub(r"\1?***", _LOGIN.sub("://***@", text))
