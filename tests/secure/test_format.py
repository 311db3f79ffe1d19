"""FORMAT.md, the program written from it (plain_reader.py) and hocket agree about the same bytes."""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.plan.plan import read_plan
from secure import errors
from secure.ciphertexts.parameters import N_SLOTS, SealSettings, seal_parameters
from secure.keys.group import receive_group_secret
from secure.keys.pairing import open_pair_seed
from secure.messages.messages import check_payload, parse_manifest, verify_manifest
from secure.messages.provenance import verify_provenance
from secure.sealing.add import add_updates
from secure.sealing.fixed_point import next_bounds
from tests.support.secure import plain_reader as plain
from tests.support.secure.consortium import make_consortium
from tests.support.secure.worked_example import FOLDER, HUB, N_PARAMS, PARTNERS, WEIGHTS, Example, integers, known_bytes

FORMAT = Path(errors.__file__).with_name("FORMAT.md").read_text()
LIST = b"id,threshold\nC1,6.0\n"
KINDS = ("deal", "pairing", "ready", "update")


def block(name: str) -> dict:
    """A block of JSON in FORMAT.md."""
    return json.loads(re.search(rf"```json {name}\n(.*?)```", FORMAT, re.DOTALL)[1])


@pytest.fixture(scope="module")
def example() -> Example:
    return Example()


@pytest.fixture(scope="module")
def total(example, tmp_path_factory) -> Path:
    return example.add(tmp_path_factory.mktemp("sum") / "sum")


@pytest.fixture(scope="module")
def group(example) -> bytes:
    """The group secret that birch opens in the deal."""
    deal = json.loads(example.path("deal", "ash", "envelopes").read_bytes())
    envelope = base64.b64decode(deal["envelopes"]["birch"])
    return plain.open_envelope(known_bytes("birch", 128), envelope, plain.envelope_info(deal, "birch"))


@pytest.fixture(scope="module")
def pair_keys(example) -> dict[tuple[str, str], bytes]:
    """Pair keys from the seeds in the pairings' envelopes."""

    def seed(i: str, j: str) -> bytes:
        pairing = json.loads(example.path("pairing", i, "envelopes").read_bytes())
        envelope = base64.b64decode(pairing["envelopes"][j])
        return plain.open_envelope(known_bytes(j, 128), envelope, plain.envelope_info(pairing, j))

    plan, pairs = plain.digest(canonical_plan()), [("ash", "birch"), ("ash", "cedar"), ("birch", "cedar")]
    return {(i, j): plain.pair_key(plan, i, j, seed(i, j), seed(j, i)) for i, j in pairs}


def canonical_plan() -> bytes:
    return plain.canonical_plan((FOLDER / "plan.toml").read_text(), block("defaults"))


def card_of(name: str) -> dict[str, str]:
    cards = json.loads(canonical_plan())["card"]
    found = next(card for card in cards if card["name"] == name)
    return {key: value for key, value in found.items() if value is not None}


def test_the_page_speaks_of_these_bytes(example, total, group, pair_keys):
    """The second program computes every value of FORMAT.md's example."""
    header, (chunk,) = plain.read_sealed(example.update("ash").read_bytes())
    p, tag_seed = header["parameters"], group[54:86]
    context = plain.attempt_of(header)
    mask = plain.mask_of(
        "ash", {"birch": pair_keys["ash", "birch"], "cedar": pair_keys["ash", "cedar"]}, N_SLOTS, header
    )
    slots, seed = packed("ash", header), known_bytes("release seed of ash", 32)
    stream = plain.release_stream("ash", seed, N_SLOTS, header)
    found = {
        "plan digest": plain.digest(canonical_plan()),
        "fingerprint of ash": plain.digest(plain.card_message(card_of("ash")))[:32],
        "ring": group[22:54].hex(),
        "group digest": plain.digest(b"hocket/group/v1\0" + group),
        "pair key of ash and birch": pair_keys["ash", "birch"].hex(),
        "digest of ash's ready": plain.digest(example.path("ready", "ash").read_bytes()),
        "roster digest": plain.digest(example.path("roster", HUB).read_bytes()),
        "parameters": {key: p[key] for key in ("q", "t", "radix", "fields")},
        "slots 0, 1, 25 and 26 of ash": slots[[0, 1, 25, 26]].tolist(),
        "its masks there": mask[[0, 1, 25, 26]].tolist(),
        "commitment of ash": plain.commitment("ash", seed, header),
        "its release stream there": stream[[0, 1, 25, 26]].tolist(),
        "its weight, masked": (slots + mask + stream)[8190] % p["t"],
        "first of r": plain.uniform(plain.derive(tag_seed, "hocket/tag/v1", context), 0, 1, p["t"])[0],
        "tag of ash": tag_of("ash", slots + mask + stream, tag_seed, header),
        "c1 of ash, first two": plain.expand_seed(chunk[:64], p["q"])[:2].tolist(),
        "digest of the sum": plain.digest(total.read_bytes()),
        "mean change of parameter 0": float(example.open(total).mean[0]),
    }
    assert found == block("values"), json.dumps(found, indent=2)


def packed(name: str, header: dict) -> np.ndarray:
    """Slots of a partner's only chunk before masks and tag."""
    p, v = header["parameters"], plain.n_value_slots(header)
    digits = np.zeros(v * p["fields"], dtype=object)
    digits[:N_PARAMS] = integers(name) + 32_767
    slots = np.zeros(N_SLOTS, dtype=object)
    slots[:v] = sum(digits[field * v : (field + 1) * v] * p["radix"] ** field for field in range(p["fields"]))
    slots[8190] = WEIGHTS[name]
    return slots


def tag_of(name: str, masked: np.ndarray, tag_seed: bytes, header: dict) -> int:
    masked = masked % header["parameters"]["t"]
    masked[8191] = 0
    return plain.expected_tag(masked, [name], tag_seed, header)


def laid_out(what: str, values: dict[str, bytes]) -> bytes:
    """Return the bytes of FORMAT.md's hexadecimal layout of a message, with these values in its brackets."""
    text = re.search(rf"^    {what} (.*?)(?=^    \w|^$)", FORMAT, re.DOTALL | re.MULTILINE)[1]
    parts = re.findall(r"\[.*?\]|\b[0-9a-f]{8}\b", text)
    return b"".join(values[part] if part.startswith("[") else bytes.fromhex(part) for part in parts)


def test_pictures(example, total):
    """The hexadecimal layouts of FORMAT.md are the bytes of the files."""
    for path in (example.update("cedar"), total):
        data = path.read_bytes()
        header, (chunk,) = plain.read_sealed(data)
        text = plain.canonical(header)
        padded = text + bytes(4 - len(text) % 4)
        content = len(padded) + 168
        numbers = {"S": content + -content % 8, "A + 52": len(padded) + 52, "A + 12": len(padded) + 12}
        numbers |= {"bytes of the header": len(text), "bytes of a chunk": len(chunk)}
        values = {f"[4: {name}]": number.to_bytes(4, "little") for name, number in numbers.items()}
        values |= {"[A: header, then 1 to 4 zeros, A a multiple of 4]": padded}
        values |= {"[zeros to a multiple of 8]": bytes(-content % 8), "[8: chunks]": (1).to_bytes(8, "little")}
        values |= {"[8: bytes of the chunks]": len(chunk).to_bytes(8, "little")}
        values |= {"[24: zeros]": bytes(24), "[8: zeros]": bytes(8)}
        assert data == laid_out("schema", values) + laid_out("batch", values) + chunk + laid_out("end", values)


def test_plan_digest(example, tmp_path):
    """The defaults of FORMAT.md and the settings of plan.toml give the plan's digest, a revision's too."""
    assert plain.digest(canonical_plan()) == example.plan.digest
    revised = (FOLDER / "plan.toml").read_text()
    revised += f'[continues]\nplan = "{example.plan.digest}"\nrevision = 2\nround = 2\n'
    (tmp_path / "plan.toml").write_text(revised)
    assert plain.digest(plain.canonical_plan(revised, block("defaults"))) == read_plan(tmp_path / "plan.toml").digest


@pytest.mark.parametrize("more", ["", "noise_multiplier = 2\nmost_noise = 3", "clip_norm = 2"])
def test_plan_digest_with_privacy(more, tmp_path):
    """The settings of differential privacy are part of the plan's digest; a plan without them is as before."""
    text = (FOLDER / "plan.toml").read_text().replace('"size"', '"equal"')
    text = text.replace("[[card]]", f"[privacy]\nepsilon = 8\ndelta = 1e-6\n{more}\n[[card]]", 1)
    (tmp_path / "plan.toml").write_text(text)
    assert plain.digest(plain.canonical_plan(text, block("defaults"))) == read_plan(tmp_path / "plan.toml").digest


def test_plan_digest_with_a_first_trunk(tmp_path):
    """The digest of the trunk's file is part of the plan's, its path is not."""
    start = f'[trunk]\nstart = "trunk.safetensors"\nstart_digest = "{"5a" * 32}"'
    text = (FOLDER / "plan.toml").read_text()
    assert "[trunk]" in text
    (tmp_path / "plan.toml").write_text(text := text.replace("[trunk]", start))
    assert plain.digest(plain.canonical_plan(text, block("defaults"))) == read_plan(tmp_path / "plan.toml").digest


@pytest.mark.parametrize("columns", ["", "withhold = 0.5", "min_partners = 0\nmin_compounds = 4", "min_partners = 2"])
def test_plan_digest_with_columns(columns, tmp_path):
    """The settings of input columns are part of the plan's digest, unless nothing is counted."""
    text = (FOLDER / "plan.toml").read_text().replace("[columns]\nmin_partners = 0", f"[columns]\n{columns}")
    (tmp_path / "plan.toml").write_text(text)
    assert plain.digest(plain.canonical_plan(text, block("defaults"))) == read_plan(tmp_path / "plan.toml").digest


@pytest.mark.parametrize(
    "catalogue",
    [
        "tasks = []",
        'tasks = [{id = "B", threshold = 6.5}, {id = "A", threshold = 6}]',
        'min_partners = 2\ntasks = [{threshold = -0.125, id = "\u00e9 \\\\"}, {id = "A", threshold = 1e22}]',
        f'file = "list.csv"\nsha256 = "{hashlib.sha256(LIST).hexdigest()}"',
    ],
)
def test_plan_digest_with_a_catalogue(tmp_path, catalogue):
    """Section 13: tasks in the plan's order, thresholds as doubles, the minimum filled in; without tasks nothing.

    Of a file the SHA-256.
    """
    (tmp_path / "list.csv").write_bytes(LIST)
    text = (FOLDER / "plan.toml").read_text()
    with_catalogue = f"{text}\n[catalogue]\n{catalogue}\n"
    (tmp_path / "plan.toml").write_text(with_catalogue)
    found = plain.digest(plain.canonical_plan(with_catalogue, block("defaults")))
    assert found == read_plan(tmp_path / "plan.toml").digest
    assert (found == plain.digest(canonical_plan())) == (catalogue == "tasks = []")


def test_cards_and_manifests(example):
    """Every signature, payload digest and roster of the example is valid for both programs."""
    n_seen = 0
    for path in sorted(FOLDER.rglob("*.json")):
        kind, sender = path.name.split(".")[:2]
        card, message = card_of(sender), plain.card_message(card_of(sender))
        plain.verify(card, message, card["signature"])
        assert plain.digest(message)[:32] == example.cards[sender].fingerprint.replace(" ", "")
        found = plain.verify_manifest(path.read_bytes(), card)
        expected = example.expected(kind, found["round"] or 1)
        assert verify_manifest(path.read_bytes(), example.cards[sender], expected, path.name).body == found["body"]
        for end in ("envelopes", "arrow"):
            payload = path.with_suffix(f".{end}")
            if payload.exists():
                assert found["payload"] == {
                    "sha256": plain.digest(payload.read_bytes()),
                    "size": payload.stat().st_size,
                }
                check_payload(payload, parse_manifest(path.read_bytes(), kind).payload, path.name)
        n_seen += 1
    assert n_seen == 4 + 3 + 1 + 3 + 1 + 3 + 3 + 1 + 1 + 2
    for round_no in (1, 2):
        roster = json.loads(example.path("roster", HUB, round_no=round_no).read_bytes())["body"]
        readies = {name: example.path("ready", name, round_no=round_no).read_bytes() for name in PARTNERS}
        assert roster["members"] == {name: plain.digest(data) for name, data in readies.items()}
    digest = plain.digest(example.path("roster", HUB).read_bytes())
    for kind, sender in [*(("update", name) for name in PARTNERS), ("sum", HUB)]:
        assert example.manifest(kind, sender).body["roster"] == digest == example.roster.digest


def test_provenance(example):
    """Both programs read what ash signs of its model, and agree about the example's round."""
    data = example.provenance()
    found = plain.verify_provenance(data, card_of("ash"))
    verified = verify_provenance(data, example.cards["ash"], "provenance")
    assert found["rounds"] == [each.to_json() for each in verified.rounds]
    assert found["rounds"][0]["sum"] == plain.digest(example.path("sum", HUB).read_bytes())
    assert found["members"]["birch"] == plain.digest(plain.card_message(card_of("birch")))[:32]
    assert found["code"]["sources"] == verified.sources


def test_confirmations(example, pair_keys):
    """Each ready confirms the pair keys of both programs; that of another round, sender or receiver is another."""
    found = {name: example.manifest("ready", name).body["confirmations"] for name in PARTNERS}
    for (i, j), key in pair_keys.items():
        for sender, receiver in ((i, j), (j, i)):
            context = {"plan": example.plan.digest, "round": 1, "sender": sender, "receiver": receiver}
            wanted = plain.derive(key, "hocket/confirm/v2", context)[:16]
            assert base64.b64decode(found[sender][receiver]) == wanted
    assert len({text for texts in found.values() for text in texts.values()}) == 6


def test_envelopes(example, group, pair_keys):
    """Both programs open the same group secret and pair keys, with the digest in all manifests."""
    deal, plan = example.path("deal", "ash", "envelopes").read_bytes(), example.plan.digest
    for name in PARTNERS:
        received = receive_group_secret(deal, plan, "ash", example.keys[name], example.parameters)
        assert received.to_bytes() == group == example.group.to_bytes()
        assert example.manifest("pairing", name).body["group"] == received.digest()
    for (i, j), key in pair_keys.items():
        assert key == example.pair_keys[i][j].key == example.pair_keys[j][i].key
        payload = example.path("pairing", i, "envelopes").read_bytes()
        assert open_pair_seed(payload, plan, i, example.keys[j]) == known_bytes(f"{i} to {j}", 32)


def test_updates(example, group, pair_keys):
    """With all secrets, an update decrypts to its packed integers, its masks, its weight and its tag."""
    key, tag_seed = plain.coefficients(group[22 + 96 :]), group[54:86]
    for name in PARTNERS:
        header, (chunk,) = plain.read_sealed(example.update(name).read_bytes())
        p, packed_c1 = header["parameters"], plain.expand_seed(chunk[:64], header["parameters"]["q"])
        slots = plain.decrypt_halves(plain.coefficients(chunk[64:]), packed_c1, key, p["q"], p["t"])
        keys = {i if j == name else j: value for (i, j), value in pair_keys.items() if name in (i, j)}
        stream = plain.release_stream(name, known_bytes(f"release seed of {name}", 32), N_SLOTS, header)
        masked = (packed(name, header) + plain.mask_of(name, keys, N_SLOTS, header) + stream) % p["t"]
        masked[8191] = tag_of(name, masked, tag_seed, header)
        np.testing.assert_array_equal(slots, masked)


def test_sum(example, total, group):
    """A sum is the sum of coefficients, and both programs open the sent integers."""
    updates = [plain.read_sealed(example.update(name).read_bytes())[1] for name in PARTNERS]
    header, (chunk,) = plain.read_sealed(total.read_bytes())
    ((c0, c1),) = plain.add(updates, header["parameters"]["q"])
    np.testing.assert_array_equal(plain.coefficients(chunk[: len(chunk) // 2]), c0)
    np.testing.assert_array_equal(plain.coefficients(chunk[len(chunk) // 2 :]), c1)
    wanted = sum(integers(name) for name in PARTNERS)
    released = {name: json.loads(example.path("release", name).read_bytes())["body"]["seed"] for name in PARTNERS}
    seeds = {name: base64.b64decode(text) for name, text in released.items()}
    for name, seed in seeds.items():
        committed = example.manifest("update", name).body["release_commitment"]
        assert plain.commitment(name, seed, header) == committed == example.release(name).commitment
    sums, weight = plain.open_sum(total.read_bytes(), seeds, group)
    opened = example.open(total)
    assert sums == wanted.tolist() == opened.total.tolist()
    assert weight == opened.weight_total == 7
    check_payload(total, example.manifest("sum", HUB).payload, "sum")


def test_means_and_bounds(example, total):
    """Mean, sent mean and the next round's bounds are those of FORMAT.md's formulas, to the bit."""
    opened, sums = example.open(total), sum(integers(name) for name in PARTNERS)
    seal = example.plan.seal
    step = np.float32(seal.first_bound / 32_767)
    mean = (sums * (float(step) * (4 / 7))).astype(np.float32)
    np.testing.assert_array_equal(opened.mean, mean)
    sent = mean * np.float32(7 / (4 * 3))
    np.testing.assert_array_equal(opened.sent_mean, sent)
    slices = [slice(0, 48), slice(48, 51)]
    assert [tensor.place for tensor in example.plan.layout.tensors] == slices
    largest = [float(np.abs(sent[part]).max()) for part in slices]
    wanted = [max(1.25 * 3 * m, 0.25 * seal.first_bound, 1e-8) for m in largest]
    assert next_bounds(opened.sent_mean, slices, np.full(2, seal.first_bound), seal, 3).tolist() == wanted


@pytest.mark.parametrize("bits", [16, 12, 8])
def test_parameters(bits):
    """FORMAT.md's search for t and q gives hocket's parameters, for small and large rosters and weights."""
    for n in (3, 5, 16, 17, 40, 128):
        for max_weight in (1, 1000, 1 << 32):
            settings = SealSettings(bits=bits, max_partners=n, weights="size", max_weight=max_weight)
            assert plain.parameters(bits, n, max_weight) == seal_parameters(settings).to_dict()


@pytest.mark.slow
def test_two_blocks(tmp_path):
    """Both programs agree on a trunk of two blocks with the widest coefficients, which the example lacks."""
    c = make_consortium(3, bits=16, max_partners=3)
    n = 4 * N_SLOTS * 3 + 10
    rng = np.random.default_rng(0)
    changes = {name: rng.uniform(-0.1, 0.1, n).astype(np.float32) for name in c.partners}
    files = c.seal_all(tmp_path, changes)
    add_updates(files, c.parameters, tmp_path / "sum", roster=c.roster())
    assert (c.parameters.q.bit_length(), c.parameters.n_chunks(n)) == (60, 5)
    seeds = {name: base64.b64decode(c.release(name).to_text()) for name in c.partners}
    sums, weight = plain.open_sum((tmp_path / "sum").read_bytes(), seeds, c.group.to_bytes())
    assert sums == c.open(tmp_path / "sum", n).total.tolist()
    assert weight == 3
    _, chunks = plain.read_sealed((tmp_path / "sum").read_bytes())
    added = plain.add([plain.read_sealed(file.read_bytes())[1] for file in files], c.parameters.q)
    np.testing.assert_array_equal(plain.coefficients(chunks[4][len(chunks[4]) // 2 :]), added[4][1])


def test_the_example_is_what_its_script_makes(tmp_path):
    """All files of the example without random parts are written again byte for byte."""
    again = Example(tmp_path)
    for path in (*FOLDER.rglob("*.arrow"), *FOLDER.rglob("*.envelopes")):
        (tmp_path / path.relative_to(FOLDER)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path.relative_to(FOLDER)).write_bytes(path.read_bytes())
    again.write()
    for path in FOLDER.rglob("*.*"):
        assert (tmp_path / path.relative_to(FOLDER)).read_bytes() == path.read_bytes()
