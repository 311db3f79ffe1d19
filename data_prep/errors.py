"""The errors of data preparation; every message says where, what was found and what was expected."""


class DataError(Exception):
    """Base of every error this folder raises about data (a wrong setting is a ValueError)."""


class TableError(DataError):
    """An input table cannot be read as T0, T1 or T2."""


class TooMuchLeftOut(DataError):
    """More of T1 would be left out than the partner allows, or an assay whole."""


class NoTask(DataError):
    """The tables give no task that can be trained."""


class ThresholdsFromData(DataError):
    """An assay has no expert threshold, and differential privacy allows none that follows from the values."""


class StructureSeedError(DataError):
    """The group's structure seed is too short; the seed itself is never part of the message."""


class PreparedError(DataError):
    """A prepared folder is incomplete, inconsistent or was changed after it was written."""


class BenchmarkError(DataError):
    """The public benchmark cannot be read, or cannot be split as requested."""


class ChildError(DataError):
    """A process that standardises structures cannot be started on this machine, or was stopped."""


class ClusterError(DataError):
    """The cluster cannot be used: it is not reachable, has no workers or other versions, or fails."""


class CacheWarning(UserWarning):
    """The cache of structures cannot be read or written; the run continues without it."""


class OutputOccupied(DataError):
    """The output folder holds other files than an earlier output; they are left unchanged."""
