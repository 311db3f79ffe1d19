"""Settings and constants as MLflow's parameters: all of them, short enough, without secrets."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.home.round_metrics import RoundRecord
from pipeline.tracking.parameters import constants, is_charted, log_params, settings
from tests.support.federation import AGGREGATOR, Federation
from tests.support.tracking.tracking_reader import member_of, use_store

LIMIT = 500


def test_every_setting_is_a_parameter(enrolled: Federation):
    """Of plan and configuration, under its place in the file; the cards are only counted."""
    found = settings(member_of(enrolled, "P01"))
    expected = {
        "rounds.n_rounds": "2",
        "preparation.chemistry.tautomers": "keep",
        "trunk.hidden": "[16]",
        "training.batch_size": "40",
        "training.device": "cpu",
        "tracking.system_metrics": "false",
        "training.patience": "null",
        "partner.name": "P01",
        "n_partners": "3",
    }
    assert expected.items() <= found.items()
    plan = member_of(enrolled, "P01").plan.model_dump(mode="json")
    for table in ("rounds", "seal", "server", "trunk"):
        assert {f"{table}.{key}" for key in plan[table]} <= set(found)
    assert not [key for key in found if "card" in key or "signing" in key]


def test_the_aggregator_has_its_own(enrolled: Federation):
    """No training of anybody."""
    found = settings(member_of(enrolled, AGGREGATOR))
    assert found["aggregator.name"] == AGGREGATOR
    assert not [key for key in found if key.startswith(("training.", "data.", "gate."))]


def test_a_password_is_no_parameter(fresh: Federation):
    """URLs are shown without login and query."""
    member = use_store(fresh, "P01", "http://me:hidden@mlflow.example/a?key=hidden")
    found = settings(member)
    assert found["tracking.uri"] == "http://***@mlflow.example/a?***"
    assert not [value for value in found.values() if "hidden" in value]


def test_a_long_value_is_cut(fresh: Federation):
    """To what every version of MLflow takes, and says so."""
    config = fresh.config("P01")
    config.write_text(config.read_text().replace('"T0.csv"', f'"{"a" * 2000}.csv"'))
    found = settings(member_of(fresh, "P01"))
    assert max(map(len, found.values())) == LIMIT
    assert found["data.assays"].endswith("(whole in settings/)")


NUMBERS = st.sampled_from([0.0, 1.0, 5286055.0])


@given(st.lists(st.dictionaries(st.sampled_from(["upload_bytes", "n_tasks", "n_members", "loss_train"]), NUMBERS)))
def test_constants_and_charts_together_have_every_value(metrics: list[dict[str, float]]):
    """A value is charted, or it is the parameter; a constant that never changes has no chart."""
    first = constants([RoundRecord(i, 0.0, values) for i, values in enumerate(metrics)])
    assert set(first) <= {"upload_bytes", "n_tasks"}
    for values in metrics:
        for key, value in values.items():
            assert is_charted(key, value, first) or first[key] == value
            assert is_charted(key, value, first) == (first.get(key) != value)


class Client:
    """Notes the sizes of requests."""

    def __init__(self) -> None:
        self.logged: list[list[Any]] = []

    def log_batch(self, _run_id: str, *, params: list[Any]) -> None:
        """As MLflow's."""
        self.logged.append(params)


def test_parameters_are_logged_once_in_small_requests():
    """At most a hundred at once, and none that the run has."""
    client, params = Client(), {f"key{i:03d}": i for i in range(250)}
    log_params(client, "run", params, {"key000": "0", "key249": "other"})  # type: ignore[arg-type]
    assert [len(batch) for batch in client.logged] == [100, 100, 48]
    assert [param.key for batch in client.logged for param in batch] == [f"key{i:03d}" for i in range(1, 249)]
    log_params(client, "run", {}, {})  # type: ignore[arg-type]
    assert len(client.logged) == 3
