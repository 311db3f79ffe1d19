"""The secret from which the noise of a round's training is drawn: fresh chance, kept until the training is done."""

from collections.abc import Callable
from pathlib import Path

from secure.encoding.derive import KEY_BYTES
from secure.errors import BadKeyFile
from secure.files import read_secret, write_secret


def obtain_noise_secret(path: Path, draw: Callable[[int], bytes]) -> bytes:
    """Return the 32 bytes in the file; if there is none, draw and write them first, for a training that is repeated.

    draw : returns that many secret random bytes, as `secrets.token_bytes`
    Raises BadKeyFile for a file of another length, or that others can read.
    """
    if not path.exists():
        write_secret(path, draw(KEY_BYTES))
    secret = read_secret(path)
    if len(secret) != KEY_BYTES:
        error = BadKeyFile(f"{path}: {len(secret)} bytes, expected {KEY_BYTES}")
        error.add_note("remove it: the round's training is repeated, and nothing of it has left")
        raise error
    return secret
