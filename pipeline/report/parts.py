"""Base classes for parts of reports and summaries: checked when made or read, and written as JSON."""

from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from pipeline.plan.toml_schema import Schema
from pipeline.report.metrics import Side

T = TypeVar("T")

_MOST_PROBLEMS = 5  # shown of a damaged file
_LONGEST_VALUE = 60  # characters shown of a wrong value


class ReportPart(Schema):
    """Part of a report, checked when it is made and when it is read; refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(use_attribute_docstrings=False)  # pydantic reads the source again for every class

    def to_json(self) -> dict[str, Any]:
        """The part as JSON, as in its file."""
        return self.model_dump(mode="json")


class PartWithOptions(ReportPart):
    """A part that is written without those optional keys that are None."""

    @model_serializer(mode="wrap")
    def _leave_out_absent(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        absent = {name for name, field in type(self).model_fields.items() if not field.is_required()}
        return {key: value for key, value in write(self).items() if not (key in absent and value is None)}


class Sides(ReportPart, Generic[T]):
    """One value for each of the two models, local and federated."""

    local: T
    federated: T

    def of(self, side: Side) -> T:
        """The value of one model."""
        return self.local if side == "local" else self.federated


def problems(error: ValidationError) -> str:
    """The wrong keys of a file in words: for each key what was found and what was expected."""
    items = error.errors(include_url=False)
    lines = [_problem(".".join(map(str, item["loc"])), item["type"], item["msg"], item["input"]) for item in items]
    more = f"; and {len(lines) - _MOST_PROBLEMS} more" if len(lines) > _MOST_PROBLEMS else ""
    return "; ".join(lines[:_MOST_PROBLEMS]) + more


def _problem(key: str, kind: str, message: str, value: object) -> str:
    if kind == "extra_forbidden":
        return f"{key[:200]}: found an unknown key, expected none of this name"
    if kind == "missing":
        return f"{key}: found nothing, expected this key"
    text = type(value).__name__ if isinstance(value, dict | list) else repr(value)[:_LONGEST_VALUE]
    return (
        f"{key[:200]}: found {text}, expected {message.removeprefix('Input should be ').removeprefix('Value error, ')}"
    )
