"""Token check for pages without a login: a request without the token is answered with 403."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

REFUSED = b"403: open the whole address that `hocket ui` printed\n"
_KEEPING = "HttpOnly; SameSite=Strict; Path=/"  # no Max-Age: the browser deletes it when it is closed


@dataclass(frozen=True, slots=True)
class TokenDoor:
    """A WSGI application that passes requests with the token on to another one.

    A GET with `?token=TOKEN` sets the cookie and redirects to `/`, which removes the token from the address; every
    other request needs the cookie.
    """

    inside: WSGIApplication
    cookie: str  # its name, with the port in it, because a browser has one set of cookies for all ports of a host
    token: str = field(repr=False)

    def __call__(self, request: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if request["REQUEST_METHOD"] == "GET" and self._opens(_tokens_in_address(request)):
            return self._set_cookie(start)
        if self._opens(_cookies(request, self.cookie)):
            return self.inside(request, start)
        return _answer(start, HTTPStatus.FORBIDDEN, [("Content-Type", "text/plain")], REFUSED)

    def _opens(self, tokens: list[str]) -> bool:
        # as bytes: compare_digest refuses texts that are not ASCII
        return any(hmac.compare_digest(token.encode(), self.token.encode()) for token in tokens)

    def _set_cookie(self, start: StartResponse) -> Iterable[bytes]:
        headers = [("Location", "/"), ("Set-Cookie", f"{self.cookie}={self.token}; {_KEEPING}")]
        headers += [("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")]
        return _answer(start, HTTPStatus.SEE_OTHER, headers, b"")


def _tokens_in_address(request: WSGIEnvironment) -> list[str]:
    return parse_qs(request.get("QUERY_STRING", "")).get("token", [])


def _cookies(request: WSGIEnvironment, name: str) -> list[str]:
    """Values of a cookie; parsed here, because http.cookies drops all cookies if one of another server is malformed."""
    pairs = (pair.strip().partition("=") for pair in request.get("HTTP_COOKIE", "").split(";"))
    return [value for key, _, value in pairs if key == name]


def _answer(
    start: StartResponse, status: HTTPStatus, headers: list[tuple[str, str]], content: bytes
) -> Iterable[bytes]:
    start(f"{status.value} {status.phrase}", [*headers, ("Content-Length", str(len(content)))])
    return [content]
