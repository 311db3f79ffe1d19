"""A partner's counts of catalogue tasks and input columns, bound into every round after the counting round.

Who forges the sum of flags could show different counts to different partners. Where as many rows travel, their first
vectors may be the same, but a place belongs to another row at each. So `ready` names the counts, under a key that only
partners have, and pair keys depend on them: masks between partners with different counts do not cancel.
"""

from dataclasses import replace

from pipeline.protocol.enrolment import Enrolment
from secure.encoding.derive import derive_key
from secure.keys.group import GroupSecret
from secure.keys.pairing import counted_pair_key


def named_in_ready(preparation: str, group: GroupSecret, counted: str) -> str:
    """The `preparation` of a `ready` after the counting round; it confirms no guess to who lacks the group secret.

    preparation : digest of how this partner prepares compounds; counted : see `counted_digest`
    """
    context: dict[str, object] = {"preparation": preparation, "counted": counted}
    return derive_key(group.tag_seed, "hocket/counts/v1", context).hex()


def with_counts(enrolment: Enrolment, counted: str) -> Enrolment:
    """The enrolment with pair keys for the rounds after the counting round."""
    keys = {name: counted_pair_key(key, counted) for name, key in enrolment.pair_keys.items()}
    return replace(enrolment, pair_keys=keys)
