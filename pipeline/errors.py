"""What can go wrong in a run, each with the exit code a batch system sees."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command's exit status says."""

    DONE = 0
    BUG = 1
    CONFIGURATION = 2
    DATA = 3
    SECURITY = 4
    TRAINING = 5
    NOT_YET = 6


class PipelineError(Exception):
    """Base of the errors of this folder."""

    exit_code = ExitCode.CONFIGURATION


class ConfigError(PipelineError):
    """A plan, a configuration file or a command line that cannot be used."""


class DamagedReport(PipelineError):
    """A report, or what was shared of one, cannot be read."""

    exit_code = ExitCode.DATA


class NotShareable(PipelineError):
    """A file given to be merged is none that partners share."""


class MixedFederations(PipelineError):
    """Summaries to be merged are not of one federation, plan and model, or two are of one partner."""


class OutOfStep(PipelineError):
    """A home does not stand at the round from which a revision of the plan goes on."""


class HomeInUse(PipelineError):
    """Another process works in this home at the moment."""

    exit_code = ExitCode.NOT_YET


class ExchangeError(PipelineError):
    """The exchange folder cannot be read or written."""


class ExchangeUnreachable(ExchangeError):
    """The exchange does not answer at the moment, as far as one can tell: worth another try."""


class DemoFailed(PipelineError):
    """A member's process of the demo ended with an error; its exit code is handed on."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RunFailed(PipelineError):
    """A member's run beside an engine ended with an error; its exit code is handed on."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ExchangeConflict(PipelineError):
    """A file of the exchange folder is not the one this member posted there."""

    exit_code = ExitCode.SECURITY


class Equivocation(PipelineError):
    """A message contradicts another message of the same sender, or what this member holds."""

    exit_code = ExitCode.SECURITY


class WrongSite(PipelineError):
    """A site of an engine is not the member that it should be, or cannot prove it."""

    exit_code = ExitCode.SECURITY


class BadTransfer(PipelineError):
    """What came over an engine is not what a member of the federation sends."""

    exit_code = ExitCode.SECURITY


class BrokenTranscript(PipelineError):
    """The messages of a federation do not fit together: one is missing, one too many, or out of order."""

    exit_code = ExitCode.SECURITY


class Diverged(PipelineError):
    """Members do not hold the same trunk or do not prepare compounds alike."""

    exit_code = ExitCode.SECURITY


class TransferFailed(PipelineError):
    """An engine did not bring a file whole; it is offered again."""

    exit_code = ExitCode.NOT_YET


class SitesLost(PipelineError):
    """An engine's job cannot go on with the sites that still answer; the same job, submitted again, goes on."""

    exit_code = ExitCode.NOT_YET


class AttemptsUsedUp(PipelineError):
    """A round has had as many attempts as the plan allows: each void may give away more of an update."""

    exit_code = ExitCode.SECURITY


class LeftBehind(PipelineError):
    """The others went on, and what this member needs to follow them was removed from the exchange."""

    exit_code = ExitCode.SECURITY


class NotYet(PipelineError):
    """The next step needs something that other members have not delivered."""

    exit_code = ExitCode.NOT_YET
