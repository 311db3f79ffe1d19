"""Checkpoints come back bit for bit, and damaged or foreign ones are refused."""

import errno
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

import partners.files.checkpoint
from partners.errors import CheckpointDamaged, CheckpointMismatch, TrainingError
from partners.files.checkpoint import Checkpoint, load_checkpoint, read_facts, save_checkpoint, trunk_pieces
from partners.network.server_state import initial_server_state
from partners.network.state import HeadSizes, PartnerState
from partners.settings import ClassificationHead, ServerOptimiser, Training
from partners.training.server_step import server_step
from partners.training.training import train_round
from partners.training_data.aligned_arrays import is_sharable
from tests.support.partners.synthetic import TRAINING, hybrid_set, small_set, small_trunk

_LAYOUT, _TRUNK, _SETTINGS = small_trunk(8, 5)
_SIZES = HeadSizes((7,))


def _partner() -> PartnerState:
    return train_round(small_set(), _TRUNK, None, _LAYOUT, _SETTINGS, TRAINING, 0, 2).state


def _full() -> Checkpoint:
    optimiser = ServerOptimiser(method="adam")
    change = np.linspace(-1, 1, _LAYOUT.n_params)
    _, server = server_step(_TRUNK, change, optimiser, initial_server_state(optimiser, _LAYOUT.n_params))
    return Checkpoint(_TRUNK, _partner(), server, {"round": 3, "name": "a fact", "rates": [1, 2.5]})


def _assert_equal_arrays(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


def test_everything_comes_back(tmp_path: Path):
    """Trunk, partner state, server state and facts are read as they were written, bit for bit."""
    written, file = _full(), tmp_path / "all.safetensors"
    save_checkpoint(file, written)
    read = load_checkpoint(file, _LAYOUT, _SIZES)
    np.testing.assert_array_equal(read.trunk, written.trunk)
    for part in ("heads", "first_moment", "second_moment"):
        _assert_equal_arrays(getattr(read.partner, part), getattr(written.partner, part))
    _assert_equal_arrays(read.server.arrays, written.server.arrays)
    assert read.partner.n_steps == 2
    for counter in ("n_steps", "beta1_power", "beta2_power"):
        assert getattr(read.server, counter) == getattr(written.server, counter)
    assert read.facts == written.facts
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_columns_of_a_partners_own_come_back(tmp_path: Path):
    """They are read with the heads, and are None where the trunk has them all."""
    file, columns = tmp_path / "own.safetensors", np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)
    save_checkpoint(file, Checkpoint(partner=replace(_partner(), columns=columns)))
    for only in (["heads"], ["heads", "moments"]):
        np.testing.assert_array_equal(load_checkpoint(file, _LAYOUT, only=only).partner.columns, columns)
    save_checkpoint(file, Checkpoint(partner=_partner()))
    assert load_checkpoint(file, _LAYOUT).partner.columns is None


def test_any_part_may_be_absent(tmp_path: Path):
    """A file of the trunk alone, or of facts alone, is a checkpoint too."""
    file = tmp_path / "part.safetensors"
    save_checkpoint(file, Checkpoint(trunk=_TRUNK))
    read = load_checkpoint(file, _LAYOUT)
    assert read.partner is None
    assert read.server is None
    np.testing.assert_array_equal(read.trunk, _TRUNK)
    save_checkpoint(file, Checkpoint(facts={"n": 1}))
    assert load_checkpoint(file, _LAYOUT).trunk is None


def test_facts_are_read_alone(tmp_path: Path):
    """Facts come from the header; a file that is no checkpoint is refused."""
    file = tmp_path / "part.safetensors"
    save_checkpoint(file, _full())
    assert read_facts(file) == _full().facts
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:50], b"", whole.replace(b"format", b"farmot")):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointDamaged):
            read_facts(file)


def test_equal_content_equal_bytes(tmp_path: Path):
    """The same checkpoint written twice gives the same file."""
    checkpoint = _full()
    save_checkpoint(tmp_path / "a", checkpoint)
    save_checkpoint(tmp_path / "b", checkpoint)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_any_reader_of_safetensors_can_look_inside(tmp_path: Path):
    """The file is plain safetensors with one JSON metadata entry."""
    save_checkpoint(tmp_path / "a", _full())
    with safe_open(tmp_path / "a", framework="numpy") as file:
        assert {"trunk", "head/classification.weight", "adam.first/trunk.1.bias", "server/second"} <= set(file.keys())
        assert json.loads(file.metadata()["hocket"])["facts"]["round"] == 3


def test_every_truncation_is_refused(tmp_path: Path):
    """A file cut anywhere is refused by name."""
    file = tmp_path / "cut.safetensors"
    save_checkpoint(file, _full())
    whole = file.read_bytes()
    for n_bytes in [0, 1, 7, 8, 9, 200, len(whole) // 2, len(whole) - 1]:
        file.write_bytes(whole[:n_bytes])
        with pytest.raises(CheckpointDamaged, match=r"^cut\.safetensors: "):
            load_checkpoint(file, _LAYOUT, _SIZES)
    file.write_bytes(whole + b"x")
    with pytest.raises(CheckpointDamaged):
        load_checkpoint(file, _LAYOUT, _SIZES)


def test_every_flipped_byte_is_refused(tmp_path: Path):
    """One changed byte, in the header or in a number, is always detected."""
    file = tmp_path / "flipped.safetensors"
    save_checkpoint(file, _full())
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    n_header = 8 + struct.unpack("<Q", whole[:8])[0]
    places = [*rng.integers(0, n_header, 150), *rng.integers(n_header, len(whole), 100)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        if _is_blank(whole[place], changed[place]):
            continue
        file.write_bytes(changed)
        with pytest.raises(TrainingError, match=r"^flipped\.safetensors: "):
            load_checkpoint(file, _LAYOUT, _SIZES)


def _is_blank(one: int, other: int) -> bool:
    """Whether one kind of JSON white space replaced another: the only change that has no effect."""
    return {one, other} <= set(b" \t\n\r")


def test_values_that_are_not_finite_are_refused(tmp_path: Path):
    """NaN in any array is refused, though the digest is right."""
    file, partner = tmp_path / "nan.safetensors", _partner()
    partner.heads["classification.bias"][1] = np.nan
    save_checkpoint(file, Checkpoint(partner=partner))
    with pytest.raises(CheckpointDamaged, match=r"head/classification\.bias .*not finite"):
        load_checkpoint(file, _LAYOUT, _SIZES)


def test_another_trunk_or_other_tasks_are_refused(tmp_path: Path):
    """An undamaged file of another shape is a mismatch, not damage."""
    file = tmp_path / "other.safetensors"
    save_checkpoint(file, _full())
    other_layout, _, _ = small_trunk(8, 6)
    with pytest.raises(CheckpointMismatch, match=r"^other\.safetensors: trunk: .*float32"):
        load_checkpoint(file, other_layout, _SIZES)
    with pytest.raises(CheckpointMismatch, match=r"classification\.\w+ .*\(7,.*\(8,"):
        load_checkpoint(file, _LAYOUT, HeadSizes((8,)))
    save_checkpoint(file, Checkpoint(server=_full().server))
    with pytest.raises(CheckpointMismatch, match="server state"):
        load_checkpoint(file, other_layout)


def test_a_missing_array_is_refused(tmp_path: Path):
    """A state without one of its arrays is refused by the array's name."""
    partner = _partner()
    heads = {"classification.weight": partner.heads["classification.weight"]}
    moments = dict(partner.first_moment)
    del moments["trunk.0.weight"]
    for wrong, name in [
        (PartnerState(heads, partner.first_moment, partner.second_moment, 2), "classification.bias"),
        (PartnerState(partner.heads, moments, partner.second_moment, 2), "trunk.0.weight"),
    ]:
        save_checkpoint(tmp_path / "a", Checkpoint(partner=wrong))
        with pytest.raises(CheckpointMismatch, match=name):
            load_checkpoint(tmp_path / "a", _LAYOUT, _SIZES)
        with pytest.raises(TrainingError, match=name):
            load_checkpoint(tmp_path / "a", _LAYOUT)


def test_foreign_files_are_refused(tmp_path: Path):
    """A safetensors file that hocket did not write, and a missing file, have errors of their own types."""
    save_file({"a": np.zeros(3)}, tmp_path / "a")
    with pytest.raises(CheckpointDamaged, match=r"^a: .*checkpoint"):
        load_checkpoint(tmp_path / "a", _LAYOUT)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "absent", _LAYOUT)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """If writing fails, the old checkpoint stays whole and no partial file stays."""
    file = tmp_path / "kept.safetensors"
    save_checkpoint(file, Checkpoint(facts={"n": 1}))

    def full_disk(_arrays: object, path: Path, **_options: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("partners.files.checkpoint.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(file, Checkpoint(facts={"n": 2}))
    assert load_checkpoint(file, _LAYOUT).facts == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_full_disk_is_a_plain_error_and_leaves_nothing(tmp_path, monkeypatch):
    """Safetensors' error for a full disk becomes an OSError that names the file; no partial file stays."""

    def full(_arrays: object, path: Path, **_more: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(partners.files.checkpoint, "save_file", full)
    with pytest.raises(OSError, match=rf"/state\.safetensors: .*{os.strerror(errno.ENOSPC)}"):
        save_checkpoint(tmp_path / "state.safetensors", Checkpoint(trunk=np.zeros(4, dtype=np.float32)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("optimiser", "momentum"), [("adam", 0.0), ("sgd", 0.5), ("sgd", 0.0)])
def test_every_kind_of_head_and_optimiser_comes_back(tmp_path: Path, optimiser: str, momentum: float):
    """Regression heads, extra layers, normalisation, and as many moments as the optimiser has, bit for bit."""
    training = Training(
        regression_weight=0.5,
        optimiser=optimiser,
        momentum=momentum,
        classification=ClassificationHead(hidden=(6,)),
        learning_rate=1e-2,
    )
    state = train_round(hybrid_set(), _TRUNK, None, _LAYOUT, _SETTINGS, training, 0, 2).state
    file = tmp_path / "all.safetensors"
    save_checkpoint(file, Checkpoint(partner=state))
    for sizes in (None, HeadSizes((6, 7), (4,))):
        read = load_checkpoint(file, _LAYOUT, sizes).partner
        for part in ("heads", "first_moment", "second_moment", "normalisation"):
            _assert_equal_arrays(getattr(read, part), getattr(state, part))
    assert set(state.heads) >= {"classification.hidden.0.weight", "regression.bias"}
    for wrong in (HeadSizes((7,), (4,)), HeadSizes((6, 7), (5,)), HeadSizes((6, 7))):
        with pytest.raises(CheckpointMismatch, match="partner state"):
            load_checkpoint(file, _LAYOUT, wrong)


@pytest.mark.parametrize("name", ["normalisation/mean", "head/regression.bias", "head/classification.hidden.0.bias"])
def test_a_missing_array_of_a_head_is_refused(tmp_path: Path, name: str):
    """A file without any one array of regression or of an extra layer is refused, with or without sizes."""
    training = Training(regression_weight=0.5, classification=ClassificationHead(hidden=(6,)))
    state = train_round(hybrid_set(), _TRUNK, None, _LAYOUT, _SETTINGS, training, 0, 1).state
    prefix, array = name.split("/")
    part = {"head": "heads"}.get(prefix, prefix)
    kept = {key: value for key, value in getattr(state, part).items() if key != array}
    save_checkpoint(tmp_path / "a", Checkpoint(partner=replace(state, **{part: kept})))
    for sizes in (None, HeadSizes((6, 7), (4,))):
        with pytest.raises(TrainingError, match=array):
            load_checkpoint(tmp_path / "a", _LAYOUT, sizes)


def test_parts_are_read_alone(tmp_path: Path):
    """Only the requested parts are read; moments come with heads."""
    file, full = tmp_path / "full.safetensors", _full()
    save_checkpoint(file, full)
    trunk = load_checkpoint(file, _LAYOUT, only=["trunk"])
    np.testing.assert_array_equal(trunk.trunk, full.trunk)
    assert (trunk.partner, trunk.server, trunk.vectors) == (None, None, {})
    heads = load_checkpoint(file, _LAYOUT, _SIZES, only=["heads"])
    _assert_equal_arrays(heads.partner.heads, full.partner.heads)
    assert (heads.trunk, heads.partner.first_moment, heads.partner.second_moment) == (None, {}, {})
    both = load_checkpoint(file, _LAYOUT, only=["heads", "moments", "server"])
    _assert_equal_arrays(both.partner.second_moment, full.partner.second_moment)
    _assert_equal_arrays(both.server.arrays, full.server.arrays)
    assert trunk.facts == heads.facts == full.facts


def test_a_part_is_refused_when_another_is_damaged(tmp_path: Path):
    """The digest of the whole file is checked, for any requested part."""
    file = tmp_path / "flipped.safetensors"
    save_checkpoint(file, _full())
    damaged = bytearray(file.read_bytes())
    damaged[-3] ^= 1
    file.write_bytes(damaged)
    for part in ("trunk", "heads", "server", "vectors"):
        with pytest.raises(CheckpointDamaged):
            load_checkpoint(file, _LAYOUT, only=[part])


def test_what_is_read_can_be_trained_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Arrays are writable and aligned as torch's, however small the pieces in which they are read."""
    save_checkpoint(tmp_path / "a", _full())
    for piece in (1, 1000, 1 << 23):
        monkeypatch.setattr("partners.files.checkpoint._PIECE", piece)
        read = load_checkpoint(tmp_path / "a", _LAYOUT, _SIZES)
        np.testing.assert_array_equal(read.trunk, _TRUNK)
        for array in (read.trunk, *read.partner.heads.values(), *read.partner.first_moment.values()):
            assert is_sharable(array)


@pytest.mark.parametrize("piece", [4, 40, 1 << 23])
def test_a_trunk_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int):
    """The pieces cover the trunk in order, with a shorter last one."""
    monkeypatch.setattr("partners.files.checkpoint._PIECE", piece)
    save_checkpoint(tmp_path / "a", _full())
    corrected = list(trunk_pieces(tmp_path / "a"))
    np.testing.assert_array_equal(np.concatenate([values for _, values in corrected]), _TRUNK)
    assert [place.start for place, _ in corrected] == list(range(0, _TRUNK.size, piece // 4))
    for place, values in corrected:
        np.testing.assert_array_equal(values, _TRUNK[place])


def test_numbers_of_another_kind_are_refused(tmp_path: Path):
    """The error for integers in a float array names the array."""
    save_file({"trunk": np.arange(3)}, tmp_path / "a", metadata={"hocket": '{"format": 1}'})
    with pytest.raises(CheckpointDamaged, match=r"^a: trunk .*\bI64\b.*\bF32 or F64\b"):
        load_checkpoint(tmp_path / "a", _LAYOUT)
