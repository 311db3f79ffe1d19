"""A second reader of hocket's files, written from secure/FORMAT.md alone: nothing of hocket, Arrow or SEAL is here.

Plain Python numbers, numpy, and `cryptography` for Ed25519, X25519, ML-KEM and AES. It shows what the bytes mean; it
refuses only what it would otherwise read wrongly.
"""

import base64
import hashlib
import hmac
import json
import struct
import tomllib
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

N = 8192
BLOCK = 4
GROUP_MAGIC = b"hocket group secret 1\n"


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- cards, plan, manifests ------------------------------------------------------------------------------------------


def verify(card: dict[str, str], message: bytes, signature: str) -> None:
    """Raise InvalidSignature unless the card's owner signed."""
    Ed25519PublicKey.from_public_bytes(base64.b64decode(card["signing"])).verify(base64.b64decode(signature), message)


def card_message(card: dict[str, str]) -> bytes:
    """Return the bytes that a card's signature covers."""
    return b"hocket/card/v1\0" + canonical({key: value for key, value in card.items() if key != "signature"})


def verify_manifest(data: bytes, card: dict[str, str]) -> dict:
    """Return the fields of a manifest that `card` signed."""
    manifest = json.loads(data)
    assert canonical(manifest) == data
    unsigned = {key: value for key, value in manifest.items() if key != "signature"}
    verify(card, b"hocket/manifest/v2\0" + canonical(unsigned), manifest["signature"])
    return manifest


def verify_provenance(data: bytes, card: dict[str, str]) -> dict:
    """Return the fields of a model's provenance that `card` signed (section 14)."""
    provenance = json.loads(data)
    assert canonical(provenance) == data
    unsigned = {key: value for key, value in provenance.items() if key != "signature"}
    verify(card, b"hocket/provenance/v1\0" + canonical(unsigned), provenance["signature"])
    return provenance


def model_digest(description: dict) -> str:
    """Return the digest of model.json's value in a provenance."""
    added = [each["input_assay_id"] for each in description["added"]]
    kept = {
        key: [task for task in description[key] if task["input_assay_id"] not in added]
        for key in ("tasks", "regression_tasks")
    }
    return digest(canonical(description | kept | {"added": []}))


def canonical_plan(text: str, defaults: dict) -> bytes:
    """Return canonical JSON of a plan.toml, completed from FORMAT.md's table of defaults."""
    table = tomllib.loads(text)
    plan = {key: _completed(table.get(key), default, key) for key, default in defaults.items() if key != "card"}
    if "start_digest" in table.get("trunk", {}):
        plan["trunk"]["start_digest"] = table["trunk"]["start_digest"]
    plan |= {key: {"unreleased": []} | table[key] for key in ("continues",) if key in table}
    if "spare_holders" in table.get("continues", {}):
        plan["continues"] = {"joiners": [], "sponsor": ""} | plan["continues"]
    if "privacy" in table:
        noise = {"clip_norm": 1.0, "noise_multiplier": None, "most_noise": 20.0}
        given = noise | table["privacy"]
        plan["privacy"] = {key: None if value is None else float(value) for key, value in given.items()}
    if table.get("catalogue", {}).get("tasks") or table.get("catalogue", {}).get("file"):  # section 13
        in_file = {"sha256": ""} if "file" in table["catalogue"] else {"tasks": [{"id": "", "threshold": 0.0}]}
        form = {**in_file, "min_partners": 3}
        plan["catalogue"] = _completed(table["catalogue"], form, "catalogue")
    if plan["columns"]["min_partners"] == 0:  # section 13
        del plan["columns"]
    plan["card"] = [{"agreement": None} | card for card in table["card"]]
    return canonical(plan)


def _completed(found: object, default: object, key: str) -> object:
    if isinstance(default, dict):
        found = found or {}
        assert isinstance(found, dict)
        return {name: _completed(found.get(name), value, name) for name, value in default.items()}
    if found is None:
        return default
    if isinstance(found, list):
        return [_completed(item, default[0], key) for item in found]
    is_float = isinstance(default, float) or key in ("credible_adme_min", "credible_adme_max")
    return float(found) if is_float else found


# -- envelopes (HPKE, RFC 9180) ----------------------------------------------------------------------------------------


def open_envelope(private: bytes, envelope: bytes, info: bytes) -> bytes:
    """Return the secret in an envelope. private : 128 bytes, signing key, ML-KEM-768 seed, X25519 key."""
    mlkem = MLKEM768PrivateKey.from_seed_bytes(private[32:96])
    x25519 = X25519PrivateKey.from_private_bytes(private[96:])
    kem_ciphertext, ephemeral, sealed = envelope[:1088], envelope[1088:1120], envelope[1120:]
    shared = hashlib.sha3_256(
        mlkem.decapsulate(kem_ciphertext)
        + x25519.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        + ephemeral
        + x25519.public_key().public_bytes_raw()
        + rb"\.//^"
        + b"\\"
    ).digest()
    suite = b"HPKE" + struct.pack(">3H", 0x647A, 1, 2)

    def extract(salt: bytes, label: bytes, secret: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")

    def expand(key: bytes, label: bytes, context: bytes, size: int) -> bytes:
        text = struct.pack(">H", size) + b"HPKE-v1" + suite + label + context
        return hmac.digest(key, text + b"\x01", "sha256")[:size]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, sealed, b"")


def envelope_info(payload: dict, receiver: str) -> bytes:
    fields = {key: payload[key] for key in ("plan", "sender", "group")} | {"receiver": receiver}
    return canonical([payload["format"], 1, fields])


# -- keys and numbers from keys ----------------------------------------------------------------------------------------


def derive(secret: bytes, purpose: str, context: dict) -> bytes:
    extracted = hmac.digest(hashlib.sha256(purpose.encode()).digest(), secret, "sha256")
    return hmac.digest(extracted, canonical([purpose, context]) + b"\x01", "sha256")


def pair_key(plan: str, i: str, j: str, seed_ij: bytes, seed_ji: bytes) -> bytes:
    """Key of i and j, where i sorts before j; seed_ij is the one that i made for j."""
    return derive(seed_ij + seed_ji, "hocket/pair/v1", {"plan": plan, "names": [i, j]})


def uniform(key: bytes, block: int, n: int, modulus: int) -> np.ndarray:
    """(n,) Python integers below the modulus."""
    stream = Cipher(algorithms.AES(key), modes.CTR(struct.pack(">QQ", block, 0))).encryptor()
    low, found = (1 << (modulus - 1).bit_length()) - 1, []
    while len(found) < n:
        words = np.frombuffer(stream.update(bytes(8 * N)), "<u8").tolist()
        found += [word & low for word in words if word & low < modulus]
    return np.array(found[:n], dtype=object)


# -- parameters --------------------------------------------------------------------------------------------------------


def parameters(bits: int, n: int, max_weight: int) -> dict:
    """Return the parameters that a sealed file states."""
    radix = n * (2**bits - 2) + 1
    for fields in range(8, 0, -1):
        for q_bits in (52, 56, 60):
            q = _largest_prime(2**q_bits - 1, 2 * N)
            needed = max(radix**fields, 2**40, n * max_weight) + 1
            most = min(2 ** needed.bit_length() - 1, (q - 1) // (43 * n + 2))
            if most >= needed and (t := _largest_prime(most, 1)) >= needed:
                found = {"scheme": "BFV", "n_slots": N, "q": q, "t": t, "bits": bits, "radix": radix, "fields": fields}
                return found | {"max_partners": n, "max_weight": max_weight, "block_chunks": BLOCK}
    raise ValueError("no parameters")


def _largest_prime(most: int, step: int) -> int:
    candidate = (most - 1) // step * step + 1
    while not all(
        pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7, 11, 13, 17)
    ):  # Fermat is enough here
        candidate -= step
    return candidate


# -- sealed files ------------------------------------------------------------------------------------------------------


def read_sealed(data: bytes) -> tuple[dict, list[bytes]]:
    """Header and chunks of a sealed update or sum."""
    size = struct.unpack_from("<I", data, 88)[0]
    text = data[92 : 92 + size]
    header = json.loads(text)
    poly = N * header["parameters"]["q"].bit_length() // 8
    width = 2 * poly if header["format"] == "hocket.sealed-sum" else 64 + poly
    n_chunks = -(-(n_value_slots(header) + 2) // N)
    head = schema_message(text, width)
    assert (canonical(header), data[: len(head)]) == (text, head)
    chunks, at = [], len(head)
    for first in range(0, n_chunks, BLOCK):
        rows = min(BLOCK, n_chunks - first)
        assert data[at : at + 144] == batch_message(rows, rows * width)
        chunks += [data[start : start + width] for start in range(at + 144, at + 144 + rows * width, width)]
        at += 144 + rows * width
    assert data[at:] == _hex("ffffffff 00000000")
    return header, chunks


def n_value_slots(header: dict) -> int:
    return -(-header["n_params"] // header["parameters"]["fields"])


def schema_message(text: bytes, width: int) -> bytes:
    """First message of a sealed file. text : the header as canonical JSON; width : bytes of a chunk."""
    padded = text.ljust((len(text) + 4) // 4 * 4, b"\0")
    content = b"".join(
        [
            _hex("10000000 00000a00 0e000600 05000800 0a000000 00010400 10000000 00000a00 0c000000 04000800 0a000000"),
            struct.pack("<I", len(padded) + 52),
            _hex("04000000 01000000 0c000000 08000c00 04000800 08000000"),
            struct.pack("<I", len(padded) + 12),
            _hex("04000000"),
            struct.pack("<I", len(text)) + padded,
            _hex("06000000 686f636b 65740000 01000000 14000000 10001400 08000000 07000c00 00001000 10000000"),
            _hex("0000000f 10000000 1c000000 04000000 00000000 05000000 6368756e 6b000600 08000400 06000000"),
            struct.pack("<I", width),
        ]
    )
    content = content.ljust(-(-len(content) // 8) * 8, b"\0")
    return struct.pack("<iI", -1, len(content)) + content


def batch_message(rows: int, n_bytes: int) -> bytes:
    """Return the bytes before the chunks of a record batch."""
    return b"".join(
        [
            _hex("ffffffff 88000000 14000000 00000000 0c001600 06000500 08000c00 0c000000 00030400 18000000"),
            struct.pack("<Q", n_bytes),
            _hex("00000a00 18000c00 04000800 0a000000 3c000000 10000000"),
            struct.pack("<QIIQQ", rows, 0, 2, 0, 0),
            struct.pack("<IIQIIQI", 0, 0, n_bytes, 0, 1, rows, 0),
            _hex("00000000"),
        ]
    )


def coefficients(packed: bytes) -> np.ndarray:
    """(8192,) Python integers from a packed polynomial."""
    bits = len(packed) * 8 // N
    words = np.frombuffer(packed, "<u4", N).astype(object)
    words += np.frombuffer(packed, "<u2", N, 4 * N).astype(object) << 32
    at = 6 * N
    if bits >= 56:
        words += np.frombuffer(packed, "u1", N, at).astype(object) << 48
        at += N
    if bits % 8:
        halves = np.frombuffer(packed, "u1", N // 2, at).astype(object)
        words += np.concatenate([halves & 15, halves >> 4]) << (bits - 4)
    return words


# -- BFV ---------------------------------------------------------------------------------------------------------------


def expand_seed(seed: bytes, q: int) -> np.ndarray:
    """Return the uniform half of a fresh ciphertext that its seed expands to, (8192,) Python integers below q."""
    words = _blake2xb_words(seed)
    limit = 2**64 - 2 - (2**64 - 1) % q
    found = [next(words) for _ in range(N)]
    for i, word in enumerate(found):
        while word >= limit:
            word = next(words)  # noqa: PLW2901 -- drawn again
        found[i] = word % q
    return np.array(found, dtype=object)


def _blake2xb_words(seed: bytes) -> Iterator[int]:
    """64-bit words of BLAKE2Xb, in buffers of 4096 bytes; hashlib has BLAKE2b, but not with depth 0."""
    counter = 0
    while True:
        buffer = hashlib.blake2b(struct.pack("<Q", counter), key=seed, node_offset=4096 << 32).digest()
        message, heads = np.zeros((64, 16), np.uint64), np.zeros((64, 8), np.uint64)
        message[:, :8] = np.frombuffer(buffer, "<u8")
        heads[:, 0], heads[:, 2] = 64 | 64 << 32, 64 << 8
        heads[:, 1] = np.arange(64, dtype=np.uint64) + np.uint64(4096 << 32)
        yield from _blake2b(heads, message).reshape(-1).tolist()
        counter += 1


def _blake2b(heads: np.ndarray, messages: np.ndarray) -> np.ndarray:
    """(n, 8) uint64: BLAKE2b (RFC 7693) of one message of 64 bytes per row, with the row's parameter block."""
    h = _IV ^ heads
    v = [*h.T.copy(), *np.repeat(_IV[:, None], len(h), axis=1)]
    v[12], v[14] = v[12] ^ np.uint64(64), ~v[14]
    for turn in range(12):
        order = _SIGMA[turn % 10]
        for mix, (a, b, c, d) in enumerate(_MIXES):
            for word, *turns in ((order[2 * mix], 32, 24), (order[2 * mix + 1], 16, 63)):
                v[a] = v[a] + v[b] + messages[:, word]
                v[d] = _turned(v[d] ^ v[a], turns[0])
                v[c] = v[c] + v[d]
                v[b] = _turned(v[b] ^ v[c], turns[1])
    return np.stack([h[:, i] ^ v[i] ^ v[i + 8] for i in range(8)], axis=1)


def _turned(words: np.ndarray, n: int) -> np.ndarray:
    return words >> np.uint64(n) | words << np.uint64(64 - n)


def add(updates: list[list[bytes]], q: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sum of updates, chunk by chunk: both polynomials."""
    return [
        (sum(coefficients(chunk[64:]) for chunk in step) % q, sum(expand_seed(chunk[:64], q) for chunk in step) % q)
        for step in zip(*updates, strict=True)
    ]


def decrypt(chunk: bytes, key: np.ndarray, q: int, t: int) -> np.ndarray:
    """(8192,) Python integers below t. chunk : of a sum; key : evaluate_at_odd_powers of the secret polynomial."""
    half = len(chunk) // 2
    return decrypt_halves(coefficients(chunk[:half]), coefficients(chunk[half:]), key, q, t)


def decrypt_halves(c0: np.ndarray, c1: np.ndarray, key: np.ndarray, q: int, t: int) -> np.ndarray:
    """The same from the coefficients of the two polynomials."""
    values, root = evaluate_at_odd_powers(c1, q) * key % q, _root(q)
    product = _evaluate(values[_ORDER], pow(root, -2, q), q) * _powers(pow(root, -1, q), N, q) * pow(N, -1, q)
    return (2 * t * ((c0 + product) % q) + q) // (2 * q) % t


def evaluate_at_odd_powers(polynomial: np.ndarray, q: int) -> np.ndarray:
    """(8192,) its values at root^(2 i + 1), i in the order of its 13 bits reversed."""
    root = _root(q)
    return _evaluate(polynomial * _powers(root, N, q) % q, root**2 % q, q)[_ORDER]


def _root(q: int) -> int:
    """Smallest number whose 8192nd power is -1 mod q."""
    found = next(x for x in (pow(base, (q - 1) // (2 * N), q) for base in range(2, 99)) if pow(x, N, q) == q - 1)
    return int(min(_powers(found**2 % q, N, q) * found % q))


def _powers(base: int, n: int, q: int) -> np.ndarray:
    powers = np.array([1], dtype=object)
    while len(powers) < n:
        powers = np.concatenate([powers, powers * pow(base, len(powers), q) % q])
    return powers


def _evaluate(polynomial: np.ndarray, root: int, q: int) -> np.ndarray:
    """Values at the powers of a root of unity (Cooley and Tukey)."""
    if len(polynomial) == 1:
        return polynomial
    even, odd = (_evaluate(polynomial[start::2], root**2 % q, q) for start in (0, 1))
    odd = odd * _powers(root, len(odd), q)
    return np.concatenate([even + odd, even - odd]) % q


# -- masks, tag, numbers -----------------------------------------------------------------------------------------------


def open_sum(data: bytes, seeds: dict[str, bytes], group: bytes) -> tuple[list[int], int]:
    """Sum of the members' integers and of their weights, if the tag is right.

    seeds : released, by member; group : the group secret's bytes
    """
    header, chunks = read_sealed(data)
    p = header["parameters"]
    at = len(GROUP_MAGIC) + 32
    tag_seed, key = group[at : at + 32], coefficients(group[at + 64 :])
    slots = np.concatenate([decrypt(chunk, key, p["q"], p["t"]) for chunk in chunks])
    members, tag, slots[-1] = list(seeds), slots[-1], 0
    assert tag == expected_tag(slots, members, tag_seed, header)
    streams = sum(release_stream(name, seed, len(slots), header) for name, seed in seeds.items())
    slots = (slots - streams) % p["t"]
    weight, limit = slots[-2], 2 ** (p["bits"] - 1) - 1
    return [digit - len(members) * limit for digit in digits(slots, header)], weight


def attempt_of(header: dict) -> dict:
    return {key: header[key] for key in ("plan", "round", "attempt", "roster")}


def expected_tag(slots: np.ndarray, members: list[str], tag_seed: bytes, header: dict) -> int:
    t, context = header["parameters"]["t"], attempt_of(header)
    total = sum(
        (uniform(derive(tag_seed, "hocket/tag/v1", context), number, len(block), t) * block).sum()
        for number, block in enumerate(blocks(slots))
    )
    own = [derive(tag_seed, "hocket/tag-member/v1", context | {"member": name}) for name in members]
    return int((total + sum(uniform(key, 0, 1, t)[0] for key in own)) % t)


def mask_of(me: str, keys: dict[str, bytes], n_slots: int, header: dict) -> np.ndarray:
    """What `me` adds to its slots. keys : pair keys by the other member's name."""
    t, mask = header["parameters"]["t"], np.zeros(n_slots, dtype=object)
    for other, key in keys.items():
        stream = derive(key, "hocket/mask/v1", attempt_of(header))
        parts = [uniform(stream, number, len(block), t) for number, block in enumerate(blocks(mask))]
        mask += np.concatenate(parts) * (1 if me < other else -1)
    return mask % t


def release_context(member: str, header: dict) -> dict:
    return attempt_of(header) | {"member": member}


def commitment(member: str, seed: bytes, header: dict) -> str:
    """What the member's update says of its seed."""
    return digest(b"hocket/release/v2\0" + canonical(release_context(member, header)) + seed)


def release_stream(member: str, seed: bytes, n_slots: int, header: dict) -> np.ndarray:
    """What a member adds to its slots until it releases the seed."""
    key = derive(seed, "hocket/release-stream/v2", release_context(member, header))
    t, whole = header["parameters"]["t"], blocks(np.zeros(n_slots, dtype=object))
    return np.concatenate([uniform(key, number, len(block), t) for number, block in enumerate(whole)])


def blocks(slots: np.ndarray) -> list[np.ndarray]:
    return [slots[start : start + BLOCK * N] for start in range(0, len(slots), BLOCK * N)]


def digits(slots: np.ndarray, header: dict) -> list[int]:
    """Sums of offset values, in the order of the parameters."""
    p, left = header["parameters"], n_value_slots(header)
    found: list[int] = []
    for block in blocks(slots):
        values, left = block[:left], max(0, left - len(block))
        for field in range(p["fields"]):
            found += (values // p["radix"] ** field % p["radix"]).tolist()
    return found[: header["n_params"]]


_ORDER = np.array([int(f"{i:013b}"[::-1], 2) for i in range(N)])


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


_IV = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    dtype=np.uint64,
)
_MIXES = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
_MIXES += [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
_SIGMA = [
    [int(digit, 16) for digit in row]
    for row in (
        "0123456789abcdef",
        "ea489fd61c02b753",
        "b8c052fdae367194",
        "7931dcbe265a40f8",
        "905724afe1bc683d",
        "2c6a0b834d75fe19",
        "c51fed4a0763928b",
        "db7ec13950f4862a",
        "6fe9b308c2d714a5",
        "a2847615fb9e3cd0",
    )
]
