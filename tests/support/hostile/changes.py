"""What somebody who can write to a folder can do to a file in it, without a key."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from secure.messages.message_name import MessageName
from tests.support.federation import Federation
from tests.support.hostile.kinds import Change

FileChange = Callable[[Path], None]
GIB = 1 << 30


def missing(path: Path) -> None:
    """The file is removed."""
    path.unlink()


def emptied(path: Path) -> None:
    """Nothing is in it."""
    path.write_bytes(b"")


def halved(path: Path) -> None:
    """The second half is cut off."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def grown(path: Path) -> None:
    """A byte follows its end."""
    path.write_bytes(path.read_bytes() + b"\n")


def flipped(share: float) -> FileChange:
    """One bit is changed; share : of the file's bytes before it."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[min(int(share * len(data)), len(data) - 1)] ^= 4
        path.write_bytes(data)

    return flip


def sparse(path: Path) -> None:
    """It has 1 GiB, which take no space and cost who made it nothing."""
    with path.open("r+b") as file:
        file.truncate(GIB)


def pipe(path: Path) -> None:
    """A named pipe, which holds up who opens it as usual."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """A socket, which nobody can open."""
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")  # the address of a socket has at most 108 bytes
    os.close(folder)


def folder(path: Path) -> None:
    """A folder."""
    path.unlink(missing_ok=True)
    path.mkdir()


def link_out(path: Path) -> None:
    """A link to the right file, which lies elsewhere."""
    federation = next(folder for folder in path.parents if (folder / "plan.toml").exists())
    elsewhere = federation / f"elsewhere.{path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def link_to_device(path: Path) -> None:
    """A link to an endless device."""
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def link_loop(path: Path) -> None:
    """A link to itself."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def holding(content: bytes | str) -> FileChange:
    """Another content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda path: void_of(path.write_bytes(data))


def replaced(old: str | bytes, new: str | bytes) -> FileChange:
    """A text of the file, which must be there, is replaced."""
    before, after = (text.encode() if isinstance(text, str) else text for text in (old, new))

    def replace(path: Path) -> None:
        data = path.read_bytes()
        assert before in data
        path.write_bytes(data.replace(before, after))

    return replace


def void_of(_: object) -> None:
    """Nothing, whatever a call returned."""


# of a file's name, size and type
FILE_CHANGES: dict[str, FileChange] = {
    "empty": emptied,
    "cut in half": halved,
    "flipped at its beginning": flipped(0.0),
    "flipped in the middle": flipped(0.5),
    "flipped at its end": flipped(1.0),
    "1 GiB long": sparse,
    "a named pipe": pipe,
    "a socket": unix_socket,
    "a folder": folder,
    "a link elsewhere": link_out,
    "a link to a device": link_to_device,
    "a link to itself": link_loop,
}

# of a JSON text, to which no signature can fit
TEXT_CHANGES: dict[str, FileChange] = {
    "with white space": replaced('"attempt":', '"attempt": '),
    "with a key twice": replaced('"attempt":', '"attempt":1,"attempt":'),
    "with NaN": replaced('"version":2', '"version":NaN'),
    "with an endless number": replaced('"version":2', f'"version":2{"0" * 10_000}'),
    "with 1e999": replaced('"version":2', '"version":1e999'),
    "nested 100,000 deep": holding("[" * 100_000),
    "an object nested 50,000 deep": holding('{"a":' * 50_000),
    "with a byte order mark": replaced('{"attempt"', '\ufeff{"attempt"'),
    "in UTF-16": lambda path: void_of(path.write_bytes(path.read_text().encode("utf-16"))),
    "with a lone surrogate": replaced('"hocket.manifest"', '"hocket.manifest\\ud800"'),
    "with a NUL byte": replaced('"hocket.manifest"', b'"hocket.manifest\0"'),
    "a list": holding("[1]"),
    "null": holding("null"),
}


def at(path: str, change: FileChange) -> Change:
    """The change of a file, by its path relative to the federation's folder."""
    return lambda federation: change(federation.folder / path)


def manifest(name: MessageName, change: FileChange) -> Change:
    """The change of a posted manifest."""
    return lambda federation: change(federation.posted(name))


def payload(name: MessageName, change: FileChange) -> Change:
    """The change of a posted payload."""
    return lambda federation: change(federation.payload(name))


def added(path: str, content: bytes | str = b"x") -> Change:
    """A file more, and its folders."""

    def add(federation: Federation) -> None:
        target = federation.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        holding(content)(target)

    return add


def odd_name(below: str, name: bytes) -> Change:
    """A file whose name is these bytes, in a folder of the federation."""
    return lambda federation: holding("x")(federation.folder / below / name.decode("utf-8", "surrogateescape"))


def copied(source: str, target: str) -> Change:
    """A file is a copy of another, paths relative to the federation's folder."""

    def copy(federation: Federation) -> None:
        (federation.folder / target).parent.mkdir(parents=True, exist_ok=True)
        (federation.folder / target).write_bytes((federation.folder / source).read_bytes())

    return copy


def swapped(one: str, other: str) -> Change:
    """Two files change places."""

    def swap(federation: Federation) -> None:
        first, second = federation.folder / one, federation.folder / other
        data = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(data)

    return swap


def each(*changes: Change) -> Change:
    """Some changes, one after the other."""

    def change_all(federation: Federation) -> None:
        for change in changes:
            change(federation)

    return change_all
