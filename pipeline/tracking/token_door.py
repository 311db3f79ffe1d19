"""A door before pages that ask nobody who he is: whoever does not have the token gets 403, whatever he asks for."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

REFUSED = b"403: open the whole address that `hocket ui` printed\n"
_KEEPING = "HttpOnly; SameSite=Strict; Path=/"  # without an age: the browser forgets it when it is closed


@dataclass(frozen=True, slots=True)
class TokenDoor:
    """A WSGI application around another one.

    A GET with `?token=TOKEN` brings the cookie and leads to `/`, so that the token does not stay in the address; every
    other request needs the cookie.
    """

    inside: WSGIApplication
    cookie: str  # its name; it should name the port too, for a browser has one set of cookies for all ports of a host
    token: str = field(repr=False)

    def __call__(self, request: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if request["REQUEST_METHOD"] == "GET" and self._opens(_tokens_asked_with(request)):
            return self._handed_over(start)
        if self._opens(_cookies(request, self.cookie)):
            return self.inside(request, start)
        return _answer(start, HTTPStatus.FORBIDDEN, [("Content-Type", "text/plain")], REFUSED)

    def _opens(self, tried: list[str]) -> bool:
        # as bytes: texts that are not ASCII are an error to compare_digest
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in tried)

    def _handed_over(self, start: StartResponse) -> Iterable[bytes]:
        headers = [("Location", "/"), ("Set-Cookie", f"{self.cookie}={self.token}; {_KEEPING}")]
        headers += [("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")]
        return _answer(start, HTTPStatus.SEE_OTHER, headers, b"")


def _tokens_asked_with(request: WSGIEnvironment) -> list[str]:
    return parse_qs(request.get("QUERY_STRING", "")).get("token", [])


def _cookies(request: WSGIEnvironment, name: str) -> list[str]:
    """Values of a cookie; by hand, for http.cookies gives up all of them where one of another server is odd."""
    pairs = (pair.strip().partition("=") for pair in request.get("HTTP_COOKIE", "").split(";"))
    return [value for found, _, value in pairs if found == name]


def _answer(
    start: StartResponse, status: HTTPStatus, headers: list[tuple[str, str]], content: bytes
) -> Iterable[bytes]:
    start(f"{status.value} {status.phrase}", [*headers, ("Content-Length", str(len(content)))])
    return [content]
