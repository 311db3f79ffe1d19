"""The errors of `pipeline`, grouped by the room that raises them, each with the exit code of its command."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the hocket command."""

    DONE = 0
    BUG = 1
    CONFIGURATION = 2
    DATA = 3
    SECURITY = 4
    TRAINING = 5
    NOT_YET = 6


# ---------------------------------------------------------------------------------------------------------- every room


class PipelineError(Exception):
    """Base of the errors of `pipeline`."""

    exit_code = ExitCode.CONFIGURATION


class ConfigError(PipelineError):
    """A plan, a configuration file or a command line cannot be used."""


class NotYet(PipelineError):
    """The next step needs a message that another member has not posted yet."""

    exit_code = ExitCode.NOT_YET


# ---------------------------------------------------------------------------------------------------------------- home


class HomeInUse(PipelineError):
    """Another process works in this home at the moment."""

    exit_code = ExitCode.NOT_YET


# ------------------------------------------------------------------------------------------------------------ exchange


class ExchangeError(PipelineError):
    """The exchange cannot be read or written."""


class ExchangeUnreachable(ExchangeError):
    """The exchange does not answer at the moment: a retry may succeed."""


class ExchangeConflict(PipelineError):
    """A file on the exchange is not what this member posted there, or does not belong there."""

    exit_code = ExitCode.SECURITY


# ------------------------------------------------------------------------------------------------- protocol, and audit


class Equivocation(PipelineError):
    """A message contradicts another message of its sender, or the files of this member's home."""

    exit_code = ExitCode.SECURITY


class Diverged(PipelineError):
    """Two members have different trunks, or prepare compounds or count a catalogue differently."""

    exit_code = ExitCode.SECURITY


class AttemptsUsedUp(PipelineError):
    """A round had all attempts that the plan allows."""

    exit_code = ExitCode.SECURITY


class LeftBehind(PipelineError):
    """The other members went on, and a message that this one still needs was removed from the exchange."""

    exit_code = ExitCode.SECURITY


class WrongTrunk(PipelineError):
    """A file or message holds another trunk than the one that the members agreed on."""

    exit_code = ExitCode.SECURITY


class OutOfStep(PipelineError):
    """A home is not at the round from which a revision of the plan goes on."""


class EpsilonOutOfReach(PipelineError):
    """The plan's epsilon cannot be kept with its rounds, a partner's number of compounds and the most noise."""


class PrivacyLost(PipelineError):
    """A home's rounds were trained partly without differential privacy, or its ledger lacks some: no epsilon holds."""


class BrokenTranscript(PipelineError):
    """A message of a federation is missing, superfluous or out of order."""

    exit_code = ExitCode.SECURITY


class WrongProvenance(PipelineError):
    """A model's files, or the exchange's messages, are not those that its signed provenance lists."""

    exit_code = ExitCode.SECURITY


# -------------------------------------------------------------------------------------------------------------- report


class DamagedReport(PipelineError):
    """A report, or a shareable summary, cannot be read."""

    exit_code = ExitCode.DATA


class NotShareable(PipelineError):
    """A file to be merged is not a shareable summary."""


class MixedFederations(PipelineError):
    """Summaries to be merged are not of one federation, plan and model, or two are of one partner."""


# ----------------------------------------------------------------------------------------------------------- transport


class WrongSite(PipelineError):
    """An NVFlare site is not the member that it should be, or cannot prove it."""

    exit_code = ExitCode.SECURITY


class BadTransfer(PipelineError):
    """Data that came over NVFlare is not what a member of the federation sends."""

    exit_code = ExitCode.SECURITY


class TransferFailed(PipelineError):
    """NVFlare did not bring a file whole; it is offered again."""

    exit_code = ExitCode.NOT_YET


class SitesLost(PipelineError):
    """An NVFlare job cannot go on with the sites that still answer; the same job, submitted again, goes on."""

    exit_code = ExitCode.NOT_YET


class RunFailed(PipelineError):
    """A member's run that NVFlare started ended with an error, whose exit code this one has."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


# ---------------------------------------------------------------------------------------------------------------- demo


class DemoFailed(PipelineError):
    """A member's process of the demo ended with an error, whose exit code this one has."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code
