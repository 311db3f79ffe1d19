"""A federation begins from the trunk of an older one, whose digest is in its plan."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from data_prep.folds.keyed import bit_permutation
from partners.files.round_checkpoint import TrunkFile
from partners.network.input_columns import InputColumns
from partners.network.trunk import INPUT_WEIGHT, trunk_digest
from pipeline.audit.verify import audit
from pipeline.errors import ConfigError, ExitCode, WrongTrunk
from pipeline.exchange.storage import Exchange
from pipeline.home.catalogue_counts import known_holders
from pipeline.home.first_trunk import expect_start, first_vector, keep_start
from pipeline.plan.plan import read_plan
from secure.ciphertexts.parameters import seal_parameters
from secure.keys.group import GroupSecret
from secure.keys.keys import load_private_keys
from secure.messages.message_name import MessageName
from tests.support.cli_runner import hocket, refused
from tests.support.federation import Federation, run_to, step

ALL = ("P01", "P02", "P03")


@pytest.fixture(scope="module")
def exported(finished: Federation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The facts that `hocket export trunk` prints of P01's file, and that file."""
    federation = finished.moved(tmp_path_factory.mktemp("older") / "f")
    file = federation.folder / "trunk.safetensors"
    done = hocket("export", "trunk", federation.config("P01"), file)
    assert done.exit_code == ExitCode.DONE
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def begun(folder: Path, exported: dict[str, str], columns: str = "min_partners = 0") -> Federation:
    """A new federation that begins from the exported trunk, before anybody ran."""
    start = f'start = "older.safetensors"\nstart_digest = "{exported["digest"]}"'
    federation = Federation(folder, federation_id="cd" * 16, trunk=start, columns=columns)
    (folder / "older.safetensors").write_bytes(Path(exported["trunk"]).read_bytes())
    return federation


def test_every_partner_exports_the_same_trunk(finished: Federation, exported: dict[str, str], tmp_path: Path) -> None:
    """Byte for byte: the last vector, its rows in the order of the bits."""
    federation = finished.moved(tmp_path / "f")
    for name in ("P02", "P03"):
        assert hocket("export", "trunk", federation.config(name), tmp_path / name).exit_code == ExitCode.DONE
        assert (tmp_path / name).read_bytes() == Path(exported["trunk"]).read_bytes()


@pytest.fixture(scope="module")
def younger(exported: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation with counted columns after its first round. For reading only."""
    federation = begun(tmp_path_factory.mktemp("younger") / "f", exported, columns="min_partners = 3")
    run_to(federation, 2)
    return federation


@pytest.mark.slow
def test_round_1_begins_from_the_file(exported: dict[str, str], younger: Federation) -> None:
    """All partners are ready with the digest of its shared columns, in the order that the structure seed gives."""
    plan, home = read_plan(younger.plan_file), younger.home("P01")
    group = GroupSecret.load(home.group_secret, seal_parameters(plan.seal), load_private_keys(home.keys))
    tensors = load_file(exported["trunk"])
    weight = tensors[INPUT_WEIGHT]
    keyed = np.empty_like(weight)
    keyed[bit_permutation(group.structure_seed, len(weight))] = weight
    whole = plan.layout.views(first_vector(plan, home, plan.layout))
    np.testing.assert_array_equal(whole[INPUT_WEIGHT], keyed)
    holders = known_holders(plan, home)
    assert holders
    shared = InputColumns(holders.columns).shared
    assert shared is not None
    assert len(shared) < len(weight)
    expected = trunk_digest(np.concatenate([keyed[shared].ravel(), tensors["trunk.0.bias"]]))
    for name in ALL:
        ready = json.loads(younger.posted(MessageName("ready", 1, 1, name)).read_bytes())
        assert ready["body"]["trunk"] == expected


@pytest.mark.slow
def test_an_auditor_checks_the_rest(exported: dict[str, str], younger: Federation) -> None:
    """Without the structure seed it cannot compute the first trunk, and says so; it needs no file."""
    plan, exchange = read_plan(younger.plan_file), Exchange(f"file://{younger.exchange}")
    assert audit(plan, exchange, now=2e9).n_rounds == 1
    said = hocket("verify", younger.plan_file, younger.exchange).stdout
    assert re.search(rf"begins from the trunk {exported['digest']}", said)


def test_another_trunk_is_refused_before_anything_is_posted(exported: dict[str, str], tmp_path: Path) -> None:
    """One number is another, the file is missing, or is of other layers."""
    federation = begun(tmp_path / "f", exported)
    file = federation.folder / "older.safetensors"
    tensors = load_file(file)
    tensors["trunk.0.bias"][3] += 1
    save_file(tensors, file)
    with pytest.raises(WrongTrunk, match=exported["digest"]):
        step(federation.partner("P02"))
    said = refused(ExitCode.SECURITY, "partner", "run", federation.config("P02"), "--once")
    assert "older.safetensors" in said
    save_file({"trunk.0.weight": tensors["trunk.0.weight"]}, file)
    with pytest.raises(ConfigError, match=r"older\.safetensors"):
        step(federation.partner("P02"))
    file.unlink()
    with pytest.raises(ConfigError, match="is missing"):
        step(federation.partner("P02"))
    file.mkdir()
    with pytest.raises(ConfigError, match=r"older\.safetensors: cannot be read"):
        step(federation.partner("P02"))
    assert not list(federation.exchange.rglob("pairing*"))


def test_a_kept_trunk_of_another_file_or_order_is_written_again(exported: dict[str, str], tmp_path: Path) -> None:
    """Its whole digest and the structure seed are checked, not its name alone."""
    federation = begun(tmp_path / "f", exported)
    plan, home = read_plan(federation.plan_file), federation.home("P02")
    keep_start(federation.plan_file, plan, home, b"1" * 32)
    kept = first_vector(plan, home, plan.layout)
    keep_start(federation.plan_file, plan, home, b"2" * 32)
    assert not np.array_equal(first_vector(plan, home, plan.layout), kept)
    keep_start(federation.plan_file, plan, home, b"1" * 32)
    np.testing.assert_array_equal(first_vector(plan, home, plan.layout), kept)
    (federation.folder / "older.safetensors").unlink()
    expect_start(federation.plan_file, plan, home)
    TrunkFile.write(home.first_trunk(plan.trunk.start_digest), kept, {"start_digest": "ab" * 32})
    with pytest.raises(ConfigError, match="is missing"):
        expect_start(federation.plan_file, plan, home)


def test_an_exported_trunk_is_for_its_owner(exported: dict[str, str]) -> None:
    """Who exports it decides who reads it."""
    assert Path(exported["trunk"]).stat().st_mode & 0o777 == 0o600


def test_a_start_needs_its_digest(tmp_path: Path) -> None:
    """A plan without the digest would let each begin from a file of its own."""
    with pytest.raises(ConfigError, match="start_digest"):
        Federation(tmp_path / "f", trunk='start = "older.safetensors"')


def test_nothing_to_export_before_the_first_sum(fresh: Federation, tmp_path: Path) -> None:
    """Exit code 6, and no file."""
    refused(ExitCode.NOT_YET, "export", "trunk", fresh.config("P01"), tmp_path / "trunk.safetensors")
    assert not (tmp_path / "trunk.safetensors").exists()
