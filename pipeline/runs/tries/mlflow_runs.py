"""The process that logs the trials of `hocket try`: `python -m pipeline.runs.tries.mlflow_runs CONFIG FOLDER`.

One run for the search, and below it a run for each trial, with its settings as parameters and its scores by round.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json
from pipeline.home.lock import hold
from pipeline.runtime.redact import without_password
from pipeline.tracking import descriptions as words
from pipeline.tracking.process import open_store
from pipeline.tracking.sync import experiment_of
from pipeline.tracking.tracker import QUIET, TrackedMember, read_member

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SEARCH, TRIAL = "hocket.search", "hocket.trial"  # tags: the search's folder, and the trial's number in it
_PARENT = "mlflow.parentRunId"  # by which MLflow's pages show runs below others
_SCORES = ("validation_average_precision", "validation_roc_auc", "validation_loss", "loss")


def log_search(member: TrackedMember, client: "MlflowClient", folder: Path) -> str:
    """Log a search, and of an earlier call only what is missing; returns the id of the search's run."""
    tries, name = read_json(folder / "tries.json"), member.config.name
    experiment = experiment_of(member, client)
    parent = _run(client, experiment, {SEARCH: folder.name, words.PLAN: tries["plan"]}, f"{name}, tried settings")
    for trial in tries["trials"]:
        tags = {SEARCH: folder.name, TRIAL: str(trial["number"]), _PARENT: parent.info.run_id}
        run = _run(client, experiment, tags, f"{name}, trial {trial['number']}")
        if run.info.status != "FINISHED":
            _log_trial(client, run.info.run_id, trial)
            client.set_terminated(run.info.run_id)
    client.log_artifact(parent.info.run_id, str(folder / "proposal.toml"))
    if parent.info.status != "FINISHED":
        client.set_terminated(parent.info.run_id)
    return str(parent.info.run_id)


def _run(client: "MlflowClient", experiment: str, tags: Mapping[str, str], name: str) -> "Run":
    """The run with these tags, created if it is not there."""
    wanted = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())
    same = client.search_runs([experiment], filter_string=wanted)
    mine = [run for run in same if (TRIAL in run.data.tags) == (TRIAL in tags)]
    return mine[0] if mine else client.create_run(experiment, tags=dict(tags), run_name=name)


def _log_trial(client: "MlflowClient", run_id: str, trial: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415 -- MLflow takes seconds to import

    settings = {
        "trunk.hidden": "x".join(map(str, trial["hidden"])),
        "trunk.dropout": f"{trial['dropout']:g}",
        "training.learning_rate": f"{trial['learning_rate']:g}",
    }
    client.log_batch(run_id, params=[Param(key, value) for key, value in settings.items()])
    names = {score: words.curve("loss_train" if score == "loss" else score) for score in _SCORES}
    metrics = [
        Metric(names[score], row[score], 0, row["round"])
        for row in trial["rounds"]
        for score in _SCORES
        if row[score] is not None
    ]
    for start in range(0, len(metrics), 1000):  # MLflow's limit of a request
        client.log_batch(run_id, metrics=metrics[start : start + 1000])


def main(config_file: str, folder: str) -> int:
    """Log a search; 1 if the store cannot be reached."""
    os.environ.update(QUIET)
    os.umask(0o077)  # database and artifacts are as private as the home
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- seconds and much memory

    member = read_member(Path(config_file), "partner")
    with hold(member.home.folder / "tracking.lock", waits=True):
        try:
            log_search(member, open_store(member), Path(folder))
        except (MlflowException, OSError, ConfigError) as error:
            where = without_password(member.store)
            print(f"{where} cannot be reached: {without_password(str(error))}", file=sys.stderr)  # noqa: T201 -- the log
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
