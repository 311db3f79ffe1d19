"""The exact fields that the body of each kind of message must have."""

from collections.abc import Callable

from secure.encoding.canonical import is_digest
from secure.encoding.json_fields import expect_keys, is_name
from secure.errors import BadManifest
from secure.keys.keys import Role

_Check = Callable[[object], bool]


def _names_to_digests(value: object) -> bool:
    return isinstance(value, dict) and len(value) > 0 and all(is_name(k) and is_digest(v) for k, v in value.items())


def _sorted_names(value: object) -> bool:
    return isinstance(value, list) and all(map(is_name, value)) and len(value) > 0 and value == sorted(set(value))


BODIES: dict[str, dict[str, _Check]] = {
    "deal": {"group": is_digest},
    "pairing": {"group": is_digest},
    "ready": {"trunk": is_digest, "preparation": is_digest},
    "roster": {"members": _names_to_digests, "trunk": is_digest},
    "update": {"roster": is_digest},
    "sum": {"roster": is_digest, "updates": _names_to_digests},
    "void": {"roster": is_digest, "missing": _sorted_names},
}
ENROLMENT = frozenset({"deal", "pairing"})  # round 0, attempt 0
WITH_PAYLOAD = frozenset({"deal", "pairing", "update", "sum"})
_BY_AGGREGATOR = frozenset({"roster", "sum", "void"})


def sender_role(kind: str) -> Role:
    """Return the role of the members that send this kind of message."""
    return "aggregator" if kind in _BY_AGGREGATOR else "partner"


def check_body(kind: str, body: object, where: str) -> dict[str, object]:
    """Return the body if it has exactly the fields of its kind; raises BadManifest."""
    checks = BODIES[kind]
    fields = expect_keys(body, set(checks), f"{where}: body", BadManifest)
    for key, is_right in checks.items():
        if not is_right(fields[key]):
            raise BadManifest(f"{where}: body of a {kind}: {key} is not as expected")
    return fields
