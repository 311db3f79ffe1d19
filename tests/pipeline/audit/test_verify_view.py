"""What `hocket verify` shows: the members, what took part when, and the conclusion; for people and for programs."""

import io
import json
import re

import pytest
from rich.console import Console

from pipeline.audit.verify_view import print_trail, trail_json
from pipeline.plan.plan import read_plan
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import (
    ALL,
    DEAL,
    SUM,
    UPDATE,
    at_round,
    make_void,
    manifest_of,
    run_audit,
    sign_later,
)

TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def shown(federation: Federation, *, terminal: bool = False, **options: object) -> list[str]:
    """The lines that a person reads."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)
    print_trail(run_audit(federation, **options), read_plan(federation.plan_file), console)
    return console.file.getvalue().splitlines()


def test_lines_of_a_finished_federation(finished: Federation):
    """Plan, members with the cards' fingerprints, group; three lines a round; the conclusion last."""
    plan = read_plan(finished.plan_file)
    lines = shown(finished)
    assert lines[0] == f"federation small, plan {plan.digest}"
    assert lines[1] == f"aggregator agg, card {plan.cards[AGGREGATOR].fingerprint}"
    for line, name in zip(lines[2:5], ALL, strict=True):
        assert re.fullmatch(rf"partner    {name}, card {plan.cards[name].fingerprint}, paired {TIME}", line)
    assert re.search(rf" [0-9a-f]{{64}}, .*P01 {TIME}$", lines[5])
    for line, round_no in ((6, 1), (9, 2)):
        assert re.match(rf"round {round_no}, attempt 1: sum .*P01, P02, P03\b", lines[line])
        size = manifest_of(finished, at_round(UPDATE, round_no)).payload.size
        down = manifest_of(finished, at_round(SUM, round_no)).payload.size
        sizes = [str(size), f"{size / plan.layout.n_params:.2f}", str(down)]
        assert re.findall(r"[\d.]+", lines[line + 1]) == sizes
        span = rf"{TIME}(?: to {TIME})?"
        assert re.fullmatch(
            rf"  ready {span}, roster {TIME}, update {span}, sum {TIME}, release {span}: \d:\d\d:\d\d", lines[line + 2]
        )
    assert re.findall(r"\d+", lines[12]) == ["2", "2", "41", "29", "2"]
    assert len(lines) == 13


def test_lines_of_a_void(voided: Federation):
    """Who was called and did not deliver, and who was then left out."""
    lines = shown(voided)
    void, total = (line for line in lines if line.startswith("round"))
    assert re.match(r"round 1, attempt 1: void .*P01, P02, P03, P04, .*P03$", void)
    assert re.match(r"round 1, attempt 2: sum .*P01, P02, P04, .*P03\b", total)
    assert [line for line in lines if line.startswith(("note", "warning"))] == [
        "note: P03 has not signed the last trunk yet"
    ]
    assert lines[-1].startswith("1 of 1 rounds done; ")


def test_notes_warnings_and_what_was_not_recomputed(done: Federation):
    """Each in a line of its own before the conclusion, which points to them."""
    make_void(done, 2, "P02")
    (done.exchange / UPDATE.payload).unlink()
    note, warning, conclusion = shown(done)[-3:]
    assert re.match(r"note: round 1, attempt 1: .*\bP02\b", note)
    assert re.match(r"warning: round 2, attempt 1: .*\bP02\b", warning)
    assert re.findall(r"\d+", conclusion) == ["1", "2", "33", "23", "0", "1", "1"]


def test_a_quick_look_says_that_no_sum_was_added(finished: Federation):
    """The conclusion of --quick names how many sums were not checked."""
    lines = shown(finished, recompute=False)
    assert re.findall(r"\d+", lines[-1])[-2:] == ["0", "2"]
    assert not any(line.endswith(", recomputed") for line in lines)


def test_a_table_on_a_terminal(voided: Federation, done: Federation):
    """A row for each attempt; columns that are empty throughout are left out."""
    columns, (first, second) = table(voided)
    assert columns == [
        "round", "outcome", "roster", "missing", "without", "bytes up", "down", "first ready", "all ready", "called",
        "updates", "end", "released",
    ]  # fmt: skip
    assert first[:5] == ["1.1", "void", "P01, P02, P03, P04", "P03", ""]
    assert second[:5] == ["1.2", "sum, recomputed", "P01, P02, P04", "", "P03"]
    assert table(done)[0] == [column for column in columns if column not in ("missing", "without")]


def table(federation: Federation) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table on a wide terminal."""
    lines = [re.split("[┃│]", line)[1:-1] for line in shown(federation, terminal=True) if line.startswith(("┃", "│"))]
    head, *rows = [[cell.strip() for cell in line] for line in lines]
    return head, rows


@pytest.mark.parametrize("terminal", [True, False])
def test_times_out_of_order_are_shown_as_they_are(done: Federation, *, terminal: bool):
    """A negative duration, no traceback."""
    sign_later(done, at_round(SUM, 2), -5000)
    lines = shown(done, terminal=terminal)
    assert any("-1:23:" in line for line in lines) == terminal
    assert any(re.search(r"clocks .*P01 .*agg", line) for line in lines)


def test_json_holds_all_of_it(finished: Federation):
    """A program finds plan, members, every time and size, and the conclusion."""
    plan, trail = read_plan(finished.plan_file), run_audit(finished)
    found = json.loads(json.dumps(trail_json(trail, plan)))
    assert (found["federation"], found["plan"], found["n_rounds"], found["custodian"]) == (
        "small",
        plan.digest,
        2,
        "P01",
    )
    assert found["members"] == {
        name: {"role": card.role, "card": card.fingerprint} for name, card in plan.cards.items()
    }
    assert (found["group"], found["dealt"]) == (manifest_of(finished, DEAL).body["group"], trail.dealt)
    assert sorted(found["paired"]) == list(ALL)
    assert [(at["round_no"], at["attempt"], at["outcome"], at["roster"]) for at in found["attempts"]] == [
        (1, 1, "sum", list(ALL)),
        (2, 1, "sum", list(ALL)),
    ]
    assert found["attempts"][0]["signed"]["update"]["P02"] == manifest_of(finished, UPDATE).time
    assert (found["n_sums"], found["n_recomputed"], found["warnings"], found["notes"]) == (2, 2, [], [])
    assert found["verdict"] == shown(finished)[-1]
