"""A page that opens offline: one HTML file with its style and figures inside, no script, nothing loaded.

What stands where is in page.html, how it looks in page.css.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.pages.figure_style import house_style, rendered
from pipeline.report.parts import Part
from pipeline.report.schema import Outcome
from pipeline.runtime.templates import filled
from secure.files import write_atomically

_DRAWN_BY = f"hocket {version('hocket')}"


@dataclass(frozen=True, slots=True)
class PageTable:
    """Rows under a header; columns of words stand left, of numbers right."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_words: int = 1  # columns of words, the first ones
    folded: bool = False  # long, so behind a click


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure that is drawn when it is needed; its name is that of its files."""

    name: str
    caption: str  # also what a reader hears who cannot see it
    draw: Callable[[], Figure]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page."""

    title: str
    text: Sequence[str] = ()  # paragraphs
    tables: Sequence[PageTable] = ()
    drawings: Sequence[Drawing] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The content of a page, before it is drawn."""

    title: str
    subtitle: str
    outcome: Outcome  # the colour of the sentence
    sentence: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section] = field(default_factory=tuple)


def files_of(page: Page, name: str, source: str) -> dict[str, bytes]:
    """The page's files by relative path: figures/*.png and *.svg, then the HTML page `name`, which is complete alone.

    source : what the page was made from, as `stamp` has it
    """
    drawn: dict[str, bytes] = {}
    with house_style():
        for section in page.sections:
            for drawing in section.drawings:
                for kind, content in rendered(drawing.draw(), drawing.name).items():
                    drawn[f"figures/{drawing.name}.{kind}"] = content
    images = {
        Path(path).stem: "data:image/svg+xml;base64," + base64.b64encode(content).decode()
        for path, content in drawn.items()
        if path.endswith(".svg")
    }
    html = filled(__package__, "page.html", page=page, images=images, stamp=stamp(source))
    return drawn | {name: html.strip().encode()}


def stamp(source: str) -> str:
    """What stands in a page's head, to see later whether it is still that of its source: a digest."""
    return f"{_DRAWN_BY}; {source}"


def write_page(folder: Path, page: Page, name: str, source: str) -> None:
    """Write a page's figures and then the page; figures of an earlier page are removed.

    source : digest of what the page was made from
    """
    content = files_of(page, name, source)
    for path, file in content.items():
        write_atomically(folder / path, file)
    for old in (folder / "figures").glob("*.*"):
        if old.suffix in {".png", ".svg"} and f"figures/{old.name}" not in content:
            old.unlink(missing_ok=True)


def page_digest(source: Part) -> str:
    """SHA-256, hexadecimal, of the JSON that a page is made from."""
    return hashlib.sha256(json.dumps(source.to_json(), sort_keys=True, allow_nan=False).encode()).hexdigest()
