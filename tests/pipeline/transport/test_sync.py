"""Mirrors that are kept alike: what they accept, what they refuse, and that a federation ends as with one folder."""

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import (
    BadTransfer,
    ConfigError,
    Equivocation,
    ExchangeConflict,
    ExchangeError,
    ExitCode,
    TransferFailed,
    WrongSite,
)
from pipeline.exchange.signs import Sign, SignBoard, sign_name
from pipeline.exchange.storage import Exchange
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import read_plan
from pipeline.transport.endpoints import refusal
from pipeline.transport.mirror import Mirror, mirror_folder
from secure.errors import SecureError
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from tests.support.federation import AGGREGATOR, Federation, step, until_waiting
from tests.support.transport.line_in_process import SERVER, Line, Porter, Voucher
from tests.support.transport.nvflare_sites import own_mirrors
from tests.support.transport.offers import READY, UPDATE, greeted, sent
from tests.support.waiting import wait_until

DEAL = MessageName("deal", 0, 0, "P01")
SUM = MessageName("sum", 1, 1, AGGREGATOR)


@pytest.fixture(scope="module")
def driven(enrolled: Federation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A whole federation over mirrors, to its end. For reading only."""
    federation = enrolled.moved(tmp_path_factory.mktemp("driven") / "federation")
    own_mirrors(federation)
    joined = Line(federation)
    drive(joined)
    yield joined
    joined.close()


@pytest.fixture
def running(apart: Federation) -> Iterator[Line]:
    """The members of `apart`, connected."""
    joined = Line(apart)
    yield joined
    joined.close()


def drive(line: Line) -> None:
    """Step all members and transfer messages in turn until all are done."""
    machines = line.federation.members()
    while True:
        states = {name: step(machine) for name, machine in machines.items()}
        for name, run in line.runs.items():
            run.code = int(ExitCode.DONE) if states[name] == "done" else None
        moved = line.turn()
        if set(states.values()) == {"done"} and not moved:
            return
        assert moved or "on" in states.values(), (states, line.reports)


def test_a_federation_over_mirrors_ends_with_the_same_trunk(driven: Line, finished: Federation) -> None:
    """Three partners that share no folder end with the trunk of those that do, and every partner is known to be done.

    No site's mirror holds another's sealed update; the aggregator's holds all messages.
    """
    assert driven.federation.trunks(2) == finished.trunks(2)
    assert all(link.is_finished for link in driven.links.values())
    assert driven.mirror(AGGREGATOR).paths() == [str(p.relative_to(finished.exchange)) for p in manifests(finished)]
    for name in driven.federation.partners:
        kept = {file.name for file in (driven.federation.config(name).parent / "mirror").rglob("*.arrow")}
        assert kept == {f"update.{name}.arrow", f"sum.{AGGREGATOR}.arrow"}
        assert driven.mirror(name).paths() == driven.mirror(AGGREGATOR).paths()


def manifests(federation: Federation) -> list[Path]:
    """Every manifest in an exchange folder, sorted."""
    return sorted(federation.exchange.rglob("*.json"), key=lambda path: str(path.relative_to(federation.exchange)))


def test_turns_change_nothing_when_all_are_alike(driven: Line) -> None:
    """Both ends opened anew over the same mirrors (a job submitted again) pull no file a second time."""
    before = driven.mirror(AGGREGATOR).paths()
    again = Line(driven.federation)
    try:
        again.turn()
        assert again.mirror(AGGREGATOR).paths() == before
        assert sum(porter.n_pulled for porter in again.porters.values()) == 0
    finally:
        again.close()


def test_a_lost_answer_is_made_up_for(apart: Federation) -> None:
    """If every other answer of a site is lost, all messages still arrive."""
    line = Line(apart)
    n_asked = 0

    def ask(question: dict[str, object]) -> object | None:
        nonlocal n_asked
        n_asked += 1
        answer = line.sides["P01"].answer(question)
        return answer if n_asked % 2 else None

    line.links["P01"] = line.link("P01", ask)
    try:
        for _ in range(8):
            line.turn()
        posted = line.mirror("P01").paths()
        assert DEAL.manifest in posted
        assert all(line.mirror(name).paths() == posted for name in (*apart.partners, AGGREGATOR))
    finally:
        line.close()


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_a_spoilt_payload_refuses_its_site_alone(apart: Federation, change) -> None:
    """A payload that is cut short or changed on the way is not kept, nor is its message; other sites go on."""
    line = Line(apart, spoil=lambda file: file.write_bytes(change(file.read_bytes())) and None)
    try:
        line.turn()
        assert "deal.P01.envelopes" in line.links["P01"].refused
        assert not line.links["P02"].refused
        assert line.mirror(AGGREGATOR).paths() == []
        folder = apart.config(AGGREGATOR).parent / "mirror"
        assert [path for path in folder.rglob("*") if path.is_file()] == []
    finally:
        line.close()


@pytest.mark.parametrize("broken", [TransferFailed("the line broke"), OSError(errno.ENOSPC, "No space left", "file")])
def test_what_did_not_come_is_tried_again_later(apart: Federation, broken: Exception) -> None:
    """A payload that is incomplete or finds the disk full is pulled again, after growing pauses."""
    line, pulled = Line(apart), list[str]()

    def fail_twice(file: Path) -> None:
        if DEAL.payload.endswith(file.name.removeprefix(".").removesuffix(".part")):
            pulled.append(file.name)
            if len(pulled) <= 2:
                raise broken

    line.spoil = fail_twice
    line.links["P01"] = line.link("P01")
    try:
        for later_s, n_pulled in [(0.0, 1), (0.9, 1), (0.2, 2), (1.8, 2)]:
            line.now += later_s
            line.turn()
            assert len(pulled) == n_pulled
            assert DEAL.manifest not in line.mirror(AGGREGATOR).paths()
        line.now += 0.3
        line.turn()
        assert line.mirror(AGGREGATOR).paths() == line.mirror("P01").paths() != []
        assert not line.links["P01"].refused
        assert [report for report in line.reports if re.search(r"\btry .*\b2 s\b", report)]
    finally:
        line.close()


def leave(line: Line, name: str, time: int, step: str = "training", exit_code: int | None = None) -> Sign:
    """A member's run leaves a sign in its own mirror."""
    folder = line.federation.config(name).parent / "mirror"
    keys = load_private_keys(line.federation.home(name).keys)
    return SignBoard(line.plan, Exchange(f"file://{folder}")).post(keys, Sign(time, 1, 1, step, exit_code))


def signs(line: Line, name: str) -> list[Sign | None]:
    """The newest sign of a member in every member's mirror."""
    folders = [line.federation.config(at).parent / "mirror" for at in (*line.federation.partners, AGGREGATOR)]
    return [SignBoard(line.plan, Exchange(f"file://{folder}")).latest(name) for folder in folders]


def test_signs_travel_and_the_newest_holds(running: Line) -> None:
    """Of partners and aggregator, to everybody, again and again; a job submitted again brings no older one back."""
    for time_s, code in ((100, None), (200, 3), (300, None)):
        left = {name: leave(running, name, time_s, exit_code=code) for name in ("P02", AGGREGATOR)}
        for _ in range(3):
            running.turn()
        for name, sign in left.items():
            assert signs(running, name) == [sign] * 4
    assert not any(link.refused for link in running.links.values())
    assert not any(link.has_news for link in running.links.values())
    again = Line(running.federation)
    newest = leave(again, "P02", 400)
    for _ in range(3):
        again.turn()
    assert signs(again, "P02") == [newest] * 4
    again.close()


def test_signs_do_not_keep_a_job_alive(running: Line) -> None:
    """A job without enough sites ends when nothing moves; signs of life come also then."""
    for _ in range(3):
        running.turn()
    moved = {name: link.n_moved for name, link in running.links.items()}
    assert min(moved.values()) > 0
    leave(running, "P02", 100)
    for _ in range(3):
        running.turn()
    assert signs(running, "P02")[-1].time == 100
    assert {name: link.n_moved for name, link in running.links.items()} == moved


def test_a_sign_that_is_replaced_on_the_way_is_sent_again(running: Line) -> None:
    """The confirmation of the old one is none of the new one."""
    greeted(running, "P01")
    sync = running.links["P01"]._sync
    leave(running, AGGREGATOR, 100)
    question = sync.outgoing()
    leave(running, AGGREGATOR, 200)
    sync.incoming(running.sides["P01"].answer(question))
    assert sync.has_news
    running.turn()
    assert signs(running, AGGREGATOR)[0].time == 200


@pytest.mark.parametrize("forged", [True, False])
def test_nobody_leaves_the_sign_of_another(running: Line, *, forged: bool) -> None:
    """A site sends its own signs only, signed with its own keys."""
    greeted(running, "P01")
    leave(running, "P02", 100)
    mine, theirs = (running.mirror(name)._folder / sign_name("alive", name).manifest for name in ("P01", "P02"))
    target = mine if forged else mine.with_name(theirs.name)
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(theirs.read_bytes())
    name = sign_name("alive", "P01" if forged else "P02")
    offer = {"messages": [[name.manifest, target.read_bytes(), ""]], "kept": [], "more": False}
    with pytest.raises(SecureError if forged else BadTransfer):
        running.links["P01"]._sync.incoming(offer)
    assert signs(running, "P02")[-1] is None


def test_pauses_end_at_a_minute(apart: Federation) -> None:
    """However often a message fails, and a disk that stays full for days fails thousands of times."""
    line = Line(apart)
    sync = line.sides["P01"]._sync
    sync._postponed[DEAL.manifest] = 5000, 0.0
    sync._postpone(DEAL, TransferFailed("the line broke"))
    line.close()
    assert sync._postponed[DEAL.manifest] == (5001, 60.0)


def test_a_manifest_that_finds_no_space_comes_later(apart: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the server refuses nobody; another error of its disk ends the link."""
    keep, errors = Mirror.keep, [errno.ENOSPC, errno.EIO]

    def keep_not(mirror: Mirror, name: MessageName, data: bytes) -> None:
        if name == DEAL and errors and f"/{AGGREGATOR}/" in str(mirror._folder):
            raise OSError(errors.pop(0), "a reason", "a file")
        keep(mirror, name, data)

    monkeypatch.setattr(Mirror, "keep", keep_not)
    line = Line(apart)
    try:
        line.turn()
        assert len(errors) == 1
        assert not line.links["P01"].refused
        line.now += 2.0
        line.turn()
        assert "a reason" in line.links["P01"].refused
    finally:
        line.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_that_nobody_foresaw_refuses_its_site(apart: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the transfer of a peer's file ends with a bug the site is refused: no job waits for it for ever."""

    def stumble(*_: object) -> None:
        raise KeyError("data")

    monkeypatch.setattr(Porter, "pull", stumble)
    line = Line(apart)
    greeted(line, "P01")

    def is_refused() -> str:
        line.links["P01"].turn()
        return line.links["P01"].refused

    wait_until(is_refused, pause_s=0)
    assert "ended the transfers" in line.links["P01"].refused
    assert line.links["P01"].has_news
    line.close()


def test_a_restored_home_is_found_out(running: Line) -> None:
    """A partner with yesterday's home and mirror gets its own messages back, and does not sign them again."""
    running.turn()
    machine = running.federation.partner("P02")
    for _ in range(3):
        step(machine)
        running.turn()
    pairing = MessageName("pairing", 0, 0, "P02")
    assert pairing.manifest in running.mirror(AGGREGATOR).paths()
    before = running.federation.home("P02").outbox(pairing.manifest)
    for file in (*before.parent.glob("pairing.*"), *running.mirror("P02")._folder.rglob("pairing.P02.*")):
        file.unlink()
    again = Line(running.federation)
    try:
        again.turn()
        with pytest.raises(Equivocation, match="lacks its own"):
            until_waiting(running.federation, ["P02"])
    finally:
        again.close()


def test_no_run_starts_while_its_own_messages_find_no_space(apart: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full disk a member cannot know which messages it sent: it could seal the same update again."""
    first = Line(apart)
    first.turn()
    first.close()
    mirror = first.mirror("P01")._folder
    shutil.rmtree(mirror)
    keep, is_full = Mirror.keep, True

    def keep_where_there_is_space(there: Mirror, name: MessageName, data: bytes) -> None:
        if is_full and there._folder == mirror:
            raise OSError(errno.EDQUOT, "Disk quota exceeded", "file")
        keep(there, name, data)

    monkeypatch.setattr(Mirror, "keep", keep_where_there_is_space)
    line = Line(apart)
    try:
        line.turn()
        assert set(line.at_start) == {"P02", "P03"}
        assert not line.links["P01"].refused
        is_full = False
        line.now += 1.0
        line.turn()
        assert DEAL.manifest in line.at_start["P01"]
    finally:
        line.close()


def test_a_stray_file_is_told_to_nobody_else(apart: Federation) -> None:
    """What lies in a member's own folder is for its own log; a peer with a wrong path does not learn the folder."""
    mirror = Mirror(read_plan(apart.plan_file), apart.config("P01").parent / "mirror")
    (mirror._folder / "notes-of-a-project.json").touch()
    with pytest.raises(ExchangeConflict, match="notes-of-a-project") as own:
        [mirror.message(path) for path in mirror.paths()]
    assert "notes" not in str(refusal(own.value))
    with pytest.raises(BadTransfer) as came:
        mirror.name_of("enrol/nothing.json")
    assert "enrol/nothing.json" in str(refusal(came.value))
    assert str(apart.folder) not in str(refusal(came.value))


def test_a_run_starts_when_the_server_has_told_all(
    line: Line, over: tuple[Federation, Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site with an empty mirror has every message of its own back before its partner's run can look for them.

    However many turns that takes: else a home restored from a backup could seal an update once more.
    """
    monkeypatch.setattr("pipeline.transport.sync.MOST_MESSAGES", 2)
    shutil.copytree(over[0].exchange, line.federation.config(AGGREGATOR).parent / "mirror", dirs_exist_ok=True)
    n_turns = 0
    while "P02" not in line.at_start:
        line.links["P02"].turn()
        assert not line.links["P02"].refused
        n_turns += 1
    assert n_turns > 3
    own = [path for path in over[1].paths() if over[1].name_of(path).sender == "P02"]
    assert [path for path in line.at_start["P02"] if path in own] == own
    assert UPDATE.manifest in own


def test_a_site_rests_while_it_has_nothing_to_say(line: Line, over: tuple[Federation, Mirror]) -> None:
    """After the start of its run, a site waits before each answer until there is a message or its run ended.

    The server's link has news in the same way, and neither has any once it was sent.
    """
    greeted(line, "P02")
    site, link = line.waits["P02"], line.links["P02"]
    assert site == []
    line.turn()
    assert not site[-1]()
    assert not link.has_news
    shutil.copytree(over[0].exchange, line.federation.config("P02").parent / "mirror", dirs_exist_ok=True)
    assert site[-1]()
    link.turn()
    assert not site[-1]()
    assert link.has_news  # it has taken the messages and should say so
    line.turn()
    assert not link.has_news
    line.runs["P02"].code = 0
    assert site[-1]()
    link.turn()
    assert link.ended == 0
    assert not site[-1]()


def test_no_message_is_looked_at_before_the_server_is_known(line: Line, over: tuple[Federation, Mirror]) -> None:
    """A site refuses messages before the server's proof, and does not start its partner's run."""
    with pytest.raises(WrongSite, match=r"before .*proved"):
        line.sides["P02"].answer(sent(over, READY))
    assert line.mirror("P02").paths() == []


def test_a_site_refuses_another_server(line: Line) -> None:
    """A server with another certificate than the kit names is refused, and its partner's run is not started."""
    link = line.link("P02")
    link._prover = Voucher("somebody")
    line.sides["P02"] = line.side("P02")
    link.turn()
    assert link.refused  # the site's proof is for the server of its kit, not for this one
    nonce = line.sides["P02"].answer({"hello": "00"})["hello"]
    forged = Voucher("somebody").prove("P02", line.plan.digest, nonce)
    with pytest.raises(WrongSite):
        line.sides["P02"].answer({"messages": [], "kept": [], "more": False, "proof": forged})
    assert Voucher(SERVER).prove("P02", line.plan.digest, nonce) != forged


def test_a_server_refuses_a_site_of_another_name(line: Line) -> None:
    """A site that proves another name than NVFlare's is refused for good, and the error names it."""
    line.links["P02"] = line.link("P02", line.sides["P03"].answer)
    line.links["P02"].turn()
    assert "P02" in line.links["P02"].refused
    assert line.links["P02"].has_failed


def test_a_site_s_refusal_is_said_at_the_server(line: Line) -> None:
    """A site's answer that it stops becomes the reason of the refusal, and is logged."""
    line.links["P02"] = line.link("P02", lambda _: {"refused": "the kit is another's"})
    line.links["P02"].turn()
    assert "kit is another's" in line.links["P02"].refused
    assert any("kit is another's" in report for report in line.reports)


def test_closing_a_site_ends_its_run(line: Line) -> None:
    """The partner's run is stopped with the job."""
    greeted(line, "P03")
    line.sides["P03"].close()
    assert line.runs["P03"].stopped


def test_a_mirror_is_a_local_folder(apart: Federation) -> None:
    """An exchange in a bucket is refused: messages would travel in two ways at once."""
    config = apart.config("P01")
    assert mirror_folder(PartnerConfig.read(config)) == config.parent / "mirror"
    config.write_text(config.read_text().replace('"mirror"', '"s3://bucket/place"'))
    with pytest.raises(ConfigError, match="local folder"):
        mirror_folder(PartnerConfig.read(config))


def test_a_folder_that_cannot_be_read_is_not_empty(over: tuple[Federation, Mirror], tmp_path: Path) -> None:
    """A missing folder has no messages; a folder that cannot be listed is an error."""
    plan = over[1].plan
    mirror, folder = Mirror(plan, tmp_path), tmp_path / plan.folder
    folder.rmdir()
    assert mirror.paths() == []
    folder.write_bytes(b"")
    with pytest.raises(ExchangeError, match=rf"{re.escape(plan.folder)}.*folder"):
        mirror.paths()
