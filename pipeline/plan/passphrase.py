"""Read the passphrase of a member's private keys: from a file, or from a command that asks a vault or an HSM."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from secure.files import check_private


def read_passphrase(path: Path | None) -> str | None:
    """First line of a passphrase file; None for None.

    Raises ConfigError if it cannot be read or is empty, secure.errors.BadKeyFile if other users can read it.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            check_private(path, os.fstat(file.fileno()))
            content = file.read()
    except OSError as error:
        raise ConfigError(f"{path}: the passphrase file cannot be read: {error.strerror}") from error
    return _first_line(content, f"{path}: the passphrase file")


def passphrase_from(command: Sequence[str], folder: Path, timeout_s: float) -> str:
    """First line that a command writes on standard output; nothing else that it writes is kept or shown.

    command : program and arguments, started without a shell and without standard input
    folder  : its working directory
    Raises ConfigError, which names the program alone, if it cannot be started, takes longer, fails or writes nothing.
    """
    name = f"keys.passphrase_command: {command[0]}"
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        raise ConfigError(f"{name} cannot be started: {getattr(error, 'strerror', None) or error}") from None
    with process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{name} did not end within {timeout_s:g} s; see keys.passphrase_timeout_s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # with every process that it started
    if process.returncode:
        refused = ConfigError(f"{name} ended with {process.returncode}, expected 0")
        refused.add_note("run it by hand: what it writes is not shown here, as it may hold the passphrase")
        raise refused
    return _first_line(output, f"{name}: its output")


def _first_line(content: bytes, what: str) -> str:
    try:
        passphrase = content.decode().split("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"{what} is not UTF-8 text") from None  # the cause would hold the text
    if not passphrase:
        raise ConfigError(f"{what} has an empty first line, expected the passphrase")
    return passphrase
