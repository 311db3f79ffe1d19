"""Federations whose input columns are counted: what is sealed of them, what stays, and what a partner takes home."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import pipeline.protocol.round_seal
from data_prep.prepared import read_prepared
from partners.files.round_checkpoint import RoundStart
from partners.files.sparsechem_model import read_sparsechem
from partners.network.inference import predict_hidden
from partners.network.trunk import INPUT_WEIGHT
from partners.training_data.column_flags import compounds_by_column
from partners.training_data.prepared_data import training_set
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError, ExitCode
from pipeline.home.catalogue_counts import known_holders
from pipeline.home.own_columns import input_columns
from pipeline.plan.member_configs import PartnerConfig
from pipeline.plan.plan import COUNTING_ROUND, read_plan
from pipeline.report.report import read_report
from secure.messages.message_name import MessageName
from tests.support.cli_runner import hocket
from tests.support.federation import AGGREGATOR, Federation, age, run_all, run_rounds, run_to, step, until_waiting

ALL = ("P01", "P02", "P03", "P04")
SETTINGS = "min_compounds = 2\nwithhold = 0.1"
EQUAL = '[seal]\nweights = "equal"\n'


class Sealed:
    """Every vector that is sealed, by round and partner."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.vectors: dict[tuple[int, str], np.ndarray] = {}
        self._seal = pipeline.protocol.round_seal.seal_update
        patch.setattr(pipeline.protocol.round_seal, "seal_update", self.seal)

    def seal(self, change: np.ndarray, **given):  # noqa: ANN003 -- handed on as it is
        """Record and seal."""
        self.vectors[given["roster"].round_no, given["me"]] = change.copy()
        return self._seal(change, **given)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Federation, Federation, Sealed]]:
    """Four partners when the holders are counted; the same after the last round; what was sealed. For reading only."""
    with pytest.MonkeyPatch.context() as patch:
        sealed, folder = Sealed(patch), tmp_path_factory.mktemp("columns")
        federation = Federation(folder / "f", n_partners=4, columns=SETTINGS, extra=EQUAL)
        machines = federation.members()
        while not all(federation.home(name).catalogue.exists() for name in ALL):
            for machine in machines.values():
                step(machine)
        before = federation.moved(folder / "counted")
        run_rounds(federation)
        run_all({"P01": federation.partner("P01")})
        yield before, federation, sealed


@pytest.fixture(scope="module")
def counted(made: tuple[Federation, Federation, Sealed]) -> tuple[Federation, Sealed]:
    """The federation after its last round, P01 with its report, and what was sealed. For reading only."""
    return made[1], made[2]


def data_of(federation: Federation, name: str) -> TrainingSet:
    """A partner's training set, from its prepared folder."""
    (folder,) = (path for path in federation.home(name).prepared.iterdir() if path.is_dir())
    config, plan = PartnerConfig.read(federation.config(name)), read_plan(federation.plan_file)
    return training_set(read_prepared(folder), plan.preparation.folds, config.training)


def counts_of(federation: Federation, name: str) -> np.ndarray:
    """How many partners flagged each column, as a partner's home says."""
    return np.array(json.loads(federation.home(name).catalogue.read_text())["columns"]["counts"])


def own_of(federation: Federation, name: str) -> dict[str, list[int]]:
    """What a partner flagged and withheld."""
    table = json.loads(federation.home(name).columns.read_text())
    return {key: table[key] for key in ("flagged", "withheld")}


def weights_at(federation: Federation, name: str, round_no: int) -> np.ndarray:
    """The shared input columns at the start of a round, (n_columns, hidden)."""
    plan, home = read_plan(federation.plan_file), federation.home(name)
    holders = known_holders(plan, home)
    assert holders is not None
    layout = holders.layout(plan)
    return layout.views(RoundStart.read(home.start_file(round_no), layout).vector)[INPUT_WEIGHT]


# --------------------------------------------------------------------------------------------------- what is sealed


def test_the_count_is_the_sum_of_what_partners_flag(counted: tuple[Federation, Sealed]):
    """Bits that two training compounds set, but a tenth at random: the flags in the sealed vectors, and their sum."""
    federation, sealed = counted
    flags = {name: sealed.vectors[COUNTING_ROUND, name] for name in ALL}
    for name in ALL:
        own, n_compounds = own_of(federation, name), compounds_by_column(data_of(federation, name))
        assert np.flatnonzero(flags[name]).tolist() == own["flagged"]
        assert sorted(own["flagged"] + own["withheld"]) == np.flatnonzero(n_compounds).tolist()
        held_back = [column for column in own["withheld"] if n_compounds[column] > 1]
        assert 0 < len(held_back) < 0.3 * len(own["flagged"])
        np.testing.assert_array_equal(counts_of(federation, name), sum(flags.values()))
    assert len({tuple(own_of(federation, name)["flagged"]) for name in ALL}) == len(ALL)


def test_an_update_has_nothing_of_columns_that_few_hold(counted: tuple[Federation, Sealed]):
    """The vector has no place for them; of the others a partner's change is zero where it flagged none."""
    federation, sealed = counted
    counts = counts_of(federation, "P01")
    shared = np.flatnonzero(counts >= 3)
    layout = read_plan(federation.plan_file).layout_with(0, shared.size)
    assert 0 < shared.size < np.count_nonzero(counts)
    for round_no in (1, 2):
        for name in ALL:
            vector = sealed.vectors[round_no, name]
            assert vector.shape == (layout.n_params,)
            is_sent = layout.views(vector)[INPUT_WEIGHT].any(axis=1)
            assert set(shared[is_sent].tolist()) <= set(own_of(federation, name)["flagged"])
            assert is_sent.sum() > shared.size / 2


def test_an_absent_partner_may_be_a_holder(made: tuple[Federation, Federation, Sealed], tmp_path: Path):
    """Without one of the partners a column that four hold travels, and one that three hold stays as it is."""
    federation, there = made[0].moved(tmp_path / "f"), ["P01", "P02", "P03"]
    until_waiting(federation, [*there, AGGREGATOR])
    for name in there:
        age(federation, MessageName("ready", 1, 1, name), 4000.0)
    until_waiting(federation, [*there, AGGREGATOR])
    plan, counts = read_plan(federation.plan_file), counts_of(federation, "P01")
    shared = np.flatnonzero(counts >= 3)
    first = plan.layout.views(plan.first_vector(plan.layout))[INPUT_WEIGHT][shared]
    moved = (weights_at(federation, "P01", 2) != first).any(axis=1)
    np.testing.assert_array_equal(moved, counts[shared] == 4)
    assert 0 < moved.sum() < moved.size


# ---------------------------------------------------------------------------------------------- what stays the same


def test_flags_are_made_once(counted: tuple[Federation, Sealed], tmp_path: Path):
    """Other tables later change nothing of them: a revision goes on with what was counted."""
    federation = counted[0].moved(tmp_path / "f")
    before = {name: own_of(federation, name) for name in ALL}
    table = federation.folder / "P02" / "T1.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[: len(lines) // 2 * 2 - 20]) + "\n")
    federation.revise(3, n_rounds=3)
    deal_again(federation)
    run_to(federation, 4)
    assert {name: own_of(federation, name) for name in ALL} == before
    assert len(federation.trunks(3)) == 1


def deal_again(federation: Federation) -> None:
    """The custodian deals for the revision, with the structure seed as before."""
    done = hocket("key", "deal", federation.plan_file, "--home", federation.home("P01").folder)
    assert done.exit_code == ExitCode.DONE, done.output


def test_without_a_shared_column_there_is_no_federation(tmp_path: Path):
    """If no bit has enough holders the count is not kept, and all partners say what to change."""
    federation = Federation(tmp_path / "f", columns="min_compounds = 1000")
    machines = federation.members()
    with pytest.raises(ConfigError, match="no input column has 3 holders") as caught:
        run_all(machines)
    assert "columns.min_partners" in "".join(caught.value.__notes__)
    assert not any(federation.home(name).catalogue.exists() for name in federation.partners)


def test_a_home_without_its_flags_is_refused(counted: tuple[Federation, Sealed], tmp_path: Path):
    """What this partner flagged cannot be known from the count; nothing is guessed."""
    federation = counted[0].moved(tmp_path / "f")
    federation.home("P02").columns.unlink()
    with pytest.raises(ConfigError, match=r"columns\.json: is missing"):
        run_all({"P02": federation.partner("P02")})


# ------------------------------------------------------------------------------------------------ what is taken home


def whole_model(federation: Federation, name: str) -> tuple[np.ndarray, object]:
    """Trunk and heads by hand: shared columns from the vector, the others from the partner's state."""
    plan, home = read_plan(federation.plan_file), federation.home(name)
    holders = known_holders(plan, home)
    assert holders is not None
    layout = holders.layout(plan)
    start = RoundStart.read(home.start_file(3), layout)
    assert start.private is not None
    columns = input_columns(plan, home, holders)
    trunk = np.empty(plan.layout.n_params, dtype=np.float32)
    whole, shared = plan.layout.views(trunk), layout.views(start.vector)
    whole["trunk.0.bias"][:] = shared["trunk.0.bias"]
    place = {column: number for number, column in enumerate(holders.columns.travelling)}
    kept = {column: number for number, column in enumerate(columns.own.tolist())}
    assert start.private.columns is not None
    for column in range(plan.layout.n_inputs):
        is_own = column not in place or column in own_of(federation, name)["withheld"]
        source = start.private.columns[kept[column]] if is_own else shared[INPUT_WEIGHT][place[column]]
        whole[INPUT_WEIGHT][column] = source
    return trunk, start.private


def test_export_embed_and_a_rebuilt_model_have_the_whole_trunk(counted: tuple[Federation, Sealed], tmp_path: Path):
    """SparseChem's file holds the trunk as it is by hand, `hocket embed` computes with it, also when made again."""
    federation, _ = counted
    federation = federation.moved(tmp_path / "f")
    trunk, _ = whole_model(federation, "P01")
    plan, config = read_plan(federation.plan_file), federation.config("P01")
    assert hocket("export", "sparsechem", config, tmp_path / "model.pt").exit_code == ExitCode.DONE
    exported = read_sparsechem(tmp_path / "model.pt", tmp_path / "model.json")
    np.testing.assert_array_equal(exported.trunk, trunk)
    smiles = tmp_path / "new.smi"
    smiles.write_text("CCO a\nc1ccccc1C(=O)N b\nCC(=O)Oc1ccccc1C(=O)O c\n")
    written = []
    for again in (False, True):
        if again:
            for file in sorted(federation.home("P01").model.rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
            federation.home("P01").model.rmdir()
        output = tmp_path / f"{again}.npz"
        assert hocket("embed", config, smiles, "--output", output).exit_code == ExitCode.DONE
        written.append(np.load(output)["hidden"])
    np.testing.assert_array_equal(written[0], written[1])
    x = sparse.load_npz(next(federation.home("P01").prepared.glob("*/x.npz")))
    exported_hidden = predict_hidden(x, exported.trunk, plan.layout, plan.trunk)
    np.testing.assert_array_equal(exported_hidden, predict_hidden(x, trunk, plan.layout, plan.trunk))


def test_report_verify_and_inspect_say_what_was_shared(counted: tuple[Federation, Sealed], tmp_path: Path):
    """The report's numbers by hand, the lengths of vectors by the audit, and what the files in the home are."""
    federation = counted[0].moved(tmp_path / "f")
    own, data = own_of(federation, "P01"), data_of(federation, "P01")
    shared = np.flatnonzero(counts_of(federation, "P01") >= 3)
    facts = read_report(federation.home("P01")).columns
    assert facts is not None
    assert (facts.n_columns, facts.n_shared) == (512, shared.size)
    assert facts.n_sent == np.isin(shared, own["flagged"]).sum()
    private = [
        column
        for column in np.flatnonzero(compounds_by_column(data))
        if column not in shared or column in own["withheld"]
    ]
    assert facts.n_private == len(private)
    dense = data.x[data.training_rows].toarray() > 0
    assert facts.private_compounds == dense[:, private].any(axis=1).mean()
    (sentence,) = [line for line in hocket("report", federation.config("P01")).stdout.splitlines() if "columns" in line]
    assert re.findall(r"\d+", sentence)[:5] == [
        "01",
        *map(str, (facts.n_shared, facts.n_columns, facts.n_sent, facts.n_private)),
    ]
    said = hocket("verify", federation.plan_file, federation.exchange)
    assert said.exit_code == ExitCode.DONE
    assert f"vectors of {shared.size * 16 + 16} parameters, {512 * 16 + 16} if all were" in said.stdout
    for name in ("catalogue.json", "columns.json"):
        described = hocket("inspect", federation.home("P01").folder / name)
        assert described.exit_code == ExitCode.DONE
        assert "(private)" in described.stdout
    assert "withhold: 0.1" in hocket("inspect", federation.plan_file).stdout
