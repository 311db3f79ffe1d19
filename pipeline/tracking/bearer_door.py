"""Token check for a server of scripts: a request without the token in its header is answered with 401."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]  # ASGI

REFUSED = b"401: send the header of the file serve-PORT.header in the home\n"
_SCHEME = b"bearer "


@dataclass(frozen=True, slots=True)
class BearerDoor:
    """An ASGI application that passes requests with `Authorization: Bearer TOKEN` on to another one."""

    inside: Application
    token: str = field(repr=False)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan" or self._opens(scope):
            await self.inside(scope, receive, send)
        elif scope["type"] == "http":
            await _refuse(send)
        else:
            await send({"type": "websocket.close"})

    def _opens(self, scope: Message) -> bool:
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(values) == 1 and _is_token(values[0], self.token.encode())


def _is_token(value: bytes, token: bytes) -> bool:
    scheme, rest = value[: len(_SCHEME)], value[len(_SCHEME) :]
    return scheme.lower() == _SCHEME and hmac.compare_digest(rest.strip(), token)


async def _refuse(send: Send) -> None:
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(REFUSED)).encode()),
        (b"www-authenticate", b"Bearer"),
    ]
    await send({"type": "http.response.start", "status": HTTPStatus.UNAUTHORIZED.value, "headers": headers})
    await send({"type": "http.response.body", "body": REFUSED})
