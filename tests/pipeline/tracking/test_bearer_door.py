"""The token check before the served model: only the exact token in the header lets a request in."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tracking.bearer_door import REFUSED, BearerDoor, Message, Receive, Send

TOKEN = "correct-horse"  # noqa: S105 -- of this test
HEADER = (b"authorization", b"Bearer correct-horse")


async def inside(_scope: Message, _receive: Receive, send: Send) -> None:
    """The application behind the check."""
    await send({"type": "inside"})


def asked(*headers: tuple[bytes, bytes], kind: str = "http", path: str = "/invocations") -> list[Any]:
    """Messages of the answer."""
    sent: list[Any] = []

    async def receive() -> Message:
        raise AssertionError("the body of a refused request is not read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "headers": list(headers)}
    asyncio.run(BearerDoor(inside, TOKEN)(scope, receive, send))
    return sent


def is_in(*headers: tuple[bytes, bytes]) -> bool:
    """Whether the request came to the application."""
    return asked(*headers) == [{"type": "inside"}]


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER  "])
def test_the_token_lets_in(scheme: bytes):
    """The scheme's case does not matter, as in HTTP."""
    assert is_in((b"content-type", b"application/json"), (b"authorization", scheme + TOKEN.encode()))


@pytest.mark.parametrize("path", ["/", "/ping", "/health", "/version", "/invocations", "/docs", "/openapi.json"])
def test_without_it_every_path_is_refused(path: str):
    """With the same answer, and nothing is read."""
    start, body = asked(path=path)
    assert (start["status"], body["body"]) == (401, REFUSED)
    assert (b"www-authenticate", b"Bearer") in start["headers"]


@given(st.binary(max_size=40))
def test_another_value_is_refused(value: bytes):
    """Whatever bytes it has."""
    assert is_in((b"authorization", value)) == (value.lower()[:7] == b"bearer " and value[7:].strip() == TOKEN.encode())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer correct-hors",
        b"Bearer correct-horse2",
        b"Basic correct-horse",
        b"correct-horse",
    ],
)
def test_what_is_like_the_token_is_not_the_token(value: bytes):
    """Parts of it, longer texts, other schemes."""
    assert not is_in((b"authorization", value))


def test_two_headers_are_refused():
    """A proxy and the application behind it might look at different ones."""
    assert not is_in(HEADER, (b"authorization", b"Bearer other"))
    assert not is_in(HEADER, HEADER)


def test_a_websocket_is_closed_and_the_start_is_let_through():
    """The application's own start needs no token."""
    assert asked(kind="websocket") == [{"type": "websocket.close"}]
    assert asked(kind="lifespan") == [{"type": "inside"}]
