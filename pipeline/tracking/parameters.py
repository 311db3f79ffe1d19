"""Settings and constants of a member's run as MLflow's parameters, which are shown in a table and not as charts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.home.round_metrics import RoundRecord
from pipeline.runtime.redact import without_password
from pipeline.tracking.tracker import TrackedMember

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LONGEST = 500  # characters of a value: the limit of MLflow's servers up to 2.9; later ones allow 6,000
_CUT = " ... (whole in settings/)"
_AT_ONCE = 100  # parameters in a request, MLflow's limit
# as long as the federation is large, and in the logged plan; commands and addresses, which may hold a token
_LEFT_OUT = ("plan.card", "catalogue.tasks", "notify", "keys.")
_MEASURED_ONCE = {"seconds_prepare", "upload_bytes", "upload_bytes_per_parameter", "download_bytes"}


def settings(member: TrackedMember) -> dict[str, str]:
    """Settings of plan and configuration by their place there, such as `rounds.n_rounds`, and a few counts.

    Left out are cards, catalogue tasks and `[notify]`. Settings outside a table of the TOML file are under `plan` and
    the member's role. Values are as in JSON, without passwords in URLs, and cut if they are longer than MLflow takes.
    """
    plan = member.plan
    values: dict[str, Any] = {
        "n_partners": len(plan.partner_names),
        "n_trunk_parameters": plan.layout.n_params,
        "n_catalogue_tasks": len(plan.catalogue.tasks),
    }
    for title, content in (
        ("plan", plan.model_dump(mode="json")),
        (member.role, member.config.model_dump(mode="json")),
    ):
        for key, value in content.items():
            values |= dict(_flat(key, value)) if isinstance(value, Mapping) else {f"{title}.{key}": value}
    return {key: _text(value) for key, value in values.items() if not key.startswith(_LEFT_OUT)}


def constants(records: Sequence[RoundRecord]) -> dict[str, float]:
    """The first value of each metric that is a constant of a run: sizes of data and messages, by the record's key."""
    first: dict[str, float] = {}
    for record in records:
        first = {key: value for key, value in record.metrics.items() if _is_constant(key)} | first
    return first


def is_charted(key: str, value: float, first: Mapping[str, float]) -> bool:
    """Whether a record's metric is a point of a curve: a constant is one only where it differs from its first value."""
    return key not in first or value != first[key]


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, object], known: Mapping[str, str]) -> None:
    """Log the parameters that a run does not have; MLflow never changes a parameter.

    known : the parameters that the run has
    """
    from mlflow.entities import Param  # noqa: PLC0415 -- MLflow takes seconds to import

    new = iter([Param(key, str(value)) for key, value in params.items() if key not in known])
    while some := list(islice(new, _AT_ONCE)):
        client.log_batch(run_id, params=some)


def _is_constant(key: str) -> bool:
    return key in _MEASURED_ONCE or (key.startswith("n_") and key != "n_members")


def _flat(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{name}.{key}", value)
        else:
            yield f"{name}.{key}", value


def _text(value: object) -> str:
    text = without_password(value if isinstance(value, str) and value else json.dumps(value))
    return text if len(text) <= _LONGEST else text[: _LONGEST - len(_CUT)] + _CUT
