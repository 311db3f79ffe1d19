"""Cards and private keys."""

import errno
import hashlib
import os
import pickle
import stat
import tomllib

import numpy as np
import pytest

from secure.encoding.canonical import canonical_json
from secure.encoding.json_fields import to_base64
from secure.errors import BadCard, BadKeyFile, BadSignature, KeyFileExists, WrongKey, WrongPassphrase
from secure.files import NotPlainFile
from secure.keys import keys as keys_module
from secure.keys.keys import (
    AGREEMENT_BYTES,
    KEY_FILE,
    PrivateKeys,
    card_fields,
    card_from_fields,
    change_passphrase,
    load_private_keys,
    parse_card,
    read_card,
)


@pytest.fixture(scope="module")
def partner():
    return PrivateKeys.generate("ash", "partner")


@pytest.fixture(scope="module")
def hub():
    return PrivateKeys.generate("hub", "aggregator")


def test_card_text_round_trip(partner, hub):
    """A card is read back from its text, whose lines can follow a [[card]] header of the plan."""
    for keys in (partner, hub):
        card = keys.card()
        assert parse_card(card.to_text(), "test") == card
        plan = tomllib.loads(f"[[card]]\n{card.to_text()}")
        assert card_from_fields(plan["card"][0], "test") == card


def test_card_holds_no_secret(partner):
    """A partner's card has a signing and an agreement key of the right sizes; an aggregator's only the first."""
    assert len(partner.card().signing) == 32
    assert len(partner.card().agreement) == AGREEMENT_BYTES == 1184 + 32


def test_seeds_for_draws_depend_on_keys_purpose_and_context(partner, hub):
    """The same each time, and others for all else."""
    seed = partner.seed("draw", {"name": "a"})
    assert len(seed) == 32
    assert seed == partner.seed("draw", {"name": "a"})
    assert (
        len({seed, partner.seed("other", {"name": "a"}), partner.seed("draw", {}), hub.seed("draw", {"name": "a"})})
        == 4
    )


def test_aggregator_has_no_agreement_key(hub):
    """Nothing can be sealed for an aggregator."""
    assert hub.card().agreement is None
    with pytest.raises(BadCard):
        hub.card().agreement_key()
    with pytest.raises(WrongKey):
        hub.agreement_key()


@pytest.mark.parametrize("value", [[], {}, 1, None, ["partner"]])
@pytest.mark.parametrize("key", ["name", "role", "signing", "agreement", "signature"])
def test_card_with_a_field_of_another_type_is_refused(partner, hub, key, value):
    """A field of any wrong TOML type makes a bad card."""
    for keys in (partner, hub):
        with pytest.raises(BadCard):
            card_from_fields(card_fields(keys.card()) | {key: value}, "test")


def test_card_text_that_is_no_card(partner):
    """Text that is not TOML, or TOML of another content, is refused."""
    for text in ("", "= =", "name = 1", f"name = {'1' * 5000}", partner.card().to_text() * 2):
        with pytest.raises(BadCard):
            parse_card(text, "test")


def test_signature(partner, hub):
    """A signature verifies under its card and under no other, for its message and no other."""
    signature = partner.sign(b"message")
    partner.card().verify(signature, b"message", "test")
    with pytest.raises(BadSignature):
        partner.card().verify(signature, b"massage", "test")
    with pytest.raises(BadSignature):
        hub.card().verify(signature, b"message", "test")
    with pytest.raises(BadSignature):
        partner.card().verify(signature[:-1], b"message", "test")


def test_a_fingerprint_is_the_sha256_of_what_is_signed(partner):
    """128 bits in groups to be read aloud, of the domain and the canonical card without its signature."""
    fields = card_fields(partner.card())
    fields.pop("signature")
    expected = hashlib.sha256(b"hocket/card/v1\0" + canonical_json(fields)).hexdigest()[:32]
    assert partner.card().fingerprint.replace(" ", "") == expected
    assert [len(group) for group in partner.card().fingerprint.split(" ")] == [4] * 8


def changed(secret: bytes, at: int) -> bytes:
    """One bit of this byte flipped, one that counts: X25519 takes no account of a first byte's lowest three."""
    return bytes(secret[:at] + bytes([secret[at] ^ 0x40]) + secret[at + 1 :])


def test_each_card_has_its_own_fingerprint(partner):
    """Another name, role or key gives another fingerprint."""
    secret = partner._secret()
    others = [
        PrivateKeys("asp", "partner", secret),
        PrivateKeys("ash", "aggregator", secret[:32]),
        *(PrivateKeys("ash", "partner", changed(secret, at)) for at in (0, 32, 96)),
    ]
    assert len({keys.card().fingerprint for keys in (partner, *others)}) == 6


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_save_and_load(partner, tmp_path, passphrase):
    """Keys are read back from their file, which only the owner can read, in a folder only the owner can enter."""
    path = partner.save(tmp_path / "keys", passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [KEY_FILE]
    assert load_private_keys(tmp_path / "keys", passphrase, partner.card()).card() == partner.card()


def test_aggregator_keys_save_and_load(hub, tmp_path):
    """An aggregator's keys are a signing key alone."""
    hub.save(tmp_path)
    assert load_private_keys(tmp_path).card() == hub.card()


def test_keys_are_never_overwritten(partner, tmp_path):
    """A second save is refused and leaves the first file unchanged."""
    path = partner.save(tmp_path)
    before = path.read_bytes()
    with pytest.raises(KeyFileExists):
        PrivateKeys.generate("ash", "partner").save(tmp_path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_readable_by_others_is_refused(partner, tmp_path, mode):
    """A key file that group or others can touch is refused."""
    partner.save(tmp_path).chmod(mode)
    with pytest.raises(BadKeyFile, match="expected 0600"):
        load_private_keys(tmp_path)


def test_folder_writable_by_others_is_refused(partner, tmp_path):
    """No keys are put where others can replace them."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(BadKeyFile):
        partner.save(folder)


def test_symbolic_link_is_refused(partner, tmp_path):
    """A link with the name of the key file is not followed."""
    (tmp_path / "real").mkdir()
    real = partner.save(tmp_path / "real")
    (tmp_path / KEY_FILE).symlink_to(real)
    with pytest.raises(BadKeyFile):
        load_private_keys(tmp_path)


def test_missing_and_damaged_files_are_refused(partner, tmp_path):
    """A missing, a truncated and another file each raise BadKeyFile."""
    with pytest.raises(BadKeyFile):
        load_private_keys(tmp_path)
    path = partner.save(tmp_path)
    whole = path.read_bytes()
    for data in (whole[:-20], b"", b"{}", whole.replace(b'"version":1', b'"version":2'), whole.replace(b"ash", b"a h")):
        path.write_bytes(data)
        with pytest.raises(BadKeyFile):
            load_private_keys(tmp_path)


def test_passphrase(partner, tmp_path):
    """Neither a wrong nor a missing nor a superfluous passphrase opens the keys."""
    partner.save(tmp_path / "locked", "right")
    partner.save(tmp_path / "free")
    for folder, passphrase in (("locked", "wrong"), ("locked", None), ("free", "any")):
        with pytest.raises(WrongPassphrase):
            load_private_keys(tmp_path / folder, passphrase)


def test_a_failed_change_of_the_passphrase_leaves_the_old_file(partner, tmp_path, monkeypatch):
    """The file is replaced completely, or stays unchanged."""
    path = partner.save(tmp_path, "old")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        change_passphrase(tmp_path, "old", "new")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_locked_file_is_bound_to_its_name(partner, tmp_path):
    """The name in a locked file cannot be changed."""
    path = partner.save(tmp_path, "right")
    path.write_bytes(path.read_bytes().replace(b'"ash"', b'"asp"'))
    with pytest.raises(WrongPassphrase):
        load_private_keys(tmp_path, "right")


def test_wrong_card(partner, tmp_path):
    """Keys that are not those of the expected card are refused."""
    partner.save(tmp_path)
    with pytest.raises(WrongKey):
        load_private_keys(tmp_path, card=PrivateKeys.generate("ash", "partner").card())


def test_only_the_holder_of_the_keys_can_repeat_its_numbers(partner):
    """Same keys, purpose and context: the same uniform numbers; anything else gives others."""
    numbers = partner.uniform_numbers("test/v1", {"n": 1}, 10_000)
    np.testing.assert_array_equal(partner.uniform_numbers("test/v1", {"n": 1}, 10_000), numbers)
    assert abs(np.histogram(numbers, 10, (0, 1))[0] - 1000).max() < 200
    for other in (
        partner.uniform_numbers("test/v2", {"n": 1}, 10_000),
        partner.uniform_numbers("test/v1", {"n": 2}, 10_000),
        PrivateKeys.generate("other", "partner").uniform_numbers("test/v1", {"n": 1}, 10_000),
    ):
        assert not np.isin(numbers, other).any()


def test_keys_do_not_show(partner, tmp_path):
    """Keys can be neither printed nor pickled, and a locked file does not contain them."""
    secret = partner._signing.private_bytes_raw()
    assert "hidden" in repr(partner)
    assert "hidden" in f"{partner}"
    with pytest.raises(TypeError):
        pickle.dumps(partner)
    assert to_base64(secret)[:20].encode() not in partner.save(tmp_path, "x").read_bytes()


def test_chance_is_the_members_own(partner, tmp_path):
    """Every member and federation has another number, and a home that is read again the same."""
    partner.save(tmp_path)
    assert load_private_keys(tmp_path).chance("ab" * 16) == partner.chance("ab" * 16) < 1 << 256
    others = {PrivateKeys.generate("ash", "partner").chance("ab" * 16) for _ in range(3)}
    assert len(others | {partner.chance("ab" * 16), partner.chance("cd" * 16)}) == 5


# -------------------------------------------------------------------------------------------- points of small order

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P  # RFC 8032, section 5.1


def on_curve(y: int) -> list[tuple[int, int]]:
    """The points of edwards25519 with this y."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    root = pow(square, (_P + 3) // 8, _P)
    roots = {root * factor % _P for factor in (1, pow(2, (_P - 1) // 4, _P))}
    return [(sign * x % _P, y) for x in roots if x * x % _P == square for sign in (1, -1)]


def double(point: tuple[int, int]) -> tuple[int, int]:
    """The point added to itself."""
    x, y = point
    product = _D * x * x * y * y
    return (
        2 * x * y * pow(1 + product, -1, _P) % _P,
        (y * y + x * x) * pow(1 - product, -1, _P) % _P,
    )


def y_of_order_8() -> list[int]:
    """The two y of points whose double has y = 0, that is of order 8: x^2 = -y^2 and the curve's equation."""
    # -x^2 + y^2 = 1 + d x^2 y^2 with x^2 = -y^2:  2 y^2 = 1 - d y^4
    discriminant = (1 + _D) % _P
    root = next(
        r
        for factor in (1, pow(2, (_P - 1) // 4, _P))
        if (r := pow(discriminant, (_P + 3) // 8, _P) * factor % _P) ** 2 % _P == discriminant
    )
    found = []
    for square in ((-1 + sign * root) * pow(_D, -1, _P) % _P for sign in (1, -1)):
        y = pow(square, (_P + 3) // 8, _P)
        ys = [y * factor % _P for factor in (1, pow(2, (_P - 1) // 4, _P))]
        found += [sign * y % _P for y in ys if y * y % _P == square for sign in (1, -1)]
    return sorted(set(found))


def test_all_points_of_small_order_are_known():
    """The list is exactly that of all encodings of the eight points that the cofactor takes to zero."""
    small = {0, 1, _P - 1, *y_of_order_8()}
    for y in small:
        for point in on_curve(y):
            assert double(double(double(point))) == (0, 1)
    assert len(small) == 5  # 8 points: x and -x share one y, but for y = 1 and -1, which have one point each
    encodings = {y + more for y in small for more in (0, _P) if y + more < 2**255}
    assert {encoded.to_bytes(32, "little") for encoded in encodings} == keys_module._SMALL_ORDER


def test_a_card_that_anybody_could_sign_for_is_refused(hub):
    """Under the neutral point as key, one signature fits every message; this card was accepted once."""
    forged = card_fields(hub.card()) | {
        "signing": to_base64(b"\x01" + bytes(31)),
        "signature": to_base64(b"\x01" + bytes(63)),
    }
    with pytest.raises(BadCard, match="small order"):
        card_from_fields(forged, "test")


def test_a_file_that_no_card_can_be_is_not_parsed(tmp_path, hub):
    """A card has 16 KiB at most, and is no named pipe."""
    file = tmp_path / "card"
    file.write_text(hub.card().to_text() + "#" * (1 << 14))
    with pytest.raises(BadCard, match="bytes"):
        read_card(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(NotPlainFile):
        read_card(file)
