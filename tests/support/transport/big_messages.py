"""Messages with payloads as large as those of real trunks, signed by members who never trained one."""

import shutil
from pathlib import Path

import numpy as np

from pipeline.plan.plan import read_plan
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import payload_digest, sign_manifest
from tests.support.federation import Federation

_PIECE = 1 << 20
_DIGEST = "ab" * 32


def with_large_trunk(federation: Federation, n_hidden: int) -> None:
    """Agree on a first layer of 32,768 x n_hidden; nobody can begin, for the custodian has dealt nothing."""
    plan = federation.plan_file.read_text()
    plan = plan.replace("n_bits = 512", "n_bits = 32768").replace("hidden = [16]", f"hidden = [{n_hidden}]")
    federation.plan_file.write_text(plan)
    custodian = federation.home("P01")
    shutil.rmtree(custodian.outbox("enrol"))
    custodian.group_secret.unlink()


def place(federation: Federation, kind: str, sender: str, n_bytes: int) -> Path:
    """Put a message of round 1 into its sender's mirror as its run would; the payload's path."""
    payload, hidden = prepare(federation, kind, sender, n_bytes)
    reveal(hidden)
    return payload


def reveal(hidden: Path) -> None:
    """Let a prepared message be seen."""
    hidden.rename(hidden.with_name(hidden.name.removeprefix(".")))


def prepare(federation: Federation, kind: str, sender: str, n_bytes: int) -> tuple[Path, Path]:
    """A message's payload, and its manifest under a name that nobody looks at."""
    name = MessageName(kind, 1, 1, sender)
    mirror = federation.config(sender).parent / "mirror"
    payload, manifest = mirror / name.payload, mirror / name.manifest
    payload.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(sender) + ord(sender[-1]))
    with payload.open("wb") as file:
        for start in range(0, n_bytes, _PIECE):
            file.write(rng.bytes(min(_PIECE, n_bytes - start)))
    of_kind = {
        "update": {"release_commitment": _DIGEST},
        "sum": {"updates": dict.fromkeys(federation.partners, _DIGEST)},
    }
    body = {"roster": _DIGEST, **of_kind[kind]}
    keys = load_private_keys(federation.home(sender).keys, None)
    digest = read_plan(federation.plan_file).digest
    data = sign_manifest(
        keys, kind=kind, plan=digest, round_no=1, attempt=1, time=0, body=body, payload=payload_digest(payload)
    )
    hidden = manifest.with_name(f".{manifest.name}")
    hidden.write_bytes(data)
    return payload, hidden


def arrived(federation: Federation, kind: str, sender: str, at: str) -> bool:
    """Whether a placed message is in another member's mirror."""
    return (federation.config(at).parent / "mirror" / MessageName(kind, 1, 1, sender).manifest).exists()
