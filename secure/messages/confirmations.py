"""Key confirmation: by its `ready` a partner shows every other that both hold the same pair key.

A wrong pair seed would leave masks in the sum, which then is noise that nobody can explain. So it is named first.
"""

import hmac
from collections.abc import Mapping
from typing import cast

from secure.encoding.derive import CONFIRM_BYTES
from secure.encoding.json_fields import from_base64, to_base64
from secure.errors import BadManifest, WrongKey
from secure.keys.pairing import PairKey, confirmation
from secure.messages.messages import Manifest


def confirmations(pair_keys: Mapping[str, PairKey], plan_digest: str, round_no: int, me: str) -> dict[str, str]:
    """Return what `ready` has for every other partner: base64 of 16 bytes, by name."""
    return {name: to_base64(confirmation(key, plan_digest, round_no, me, name)) for name, key in pair_keys.items()}


def check_confirmation(ready: Manifest, me: str, key: PairKey, where: str) -> None:
    """Raise WrongKey unless the sender of a verified `ready` holds this pair key, which it shares with `me`."""
    text = cast(dict[str, str], ready.body["confirmations"]).get(me)
    if text is None:
        raise WrongKey(f"{where}: {ready.sender} confirms no pair key to {me}, expected one to every other partner")
    found = from_base64(text, CONFIRM_BYTES, where, BadManifest)
    if not hmac.compare_digest(found, confirmation(key, ready.plan, ready.round, ready.sender, me)):
        error = WrongKey(f"{where}: {ready.sender} and {me} hold different pair keys: one of them has a wrong seed")
        error.add_note("nothing was sealed. Compare pair.seeds of both homes with their pairings in the exchange;")
        error.add_note("if one is lost, the plan needs a revision: secure/KEYS.md")
        raise error
