"""Attacks of a partner: which updates are refused, by which member, and which are not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure.ciphertexts.coefficients import pack_coefficients
from secure.ciphertexts.parameters import N_SLOTS
from secure.encoding.canonical import digest
from secure.errors import (
    BadContainer,
    BadRoster,
    ParameterMismatch,
    SumIncomplete,
    TagMismatch,
    UpdateOutOfRange,
    WrongAttempt,
    WrongKind,
    WrongPlan,
    WrongRoster,
    WrongRound,
)
from secure.sealing.add import add_updates
from secure.sealing.masks import Masks, make_masks
from tests.support.secure.ciphertexts import (
    SCALE,
    exact_bounds,
    packed,
    relabel,
    seal_integers,
    seal_masked,
    seal_numbers,
)
from tests.support.secure.consortium import Consortium, make_consortium

N = 60_000  # four chunks, one block

# What cannot be sent.


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, N // 2, -1])
def test_nan_and_infinity_are_not_sealed(trio, tmp_path, bad, where):
    """NaN and infinity have no fixed-point value: sealing refuses and leaves no file, whichever block they are in."""
    change = np.zeros(3 * N, np.float32)
    change[where] = bad
    with pytest.raises(UpdateOutOfRange):
        trio.seal("ash", change, tmp_path / "u")
    with pytest.raises(UpdateOutOfRange):
        trio.seal("ash", np.zeros_like(change), tmp_path / "u", residual=change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("huge", [1.0, 1e30, np.finfo(np.float32).max])
def test_out_of_range_is_clipped(trio, tmp_path, huge):
    """A change beyond the bound is sent as the bound, or refused if it is beyond float32 steps."""
    change = np.full(10, huge, np.float32)
    try:
        report = trio.seal("ash", change, tmp_path / "ash")
    except UpdateOutOfRange:
        assert huge > 1e30
        assert list(tmp_path.iterdir()) == []
        return
    for name in ("birch", "cedar"):
        trio.seal(name, change * 0, tmp_path / name)
    trio.add([tmp_path / name for name in trio.partners], tmp_path / "sum")
    assert (trio.open(tmp_path / "sum", 10).total == trio.parameters.limit).all()
    assert report.clipped_share == 1


def test_wrong_vectors_are_not_sealed(trio, tmp_path):
    """Wrong types, shapes or residuals, and rosters without this partner, are refused, and no file is written."""
    good = np.zeros(N, np.float32)
    for change, more in (
        (good.astype(np.float64), {}),
        (good.astype(np.int32), {}),
        (good[:-1], {"slices": [slice(0, N)]}),
        (good.reshape(2, -1), {"slices": [slice(0, N)]}),
        (good, {"residual": good[1:]}),
        (good, {"residual": good + np.float32(np.nan)}),
        (good, {"bounds": np.array([np.nan])}),
    ):
        with pytest.raises(UpdateOutOfRange):
            trio.seal("ash", change, tmp_path / "u", **more)
    with pytest.raises(BadRoster):
        trio.seal("ash", good, tmp_path / "u", trio.roster("birch", "cedar", "date"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("weight", [0, -1, 501, 1 << 40])
def test_wrong_weights_are_not_sealed(tmp_path, weight):
    """A weight is 1 to max_weight: sealing refuses others and leaves no file."""
    c = make_consortium(3, weights="size", max_weight=500)
    with pytest.raises(UpdateOutOfRange):
        c.seal("ash", np.zeros(10, np.float32), tmp_path / "u", weight=weight)
    assert list(tmp_path.iterdir()) == []


# What the aggregator refuses before it writes anything.


@pytest.fixture(scope="module")
def delivered(trio, tmp_path_factory) -> dict[str, Path]:
    """Three valid updates."""
    folder = tmp_path_factory.mktemp("delivered")
    return {name: seal_integers(trio, name, np.zeros(N), folder / name, trio.roster()) for name in trio.partners}


def not_added(trio, files, tmp_path, error, culprit):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error) as caught:
        add_updates(files, trio.parameters, tmp_path / "sum", roster=trio.roster())
    assert culprit in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"plan": digest(b"x")}, WrongPlan),
        ({"round_no": 2}, WrongRound),
        ({"attempt": 1}, WrongAttempt),
        ({"digest": digest(b"x")}, WrongRoster),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.__name__,
)
@pytest.mark.parametrize("position", [0, 2])
def test_updates_for_something_else_are_not_added(trio, delivered, tmp_path, change, error, position):
    """An update sealed for another plan, round, attempt or roster: its header is refused, and named."""
    seal_integers(trio, "cedar", np.zeros(N), tmp_path / "bad", dataclasses.replace(trio.roster(), **change))
    files = [delivered["ash"], delivered["birch"]]
    files.insert(position, tmp_path / "bad")
    not_added(trio, files, tmp_path, error, "bad")


def test_updates_of_other_shape_are_not_added(trio, delivered, tmp_path):
    """Other parameters, another number of changes, a sum, a name twice or a stranger's: refused, and named."""
    good, roster = [delivered["ash"], delivered["birch"]], trio.roster()
    other = make_consortium(3, bits=8)
    other.seal("cedar", np.zeros(N, np.float32), tmp_path / "parameters", roster)
    not_added(trio, [*good, tmp_path / "parameters"], tmp_path, ParameterMismatch, "parameters")
    seal_integers(trio, "cedar", np.zeros(N - 1), tmp_path / "short", roster)
    not_added(trio, [*good, tmp_path / "short"], tmp_path, BadContainer, "short")
    trio.add(list(delivered.values()), tmp_path / "a-sum")
    not_added(trio, [*good, tmp_path / "a-sum"], tmp_path, WrongKind, "a-sum")
    not_added(trio, [*good, good[0]], tmp_path, SumIncomplete, "ash")
    relabel(delivered["cedar"], tmp_path / "stranger", "date", roster, trio.parameters)
    not_added(trio, [*good, tmp_path / "stranger"], tmp_path, SumIncomplete, "date")


def test_numbers_that_are_no_ciphertext_are_not_added(trio, delivered, tmp_path):
    """A coefficient of q or more, in the last chunk of one update: refused, that update named, no sum left."""
    data = bytearray(delivered["birch"].read_bytes())
    words = np.full((1, N_SLOTS), trio.parameters.q - 1, np.uint64)
    words[0, 9] += 1
    chunk = pack_coefficients(words, trio.parameters.q.bit_length()).tobytes()
    end = data.rindex(b"\xff\xff\xff\xff\x00\x00\x00\x00") - -trio.parameters.update_chunk_bytes % 8
    data[end - len(chunk) : end] = chunk
    (tmp_path / "bad").write_bytes(data)
    files = [delivered["ash"], tmp_path / "bad", delivered["cedar"]]
    not_added(trio, files, tmp_path, BadContainer, "update 2 of 3")


# What a partner with changed software can do to the sum.


@pytest.fixture(scope="module", params=[(16, 3), (16, 16), (8, 3), (8, 16)], ids=str)
def victims(request, tmp_path_factory) -> tuple[Consortium, dict[str, np.ndarray], dict[str, Path]]:
    """Consortium of three, the honest integers and updates of two of them."""
    bits, max_partners = request.param
    c = make_consortium(3, bits=bits, max_partners=max_partners)
    rng, folder, n = np.random.default_rng(0), tmp_path_factory.mktemp("victims"), 40
    integers = {name: rng.integers(-c.parameters.limit, c.parameters.limit + 1, n) for name in ("ash", "birch")}
    return c, integers, {name: seal_integers(c, name, x, folder / name, c.roster()) for name, x in integers.items()}


def poisoned(victims, tmp_path, slots):
    """Open the sum of two honest updates and cedar's, which holds these slots."""
    c, honest, files = victims
    n = honest["ash"].size
    seal_numbers(c, "cedar", slots, tmp_path / "cedar", c.roster(), n)
    add_updates([*files.values(), tmp_path / "cedar"], c.parameters, tmp_path / "sum", roster=c.roster())
    return c.open(tmp_path / "sum", n, bounds=exact_bounds(c.parameters))


def sealed_by_force(c, integers):
    """Return the slots of an update of any integers, which hocket itself would refuse to seal."""
    slots = packed(integers, c.parameters)
    slots[-2] = 1
    return slots


def test_poison_within_the_bounds_is_not_noticed(victims, tmp_path):
    """A partner can send any numbers within the bounds: such poisoning is not detected."""
    c, honest, _ = victims
    worst = np.where(honest["ash"] > 0, -c.parameters.limit, c.parameters.limit)
    opened = poisoned(victims, tmp_path, sealed_by_force(c, worst))
    np.testing.assert_array_equal(opened.total, sum(honest.values()) + worst)


def test_poison_of_several_partners_weight_is_not_noticed(victims, tmp_path):
    """A partner can send what n would, as long as the sum is what n may send: the mean is anything up to the bound."""
    c, honest, _ = victims
    wanted = np.full(40, 3 * c.parameters.limit)  # the largest sum of all three
    opened = poisoned(victims, tmp_path, sealed_by_force(c, wanted - sum(honest.values())))
    np.testing.assert_array_equal(opened.total, wanted)
    np.testing.assert_allclose(opened.mean, exact_bounds(c.parameters)[0], rtol=1e-6)


def test_poison_beyond_what_all_may_send_is_noticed(victims, tmp_path):
    """A sum beyond what n members may send, in the highest field of a slot, is refused by all who open it."""
    c, honest, _ = victims
    p, ours = c.parameters, np.zeros(40, dtype=np.int64)
    highest = p.n_value_slots(40) * (p.fields - 1)
    ours[highest] = 3 * p.limit + 1 - sum(honest.values())[highest]
    with pytest.raises(UpdateOutOfRange):
        poisoned(victims, tmp_path, sealed_by_force(c, ours))


def test_poison_that_spills_over(victims, tmp_path):
    """Such a sum in a lower field is refused in rosters below max_partners; in full ones the next field gets the rest.

    It is then as if other numbers within the bounds had been sent.
    """
    c, honest, _ = victims
    p, total, ours = c.parameters, sum(honest.values()), np.zeros(40, dtype=np.int64)
    ours[0] = 3 * p.limit + 1 - total[0]
    if p.max_partners > 3:
        with pytest.raises(UpdateOutOfRange):
            poisoned(victims, tmp_path, sealed_by_force(c, ours))
        return
    opened = poisoned(victims, tmp_path, sealed_by_force(c, ours))
    total[0] = -3 * p.limit  # the digit is zero
    total[p.n_value_slots(40)] += 1
    np.testing.assert_array_equal(opened.total, total)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_sent_the_mean_is_within_the_bound(victims, tmp_path_factory, data):
    """Any numbers mod t in any slots: refused, or a sum of integers that n members may have sent."""
    c = victims[0]
    p, slots = c.parameters, sealed_by_force(c, np.zeros(40))
    for slot in data.draw(st.lists(st.integers(0, 20), max_size=4)):
        slots[slot] = data.draw(st.integers(0, p.t - 1))
    try:
        opened = poisoned(victims, tmp_path_factory.mktemp("poison"), slots)
    except UpdateOutOfRange:
        return
    assert np.abs(opened.total).max() <= 3 * p.limit
    assert np.abs(opened.mean).max() <= exact_bounds(p)[0] * (1 + 2**-23)


@pytest.mark.parametrize(
    ("weight", "is_noticed"),
    [(1000, False), (1800, False), (1801, True), (-1197, False), (-1198, True), (-1200, True), (1 << 40, True)],
)
def test_poisoned_weights(tmp_path, weight, is_noticed):
    """A weight beyond max_weight, or below one, is noticed where the sum is beyond what n may send, and not before.

    The mean is larger the smaller the sum of weights is: up to max_weight x the bound.
    """
    c, n = make_consortium(3, weights="size", max_weight=1000), 40
    p, roster = c.parameters, c.roster()
    files = [
        seal_integers(c, name, np.full(n, SCALE), tmp_path / name, roster, weight=600) for name in ("ash", "birch")
    ]
    slots = packed(np.full(n, p.limit), p)
    slots[-2] = weight % p.t
    files.append(seal_numbers(c, "cedar", slots, tmp_path / "cedar", roster, n))
    add_updates(files, p, tmp_path / "sum", roster=roster)
    if is_noticed:
        with pytest.raises(UpdateOutOfRange):
            c.open(tmp_path / "sum", n, bounds=exact_bounds(p))
        return
    opened = c.open(tmp_path / "sum", n, bounds=exact_bounds(p))
    assert opened.weight_total == 1200 + weight
    np.testing.assert_allclose(opened.mean, opened.total / SCALE * 1000 / (1200 + weight), rtol=1e-6)
    assert np.abs(opened.sent_mean).max() <= exact_bounds(p)[0]  # what the next bounds follow


# In another's name (which needs the other's signature on the manifest).


def test_an_update_under_two_names(trio, delivered, tmp_path):
    """An update sent again as another member's: its tag has the wrong shift u, and masks do not cancel."""
    relabel(delivered["ash"], tmp_path / "birch", "birch", trio.roster(), trio.parameters)
    files = [delivered["ash"], tmp_path / "birch", delivered["cedar"]]
    add_updates(files, trio.parameters, tmp_path / "sum", roster=trio.roster())
    with pytest.raises(TagMismatch):
        trio.open(tmp_path / "sum", N, bounds=exact_bounds(trio.parameters))


def test_an_update_made_in_anothers_name(trio, delivered, tmp_path):
    """A partner can make another's tag, not its masks: the sum passes the tag, but is noise beyond all limits."""
    p, roster = trio.parameters, trio.roster()
    (with_birch, _), _ = make_masks("ash", roster, trio.pair_keys["ash"], p.t).streams
    slots = sealed_by_force(trio, np.zeros(N))
    Masks(((with_birch, False),), p.t).add_to(slots, 0)  # the mask of birch and cedar is missing
    seal_masked(trio, "birch", slots, tmp_path / "birch", roster, N)
    files = [delivered["ash"], tmp_path / "birch", delivered["cedar"]]
    add_updates(files, p, tmp_path / "sum", roster=roster)
    with pytest.raises(UpdateOutOfRange):
        trio.open(tmp_path / "sum", N, bounds=exact_bounds(p))
