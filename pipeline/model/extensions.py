"""Assays that `hocket extend` added: a file for each in HOME/extensions, and a copy of it in the model's folder."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from partners.errors import CheckpointDamaged
from partners.network.trunk import trunk_layout
from partners.new_assays.extension import Extension, extension_facts
from pipeline.model.description import (
    COMPOUNDS_FILE,
    Added,
    ClassTask,
    Description,
    RegrTask,
    chosen_fields,
    weights_file,
)
from pipeline.plan.toml_schema import Schema
from pipeline.runtime.progress import ProgressReporter
from secure.files import atomic_folder
from secure.messages.provenance import PROVENANCE_FILE

README_FILE = "README.md"
FILE_MODE = 0o600
_OF_FEDERATION = (weights_file("local"), weights_file("federated"), COMPOUNDS_FILE, README_FILE)


def extension_file(input_assay_id: str) -> str:
    """Name of an added assay's file; ids may hold characters that file names may not."""
    return f"assay-{hashlib.sha256(input_assay_id.encode()).hexdigest()[:16]}.safetensors"


def stored_files(extensions: Path, trunk: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Files of added assays that were fitted on a trunk, with their facts, by assay; trunk : its digest."""
    yield from ((path, facts) for path, facts in _all_files(extensions) if facts.get("trunk") == trunk)


def _all_files(extensions: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = [(path, dict(extension_facts(path))) for path in extensions.glob("assay-*.safetensors")]
    return sorted(found, key=lambda pair: str(pair[1].get("assay")))


def add_stored(unfinished: Path, base: Description, extensions: Path, trunk: str) -> list[str]:
    """Write model.json with all stored assays that fit into a model's unfinished folder, and copy their files there.

    Assays that the federation has are left out. Returns the ids of those that were fitted on another trunk.
    """
    added: list[Added] = []
    left_out: list[str] = []
    tasks, regression_tasks = list(base.tasks), list(base.regression_tasks)
    for path, facts in _all_files(extensions):
        name = str(facts.get("assay"))
        if facts.get("trunk") != trunk:
            left_out.append(name)
        elif name not in base.assays:
            shutil.copyfile(path, unfinished / path.name)
            added.append(Added(input_assay_id=name, file=path.name, sha256=_digest(path)))
            tasks += [ClassTask.model_validate(fields) for fields in _tasks(ClassTask, "tasks", facts, path)]
            regression_tasks += [RegrTask.model_validate(f) for f in _tasks(RegrTask, "regression_tasks", facts, path)]
    update = {"tasks": tuple(tasks), "regression_tasks": tuple(regression_tasks), "added": tuple(added)}
    base.model_copy(update=update).write(unfinished)
    return left_out


def report_left_out(reporter: ProgressReporter, left_out: Sequence[str]) -> None:
    """Warn of added assays that a new model lacks."""
    if left_out:
        reporter.warn(
            f"{len(left_out)} assays that `hocket extend` added were fitted on another trunk and are left out: "
            "run it again for them"
        )


def extend_folder(folder: Path, extensions: Path, trunk: str) -> Description:
    """Rewrite the model's folder with all stored assays that fit; the federation's files stay as they are.

    The folder appears whole, or the old one stays. Returns the new description.
    """
    base = Description.read(folder).without_added()
    with atomic_folder(folder) as unfinished:
        for name in _OF_FEDERATION:
            shutil.copyfile(folder / name, unfinished / name)
        if (folder / PROVENANCE_FILE).exists():  # models of earlier versions have none
            shutil.copyfile(folder / PROVENANCE_FILE, unfinished / PROVENANCE_FILE)
        add_stored(unfinished, base, extensions, trunk)
        for file in unfinished.iterdir():
            file.chmod(FILE_MODE)
    return Description.read(folder)


def read_added(folder: Path, description: Description) -> list[Extension]:
    """Read the models of a model's added assays. Raises FileNotFoundError or CheckpointDamaged."""
    layout = trunk_layout(description.fingerprint.n_bits, description.trunk.hidden)
    extensions = [Extension.read(folder / added.file, layout) for added in description.added]
    for added, extension in zip(description.added, extensions, strict=True):
        if extension.facts.get("assay") != added.input_assay_id:
            raise CheckpointDamaged(f"{added.file}: holds another assay than model.json says")
    return extensions


def _tasks(schema: type[Schema], name: str, facts: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """Fields of an added assay's tasks for model.json."""
    try:
        result = facts["result"]
        kinds = {"strongest": result["without_trunk"], "kept": result["kept"], "reason": result["reason"]}
        return [chosen_fields(schema, task | kinds) for task in facts[name]]
    except (KeyError, TypeError) as error:
        raise CheckpointDamaged(f"{path.name}: found no {error}, expected the models of a new assay") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
