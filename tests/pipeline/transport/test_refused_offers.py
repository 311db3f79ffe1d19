"""What a mirror refuses: messages, payloads and paths."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import (
    BadTransfer,
    Equivocation,
)
from pipeline.transport.mirror import Mirror
from pipeline.transport.sync import MOST_MESSAGES
from secure.errors import PayloadMismatch, SecureError
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import PayloadDigest, sign_manifest
from tests.support.federation import AGGREGATOR, Federation
from tests.support.transport.line_in_process import Line
from tests.support.transport.offers import READY, UPDATE, greeted, sent


def test_a_site_sends_its_own_messages_only(line: Line, over: tuple[Federation, Mirror]) -> None:
    """P01 that sends P02's genuine message is refused."""
    greeted(line, "P01")
    with pytest.raises(BadTransfer, match="own messages"):
        line.links["P01"]._sync.incoming(sent(over, READY))
    assert line.mirror(AGGREGATOR).manifest(READY) is None


def test_two_versions_of_a_message_are_refused(line: Line, over: tuple[Federation, Mirror]) -> None:
    """A message in the mirror stays; another one of the same name is an equivocation."""
    greeted(line, "P02")
    sync = line.links["P02"]._sync
    sync.incoming(sent(over, READY))
    kept = line.mirror(AGGREGATOR).manifest(READY)
    changed = sent(over, READY)
    changed["messages"][0][1] = kept.replace(b"ready", b"roady")
    with pytest.raises(Equivocation, match=r"ready\.P02"):
        sync.incoming(changed)
    assert line.mirror(AGGREGATOR).manifest(READY) == kept


def test_an_unsigned_message_is_refused(line: Line, over: tuple[Federation, Mirror]) -> None:
    """A manifest whose signature does not fit never enters a mirror."""
    greeted(line, "P02")
    fields = json.loads(over[1].manifest(READY))
    fields["time"] += 1
    forged = {"messages": [[READY.manifest, json.dumps(fields).encode(), ""]], "kept": [], "more": False}
    with pytest.raises(SecureError, match=r"ready\.P02"):
        line.sides["P02"]._sync.incoming(forged)
    assert line.mirror("P02").manifest(READY) is None


def test_a_message_belongs_in_its_place(line: Line, over: tuple[Federation, Mirror]) -> None:
    """A genuine message under another round's name is refused."""
    greeted(line, "P02")
    moved = sent(over, READY)
    moved["messages"][0][0] = MessageName("ready", 2, 1, "P02").manifest
    with pytest.raises(SecureError, match="round"):
        line.links["P02"]._sync.incoming(moved)


def test_the_aggregator_takes_no_update_without_its_payload(line: Line, over: tuple[Federation, Mirror]) -> None:
    """An update is not accepted if its sender no longer has the sealed file, so it can still come complete."""
    greeted(line, "P02")
    line.links["P02"]._sync.incoming(sent(over, UPDATE))
    assert line.mirror(AGGREGATOR).manifest(UPDATE) is None
    assert any("update.P02.arrow" in report for report in line.reports)


def test_a_payload_larger_than_any_is_not_pulled(line: Line, over: tuple[Federation, Mirror]) -> None:
    """A manifest that announces more bytes than such a message can hold is refused before anything is pulled."""
    federation, _ = over
    keys = load_private_keys(federation.home("P02").keys, None)
    huge = sign_manifest(
        keys,
        kind="update",
        plan=line.plan.digest,
        round_no=1,
        attempt=1,
        time=0,
        body={"roster": "ab" * 32, "release_commitment": "cd" * 32},
        payload=PayloadDigest("cd" * 32, 1 << 40),
    )
    greeted(line, "P02")
    with pytest.raises(PayloadMismatch, match="announces"):
        line.links["P02"]._sync.incoming({"messages": [[UPDATE.manifest, huge, "ref"]], "kept": [], "more": False})


@pytest.mark.parametrize(
    "wire",
    [
        None,
        {},
        {"messages": [], "kept": []},
        {"messages": [], "kept": [], "more": 0},
        {"messages": "x", "kept": [], "more": False},
        {"messages": [], "kept": [3], "more": False},
        {"messages": [["a"]], "kept": [], "more": False},
        {"messages": [[READY.manifest, "text", ""]], "kept": [], "more": False},
        {"messages": [[READY.manifest, b"x" * (1 << 17), ""]], "kept": [], "more": False},
        {"messages": [[READY.manifest, b"x", 5]], "kept": [], "more": False},
        {"messages": [[READY.manifest, b"x", "r" * 201]], "kept": [], "more": False},
        {"messages": [], "kept": [READY.manifest] * (2 * MOST_MESSAGES + 1), "more": False},
    ],
)
def test_what_is_no_message_is_refused(line: Line, wire: object) -> None:
    """Anything but short lists of paths, manifests and references is refused."""
    with pytest.raises(BadTransfer):
        line.sides["P01"]._sync.incoming(wire)


@pytest.mark.parametrize(
    "path",
    [
        "../round-0001/attempt-01/ready.P02.json",
        "/etc/passwd",
        "enrol/../enrol/deal.P01.json",
        "round-0001/attempt-01/ready.P09.json",
        "round-0001/attempt-01/ready.agg.json",
        "round-0001/attempt-01/roster.P01.json",
        "round-0001/attempt-01/update.P02.arrow",
        "round-001/attempt-01/ready.P02.json",
        "round-0001/attempt-01/deal.P01.json",
        "enrol/ready.P01.json",
        "revision-02/enrol/deal.P01.json",
        "enrol/deal.P01.json\n",
        "",
        None,
        b"enrol/deal.P01.json",
    ],
)
def test_only_names_of_messages_are_paths(over: tuple[Federation, Mirror], path: object) -> None:
    """A path is that of a manifest that this sender may send under this plan, or it is refused."""
    with pytest.raises(BadTransfer):
        over[1].name_of(path)


@given(path=st.text(st.sampled_from("./-_\\" + string.ascii_letters + string.digits + "\0é"), max_size=60))
def test_no_text_leads_out_of_the_mirror(over: tuple[Federation, Mirror], path: str) -> None:
    """Any text is refused, or names a file below the mirror with exactly that path."""
    federation, mirror = over
    try:
        name = mirror.name_of(path)
    except BadTransfer:
        return
    assert name.manifest == path
    assert (federation.exchange / path).resolve().is_relative_to(federation.exchange.resolve())


@given(st.sampled_from(["deal", "pairing", "ready", "update", "roster", "sum", "void"]), st.data())
def test_every_message_s_path_is_known(over: tuple[Federation, Mirror], kind: str, data: st.DataObject) -> None:
    """The path of any message that a member may send reads back as that message."""
    sender = AGGREGATOR if kind in ("roster", "sum", "void") else data.draw(st.sampled_from(["P01", "P02", "P03"]))
    numbers = (0, 0) if kind in ("deal", "pairing") else data.draw(st.tuples(st.integers(0, 9999), st.integers(1, 99)))
    name = MessageName(kind, *numbers, sender)
    assert over[1].name_of(name.manifest) == name
