"""Signs of life and of trouble: the newest holds, only its sender's signature counts, and nothing else changes."""

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.exchange.begun import deal_of, is_begun
from pipeline.exchange.signs import Sign, SignBoard, sign_name
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import read_transcript
from pipeline.plan.plan import Plan, read_plan
from secure.errors import BadSignature, SecureError
from secure.keys.keys import PrivateKeys, load_private_keys
from secure.messages.message_schemas import SIGNS
from tests.support.federation import AGGREGATOR, Federation
from tests.support.signed_transcripts import flip, run_audit

_FOLDERS = count()
PATHS = [sign_name(kind, "P02").manifest for kind in sorted(SIGNS)]
SIGN = st.builds(
    Sign,
    st.integers(0, 1 << 33),
    st.integers(0, 99),
    st.integers(0, 5),
    st.sampled_from(("training", "waiting", "preparation")),
    st.none() | st.integers(1, 5),
)


@pytest.fixture(scope="module")
def plan(enrolled: Federation) -> Plan:
    """The plan of the federation that nobody has run yet."""
    return read_plan(enrolled.plan_file)


@pytest.fixture(scope="module")
def keys(enrolled: Federation) -> PrivateKeys:
    """The keys of P02."""
    return load_private_keys(enrolled.home("P02").keys)


@settings(max_examples=20, deadline=None)
@given(signs=st.lists(SIGN, min_size=1, max_size=5))
def test_the_last_sign_holds(plan: Plan, keys: PrivateKeys, signs: list[Sign]):
    """Whatever its clock says, what a member posted last is its sign, later than all before, in one of two files."""
    exchange = Exchange(f"memory://signs-{next(_FOLDERS)}")
    board, times = SignBoard(plan, exchange), []
    assert board.latest("P02") is None
    for sign in signs:
        posted = board.post(keys, sign)
        assert board.latest("P02") == posted
        assert posted.body() == sign.body()
        times.append(posted.time)
    assert times == sorted(set(times))
    assert times[0] == max(1, signs[0].time)
    assert set(exchange.list_files()) <= set(PATHS)


def test_a_sign_that_was_changed_is_refused_and_replaced_by_its_member(plan: Plan, keys: PrivateKeys, tmp_path: Path):
    """Nobody can speak for a member, and what a stranger wrote under its name does not stop it."""
    board = SignBoard(plan, Exchange(f"file://{tmp_path}"))
    board.post(keys, Sign(100, 1, 1, "training"))
    flip(tmp_path / PATHS[0], -20)
    with pytest.raises(SecureError):
        board.latest("P02")
    again = board.post(keys, Sign(50, 1, 1, "sealing"))
    assert board.latest("P02") == again == Sign(50, 1, 1, "sealing")
    (tmp_path / sign_name("alive", "P01").manifest).write_bytes((tmp_path / PATHS[0]).read_bytes())
    with pytest.raises(SecureError, match="P02"):
        board.latest("P01")


def test_a_sign_of_another_plan_is_refused(plan: Plan, keys: PrivateKeys, enrolled: Federation, tmp_path: Path):
    """A sign belongs to one plan, as every message does."""
    SignBoard(plan, Exchange(f"file://{tmp_path}")).post(keys, Sign(100, 1, 1, "training"))
    other = tmp_path / "other.toml"
    other.write_text(enrolled.plan_file.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(SecureError, match="made for plan"):
        SignBoard(read_plan(other), Exchange(f"file://{tmp_path}")).latest("P02")


def test_replacing_leaves_no_other_file(tmp_path: Path):
    """Old content or new, whole; what a killed process left beside it is gone."""
    exchange = Exchange(f"file://{tmp_path}")
    exchange.replace(b"old", "signs/x.json")
    (tmp_path / "signs/.x.json.0123.part").write_bytes(b"half")
    exchange.replace(b"newer", "signs/x.json")
    assert exchange.read("signs/x.json") == b"newer"
    assert [path.name for path in (tmp_path / "signs").iterdir()] == ["x.json"]


def test_a_federation_begins_with_its_deal(ready: Federation, tmp_path: Path):
    """A folder with any other file, signs and messages of another federation included, has nothing of the plan."""
    plan = read_plan(ready.plan_file)
    exchange = Exchange(f"file://{tmp_path}")
    keys = load_private_keys(ready.home("P02").keys)
    SignBoard(plan, exchange).post(keys, Sign(100, 0, 0, "starting"))
    assert not is_begun(plan, exchange)
    deal = ready.exchange / deal_of(plan).manifest
    posted = tmp_path / deal_of(plan).manifest
    posted.parent.mkdir()
    (tmp_path / "round-0001").mkdir()
    posted.write_bytes(deal.read_bytes().replace(plan.digest.encode(), b"0" * 64))
    assert not is_begun(plan, exchange)
    posted.write_bytes(deal.read_bytes())
    assert is_begun(plan, exchange)


@pytest.mark.parametrize("exit_code", [None, 3])
def test_a_member_replaces_what_another_wrote_under_its_name(
    plan: Plan, keys: PrivateKeys, tmp_path: Path, exit_code: int | None
):
    """Both files are valid after it has posted a sign, and that sign holds."""
    board = SignBoard(plan, Exchange(f"file://{tmp_path}"))
    board.post(keys, Sign(100, 1, 1, "training"))
    for path in PATHS:
        (tmp_path / path).write_text("junk")
    sign, wrong = board.latest_valid("P02")
    assert (sign, sorted(wrong)) == (None, sorted(SIGNS))
    posted = board.post(keys, Sign(50, 1, 1, "training", exit_code))
    assert board.latest("P02") == posted
    assert (posted.exit_code, board.latest_valid("P02")) == (exit_code, (posted, {}))


def test_verify_checks_signs_and_they_are_no_part_of_the_course(done: Federation):
    """Each is one more file and signature; one that was changed is refused by name; no attempt has them."""
    before = run_audit(done)
    plan, exchange = read_plan(done.plan_file), Exchange(f"file://{done.exchange}")
    board = SignBoard(plan, exchange)
    for name in ("P02", AGGREGATOR):
        board.post(load_private_keys(done.home(name).keys), Sign(1_700_000_000, 2, 1, "training", 5))
    trail = run_audit(done)
    assert (trail.n_files, trail.n_signatures) == (before.n_files + 2, before.n_signatures + 2)
    assert (trail.attempts, trail.warnings, trail.notes) == (before.attempts, before.warnings, before.notes)
    assert len(read_transcript(plan, exchange).signs) == 2
    file = done.exchange / sign_name("trouble", AGGREGATOR).manifest
    file.write_bytes(file.read_bytes().replace(b'"exit_code":5', b'"exit_code":4'))
    with pytest.raises(BadSignature, match=r"trouble\.agg\.json"):
        run_audit(done)
