"""The pages: complete without a network, the same bytes each time, readable in a real browser."""

import base64
import csv
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from matplotlib.figure import Figure
from PIL import Image

import pipeline.pages.page
from pipeline.home.paths import Home
from pipeline.pages.consortium_page import consortium_page
from pipeline.pages.figure_style import new_figure
from pipeline.pages.files import PAGE, has_page, write_private_page
from pipeline.pages.page import Drawing, Page, PageTable, Section, files_of, write_page
from pipeline.pages.private_page import private_page
from pipeline.pages.shareable_page import shareable_page
from pipeline.pages.tables import model_table, task_table
from pipeline.report.consortium import merge
from pipeline.report.metrics import CLASSIFICATION, REGRESSION
from pipeline.report.numbers import p_equals
from pipeline.report.report import write_report
from pipeline.report.schema import Report
from pipeline.report.shareable import shareable
from tests.support.browser import CHROMIUM, SWITCHES, needs_chromium
from tests.support.made_up_reports import made_up_report, report_of

SCRIPT = (Path(pipeline.pages.page.__file__).parent / "page.js").read_text()


class PageReader(HTMLParser):
    """The tags, addresses and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag and its addresses."""
        self.tags.append(tag)
        self.asked += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.words.append(data)


def seen(html: str) -> PageReader:
    """Parse a page."""
    found = PageReader()
    found.feed(html)
    return found


@pytest.fixture(scope="module")
def report() -> Report:
    """A report with every part."""
    return made_up_report(60, 30)


@pytest.fixture(scope="module")
def pages(report: Report) -> dict[str, dict[str, bytes]]:
    """The files of each kind of page, by name."""
    summaries = [shareable(made_up_report(60, 30, partner=name)) for name in ("P01", "P02")]
    made = {
        "private": private_page(report),
        "shareable": shareable_page(shareable(report)),
        "consortium": consortium_page(merge(summaries)),
    }
    return {name: files_of(page, "page.html", name) for name, page in made.items()}


@pytest.mark.parametrize("name", ["private", "shareable", "consortium"])
def test_a_page_loads_nothing_and_runs_our_script_alone(pages: dict[str, dict[str, bytes]], name: str):
    """No frame, form or link to elsewhere; images are inside; a policy forbids the rest, and allows page.js by digest.

    Pages without a table to search, which are those that others get, have no script at all.
    """
    html = pages[name]["page.html"].decode()
    found = seen(html)
    assert not {"iframe", "object", "embed", "link", "form"} & set(found.tags)
    assert all(address.startswith(("data:image/svg+xml;base64,", "#section-")) for address in found.asked)
    assert not re.search(r"url\(|@import|javascript:", html.split("<body>")[0])
    assert "default-src 'none'" in html
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert scripts == ([SCRIPT] if name == "private" else [])
    assert found.tags.count("script") == len(scripts)
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert (f"script-src 'sha256-{digest}'" in html) == bool(scripts)
    assert html.count("script-src") == len(scripts)
    assert not re.search(r"fetch|XMLHttpRequest|WebSocket|import\(|https?:", SCRIPT)


@pytest.mark.parametrize("name", ["private", "shareable", "consortium"])
def test_the_contents_lead_to_every_section(pages: dict[str, dict[str, bytes]], name: str):
    """A link for each, and no other."""
    html = pages[name]["page.html"].decode()
    places = re.findall(r'<section id="([^"]+)">', html)
    assert re.findall(r'href="#([^"]+)"', html) == places
    assert len(places) >= 5


@pytest.mark.parametrize("name", ["private", "shareable", "consortium"])
def test_the_footer_says_what_the_page_is_of(report: Report, pages: dict[str, dict[str, bytes]], name: str):
    """Version, partner, date of the last round and shortened digests; nothing depends on when the page is written."""
    footer = pages[name]["page.html"].decode().split("<footer>")[1]
    for part in (version("hocket"), "P01", report.last_round, f"{report.plan[:12]}…", f"{report.trunk[:12]}…"):
        assert part in footer
    assert report.plan not in footer


def test_columns_that_are_mostly_hidden_are_left_out_with_a_note():
    """Of few tasks most counts are small: the table has no column of them, and one sentence says so."""
    result = shareable_page(shareable(made_up_report(9))).sections[0]
    assert not {"worse", "equal"} & {name for table in result.tables for name in table.header}
    assert len([text for text in result.text if text.startswith("Left out where most of it is hidden")]) == 1


@pytest.mark.parametrize("name", ["private", "shareable", "consortium"])
def test_every_figure_is_shown_in_words_too(pages: dict[str, dict[str, bytes]], name: str):
    """An image per SVG file, each with an alternative text, and a PNG of the same name."""
    files = pages[name]
    found = seen(files["page.html"].decode())
    svgs = {path for path in files if path.endswith(".svg")}
    assert len(found.images) == len(svgs) >= 6
    assert all(len(image["alt"] or "") > 40 for image in found.images)
    assert {path.replace(".svg", ".png") for path in svgs} == {path for path in files if path.endswith(".png")}


def test_figures_are_whole_and_undated(pages: dict[str, dict[str, bytes]], tmp_path: Path):
    """SVGs are XML that refers to nothing outside, PNGs are at least 600 pixels wide; neither holds a date."""
    for path, content in pages["private"].items():
        if path.endswith(".svg"):
            tree = ET.fromstring(content)  # noqa: S314 -- our own file
            links = [v for e in tree.iter() for k, v in e.attrib.items() if k.endswith("href")]
            assert all(link.startswith(("#", "data:")) for link in links)
            assert b"dc:date" not in content
        elif path.endswith(".png"):
            file = tmp_path / "figure.png"
            file.write_bytes(content)
            with Image.open(file) as image:
                assert image.width >= 600
                assert image.info.get("Software") == "hocket"


def test_the_same_report_gives_the_same_bytes(report: Report, pages: dict[str, dict[str, bytes]]):
    """Page and figures, also from the report as it is read back from its file."""
    again = Report.model_validate_json(json.dumps(report.to_json()))
    assert files_of(private_page(again), "page.html", "private") == pages["private"]


def test_names_are_text_whatever_they_hold():
    """Markup in a partner's or an assay's name is escaped."""
    name = '<script>alert(1)</script> & "Co"'
    table = PageTable(name, [name], [[name]])
    page = Page(name, name, "better", name, [(name, name)], [Section(name, [name], [table])], [name], [(name, name)])
    html = files_of(page, "page.html", "x")["page.html"].decode()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 8
    assert "".join(seen(html).words).count(name) >= 8


@pytest.mark.parametrize(("n_tasks", "n_regressions"), [(0, 0), (1, 1)])
def test_few_tasks_make_a_page_too(n_tasks: int, n_regressions: int):
    """With no task, one or five no figure fails, and the page says that the data are too few."""
    report = made_up_report(n_tasks, n_regressions)
    for page in (private_page(report), shareable_page(shareable(report))):
        html = files_of(page, "page.html", "x")["page.html"].decode()
        assert "Too little data" in html
        assert "nan" not in html.split("</style>")[1].lower().replace("base64", "").split("<img")[0]


@pytest.mark.parametrize(("gain", "outcome"), [(0.05, "better"), (-0.05, "worse"), (0.0, "undecided")])
def test_the_verdict_is_one_sentence_of_its_colour(gain: float, outcome: str):
    """It has the direction, both means, the change, its interval and the number of tasks."""
    report = made_up_report(60, gain=gain, seed=3)
    sentence = report.verdict.sentence
    assert report.verdict.outcome == outcome
    assert {"better": "helped", "worse": "harmed", "undecided": "not certain"}[outcome] in sentence
    found = report.summary.average_precision
    assert found is not None
    p = f"p {p_equals(found.p_assays_holm)}"
    for number in (f"{found.local:.3f}", f"{found.federated:.3f}", f"{found.change:+.3f}", "60 tasks", p):
        assert number in sentence
    assert report.verdict.p == found.p_assays_holm
    assert sentence.count(". ") == 0
    assert private_page(report).outcome == outcome


def test_tables_to_download_have_columns_of_different_names(report: Report):
    """And one that ends with " change", by which the script filters."""
    for kind in (CLASSIFICATION, REGRESSION):
        for table in (task_table(report, kind), model_table(report, kind)):
            assert len(set(table.header)) == len(table.header)
            assert any(name.endswith(" change") for name in table.header)


@pytest.mark.parametrize("name", ["private", "shareable", "consortium"])
def test_the_strongest_local_model_comes_first(pages: dict[str, dict[str, bytes]], name: str):
    """Headline and first table are against it, the second ones against the same network."""
    text = re.sub(r"\s+", " ", "".join(seen(pages[name]["page.html"].decode()).words))
    first, second = text.index("the strongest local models"), text.index("Over the same network without federation")
    assert first < second
    assert text.index("Federated against the strongest local model") < text.index("The same network without and with")


def test_the_private_page_has_every_tasks_models(report: Report, pages: dict[str, dict[str, bytes]]):
    """Kind of the strongest local and of the take-home model with the reason; others see shares of kinds."""
    private = seen(pages["private"]["page.html"].decode()).words
    for row in (*report.tasks, *(report.regression_tasks or ())):
        assert row.reason in private
    for name in ("private", "shareable", "consortium"):
        words = seen(pages[name]["page.html"].decode()).words
        assert {"kind of model", "Gaussian process", "mean on the trunk"} <= set(words)
    assert "20.0 %" in seen(pages["shareable"]["page.html"].decode()).words


# ------------------------------------------------------------------------------------------------------------- on disk


def test_a_page_is_known_as_that_of_its_report(tmp_path: Path):
    """Not before it is written, nor after the report, a figure or the page has changed."""
    home, report = Home(tmp_path), made_up_report(0)
    write_report(home, report)
    assert not has_page(home, report)
    write_private_page(home, report)
    assert has_page(home, report)
    assert not has_page(home, report.model_copy(update={"partner": "P02"}))
    (home.report / "summary.json").rename(home.report / "elsewhere.json")
    assert not has_page(home, report)
    (home.report / "elsewhere.json").rename(home.report / "summary.json")
    (home.report / "figures" / "folds.svg").unlink()
    assert not has_page(home, report)
    write_private_page(home, report)
    (home.report / PAGE).write_text("<html>older</html>")
    assert not has_page(home, report)


def plain_page(*names: str) -> Page:
    """A page with an empty figure for each name."""
    drawings = [Drawing(name, name, lambda: new_figure()[0]) for name in names]
    return Page("title", "subtitle", "better", "sentence", [], [Section("section", drawings=drawings)])


def test_figures_of_an_earlier_page_go(tmp_path: Path):
    """Figures of an earlier page that the new one lacks are removed; other files stay."""
    write_page(tmp_path, plain_page("one", "two"), PAGE, "first")
    (tmp_path / "figures" / "notes.txt").write_text("mine")
    write_page(tmp_path, plain_page("two"), PAGE, "second")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["notes.txt", "two.png", "two.svg"]
    assert not list(tmp_path.rglob("*.part"))


def test_a_page_that_cannot_be_drawn_leaves_the_old_one(tmp_path: Path):
    """All figures are drawn before the first file is touched."""
    write_page(tmp_path, plain_page("one"), PAGE, "first")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail() -> Figure:
        raise ZeroDivisionError

    section = Section("section", drawings=[Drawing("other", "other", lambda: new_figure()[0]), Drawing("x", "x", fail)])
    with pytest.raises(ZeroDivisionError):
        write_page(tmp_path, Page("title", "subtitle", "better", "sentence", [], [section]), PAGE, "second")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# ------------------------------------------------------------------------------------------------------ a real browser


@needs_chromium
@pytest.mark.parametrize("name", ["private", "shareable", "consortium"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_page_offline(pages: dict[str, dict[str, bytes]], name: str, width: int, tmp_path: Path):
    """Every image is drawn, nothing else is loaded, the console is empty, and no page is wider than the window."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    file = tmp_path / "page.html"
    file.write_bytes(pages[name]["page.html"])
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_context(offline=True, viewport={"width": width, "height": 900}).new_page()
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(file.as_uri())
        drawn = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 300)")
        too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        verdict = page.locator(".verdict").inner_text()
        browser.close()
    assert all(drawn)
    assert len(drawn) >= 6
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert said == []
    assert too_wide <= 0
    assert "Federation helped" in verdict


TASK_TABLE = "table[data-file='P01-classification-tasks.csv']"


@contextmanager
def opened(content: bytes, folder: Path, **options: Any) -> Iterator[Any]:  # noqa: ANN401 -- playwright's page
    """A page in a browser without a network; whatever its console says fails the test."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    file = folder / "page.html"
    file.write_bytes(content)
    said: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_context(offline=True, **options).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(file.as_uri())
        yield page
        browser.close()
    assert said == []


@needs_chromium
def test_a_page_in_the_dark_without_scripts(report: Report, pages: dict[str, dict[str, bytes]], tmp_path: Path):
    """The table is whole and without tools, the page is dark, and the figures are turned dark with it."""
    with opened(pages["private"]["page.html"], tmp_path, color_scheme="dark", java_script_enabled=False) as page:
        assert page.locator(f"{TASK_TABLE} tbody tr").count() == len(report.tasks)
        assert page.locator(".tools").count() == 0
        look = "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).filter]"
        assert page.locator("body").evaluate(look)[0] == "rgb(26, 26, 26)"
        assert "invert" in page.locator("img").first.evaluate(look)[1]


@needs_chromium
def test_a_downloaded_table_has_a_name_for_each_column_and_no_dash(tmp_path: Path):
    """A task without a score by one metric has empty fields there."""
    rows = list(made_up_report(6).tasks)
    rows[0] = rows[0].model_copy(update={"local": rows[0].local.model_copy(update={"roc_auc": None})})
    table = task_table(report_of(rows), CLASSIFICATION)
    assert len(set(table.header)) == len(table.header)
    page = Page("title", "subtitle", "better", "sentence", [], [Section("section", tables=[table])])
    with opened(files_of(page, "page.html", "x")["page.html"], tmp_path) as shown:
        shown.locator("summary").click()
        with shown.expect_download() as download:
            shown.locator("button", has_text="download").click()
        download.value.save_as(tmp_path / "tasks.csv")
    with (tmp_path / "tasks.csv").open(encoding="utf-8-sig", newline="") as written:
        fields = {row["assay"]: row for row in csv.DictReader(written) if row["AUC-ROC local"] == ""}
    assert list(fields) == ["secret-assay-0"]
    row = fields["secret-assay-0"]
    assert row["AUC-ROC federated"] == row["AUC-ROC change"] == ""
    assert float(row["AP change"]) == round(float(row["AP change"]), 4) != 0


@needs_chromium
def test_a_reader_searches_sorts_filters_and_downloads(
    report: Report, pages: dict[str, dict[str, bytes]], tmp_path: Path
):
    """The tools above the table of tasks do as they say, each against the report's rows."""
    with opened(pages["private"]["page.html"], tmp_path) as page:
        details = page.locator("details").filter(has=page.locator(TASK_TABLE)).first
        details.locator("summary").click()
        header = details.locator("th").all_text_contents()

        def column(name: str) -> list[str]:
            cells = details.locator(f"tbody tr:not([hidden]) td:nth-child({header.index(name) + 1})")
            return list(cells.all_text_contents())

        for is_falling in (True, False):
            details.locator("th", has_text="labels").locator("button").click()
            expected = sorted((row.n_labels for row in report.tasks), reverse=is_falling)
            assert column("labels") == [f"{n:,}" for n in expected]
        details.locator("select").last.select_option("worse")
        changes = [row.federated.average_precision - row.local.average_precision for row in report.tasks]  # type: ignore[operator]
        assert len(column("AP change")) == sum(change < 0 for change in changes) > 0
        assert all(cell.startswith("-") for cell in column("AP change"))
        details.locator("select").last.select_option("")
        details.locator("select").first.select_option("PANEL")
        assert len(column("type")) == sum(row.assay_type == "PANEL" for row in report.tasks) > 0
        details.locator("select").first.select_option("")
        details.locator("input").fill("SECRET-assay-1 7")
        shown = list(zip(column("assay"), column("labels"), strict=True))
        assert 0 < len(shown) < len(report.tasks)
        assert all("secret-assay-1" in assay for assay, _ in shown)
        with page.expect_download() as download:
            details.locator("button", has_text="download").click()
        assert download.value.suggested_filename == "P01-classification-tasks.csv"
        download.value.save_as(tmp_path / "tasks.csv")
    with (tmp_path / "tasks.csv").open(encoding="utf-8-sig", newline="") as written:
        assert [(row["assay"], row["labels"]) for row in csv.DictReader(written)] == shown
