"""A one-time linear tag over the slots, which reveals that an update was dropped, doubled or changed.

tag_i = <r, m_i> + u_i mod t over the masked slots m_i; r and the u_i are uniform mod t and known only to holders of
the tag seed. The sum of tags is <r, sum m_i> + sum u_i. THREAT_MODEL.md proves that a changed sum passes with
probability 1/t at most.
"""

import numpy as np

from secure.encoding.derive import attempt_context, derive_key, uniform_numbers
from secure.encoding.roster import Roster

_LIMB = np.uint64(27)
_LOW = np.uint64((1 << 27) - 1)
_RUN = 512
_PIECE = 16 * _RUN


class Tagger:
    """Computes the tag for one attempt: the sum of <r, m> mod t over all blocks, and the members' u."""

    __slots__ = ("_context", "_key", "_seed", "_t", "_total")

    def __init__(self, tag_seed: bytes, roster: Roster, t: int) -> None:
        context = attempt_context(roster)
        self._key = derive_key(tag_seed, "hocket/tag/v1", context)
        self._seed, self._context = tag_seed, context
        self._t, self._total = t, 0

    def part(self, slots: np.ndarray, block: int) -> int:
        """Return <r, m> mod t of a block. slots : (n_slots,) uint64 below t; the tag's own slot must be zero here."""
        r = uniform_numbers(self._key, block, slots.size, self._t)
        return inner_product(r, slots) % self._t

    def add(self, part: int) -> None:
        """Add <r, m> of a block, as `part` returns it."""
        self._total = (self._total + part) % self._t

    def tag(self, *members: str) -> int:
        """Return the tag of the added blocks, for the update of one member or the sum of several members' updates."""
        return (self._total + sum(self._member_term(name) for name in members)) % self._t

    def _member_term(self, member: str) -> int:
        key = derive_key(self._seed, "hocket/tag-member/v1", self._context | {"member": member})
        return int(uniform_numbers(key, 0, 1, self._t)[0])

    def __repr__(self) -> str:
        return "Tagger(hidden)"


def inner_product(a: np.ndarray, b: np.ndarray) -> int:
    """Return the exact sum of a_i b_i for numbers below 2^54, as a Python integer.

    In limbs of 27 bits every product is below 2^54 and every sum over a run below 2^63: nothing overflows.
    """
    # in pieces whose limbs stay in the cache
    return sum(_product_of_piece(a[i : i + _PIECE], b[i : i + _PIECE]) for i in range(0, max(a.size, b.size), _PIECE))


def _product_of_piece(a: np.ndarray, b: np.ndarray) -> int:
    a_low, a_high, b_low, b_high = a & _LOW, a >> _LIMB, b & _LOW, b >> _LIMB
    middle = _sum_of_products(a_low, b_high) + _sum_of_products(a_high, b_low)
    return _sum_of_products(a_low, b_low) + (middle << 27) + (_sum_of_products(a_high, b_high) << 54)


def _sum_of_products(a: np.ndarray, b: np.ndarray) -> int:
    whole = a.size // _RUN * _RUN
    runs = np.einsum("ij,ij->i", a[:whole].reshape(-1, _RUN), b[:whole].reshape(-1, _RUN))
    total: int = sum(runs.tolist()) + int(np.vdot(a[whole:], b[whole:]))
    return total
