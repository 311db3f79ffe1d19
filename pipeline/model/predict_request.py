"""What `hocket predict` is asked for, checked before torch and a model are loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import ConfigError
from pipeline.home.paths import Home
from pipeline.model.description import Description, Selection, Which
from pipeline.model.explanation_files import explanation_folder_of
from pipeline.model.structure_batches import StructureInput, check_structures, rejected_file_of
from pipeline.plan.member_configs import PartnerConfig
from pipeline.report.report import read_report

Format = Literal["long", "wide"]

_MOST_PICTURES = 1000  # of one prediction, so that a person can still look through the folder


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """The configuration and the options of the command line.

    Raises NotYet before the federation is finished here, ConfigError for tasks that the model does not have or an
    output that cannot be written, data_prep.errors.TableError for a file that is no file of structures.
    """

    config: PartnerConfig
    structures: Path
    id_column: str | None = None  # None: as the configuration names it
    smiles_column: str | None = None  # the same
    output: Path | None = None  # None: CSV to standard output
    tasks: tuple[str, ...] | None = None  # None: all but auxiliary ones
    which: Which | None = None  # None: the model that the gate keeps
    format: Format = "long"
    for_spreadsheets: bool = False  # texts that a spreadsheet takes for formulas get an apostrophe
    n_explained: int = 0  # compounds whose atoms' contributions are written

    def __post_init__(self) -> None:
        """Check output, tasks and input."""
        if self.n_explained and self.output is None:
            raise ConfigError("--explain: found no --output, expected one: the explanations are written next to it")
        _ = self.rejected_file, self.explanation_folder  # they raise ConfigError
        home = Home(self.config.home_folder)
        if home.model.exists():
            self._check_tasks(Description.read(home.model))
        else:
            read_report(home)
        check_structures(self.new)

    @property
    def new(self) -> StructureInput:
        """The file of structures, and what its columns are called."""
        columns = self.config.data.own.columns
        return StructureInput(self.structures, columns, id_column=self.id_column, smiles_column=self.smiles_column)

    @property
    def rejected_file(self) -> Path | None:
        """The table of rejected rows, next to the output."""
        return rejected_file_of(self.output, self.structures) if self.output else None

    @property
    def explanation_folder(self) -> Path | None:
        """The folder of explanations next to the output; None if none are wanted."""
        return explanation_folder_of(self.output) if self.output and self.n_explained else None

    def _check_tasks(self, description: Description) -> None:
        selection = Selection(description, self.tasks)
        n_tasks = selection.classes.size + selection.regressions.size
        if self.n_explained * n_tasks > _MOST_PICTURES:
            n_pictures = f"{self.n_explained} compounds x {n_tasks} tasks = {self.n_explained * n_tasks} pictures"
            error = ConfigError(f"--explain: found {n_pictures}, expected at most {_MOST_PICTURES}")
            error.add_note("choose tasks with --tasks, or fewer compounds")
            raise error
