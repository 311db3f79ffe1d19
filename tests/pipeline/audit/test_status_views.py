"""`hocket status` as a watcher, a page, words and JSON."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.audit.member_states import RoundPlace
from pipeline.audit.status_view import watch
from pipeline.errors import ExchangeUnreachable, ExitCode
from pipeline.exchange.signs import Sign
from pipeline.exchange.storage import Exchange
from pipeline.pages.status_page import status_page
from pipeline.plan.plan import read_plan
from tests.support.audit.read_status import FOUR, look, post_sign, reader_of, states
from tests.support.cli_runner import printed, refused
from tests.support.federation import AGGREGATOR, Federation, until_waiting
from tests.support.signed_transcripts import (
    UPDATE,
    VOID,
    flip,
    manifest_of,
    remove,
)


def watched(federation: Federation, *, terminal: bool, acts: list[object]) -> str:
    """What is shown while these things happen, one between two looks, until the federation is finished."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160, color_system=None)
    left = iter(acts)
    watch(reader_of(federation), console, every_s=1.0, clock=lambda: 2e9, sleep=lambda _: next(left)())
    return console.file.getvalue()


def finish(federation: Federation) -> list[object]:
    """The steps from posted updates to the end of the second and last round."""

    def partners() -> None:
        until_waiting(federation, federation.partners)

    def aggregator() -> None:
        until_waiting(federation, [AGGREGATOR])

    return [aggregator, partners, aggregator, partners, aggregator]


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_follows_to_the_end(sealed_again: Federation, tmp_path: Path, *, terminal: bool):
    """On a terminal in place; elsewhere each state once, and nothing while nothing changes."""
    federation = sealed_again.moved(tmp_path / "federation")
    nothing = lambda: None  # noqa: E731 -- nothing happens between two looks
    shown = watched(federation, terminal=terminal, acts=[nothing, nothing, *finish(federation)])
    assert "1 of 2 rounds" in shown
    assert "2 of 2 rounds" in shown
    assert ("\x1b[" in shown) == terminal
    if not terminal:
        assert shown.count("federation small") == 3


def test_watch_reads_each_message_once(sealed_again: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A bucket is not asked again for what was verified."""
    federation = sealed_again.moved(tmp_path / "federation")
    read: list[str] = []
    plain = Exchange.read

    def note(exchange: Exchange, path: str) -> bytes | None:
        read.append(path)
        return plain(exchange, path)

    reader = reader_of(federation)
    monkeypatch.setattr(Exchange, "read", note)
    reader.read_status()
    n_read = len(read)
    assert reader.read_status() == look(federation)
    assert read[:n_read] == sorted(set(read[:n_read]), key=read.index)
    assert len(read) == 2 * n_read  # the second reader's own


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_goes_on_when_the_exchange_comes_back(
    finished: Federation, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
):
    """An exchange that cannot be read gives a message, and --watch goes on."""
    plain = Exchange.list_files

    def unreachable(exchange: Exchange) -> list[str]:
        raise ExchangeUnreachable(f"{exchange.url}: cannot be listed: gone")

    def back() -> None:
        monkeypatch.setattr(Exchange, "list_files", plain)

    console = Console(file=io.StringIO(), force_terminal=terminal, width=300, color_system=None)
    reader = reader_of(finished)
    monkeypatch.setattr(Exchange, "list_files", unreachable)
    watch(reader, console, every_s=1.0, clock=lambda: 2e9, sleep=lambda _: back())
    assert ": gone" in console.file.getvalue()
    assert "finished" in console.file.getvalue()


def test_the_page(delivered: Federation, tmp_path: Path):
    """What the command prints, in one file without scripts or links that reloads itself; a name is escaped."""
    remove(delivered.exchange, UPDATE)
    post_sign(delivered, "P04", Sign(2_000_000_000, 1, 1, "training", 5))
    file = tmp_path / "new" / "status.html"
    assert printed("status", delivered.plan_file, delivered.exchange, "--html", file)
    text = file.read_text()
    assert '<meta http-equiv="refresh" content="60">' in text
    assert "TROUBLE: P04 ended with exit code 5" in text
    assert "waiting for P02, since " in text
    assert "update of P02 is missing" in text
    assert [text.count(f'<td class="words">{name}</td>') for name in (AGGREGATOR, *FOUR)] == [1] * 5
    assert not {"<script", "http://", "https://", "src="} & set(re.findall(r"<script|https?://|src=", text))
    assert [path.name for path in file.parent.iterdir()] == ["status.html"]
    status = look(delivered)
    odd = replace(status, refused=("<b>&",))
    assert "&lt;b&gt;&amp;" in status_page(odd, read_plan(delivered.plan_file), 2e9, refresh_s=10)


def test_the_page_of_the_end(finished: Federation):
    """It says so, and asks nobody."""
    page = status_page(look(finished), read_plan(finished.plan_file), 2e9, refresh_s=10)
    assert "Finished: " in page
    assert '<p class="verdict worse">' not in page


def test_the_command_in_words(delivered: Federation):
    """The round, a line for each member, the awaited members, and invalid messages."""
    flip(delivered.exchange / UPDATE.manifest, -20)
    head, columns, *members, waiting, then, refused = printed(
        "status", delivered.plan_file, delivered.exchange
    ).splitlines()
    assert all(part in head for part in ("0 of 2 rounds", "round 1", "attempt 1"))
    assert columns.split()[:4] == ["member", "role", "state", "round.attempt,"]
    assert [line.split()[:3] for line in members] == [
        [AGGREGATOR, "aggregator", "rostered"],
        ["P01", "partner", "sealed"],
        ["P02", "partner", "rostered"],
        ["P03", "partner", "sealed"],
        ["P04", "partner", "sealed"],
    ]
    assert "Z, " in members[1]
    assert " ago, " in members[1]
    assert members[1].endswith(f"{manifest_of(delivered, replace(UPDATE, sender='P01')).payload.size} bytes")
    assert " P02, since " in waiting
    assert "P02" in then
    assert str(delivered.exchange / UPDATE.manifest) in refused


def test_the_command_as_json(delivered: Federation):
    """The same for a program."""
    found = json.loads(printed("status", delivered.plan_file, delivered.exchange, "--json"))
    assert {key: found[key] for key in ("round", "attempt", "n_rounds", "n_summed", "finished")} == {
        "round": 1,
        "attempt": 1,
        "n_rounds": 2,
        "n_summed": 0,
        "finished": False,
    }
    assert found["awaited"] == [AGGREGATOR]
    assert found["refused"] == found["trouble"] == []
    assert (found["deadline"], found["late"]) == (None, {})
    by_name = {one["name"]: one for one in found["members"]}
    assert by_name["P03"]["state"] == "sealed"
    assert by_name["P03"]["bytes"] == manifest_of(delivered, replace(UPDATE, sender="P03")).payload.size
    assert by_name["P03"]["seconds_since"] >= 0
    assert by_name["P03"]["sign"] is None
    remove(delivered.exchange, UPDATE)
    post_sign(delivered, "P02", Sign(1_700_000_000, 1, 1, "sealing", 2))
    found = json.loads(printed("status", delivered.plan_file, delivered.exchange, "--json"))
    assert found["deadline"]["seconds_left"] <= 3600
    assert "void" in found["deadline"]["then"]
    assert found["trouble"] == ["P02"]
    sign = next(one["sign"] for one in found["members"] if one["name"] == "P02")
    assert (sign["step"], sign["exit_code"], sign["time"]) == ("sealing", 2, "2023-11-14T22:13:20Z")


def test_a_void_is_no_sum(voided: Federation, tmp_path: Path):
    """A void that was changed is invalid: the attempt is still open."""
    federation = voided.moved(tmp_path / "federation")
    for path in (federation.exchange / "round-0001" / "attempt-02").iterdir():
        path.unlink()
    flip(federation.exchange / VOID.manifest, -20)
    status = look(federation)
    assert status.place == RoundPlace(1, 1)
    assert states(status)["P03"] == "rostered 1.1"


def test_json_is_not_watched(finished: Federation):
    """One or the other."""
    refused(ExitCode.CONFIGURATION, "status", finished.plan_file, finished.exchange, "--watch", "--json")
