"""`hocket try`: a search on real files: what it writes, that it goes on, what it proposes, and what is refused."""

import json
import stat
import tomllib
from pathlib import Path

import pytest

from pipeline.errors import ExitCode, HomeInUse
from pipeline.plan.plan import read_plan
from tests.support.cli_runner import hocket, refused
from tests.support.federation import Federation

OPTIONS = ("--hidden", "16,8", "--dropout", "0.2", "--learning-rate", "0.001,0.01", "--trials", "3", "--rounds", "3")


@pytest.fixture(scope="module")
def tried(enrolled: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation before its deal was received, in which P01 has tried settings. For reading only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.runs.tries.logged.log_tries", lambda *_: True)
        federation = enrolled.moved(tmp_path_factory.mktemp("tried") / "federation")
        done = hocket("try", federation.config("P01"), *OPTIONS)
        assert done.exit_code == ExitCode.DONE, done.stderr
        (federation.folder / "stdout").write_text(done.stdout)
    return federation


def folder_of(federation: Federation) -> Path:
    """The folder of P01's only search."""
    (file,) = federation.home("P01").tries.glob("*/tries.json")
    return file.parent


def test_what_it_writes(tried: Federation):
    """Each trial with its settings and scores, the longest trained first; all private; nothing beyond the home."""
    tries = json.loads((folder_of(tried) / "tries.json").read_bytes())
    assert (tries["partner"], tries["plan"]) == ("P01", read_plan(tried.plan_file).digest)
    assert len(tries["trials"][0]["rounds"]) == 3
    assert tries["folds_of_group"] is True
    assert sorted(trial["number"] for trial in tries["trials"]) == [0, 1, 2]
    own = next(trial for trial in tries["trials"] if trial["number"] == 0)
    assert (own["hidden"], own["dropout"], own["learning_rate"], len(own["rounds"])) == ([16], 0.2, 0.001, 3)
    assert all(0 <= row["validation_average_precision"] <= 1 for trial in tries["trials"] for row in trial["rounds"])
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder_of(tried).iterdir()} == {0o600}
    assert not tried.exchange.exists()


def test_the_proposal_is_all_comments(tried: Federation):
    """Nobody's plan changes by itself; with the marks taken away the settings are TOML."""
    text = (folder_of(tried) / "proposal.toml").read_text()
    assert tomllib.loads(text) == {}
    assert text in (tried.folder / "stdout").read_text()
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    settings = tomllib.loads(
        "\n".join(line for line in lines if line.startswith(("[", "hidden", "dropout", "learning_rate")))
    )
    best = json.loads((folder_of(tried) / "tries.json").read_bytes())["trials"][0]
    assert settings["trunk"] == {"hidden": best["hidden"], "dropout": best["dropout"]}
    assert settings["training"]["learning_rate"] == pytest.approx(best["learning_rate"], rel=0.01)


def test_the_same_command_trains_nothing_again(tried: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Results are byte for byte those of before, and an interrupted search goes on."""
    monkeypatch.setattr("pipeline.runs.tries.logged.log_tries", lambda *_: True)
    federation = tried.moved(tmp_path / "federation")
    before = {path.name: path.read_bytes() for path in folder_of(federation).iterdir()}
    monkeypatch.setattr("partners.training.baseline.train_in_place", None)
    assert hocket("try", federation.config("P01"), *OPTIONS).exit_code == ExitCode.DONE
    assert {path.name: path.read_bytes() for path in folder_of(federation).iterdir()} == before


def test_before_the_deal_the_folds_are_its_own(fresh: Federation, monkeypatch: pytest.MonkeyPatch):
    """P02 has no group secret yet: the proposal says what that means, and the federation's matrices are not touched."""
    monkeypatch.setattr("pipeline.runs.tries.logged.log_tries", lambda *_: True)
    done = hocket("try", fresh.config("P02"), "--trials", "1", "--rounds", "1")
    assert done.exit_code == ExitCode.DONE
    (file,) = fresh.home("P02").tries.glob("*/tries.json")
    assert json.loads(file.read_bytes())["folds_of_group"] is False
    assert "own keys" in done.stdout
    assert not fresh.home("P02").prepared.exists()


def test_inspect_knows_the_files(tried: Federation):
    """All that a search leaves, but for the proposal, which is text for people."""
    for path in folder_of(tried).iterdir():
        if path.name != "proposal.toml":
            assert "private" in hocket("inspect", path).stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--hidden", "0"), 2),
        (("--hidden", "big"), 2),
        (("--dropout", "1.5"), 2),
        (("--learning-rate", "-1"), 2),
        (("--trials", "0"), 2),
    ],
)
def test_impossible_choices_are_refused(fresh: Federation, options: tuple[str, ...], code: int):
    """Before anything is prepared."""
    assert hocket("try", fresh.config("P01"), *options).exit_code == code
    assert not fresh.home("P01").tries.exists()


def test_a_home_at_work_is_refused(fresh: Federation):
    """Exit code 6."""
    with fresh.home("P01").alone():
        refused(HomeInUse.exit_code, "try", fresh.config("P01"))


@pytest.mark.slow
def test_mlflow_shows_the_trials_below_the_search(tried: Federation, tmp_path: Path):
    """A run for the search, a child for each trial with its settings and curves; a second call adds nothing."""
    from mlflow import MlflowClient  # noqa: PLC0415 -- seconds

    federation = tried.moved(tmp_path / "federation")
    for _ in range(2):
        assert federation.hocket("try", str(federation.config("P01")), *OPTIONS).returncode == 0
    client = MlflowClient(tracking_uri=f"sqlite:///{federation.home('P01').folder / 'mlflow.db'}")
    (experiment,) = client.search_experiments()
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 4
    children = [run for run in runs if "hocket.trial" in run.data.tags]
    (parent,) = [run for run in runs if run not in children]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    tries = json.loads((folder_of(federation) / "tries.json").read_bytes())
    for trial in tries["trials"]:
        (run,) = [run for run in children if run.data.tags["hocket.trial"] == str(trial["number"])]
        assert run.data.params["trunk.hidden"] == "x".join(map(str, trial["hidden"]))
        curve = client.get_metric_history(run.info.run_id, "1_validation/average_precision")
        assert {point.step: point.value for point in curve} == pytest.approx(
            {row["round"]: row["validation_average_precision"] for row in trial["rounds"]}
        )
