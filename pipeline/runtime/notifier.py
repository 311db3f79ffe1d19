"""Send a notice to a command or to a webhook. A notice that fails gives a sentence for the log, never an error."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit

_COMMAND_S = 30.0  # longest time for a command
_ANSWER_S = 10.0  # longest wait for a webhook's server


class Notifier:
    """Where one member's notices go.

    command : program and arguments; it gets the notice as JSON on standard input; empty: none
    webhook : http:// or https:// address, to which the notice is posted as JSON; empty: none
    folder  : working directory of the command
    """

    def __init__(self, command: Sequence[str], webhook: str, folder: Path) -> None:
        self._command, self._webhook, self._folder = list(command), webhook, folder

    @property
    def is_used(self) -> bool:
        """Whether there is a command or a webhook."""
        return bool(self._command or self._webhook)

    def send(self, notice: Mapping[str, object]) -> Iterator[str]:
        """Send a notice everywhere; yields a sentence for each failure."""
        content = json.dumps(notice, ensure_ascii=False).encode()
        if self._command and (failure := self._run(content)):
            yield f"command {self._command[0]}: {failure}"
        if self._webhook and (failure := self._post(content)):
            # the rest of the address may hold a token
            yield f"webhook at {urlsplit(self._webhook).hostname}: {failure}"

    def _run(self, content: bytes) -> str:
        try:
            done = subprocess.run(
                self._command,
                input=content,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                timeout=_COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {_COMMAND_S:g} s"
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        return f"ended with {done.returncode}, expected 0" if done.returncode else ""

    def _post(self, content: bytes) -> str:
        request = urllib.request.Request(self._webhook, content, {"Content-Type": "application/json"})  # noqa: S310 -- http(s) only, by the configuration's check
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=_ANSWER_S):
                return ""
        except HTTPError as error:
            error.close()
            return f"answers {error.code}, expected 200 to 299"
        except OSError as error:
            return f"cannot be reached: {getattr(error, 'reason', None) or error}"
        except (HTTPException, ValueError) as error:
            return f"gives no HTTP answer: {type(error).__name__}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: urllib would go on with GET, without the notice."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> None:
        """Answer that there is no other request, so that the redirect is an HTTPError."""
