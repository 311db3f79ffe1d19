"""Sealed files under right signatures: the audit reads each to its end, and adds every sum again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from secure.encoding.canonical import digest
from secure.errors import (
    BadContainer,
    ParameterMismatch,
    SecureError,
    SumIncomplete,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRoster,
    WrongRound,
    WrongSum,
)
from secure.messages.message_name import MessageName
from secure.sealing.container import Header
from tests.support.federation import Federation
from tests.support.signed_transcripts import (
    SUM,
    UPDATE,
    at_round,
    flip,
    refusal,
    rewrite,
    run_audit,
    say_again,
    unrelease,
)

OTHER = digest(b"another")

WRONG_HEADERS: dict[str, tuple[Callable[[Header], Header], type[SecureError]]] = {
    "plan": (lambda header: replace(header, plan=OTHER), WrongPlan),
    "round": (lambda header: replace(header, round_no=2), WrongRound),
    "attempt": (lambda header: replace(header, attempt=2), WrongAttempt),
    "roster": (lambda header: replace(header, roster=OTHER), WrongRoster),
    "fewer": (lambda header: replace(header, n_params=header.n_params - 1), BadContainer),
    "more": (lambda header: replace(header, n_params=header.n_params + 5000), BadContainer),
    "settings": (
        lambda header: replace(header, parameters=header.parameters | {"max_partners": 15}),
        ParameterMismatch,
    ),
    "modulus": (lambda header: replace(header, parameters=header.parameters | {"t": 65537}), ParameterMismatch),
}


@pytest.mark.parametrize(("change", "error"), WRONG_HEADERS.values(), ids=WRONG_HEADERS)
@pytest.mark.parametrize("name", [UPDATE, SUM], ids=["update", "sum"])
def test_a_sealed_file_for_something_else_is_refused(
    done: Federation, name: MessageName, change: Callable[[Header], Header], error: type[SecureError]
):
    """Its header is bound to plan, round, attempt, roster and parameters, whatever its sender signs."""
    rewrite(done, name, change)
    say_again(done, name, SUM)
    refusal(done, error, name.folder, Path(name.payload).name)


@pytest.mark.parametrize(
    ("name", "members"),
    [(UPDATE, ("P03",)), (SUM, ("P01", "P02")), (SUM, ("P01", "P02", "P03", "P04"))],
    ids=["update", "sum-of-two", "sum-of-four"],
)
def test_a_sealed_file_of_others_is_refused(done: Federation, name: MessageName, members: tuple[str, ...]):
    """An update is its sender's, a sum that of the roster."""
    rewrite(done, name, lambda header: replace(header, members=members))
    say_again(done, name, SUM)
    refusal(done, SumIncomplete, name.folder, ", ".join(members))


@pytest.mark.parametrize(("name", "other"), [(UPDATE, SUM), (SUM, UPDATE)], ids=["sum", "update"])
def test_a_sum_is_no_update(done: Federation, name: MessageName, other: MessageName):
    """Nor the other way round."""
    (done.exchange / name.payload).write_bytes((done.exchange / other.payload).read_bytes())
    say_again(done, name, SUM)
    refusal(done, WrongKind, name.folder)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: data[:0],
    "half": lambda data: data[: len(data) // 2],
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "no end mark": lambda data: data[:-8] + b"12345678",
    "another format": lambda data: b"ARROW1\0\0" + data,
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", [UPDATE, SUM], ids=["update", "sum"])
def test_a_damaged_layout_is_refused(done: Federation, name: MessageName, change: Callable[[bytes], bytes]):
    """A file that its sender signed damaged."""
    path = done.exchange / name.payload
    path.write_bytes(change(path.read_bytes()))
    say_again(done, name, SUM)
    refusal(done, BadContainer, name.folder, path.name)


def test_a_sum_that_is_not_the_sum_is_refused(done: Federation):
    """One coefficient changed by a malicious aggregator: right layout, right signature, wrong sum."""
    flip(done.exchange / SUM.payload, -1000)
    say_again(done, SUM)
    refusal(done, WrongSum, SUM.folder, "adding its updates")
    assert run_audit(done, recompute=False).n_recomputed == 0


def test_last_rounds_sum_under_this_rounds_name_is_refused(done: Federation):
    """Ciphertexts of round 1 as those of round 2, the header made to fit."""
    later = at_round(SUM, 2)
    first = (done.exchange / SUM.payload).read_bytes()
    seen: list[Header] = []
    rewrite(done, later, lambda header: seen.append(header) or header)
    (done.exchange / later.payload).write_bytes(first)
    rewrite(done, later, lambda _: seen[0])
    say_again(done, later)
    refusal(done, WrongSum, later.folder)


def test_an_update_that_was_exchanged_after_the_sum_is_refused(done: Federation):
    """A partner that signs another update of the right form later on, with an aggregator that lists it."""
    flip(done.exchange / UPDATE.payload, -1000)
    say_again(done, UPDATE, SUM)
    refusal(done, WrongSum, SUM.folder)


def test_an_update_of_a_void_or_open_attempt_is_read_too(done: Federation):
    """Nobody has added it, and still it must be in order."""
    later = at_round(UPDATE, 2)
    unrelease(done, 2)
    for path in (at_round(SUM, 2).manifest, at_round(SUM, 2).payload):
        (done.exchange / path).unlink()
    rewrite(done, later, lambda header: replace(header, plan=OTHER))
    say_again(done, later)
    refusal(done, WrongPlan, later.folder)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_any_file_passes(done: Federation, data: st.DataObject):
    """A byte flipped anywhere, or any file cut, deleted or doubled: refused with a typed error, or a missing update."""
    files = sorted(path for path in done.exchange.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    whole = path.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.sampled_from(["flip", "cut", "longer", "delete"]))
    if damage == "flip":
        flip(path, position, data.draw(st.integers(1, 255)))
    elif damage == "delete":
        path.unlink()
    else:
        path.write_bytes(whole[:position] if damage == "cut" else whole + whole[: position + 1])
    try:
        trail = run_audit(done)
    except (SecureError, PipelineError) as error:
        assert damage == "delete" or path.name in str(error)  # noqa: PT017 -- both endings are allowed
    else:
        assert damage == "delete"
        may_be_absent = path.name.startswith("update.") and path.suffix == ".arrow"
        is_closing = path.parent.parent.name == "round-0003"
        assert may_be_absent or is_closing
        assert trail.n_recomputed == (2 if is_closing else 1)
    finally:
        path.write_bytes(whole)
