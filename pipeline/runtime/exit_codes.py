"""Which error ends a command with which exit code: one table for the command line and for `hocket doctor`."""

from data_prep.errors import DataError
from partners.errors import BadData, TrainingError
from pipeline.errors import ExitCode, PipelineError
from secure.errors import SecureError

REFUSALS = (PipelineError, SecureError, DataError, TrainingError, OSError)
_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (DataError, ExitCode.DATA),
    (BadData, ExitCode.DATA),  # a TrainingError too, so it stands first
    (TrainingError, ExitCode.TRAINING),
    (SecureError, ExitCode.SECURITY),
    (OSError, ExitCode.CONFIGURATION),  # a disk that fills, a folder that may not be written
)


def exit_code_of(error: Exception) -> ExitCode:
    """The exit code of a command that this error ends; 1, a bug, for an error that is none of `REFUSALS`."""
    if isinstance(error, PipelineError):
        return error.exit_code
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.BUG)
