"""Inspection describes every file, without a key and without showing a secret."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure.encoding.canonical import digest
from secure.encoding.json_fields import to_base64
from secure.errors import BadCard, BadContainer, BadEnvelope, BadManifest, ParameterMismatch, UnknownFile
from secure.inspect import inspect_file
from secure.keys.group import deal_group_secret
from secure.keys.pairing import PairSeeds, seal_pair_seeds
from secure.messages.messages import sign_manifest
from secure.sealing.container import UPDATE, make_header, write_chunks


@pytest.fixture(scope="module")
def files(trio, tmp_path_factory):
    """One file of every kind, by kind."""
    folder, cards = tmp_path_factory.mktemp("files"), [trio.cards[name] for name in trio.partners]
    seeds = PairSeeds.generate("ash", ["birch", "cedar"])
    ready = {"trunk": trio.plan, "preparation": trio.plan, "confirmations": {"birch": "A" * 22 + "=="}}
    contents = {
        "card": trio.cards["ash"].to_text().encode(),
        "manifest: ready": sign_manifest(
            trio.keys["ash"], kind="ready", plan=trio.plan, round_no=1, attempt=0, time=0, body=ready
        ),
        "payload: hocket.deal": deal_group_secret(trio.group, trio.plan, "ash", cards),
        "payload: hocket.pairing": seal_pair_seeds(seeds, trio.plan, "ash", cards),
    }
    found = {}
    for number, (what, content) in enumerate(contents.items()):
        found[what] = folder / str(number)
        found[what].write_bytes(content)
    trio.group.save(folder / "group", trio.keys["ash"])
    seeds.save(folder / "seeds", trio.keys["ash"])
    found |= {"group secret": folder / "group", "pair seeds": folder / "seeds"}
    found["private keys"] = trio.keys["ash"].save(folder / "home", "passphrase")
    updates = trio.seal_all(folder, dict.fromkeys(trio.partners, np.zeros(100, np.float32)))
    trio.add(updates, folder / "sum")
    return found | {"hocket.sealed-update": updates[0], "hocket.sealed-sum": folder / "sum"}


def test_every_kind_is_recognised(files):
    """Each file's kind and size are shown, as values that JSON can hold."""
    for what, path in files.items():
        described = inspect_file(path)
        assert described["what"] == what
        assert described["size"] == path.stat().st_size
        json.dumps(described)


def test_details(files):
    """Public fields are shown."""
    assert inspect_file(files["hocket.sealed-sum"])["members"] == ["ash", "birch", "cedar"]
    assert inspect_file(files["payload: hocket.deal"])["envelopes"] == ["ash", "birch", "cedar"]
    assert inspect_file(files["private keys"])["passphrase"] is True
    assert inspect_file(files["manifest: ready"])["sender"] == "ash"
    assert inspect_file(files["manifest: ready"])["time"] == "1970-01-01T00:00:00Z"
    assert inspect_file(files["manifest: ready"])["digest"] == digest(files["manifest: ready"].read_bytes())
    update = files["hocket.sealed-update"]
    assert inspect_file(update)["sha256"] == digest(update.read_bytes())
    assert inspect_file(update)["bytes_per_parameter"] == round(update.stat().st_size / 100, 3)


def test_a_card_shows_its_fingerprint(files, trio):
    """A card shows the fingerprint that people compare by telephone; another card has another."""
    assert inspect_file(files["card"])["fingerprint"] == trio.cards["ash"].fingerprint
    assert len({card.fingerprint for card in trio.cards.values()}) == len(trio.cards)
    assert all(len(part) == 4 for part in trio.cards["ash"].fingerprint.split(" "))


@pytest.mark.parametrize(
    "change",
    [
        {"bits": 10**9}, {"bits": 16.0}, {"bits": True}, {"bits": None}, {"max_partners": 2}, {"max_partners": 10**9},
        {"max_weight": -1}, {"t": 65537}, {"fields": 10**9}, {"n_slots": 4096}, {"more": 1},
    ],
)  # fmt: skip
def test_parameters_of_no_plan_are_refused(trio, tmp_path, change):
    """A header with parameters of no plan is refused before they are used."""
    header = make_header(UPDATE, trio.roster(), ("ash",), 100, trio.parameters)
    with write_chunks(tmp_path / "x", replace(header, parameters=header.parameters | change), 64) as writer:
        writer.close()
    with pytest.raises(ParameterMismatch, match="x: sealed with"):
        inspect_file(tmp_path / "x")


@given(st.data())
def test_a_sealed_file_cut_anywhere_is_refused(files, tmp_path_factory, data):
    """A sealed file is read to its end, so a truncated one is refused."""
    what = data.draw(st.sampled_from(["hocket.sealed-update", "hocket.sealed-sum"]))
    content, path = files[what].read_bytes(), tmp_path_factory.getbasetemp() / "cut"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises((BadContainer, UnknownFile)):
        inspect_file(path)


def test_no_secret_is_shown(files, trio):
    """Files with secrets are shown with hidden content."""
    for what in ("group secret", "pair seeds", "private keys"):
        text = str(inspect_file(files[what]))
        assert "hidden" in text
        for secret in (trio.group.tag_seed, trio.group.structure_seed):
            assert secret.hex() not in text
            assert to_base64(secret) not in text
    seeds = PairSeeds.load(files["pair seeds"], trio.keys["ash"])
    assert to_base64(seeds.for_partner("birch")) not in str(inspect_file(files["pair seeds"]))


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x00\x01", b"{}", b"{", b"[1]", b"\xfe", b'{"format":"x"}', b"[[" * 9000]
)
def test_unknown_files(tmp_path, content):
    """Any other file is UnknownFile."""
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UnknownFile):
        inspect_file(tmp_path / "x")


def test_missing_files_and_folders(tmp_path):
    """A folder or missing path raises UnknownFile."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UnknownFile):
            inspect_file(path)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("card", BadCard),
        ("manifest: ready", BadManifest),
        ("payload: hocket.deal", BadEnvelope),
        ("hocket.sealed-update", BadContainer),
    ],
)
def test_damaged_files_have_the_error_of_their_kind(files, tmp_path, what, error):
    """A damaged file raises the error of its kind."""
    data = files[what].read_bytes()
    damaged = (
        data[:200]
        if what == "hocket.sealed-update"
        else data.replace(b'"', b' "', 1)
        if what != "card"
        else data + b"x = 1\n"
    )
    (tmp_path / "x").write_bytes(damaged)
    with pytest.raises(error):
        inspect_file(tmp_path / "x")
