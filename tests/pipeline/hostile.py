"""Members' keys in bad hands: they sign and post through the real classes whatever they like."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.exchange import exchange_at
from pipeline.home import Home, MessageName
from pipeline.mail import Mail
from pipeline.plan import Plan, read_plan
from secure.canonical import digest
from secure.container import read_chunks, write_chunks
from secure.keys import load_private_keys
from secure.messages import parse_manifest
from secure.parameters import seal_parameters
from tests.pipeline.federation import AGGREGATOR, Federation

OTHER = digest(b"another")  # of anything


def say(
    federation: Federation,
    name: MessageName,
    body: dict[str, object],
    payload: Path | None = None,
    *,
    plan: Plan | None = None,
) -> str:
    """Post a message with its sender's genuine signature in place of what stands there; the manifest's digest."""
    keys = load_private_keys(federation.home(name.sender).keys)
    face = Home(Path(tempfile.mkdtemp(dir=federation.folder)))  # knows nothing of what its owner said before
    mail = Mail(plan or read_plan(federation.plan_file), keys, face, exchange_at("exchange", federation.folder))
    for path in (name.manifest, name.payload):
        (federation.exchange / path).unlink(missing_ok=True)
    if payload is not None:
        face.outbox(name.payload).parent.mkdir(parents=True)
        shutil.copyfile(payload, face.outbox(name.payload))
    mail.post(name, body)
    return mail.digest_of(name)


def call_roster(federation: Federation, members: dict[str, str], *, round_no: int = 1, attempt: int = 1) -> str:
    """Sign and post a roster with these members' ready digests; the digest to which all is bound."""
    trunk = body_of(federation, MessageName("ready", round_no, attempt, "P01"))["trunk"]
    return say(federation, MessageName("roster", round_no, attempt, AGGREGATOR), {"members": members, "trunk": trunk})


def ready_digests(federation: Federation, *members: str, round_no: int = 1, attempt: int = 1) -> dict[str, str]:
    """Digests of these partners' ready messages as they were posted."""
    return {name: digest_of(federation, MessageName("ready", round_no, attempt, name)) for name in members}


def digest_of(federation: Federation, name: MessageName) -> str:
    """Digest of a posted manifest."""
    return digest(federation.posted(name).read_bytes())


def body_of(federation: Federation, name: MessageName) -> dict[str, Any]:
    """What a posted message says."""
    return parse_manifest(federation.posted(name).read_bytes(), "here").body


def relabelled(federation: Federation, source: Path, **changes: object) -> Path:
    """The ciphertexts of a sealed file under another header."""
    parameters = seal_parameters(read_plan(federation.plan_file).seal)
    chunk_bytes = parameters.sum_chunk_bytes if source.name.startswith("sum.") else parameters.update_chunk_bytes
    target = source.with_name(f"{source.name}.relabelled")
    with read_chunks(source) as reader:
        reader.expect_shape(parameters)
        header = replace(reader.header, **changes)
        with write_chunks(target, header, chunk_bytes) as writer:
            for _, chunks in reader:
                writer.write(chunks)
            writer.close()
    return target.replace(federation.folder / target.name)
