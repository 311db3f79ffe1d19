"""Messages' names and paths: each message has one path, each path one message."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ExchangeConflict
from pipeline.exchange.storage import Exchange
from pipeline.exchange.transcript import message_of
from secure.messages.message_name import MessageName
from secure.messages.message_schemas import BODIES, ENROLMENT, OUTSIDE_ROUNDS, SIGNS, WITH_PAYLOAD

EXCHANGE = Exchange("memory://paths")

NAMES = st.builds(
    MessageName,
    st.sampled_from(sorted(set(BODIES) - OUTSIDE_ROUNDS)),
    st.integers(1, 9999),
    st.integers(1, 2000),
    st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
) | st.builds(
    MessageName,
    st.sampled_from(sorted(ENROLMENT)),
    st.just(0),
    st.just(0),
    st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
)
ALL_NAMES = NAMES | st.builds(
    MessageName,
    st.sampled_from(sorted(SIGNS)),
    st.just(0),
    st.just(0),
    st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True),
)


@given(ALL_NAMES)
def test_a_message_is_found_again_by_its_paths(name: MessageName):
    """A message's path gives its name again."""
    assert message_of(name.manifest, EXCHANGE) == (name, True)
    if name.kind in WITH_PAYLOAD:
        assert message_of(name.payload, EXCHANGE) == (name, False)


@settings(max_examples=50)
@given(st.lists(ALL_NAMES, min_size=2, max_size=20, unique=True))
def test_no_two_messages_share_a_path(names: list[MessageName]):
    """Manifest or payload, each path belongs to one message."""
    paths = [path for name in names for path in (name.manifest, name.payload)]
    assert len(set(paths)) == len(paths)


@settings(max_examples=50)
@given(st.lists(NAMES, max_size=20))
def test_messages_list_in_their_order(names: list[MessageName]):
    """A folder listing shows enrolment first, then the rounds in order; attempts up to 99 too."""
    names = [name for name in names if name.attempt < 100]
    folders = [name.folder for name in sorted(names, key=lambda name: (name.round_no, name.attempt))]
    assert folders == sorted(folders)


@pytest.mark.parametrize(
    "path",
    [
        "README",
        "enrol/deal.P01",
        "enrol/deal.P01.arrow",
        "enrol/deal.P01.json/x",
        "enrol/DEAL.P01.json",
        "round-1/attempt-01/ready.P01.json",
        "round-0001/attempt-1/ready.P01.json",
        "round-0001/attempt-001/ready.P01.json",
        "round-0001/ready.P01.json",
        "round-0001/attempt-01/update.P01.arrow.bak",
        "round-0001/attempt-01/update.P 1.json",
        "../enrol/deal.P01.json",
        "signs/deal.P01.json",
        "enrol/alive.P01.json",
        "round-0001/attempt-01/trouble.P01.json",
        "signs/alive.P01.arrow",
    ],
)
def test_a_path_of_no_message_is_refused(path: str):
    """Any other path is refused; each message has exactly one path."""
    with pytest.raises(ExchangeConflict, match="is no message"):
        message_of(path, EXCHANGE)
