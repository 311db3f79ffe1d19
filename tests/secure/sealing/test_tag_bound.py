"""The probability that a forgery passes the tag, counted with a tiny tag field.

A forgery turns slots and tag of the honest sum into others; as for the aggregator, the tag seed is not in its hands.
"""

import dataclasses
from collections.abc import Callable
from copy import copy

import numpy as np
import pytest
from scipy import stats

from secure.encoding.canonical import digest
from secure.encoding.roster import Roster
from secure.sealing.tags import Tagger

SMALLEST_P = 1e-6  # all seeds are fixed: these tests give the same in every run
MANY = np.array([1, 2, 3, 4, 1])


def one_slot(slots, tag):
    return np.concatenate([slots[:1] + 1, slots[1:]]), tag


def one_slot_and_tag(slots, tag):
    return np.concatenate([slots[:1] + 1, slots[1:]]), tag + 2


def many_slots(slots, tag):
    return slots + MANY, tag


def many_slots_and_tag(slots, tag):
    return slots + MANY, tag - 1


def moved(slots, tag):
    return slots[::-1], tag


def doubled(slots, tag):
    return 2 * slots, 2 * tag


def zeroed(slots, tag):
    return 0 * slots, 0 * tag


FORGERIES = [one_slot, one_slot_and_tag, many_slots, many_slots_and_tag, moved, doubled, zeroed]


def accepted(forgeries: list[Callable], t: int, n: int) -> np.ndarray:
    """(len(forgeries), n) bool: which forgeries would have passed, in n attempts that have r and u of their own."""
    roster = Roster(digest(b"plan"), 1, 0, ("ash", "birch", "cedar"), digest(b"roster"))
    slots = np.array([3, 1, 4, 1, 0])
    passed = np.zeros((len(forgeries), n), dtype=bool)
    for attempt in range(n):
        fresh = Tagger(bytes(32), dataclasses.replace(roster, attempt=attempt), t)
        shifts = copy(fresh).tag(*roster.members)

        def tag(numbers: np.ndarray, fresh: Tagger = fresh, shifts: int = shifts) -> int:
            tagger = copy(fresh)
            tagger.add(tagger.part((numbers % t).astype(np.uint64), 0))
            return (tagger.tag() + shifts) % t

        honest = tag(slots)
        for number, forge in enumerate(forgeries):
            forged, sent = forge(slots, honest)
            passed[number, attempt] = sent % t == tag(forged)
    return passed


@pytest.mark.slow
@pytest.mark.parametrize("t", [5, 13, 101])
def test_forgeries_pass_as_often_as_the_bound_says(t):
    """Any forgery, guessed tags included, passes once in t times (binomial test), the 1/t proved for the real t."""
    n = 1500
    for share in accepted(FORGERIES, t, n).sum(axis=1):
        assert stats.binomtest(int(share), n, 1 / t).pvalue > SMALLEST_P


def test_a_changed_tag_alone_never_passes():
    """The tag of the same slots is one number: the honest one passes, and no other."""
    others = [lambda slots, tag, e=e: (slots, tag + e) for e in range(13)]
    assert accepted(others, 13, 50).all(axis=1).tolist() == [True] + [False] * 12
    assert accepted(others, 13, 50).sum() == 50


def test_tries_add_up():
    """Different guesses for one attempt, one for each of k partners, pass k times in t, at most one of them."""
    t, n, k = 101, 500, 10
    guesses = [lambda slots, tag, e=e: (one_slot(slots, tag)[0], tag + e) for e in range(k)]
    passed = accepted(guesses, t, n)
    assert passed.sum(axis=0).max() == 1
    assert stats.binomtest(int(passed.sum()), n, k / t).pvalue > SMALLEST_P
