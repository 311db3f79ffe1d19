"""The door before MLflow's pages: it opens for the token, and for nothing that is like it."""

from collections.abc import Iterable
from http.cookies import SimpleCookie
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tracking.token_door import REFUSED, TokenDoor

TOKEN = "correct-horse"  # noqa: S105 -- of this test
PAGES = [b"the private pages"]


def pages(_: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """What is behind the door."""
    start("200 OK", [])
    return PAGES


def asked(query: str = "", cookie: str = "", method: str = "GET", path: str = "/") -> tuple[str, dict[str, str], bytes]:
    """Status, headers and content of the answer."""
    told = list[tuple[str, list[tuple[str, str]]]]()
    request: dict[str, object] = {"QUERY_STRING": query, "HTTP_COOKIE": cookie}
    request |= {"REQUEST_METHOD": method, "PATH_INFO": path}
    setup_testing_defaults(request)
    door = TokenDoor(pages, "ui-5000", TOKEN)
    content = b"".join(door(request, lambda status, headers, _=None: told.append((status, headers))))  # type: ignore[arg-type, return-value]
    [(status, headers)] = told
    return status, dict(headers), content


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/health", "/version", "/get-artifact", "/static-files/a.js", "//", "/../"])
def test_without_the_token_nothing_is_answered(method: str, path: str):
    """403 with the same words, whatever is asked for."""
    status, headers, content = asked(method=method, path=path)
    assert (status, content) == ("403 Forbidden", REFUSED)
    assert not {"Set-Cookie", "Location"} & set(headers)


@pytest.mark.parametrize(
    "tried", ["", "correct", "correct-hors", "correct-horse2", "CORRECT-HORSE", "correct-hors\xe9", "\udce9", "None"]
)
def test_what_is_like_the_token_is_not_the_token(tried: str):
    """Parts of it, more than it, none, and what is no ASCII."""
    assert asked(query=f"token={tried.encode('utf-8', 'replace').decode()}")[0] == "403 Forbidden"
    assert asked(cookie=f"ui-5000={tried.encode('utf-8', 'replace').decode('latin-1')}")[0] == "403 Forbidden"


@given(query=st.text(st.characters(codec="latin-1")), cookie=st.text(st.characters(codec="latin-1")))
def test_any_other_request_is_refused(query: str, cookie: str):
    """Whatever stands in it."""
    assert asked(query=query, cookie=cookie)[0] == "403 Forbidden"


@pytest.mark.parametrize("name", ["ui-5001", "ui", "UI-5000", "ui-5000x", ""])
def test_the_token_in_another_cookie_does_not_open(name: str):
    """A browser sends those of all ports."""
    assert asked(cookie=f"{name}={TOKEN}")[0] == "403 Forbidden"


@pytest.mark.parametrize(
    "cookies", ["{}", "a=b; {}", "{}; a=b", 'odd="[{{; x y; =; {}', "ui-5000=wrong; {}", " ;{} ", "ui-5001=a; {}"]
)
def test_with_the_cookie_the_pages_are_there(cookies: str):
    """Among the cookies of other servers of this host too, odd ones included, and for each method."""
    for method in ("GET", "POST", "DELETE"):
        status, _, content = asked(cookie=cookies.format(f"ui-5000={TOKEN}"), method=method)
        assert (status, content) == ("200 OK", PAGES[0])


@pytest.mark.parametrize("query", [f"token={TOKEN}", f"a=b&token={TOKEN}", f"token=wrong&token={TOKEN}"])
def test_the_token_in_the_address_brings_the_cookie(query: str):
    """One for this host that no script reads and no other site's page sends, until the browser is closed."""
    status, headers, content = asked(query=query, path="//elsewhere.example/x")
    assert (status, content) == ("303 See Other", b"")
    assert headers["Location"] == "/"
    cookie = SimpleCookie(headers["Set-Cookie"])["ui-5000"]
    assert cookie.value == TOKEN
    told = {name: value for name, value in cookie.items() if value}
    assert told == {"httponly": True, "samesite": "Strict", "path": "/"}
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert asked(cookie=f"ui-5000={cookie.value}")[0] == "200 OK"


def test_a_stale_cookie_is_replaced():
    """A browser that has the one of an earlier start on this port gets the new one."""
    assert asked(query=f"token={TOKEN}", cookie="ui-5000=earlier")[0] == "303 See Other"


def test_the_address_changes_nothing():
    """Only a GET is led on; what is sent with the token in its address alone is refused."""
    assert asked(query=f"token={TOKEN}", method="POST")[0] == "403 Forbidden"


def test_the_token_is_never_shown():
    """Not by what Python shows of the door."""
    assert TOKEN not in repr(TokenDoor(pages, "ui-5000", TOKEN))
