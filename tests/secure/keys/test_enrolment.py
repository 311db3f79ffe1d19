"""The group secret, pair seeds and their envelopes."""

import json
import pickle
import stat

import pytest

from secure.ciphertexts.parameters import SealSettings, seal_parameters
from secure.encoding.canonical import canonical_json, digest
from secure.encoding.json_fields import to_base64
from secure.errors import (
    BadEnvelope,
    BadKeyFile,
    KeyFileExists,
    ParameterMismatch,
    WrongKey,
    WrongPlan,
    WrongSender,
)
from secure.keys.envelopes import parse_envelopes
from secure.keys.group import GroupSecret, deal_group_secret, receive_group_secret
from secure.keys.keys import PrivateKeys
from secure.keys.pairing import PairKey, PairSeeds, open_pair_seed, pair_key, seal_pair_seeds
from tests.support.secure.consortium import PLAN

OTHER_PLAN = digest(b"another plan")


@pytest.fixture(scope="module")
def parameters():
    return seal_parameters(SealSettings())


@pytest.fixture(scope="module")
def keys():
    return {name: PrivateKeys.generate(name, "partner") for name in ("ash", "birch", "cedar")}


@pytest.fixture(scope="module")
def secret(parameters):
    return GroupSecret.generate(parameters)


@pytest.fixture(scope="module")
def deal(secret, keys):
    return deal_group_secret(secret, PLAN, "ash", [key.card() for key in keys.values()])


@pytest.fixture(scope="module")
def pairing(keys):
    seeds = PairSeeds.generate("ash", ["birch", "cedar"])
    return seeds, seal_pair_seeds(seeds, PLAN, "ash", [key.card() for key in keys.values()])


def test_every_partner_receives_the_group_secret(deal, keys, secret, parameters):
    """All partners, the custodian included, open the same secret."""
    for me in keys.values():
        assert receive_group_secret(deal, PLAN, "ash", me, parameters).to_bytes() == secret.to_bytes()


def test_deal_says_its_digest_and_nothing_more(deal, secret):
    """The payload holds the public digest, and no unencrypted seed."""
    assert parse_envelopes(deal, "test")[0].group == secret.digest()
    for part in (secret.tag_seed, secret.structure_seed, secret.bfv_key[:33]):
        assert to_base64(part)[:32].encode() not in deal


def test_aggregator_receives_nothing(deal, parameters):
    """An aggregator under a partner's name has no key that opens an envelope."""
    with pytest.raises((WrongKey, BadEnvelope)):
        receive_group_secret(deal, PLAN, "ash", PrivateKeys.generate("birch", "aggregator"), parameters)


def test_secret_other_than_announced_is_refused(secret, keys, parameters):
    """A custodian that deals one partner another secret than announced is detected."""
    other = GroupSecret.generate(parameters)
    cards = [key.card() for key in keys.values()]

    class Lying(GroupSecret):
        def digest(self) -> str:
            return other.digest()

    lie = Lying.from_bytes(secret.to_bytes(), parameters)
    with pytest.raises(WrongKey):
        receive_group_secret(deal_group_secret(lie, PLAN, "ash", cards), PLAN, "ash", keys["birch"], parameters)


def test_group_secret_file(secret, keys, parameters, tmp_path):
    """The secret comes back from a file of mode 0600 that is never overwritten."""
    path = tmp_path / "group.secret"
    secret.save(path, keys["ash"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert GroupSecret.load(path, parameters, keys["ash"]).digest() == secret.digest()
    with pytest.raises(KeyFileExists):
        secret.save(path, keys["ash"])
    path.chmod(0o644)
    with pytest.raises(BadKeyFile):
        GroupSecret.load(path, parameters, keys["ash"])
    assert [file.name for file in tmp_path.iterdir()] == ["group.secret"]


def test_impossible_group_secrets_are_refused(secret):
    """A secret of other parameters, short seeds and a zero key are refused."""
    data = secret.to_bytes()
    with pytest.raises(ParameterMismatch):
        GroupSecret.from_bytes(data, seal_parameters(SealSettings(bits=8, max_partners=8)))
    good = {"ring": bytes(32), "tag_seed": bytes(32), "structure_seed": bytes(32), "bfv_key": b"\x01"}
    for name, short in (("tag_seed", bytes(31)), ("structure_seed", bytes(16)), ("bfv_key", bytes(53248))):
        with pytest.raises(BadKeyFile):
            GroupSecret(**good | {name: short})


def test_group_secrets_differ(secret, parameters):
    """Every new secret differs in all its parts, and has another digest."""
    other = GroupSecret.generate(parameters)
    assert len({secret.tag_seed, secret.structure_seed, other.tag_seed, other.structure_seed}) == 4
    assert secret.bfv_key != other.bfv_key
    assert secret.digest() != other.digest()


def test_secrets_do_not_show(secret, pairing):
    """Secrets neither print nor pickle."""
    key = pair_key(bytes(32), bytes(32), "a", "b", PLAN)
    for hidden in (secret, pairing[0], key):
        assert "hidden" in repr(hidden)
        with pytest.raises(TypeError):
            pickle.dumps(hidden)


def test_pair_seeds_arrive(pairing, keys):
    """Each partner opens its own seed, nobody else's."""
    seeds, payload = pairing
    assert open_pair_seed(payload, PLAN, "ash", keys["birch"]) == seeds.for_partner("birch")
    assert open_pair_seed(payload, PLAN, "ash", keys["cedar"]) == seeds.for_partner("cedar")
    assert seeds.for_partner("birch") != seeds.for_partner("cedar")
    for plan, sender, error in ((OTHER_PLAN, "ash", WrongPlan), (PLAN, "cedar", WrongSender)):
        with pytest.raises(error):
            open_pair_seed(payload, plan, sender, keys["birch"])
    with pytest.raises(BadEnvelope):
        open_pair_seed(payload, PLAN, "ash", keys["ash"])


def test_pairing_needs_a_seed_for_exactly_every_other(keys):
    """Seeds and cards must name the same partners."""
    cards = [key.card() for key in keys.values()]
    for me, others in (("ash", ["birch"]), ("birch", ["ash", "cedar"]), ("ash", ["birch", "cedar", "date"])):
        with pytest.raises(BadEnvelope):
            seal_pair_seeds(PairSeeds.generate(me, others), PLAN, "ash", cards)


def test_a_secret_file_opens_only_with_its_members_keys(secret, pairing, keys, parameters, tmp_path):
    """Neither another member's keys nor new ones of the same name open the file, which holds no unencrypted secret."""
    secret.save(tmp_path / "group", keys["ash"])
    pairing[0].save(tmp_path / "seeds", keys["ash"])
    for others in (keys["birch"], PrivateKeys.generate("ash", "partner")):
        with pytest.raises(WrongKey):
            GroupSecret.load(tmp_path / "group", parameters, others)
        with pytest.raises(WrongKey):
            PairSeeds.load(tmp_path / "seeds", others)
    hidden = (secret.tag_seed, secret.structure_seed, secret.bfv_key, pairing[0].for_partner("birch"))
    for file in ("group", "seeds"):
        data = (tmp_path / file).read_bytes()
        assert not any(to_base64(part)[:30].encode() in data or part[:24] in data for part in hidden)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"what": "pair seeds"}, BadKeyFile),
        ({"version": 2}, BadKeyFile),
        ({"format": "other"}, BadKeyFile),
        ({"more": 1}, BadKeyFile),
        ({"nonce": "AAAA"}, BadKeyFile),
        ({"nonce": to_base64(bytes(12))}, WrongKey),
        ({"secret": to_base64(bytes(99))}, WrongKey),
    ],
)
def test_damaged_secret_files_are_refused(secret, keys, parameters, tmp_path, change, error):
    """A damaged or other file raises BadKeyFile, a file of other keys WrongKey."""
    secret.save(tmp_path / "group", keys["ash"])
    document = json.loads((tmp_path / "group").read_bytes())
    (tmp_path / "group").write_bytes(canonical_json(document | change))
    with pytest.raises(error):
        GroupSecret.load(tmp_path / "group", parameters, keys["ash"])


def test_a_relabelled_secret_file_does_not_open(secret, keys, tmp_path):
    """The kind of secret that a file names is authenticated."""
    secret.save(tmp_path / "group", keys["ash"])
    document = json.loads((tmp_path / "group").read_bytes())
    (tmp_path / "group").write_bytes(canonical_json(document | {"what": "pair seeds"}))
    with pytest.raises(WrongKey):
        PairSeeds.load(tmp_path / "group", keys["ash"])


def test_pair_seeds_file(pairing, keys, tmp_path):
    """Seeds are read back from their file; a damaged one is refused."""
    seeds, _ = pairing
    seeds.save(tmp_path / "seeds", keys["ash"])
    assert PairSeeds.load(tmp_path / "seeds", keys["ash"]).to_bytes() == seeds.to_bytes()
    for damage in ({"me": "birch"}, {"seeds": {"birch": "AAAA"}}, {"seeds": []}, {"version": 2}, {"x": 1}, {"me": ""}):
        with pytest.raises(BadKeyFile):
            PairSeeds.from_bytes(canonical_json(json.loads(seeds.to_bytes()) | damage))
    with pytest.raises(BadKeyFile):
        seeds.for_partner("stranger")


def test_pair_key_is_symmetric_and_bound():
    """Both partners derive the same key; it depends on both seeds, both names and the plan."""
    one, two = b"1" * 32, b"2" * 32
    key = pair_key(one, two, "ash", "birch", PLAN)
    assert pair_key(two, one, "birch", "ash", PLAN).key == key.key
    assert key.names == ("ash", "birch")
    others = [
        pair_key(two, one, "ash", "birch", PLAN),
        pair_key(one, one, "ash", "birch", PLAN),
        pair_key(one, two, "ash", "cedar", PLAN),
        pair_key(one, two, "ash", "birch", OTHER_PLAN),
    ]
    assert len({key.key, *(other.key for other in others)}) == 5


def test_impossible_pair_keys_are_refused():
    """A pair key needs two different partners and two seeds of full length."""
    for arguments in ((bytes(32), bytes(32), "a", "a"), (bytes(31), bytes(32), "a", "b"), (bytes(32), b"", "a", "b")):
        with pytest.raises(BadKeyFile):
            pair_key(*arguments, PLAN)
    with pytest.raises(BadKeyFile):
        PairKey(("b", "a"), bytes(32))
