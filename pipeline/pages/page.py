"""A page that opens offline: one HTML file with its style and figures inside, no script, nothing loaded."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from pipeline.pages.figure_style import house_style, rendered

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
    """What a page says, before it is drawn."""

    title: str
    subtitle: str
    outcome: str  # better, worse, undecided or unjudged: the colour of the sentence
    sentence: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section] = field(default_factory=tuple)


def files_of(page: Page, name: str, source: str) -> dict[str, bytes]:
    """The page's files by relative path: figures/*.png and *.svg, then the HTML page `name`, which is complete alone.

    source : what the page was made from, as `stamp` has it
    """
    files: dict[str, bytes] = {}
    with house_style():
        for section in page.sections:
            for drawing in section.drawings:
                for kind, content in rendered(drawing.draw(), drawing.name).items():
                    files[f"figures/{drawing.name}.{kind}"] = content
    images = {
        path: "data:image/svg+xml;base64," + base64.b64encode(content).decode()
        for path, content in files.items()
        if path.endswith(".svg")
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(_TEMPLATE).render(page=page, images=images, stamp=stamp(source), style=_STYLE)
    return files | {name: html.encode()}


def stamp(source: str) -> str:
    """What stands in a page's head, to see later whether it is still that of its source: a digest."""
    return f"{_DRAWN_BY}; {source}"


_STYLE = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #5a5a5a; --line: #d8d8d8; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
.subtitle { color: var(--soft); max-width: none; margin: .2rem 0 1.2rem; overflow-wrap: anywhere; }
.verdict { border-left: .5rem solid #767676; background: #f4f4f4; padding: .9rem 1.1rem; font-size: 1.1rem;
  max-width: none; }
.verdict.better { border-color: #0072B2; background: #eaf3f9; }
.verdict.worse { border-color: #D55E00; background: #fcf0e8; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1rem 0; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; margin: .8rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid var(--ink); vertical-align: bottom; }
th.words, td.words { text-align: left; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .9rem; max-width: 46rem; margin-top: .3rem; }
summary { cursor: pointer; color: #0072B2; }
@media print { h2, figure, table { break-inside: avoid; } main { max-width: none; padding: 0; } }
"""

_TEMPLATE = """\
{% macro table(found) %}
<div class="wide"><table>
<caption>{{ found.caption }}</caption>
<thead><tr>{% for cell in found.header %}<th scope="col"{% if loop.index <= found.n_words %} class="words"{% endif %}>\
{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in found.rows %}
<tr>{% for cell in row %}\
<td{% if loop.index <= found.n_words %} class="words"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="generator" content="{{ stamp }}">
<title>{{ page.title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<h1>{{ page.title }}</h1>
<p class="subtitle">{{ page.subtitle }}</p>
<p class="verdict {{ page.outcome }}">{{ page.sentence }}</p>
<dl>
{% for name, fact in page.facts %}
<dt>{{ name }}</dt><dd>{{ fact }}</dd>
{% endfor %}
</dl>
{% for section in page.sections %}
<section>
<h2>{{ section.title }}</h2>
{% for paragraph in section.text %}
<p>{{ paragraph }}</p>
{% endfor %}
{% for found in section.tables if not found.folded %}
{{ table(found) }}
{% endfor %}
{% for drawing in section.drawings %}
<figure>
<img src="{{ images['figures/' ~ drawing.name ~ '.svg'] }}" alt="{{ drawing.caption }}">
<figcaption>{{ drawing.caption }}</figcaption>
</figure>
{% endfor %}
{% for found in section.tables if found.folded %}
<details><summary>{{ found.caption }}</summary>
{{ table(found) }}
</details>
{% endfor %}
</section>
{% endfor %}
</main>
</body>
</html>
"""
