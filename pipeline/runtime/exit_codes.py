"""The exit code for each error, in one table for the command line and `hocket doctor`."""

from data_prep.errors import DataError
from partners.errors import BadData, TrainingError
from pipeline.errors import ExitCode, PipelineError
from secure.errors import SecureError

REFUSALS = (PipelineError, SecureError, DataError, TrainingError, OSError)
_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (DataError, ExitCode.DATA),
    (BadData, ExitCode.DATA),  # a subclass of TrainingError, so it comes first
    (TrainingError, ExitCode.TRAINING),
    (SecureError, ExitCode.SECURITY),
    (OSError, ExitCode.CONFIGURATION),  # for example a full disk, or no right to write
)


def exit_code_of(error: Exception) -> ExitCode:
    """The exit code of a command that ends with this error; 1, a bug, if it is none of `REFUSALS`."""
    if isinstance(error, PipelineError):
        return error.exit_code
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.BUG)
