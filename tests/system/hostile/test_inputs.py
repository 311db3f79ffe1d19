"""Configurations, tables, structures and summaries that a person took from somewhere: refused with the file's name."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import ExitCode
from tests.support.federation import AGGREGATOR
from tests.support.hostile import changes as c
from tests.support.hostile.kinds import Bench, Kind, by_name

pytestmark = pytest.mark.slow

UNUSABLE, DATA, REFUSED, WAITS, DONE = (
    ExitCode.CONFIGURATION,
    ExitCode.DATA,
    ExitCode.SECURITY,
    ExitCode.NOT_YET,
    ExitCode.DONE,
)
RUN = "partner run --once P02/partner.toml"
CONFIG = "P02/partner.toml"
SPECIAL = ("a named pipe", "a socket", "a folder", "a link to a device", "a link to itself", "1 GiB long")
EDITS: dict[str, tuple[str, str, ExitCode]] = {
    "another member's name": ('name = "P02"', 'name = "P03"', REFUSED),
    "a stranger's name": ('name = "P02"', 'name = "P09"', UNUSABLE),
    "the aggregator's name": ('name = "P02"', f'name = "{AGGREGATOR}"', UNUSABLE),
    "a name with a terminal's escape": ('name = "P02"', r'name = "\u001b[31m"', UNUSABLE),
    "a plan that is missing": ("../plan.toml", "../none.toml", UNUSABLE),
    "an endless plan": ("../plan.toml", "/dev/zero", UNUSABLE),
    "a folder as plan": ("../plan.toml", "..", UNUSABLE),
    "a home that is missing": ("poll_s", 'home = "nowhere"\npoll_s', REFUSED),
    "a home that is a file": ("poll_s", 'home = "partner.toml"\npoll_s', UNUSABLE),
    "another member's home": ("poll_s", 'home = "../P03/home"\npoll_s', REFUSED),
    "a storage that there is not": ("../exchange", "carrier-pigeon://coop", UNUSABLE),
    "a file as exchange": ("../exchange", "../plan.toml", UNUSABLE),
    "a link to itself as plan": ("../plan.toml", "loop", UNUSABLE),
    "a link to itself as exchange": ("../exchange", "loop", UNUSABLE),
    "a link to itself as home": ("poll_s", 'home = "loop"\npoll_s', UNUSABLE),
    "an exchange with a NUL byte": ("../exchange", r"\u0000", UNUSABLE),
    "no pause": ("poll_s = 0.02", "poll_s = 0", UNUSABLE),
    "a pause of NaN": ("poll_s = 0.02", "poll_s = nan", UNUSABLE),
    "-1 workers": ("poll_s", "workers = -1\npoll_s", UNUSABLE),
    "a passphrase's file that is missing": ("poll_s", 'passphrase_file = "none"\npoll_s', UNUSABLE),
    "a passphrase that all can read": ("poll_s", 'passphrase_file = "T0.csv"\npoll_s', REFUSED),
    "a setting that there is not": ("poll_s", "secret = 1\npoll_s", UNUSABLE),
    "a table that is missing": ('"T1.csv"', '"none.csv"', DATA),
    "T0 in the place of T1": ('"T1.csv"', '"T0.csv"', DATA),
    "an endless table": ('"T1.csv"', '"/dev/zero"', DATA),
    "a unit that there is not": ("[data]", '[data]\nunit = "furlong"', UNUSABLE),
    "a scheduler with code": ("[data]", '[data]\nscheduler = "tcp://$(id)"', UNUSABLE),
    "a webhook of a file": ("[training]", '[notify]\nwebhook = "file:///etc/passwd"\n[training]', UNUSABLE),
    "a share of 2": ("[data]", "[data]\nmost_rejected = 2.0", UNUSABLE),
    "a batch of no compounds": ("batch_size = 40", "batch_size = 0", UNUSABLE),
    "a gate that there is not": ("[training]", "[gate]\nopen = true\n[training]", UNUSABLE),
}


def configurations() -> Iterator[Kind]:
    """A partner's own configuration."""
    for how in SPECIAL:
        yield Kind(f"partner.toml: {how}", c.at(CONFIG, c.FILE_CHANGES[how]), UNUSABLE, "partner.toml")
    for how, (old, new, code) in EDITS.items():
        loop = c.at("P02/loop", c.link_loop)
        yield Kind(f"partner.toml: {how}", c.each(loop, c.at(CONFIG, c.replaced(old, new))), code)


def in_table(name: str, edit: Callable[[str], str]) -> c.Change:
    """Another text of a table."""
    return c.at(f"P02/{name}", lambda path: c.void_of(path.write_text(edit(path.read_text()))))


def tables() -> Iterator[Kind]:
    """Tables of compounds and activities that a collaborator sent."""
    for name in ("T0.csv", "T1.csv", "T2.csv"):
        for how in ("empty", *SPECIAL[:-1]):
            named = "zero" if how == "a link to a device" else name
            yield Kind(f"{name}: {how}", c.at(f"P02/{name}", c.FILE_CHANGES[how]), DATA, named)
        zeros = c.at(f"P02/{name}", c.holding(b"\0" * 1_000))
        yield Kind(f"{name}: zeros", zeros, DATA, name)
        yield Kind(f"{name}: a header alone", in_table(name, lambda text: text.split("\n")[0] + "\n"), DATA)
        yield Kind(f"{name}: a header twice", in_table(name, lambda text: text.split("\n")[0] + "," + text), DATA, name)
        yield Kind(
            f"{name}: in UTF-16",
            c.at(f"P02/{name}", lambda path: c.void_of(path.write_bytes(path.read_text().encode("utf-16")))),
            DATA,
            name,
        )


SUMMARIES = " ".join(f"{name}/home/report/summary.json" for name in ("P01", "P02", "P03"))
MERGE = f"report --merge {SUMMARIES} --output merged"
SUMMARY = "P02/home/report/summary.json"


def in_summary(edit: Callable[[dict[str, object]], object]) -> c.Change:
    """Another value in a partner's summary."""

    def change(path: Path) -> None:
        fields = json.loads(path.read_bytes())
        edit(fields)
        path.write_text(json.dumps(fields))

    return c.at(SUMMARY, change)


def summaries() -> Iterator[Kind]:
    """A summary that a partner sent for the consortium's page."""
    for how in SPECIAL:
        code = UNUSABLE if how in ("a folder", "a link to itself") else DATA
        yield Kind(f"summary: {how}", c.at(SUMMARY, c.FILE_CHANGES[how]), code, "summary.json", MERGE)
    texts = {"empty": "", "nested deep": "[" * 100_000, "a list": "[1]", "with NaN": '{"a": NaN}', "null": "null"}
    texts["of 5 MB"] = '{"a": "' + "x" * 5_000_000 + '"}'
    for how, text in texts.items():
        yield Kind(f"summary: {how}", c.at(SUMMARY, c.holding(text)), DATA, "summary.json", MERGE)
    edits: dict[str, tuple[Callable[[dict[str, object]], object], ExitCode]] = {
        "partner's name with markup": (lambda f: f.update(partner="[/red]"), DATA),
        "partner's name with a terminal's escape": (lambda f: f.update(partner="\x1b[31m"), DATA),
        "partner's name with a page's code": (lambda f: f.update(partner="<script>"), DATA),
        "a sentence of 1,001 characters": (lambda f: f["verdict"].update(sentence="x" * 1_001), DATA),  # type: ignore[attr-defined]
        "a sentence with a terminal's escape": (lambda f: f["verdict"].update(sentence="\x1b[31m"), DATA),  # type: ignore[attr-defined]
        "rounds of 10^400": (lambda f: f.update(n_rounds=10**400), DATA),
        "no rounds": (lambda f: f.update(n_rounds=0), DATA),
        "a field more": (lambda f: f.update(note=1), DATA),
        "another kind": (lambda f: f.update(kind="hocket model"), UNUSABLE),
        "another format": (lambda f: f.update(format=99), UNUSABLE),
        "a private report": (lambda f: f.update(tasks=[]), UNUSABLE),
        "another plan": (lambda f: f.update(plan="0" * 64), UNUSABLE),
        "another trunk": (lambda f: f.update(trunk="0" * 64), UNUSABLE),
        "another partner's": (lambda f: f.update(partner="P01"), UNUSABLE),
        "a date that is none": (lambda f: f.update(last_round="yesterday"), DATA),
        "a share of 1e308": (lambda f: f["data"].update(rejected={"T1": {"x": 1e308}}), DATA),  # type: ignore[attr-defined]
    }
    for how, (edit, code) in edits.items():
        named = "P01" if how == "another partner's" else "summary.json"
        yield Kind(f"summary: {how}", in_summary(edit), code, named, MERGE)
    yield Kind("summary: missing", c.at(SUMMARY, c.missing), UNUSABLE, "summary.json", MERGE)


PREDICT = "predict P01/partner.toml new.smi --output out.csv"
MODEL = "P01/home/model"


def predictions() -> Iterator[Kind]:
    """Structures and models for `predict`."""
    for how in ("a named pipe", "a socket", "a folder", "a link to a device", "a link to itself"):
        change = c.at("new.smi", c.FILE_CHANGES[how])
        yield Kind(f"new.smi: {how}", change, UNUSABLE if how in ("a folder", "a link to itself") else DATA, "new.smi")
    texts = {"empty": "", "zeros": "\0" * 1_000, "a line of 10 MB": "C" * 10_000_000}
    for how, text in texts.items():  # each structure that cannot be read is listed as rejected
        yield Kind(f"new.smi: {how}", c.at("new.smi", c.holding(text)), DATA if "line" in how else DONE)
    yield Kind("out.csv: a link to itself", c.at("out.csv", c.link_loop), DONE)
    for how in ("empty", "cut in half", "a folder"):
        change = c.at(f"{MODEL}/model.json", c.FILE_CHANGES[how])
        yield Kind(f"model.json: {how}", change, UNUSABLE, "model.json")
    for name in ("federated", "compounds"):
        for how in ("empty", "cut in half", "flipped in the middle"):
            change = c.at(f"{MODEL}/{name}.safetensors", c.FILE_CHANGES[how])
            yield Kind(f"{name}.safetensors: {how}", change, ExitCode.TRAINING, name)


REPORT = "report P01/partner.toml"


def reports() -> Iterator[Kind]:
    """The private report of a finished partner."""
    path = "P01/home/report/report.json"
    texts = {"empty": "", "nested deep": "[" * 100_000, "a list": "[1]", "null": "null"}
    for how, text in texts.items():
        yield Kind(f"report.json: {how}", c.at(path, c.holding(text)), DATA, "report.json", REPORT)
    for how in ("a named pipe", "a socket", "a folder", "1 GiB long", "a link to a device"):
        yield Kind(f"report.json: {how}", c.at(path, c.FILE_CHANGES[how]), UNUSABLE, "report.json", REPORT)


ENROLLED = by_name(list(configurations()), list(tables()))
FINISHED = by_name(list(summaries()), list(reports()))
PREDICTED = by_name(list(predictions()))


@pytest.mark.parametrize("kind", ENROLLED.values(), ids=ENROLLED)
def test_a_wrong_configuration_or_table_is_refused(bench: Bench, kind: Kind):
    """The run ends with exit code 2 for settings, 3 for tables, 4 for keys, and posts nothing."""
    bench.check(kind, "enrolled", RUN, output="exchange")


@pytest.mark.parametrize("kind", FINISHED.values(), ids=FINISHED)
def test_a_wrong_report_is_refused(bench: Bench, kind: Kind):
    """Merging and reporting end with exit code 3 for damage, 2 for another file; no page is written."""
    bench.check(kind, "finished", kind.command, output="merged")


@pytest.mark.parametrize("kind", PREDICTED.values(), ids=PREDICTED)
def test_a_wrong_model_or_structure_is_refused(bench: Bench, kind: Kind):
    """`predict` ends with exit code 3 for structures, 5 for states, 2 for the rest, and writes no predictions."""
    bench.check(kind, "predicting", PREDICT, output="out.csv")
