"""A member's MLflow store as tests read it."""

from typing import TYPE_CHECKING

from pipeline.home.round_metrics import read_records
from pipeline.tracking.descriptions import LOCAL_OF, curve
from pipeline.tracking.parameters import constants, is_charted
from pipeline.tracking.report_metrics import conclusion, gate, report_in, scores_on_test_fold
from pipeline.tracking.tracker import TrackedMember, read_member
from tests.support.federation import AGGREGATOR, Federation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def client_of(member: TrackedMember) -> "MlflowClient":
    """A client as a fresh tracking process would make it."""
    from mlflow import MlflowClient  # noqa: PLC0415 -- seconds to import, only where it is used

    return MlflowClient(tracking_uri=member.store, registry_uri=member.store)


def member_of(federation: Federation, name: str) -> TrackedMember:
    """A member as its tracking process reads it."""
    return read_member(federation.config(name), "aggregator" if name == AGGREGATOR else "partner")


def runs_of(member: TrackedMember) -> "list[Run]":
    """The members' runs in all experiments of the member's store, without those of local models."""
    return [run for run in _every_run(member) if LOCAL_OF not in run.data.tags]


def local_runs_of(member: TrackedMember) -> "list[Run]":
    """The runs of local models."""
    return [run for run in _every_run(member) if LOCAL_OF in run.data.tags]


def _every_run(member: TrackedMember) -> "list[Run]":
    client = client_of(member)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments))


def curves(member: TrackedMember, run: "Run") -> dict[str, list[tuple[int, float]]]:
    """Every metric's history as (step, value), as often as it was logged."""
    client = client_of(member)
    return {
        key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }


def expected_curves(member: TrackedMember) -> dict[str, list[tuple[int, float]]]:
    """What the records hold, each step once and without constants, and the report's numbers at the last round."""
    found: dict[str, list[tuple[int, float]]] = {}
    records = read_records(member.home.metrics)
    first = constants(records)
    for record in records:
        for key, value in record.metrics.items():
            if is_charted(key, value, first):
                found.setdefault(curve(key), []).append((record.step, value))
    report = report_in(member.home) if member.finished else None
    numbers = scores_on_test_fold(report, "federated") | conclusion(report) | gate(report) if report else {}
    return found | {key: [(member.plan.rounds.n_rounds, number)] for key, number in numbers.items()}


def artifacts(member: TrackedMember, run: "Run", folder: str | None = None) -> set[str]:
    """Paths of all artifact files."""
    found: set[str] = set()
    for item in client_of(member).list_artifacts(run.info.run_id, folder):
        found |= artifacts(member, run, item.path) if item.is_dir else {item.path}
    return found


def use_store(federation: Federation, name: str, uri: str, more: str = "") -> TrackedMember:
    """The member with another store in its configuration."""
    config = federation.config(name)
    config.write_text(f'{config.read_text().split("[tracking]")[0]}[tracking]\nuri = "{uri}"\n{more}')
    return member_of(federation, name)
