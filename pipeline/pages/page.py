"""Write a page that opens offline: one HTML file with its style and figures inside, which requests nothing.

Its layout is in page.html, its style in page.css. A page with a table to search and sort has one script, page.js, and
its content security policy allows that script alone, by its digest; without scripts the table is a plain one.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.pages.figure_style import house_style, rendered
from pipeline.report.parts import ReportPart
from pipeline.report.schema import Outcome
from pipeline.runtime.templates import filled
from secure.files import write_atomically

_DRAWN_BY = f"hocket {version('hocket')}"


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of a page; columns of text are aligned left, of numbers right."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_words: int = 1  # number of text columns, which come first
    folded: bool = False  # closed until the reader clicks, for long tables
    file: str = ""  # name of a CSV file of it: the page's script lets the reader search, sort and download it


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure of a page, drawn when the page is written; its files have its name."""

    name: str
    caption: str  # also the alternative text for screen readers
    draw: Callable[[], Figure]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a page: paragraphs, tables, figures."""

    title: str
    text: Sequence[str] = ()  # paragraphs
    tables: Sequence[PageTable] = ()
    drawings: Sequence[Drawing] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """The content of a page."""

    title: str
    subtitle: str
    outcome: Outcome  # gives the sentence its colour
    sentence: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section] = field(default_factory=tuple)
    more: Sequence[str] = ()  # further results, sentences below the first
    footer: Sequence[tuple[str, str]] = ()  # names and values of what the page was made from


def files_of(page: Page, name: str, source: str) -> dict[str, bytes]:
    """The page's files by relative path: figures/*.png and *.svg, then the HTML page `name`, which needs no other file.

    source : digest of the data of the page, see `page_digest`
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
    script = _script() if any(table.file for section in page.sections for table in section.tables) else ""
    html = filled(
        __package__,
        "page.html",
        page=page,
        images=images,
        stamp=stamp(source),
        script=Markup(script),  # noqa: S704 -- our own file
        script_digest=_source_of(script),
    )
    return drawn | {name: html.strip().encode()}


def _script() -> str:
    return (files(__package__) / "page.js").read_text()


def _source_of(script: str) -> str:
    """The script as a source of a content security policy (w3.org/TR/CSP3, hash-source)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def stamp(source: str) -> str:
    """Version and digest of the data of a page, for its head: shows later whether the page is up to date."""
    return f"{_DRAWN_BY}; {source}"


def write_page(folder: Path, page: Page, name: str, source: str) -> None:
    """Write a page's figures and then the page; remove figures of an earlier page.

    source : digest of the data of the page, see `page_digest`
    """
    content = files_of(page, name, source)
    for path, file in content.items():
        write_atomically(folder / path, file)
    for old in (folder / "figures").glob("*.*"):
        if old.suffix in {".png", ".svg"} and f"figures/{old.name}" not in content:
            old.unlink(missing_ok=True)


def page_digest(source: ReportPart) -> str:
    """SHA-256, hexadecimal, of the JSON of a page's report or summary."""
    return hashlib.sha256(json.dumps(source.to_json(), sort_keys=True, allow_nan=False).encode()).hexdigest()
