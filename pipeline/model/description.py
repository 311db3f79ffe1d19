"""The description of a finished model: tasks, settings and column names. Imports neither torch nor rdkit."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from data_prep.settings import Chemistry, Fingerprint
from partners.settings import LocalKind, ModelKind, Training, TrunkSettings
from pipeline.errors import ConfigError
from pipeline.plan.toml_schema import Schema

DESCRIPTION_FILE, COMPOUNDS_FILE = "model.json", "compounds.safetensors"

Which = Literal["federated", "local"]

_MOST_NEAREST = 3  # names shown for an unknown one


def weights_file(which: Which) -> str:
    """Name of the weights file of one of the two models."""
    return f"{which}.safetensors"


class ClassTask(Schema):
    """One classification task, a column of the matrix."""

    input_assay_id: str
    threshold: float  # log units; 0 for binary assays
    direction: str  # high, low or empty, as in T0
    assay_type: str
    is_auxiliary: bool  # trained to help other tasks, never scored
    strongest: LocalKind  # kind of model of `hocket predict --model local`
    kept: ModelKind  # kind of the take-home model
    reason: str  # why these
    n_active: int | None = None  # compounds that its model was fitted to; None: by an earlier version, which kept none
    n_inactive: int | None = None

    @property
    def name(self) -> str:
        """Assay and threshold, as in column names of wide tables and in --tasks."""
        return f"{self.input_assay_id}@{self.threshold:.10g}"


class RegrTask(Schema):
    """One regression task, a column of the matrix."""

    input_assay_id: str
    assay_type: str
    is_auxiliary: bool
    strongest: LocalKind
    kept: ModelKind
    reason: str
    n_values: int | None = None  # as n_active

    @property
    def name(self) -> str:
        """The assay's id."""
        return self.input_assay_id


def chosen_fields(schema: type[Schema], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that a schema has a field for."""
    return {name: values[name] for name in schema.model_fields}


class Added(Schema):
    """An assay that `hocket extend` added to the model, with the file of its models."""

    input_assay_id: str
    file: str
    sha256: str  # of the file


class Description(Schema):
    """The content of model.json: all facts about a model except its arrays."""

    kind: Literal["hocket model"] = "hocket model"
    format: Literal[2] = 2
    version: str  # of the program that wrote it
    partner: str
    federation: str
    federation_id: str
    plan: str  # digest
    n_rounds: int
    kept: Which  # the model that the gate keeps
    trunk: TrunkSettings
    training: Training
    chemistry: Chemistry
    fingerprint: Fingerprint
    compound_timeout_s: float = Field(gt=0)
    tasks: tuple[ClassTask, ...]
    regression_tasks: tuple[RegrTask, ...]
    descriptors: int | None  # version of the list of descriptors that the models need; None: none
    least_similarity: float = Field(ge=0, le=1)  # to the nearest training compound, of a compound in the domain
    added: tuple[Added, ...] = ()  # assays whose tasks follow those of the federation, in this order

    @property
    def edition(self) -> str:
        """16 characters that distinguish models by their added assays; empty without any."""
        content = "\n".join(f"{one.input_assay_id} {one.sha256}" for one in self.added)
        return hashlib.sha256(content.encode()).hexdigest()[:16] if content else ""

    @property
    def assays(self) -> set[str]:
        """Ids of all assays that it has tasks of."""
        tasks: list[ClassTask | RegrTask] = [*self.tasks, *self.regression_tasks]
        return {task.input_assay_id for task in tasks}

    def without_added(self) -> "Description":
        """The description of the model as the federation left it."""
        added = {one.input_assay_id for one in self.added}
        tasks = tuple(task for task in self.tasks if task.input_assay_id not in added)
        regressions = tuple(task for task in self.regression_tasks if task.input_assay_id not in added)
        return self.model_copy(update={"tasks": tasks, "regression_tasks": regressions, "added": ()})

    def write(self, folder: Path) -> None:
        """Write model.json into an unfinished folder."""
        fields = self.model_dump(mode="json")
        (folder / DESCRIPTION_FILE).write_text(json.dumps(fields, indent=1, allow_nan=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Description":
        """Read and check model.json. Raises ConfigError if the folder holds no such model."""
        path = folder / DESCRIPTION_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file, expected the folder of a finished model") from None
        except ValidationError as error:
            raise ConfigError(f"{path}: is damaged or of another version: {error.error_count()} problem(s)") from None


# columns of each task in prediction tables
CLASS_COLUMNS = ("probability", "conformal_p_active", "conformal_p_inactive", "in_domain")
REGR_COLUMNS = ("value", "low", "high", "in_domain")


class Selection:
    """The tasks to predict, by their columns."""

    def __init__(self, description: Description, names: Sequence[str] | None) -> None:
        """`names` are assays or ASSAY@THRESHOLD; None: all but auxiliary tasks.

        Raises ConfigError for an unknown name.
        """
        every: list[ClassTask | RegrTask] = [*description.tasks, *description.regression_tasks]
        known = {name for task in every for name in _names_of(task)}
        wanted = None if names is None else set(_split_names(names, known))
        self.classes = _chosen(description.tasks, wanted)
        self.regressions = _chosen(description.regression_tasks, wanted)
        self.class_tasks = [description.tasks[i] for i in self.classes]
        self.regression_tasks = [description.regression_tasks[i] for i in self.regressions]


def _split_names(names: Sequence[str], known: set[str]) -> Iterator[str]:
    """Split names at commas, except in the name of an assay that contains commas itself."""
    for name in names:
        parts = [name] if name in known else [part.strip() for part in name.split(",") if part.strip()]
        unknown = [part for part in parts if part not in known]
        if unknown or not parts:
            raise _unknown_tasks(unknown, known)
        yield from parts


def _unknown_tasks(unknown: Sequence[str], known: set[str]) -> ConfigError:
    error = ConfigError(f"--tasks: found {', '.join(unknown) or 'no name'}, expected assays or ASSAY@THRESHOLD")
    same_in_lower_case = {name.lower(): name for name in sorted(known)}
    for name in unknown:
        nearest = get_close_matches(name.lower(), same_in_lower_case, _MOST_NEAREST)
        if nearest:
            error.add_note(f"nearest to {name}: {', '.join(same_in_lower_case[text] for text in nearest)}")
    error.add_note("`hocket predict CONFIG --list-tasks` lists the model's tasks")
    return error


def _chosen(tasks: Sequence[ClassTask] | Sequence[RegrTask], wanted: set[str] | None) -> NDArray[np.int64]:
    return np.flatnonzero([not t.is_auxiliary if wanted is None else bool(_names_of(t) & wanted) for t in tasks])


def _names_of(task: ClassTask | RegrTask) -> set[str]:
    return {task.name, task.input_assay_id}


def output_columns(description: Description) -> dict[str, str]:
    """Columns of a wide table of all but auxiliary tasks, without row and id, with MLflow's names of their types."""
    selection = Selection(description, None)
    columns = {"similarity": "float"}
    for tasks, names in ((selection.class_tasks, CLASS_COLUMNS), (selection.regression_tasks, REGR_COLUMNS)):
        for task in tasks:
            columns |= {f"{task.name}.{name}": "boolean" if name == "in_domain" else "float" for name in names}
    return columns
