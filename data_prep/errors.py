"""What can go wrong with a partner's data; every message says where, what was found and what was expected."""


class DataError(Exception):
    """Base of every error this folder raises about data (a wrong setting is a ValueError)."""


class TableError(DataError):
    """An input table cannot be read as T0, T1 or T2."""


class StructureSeedError(DataError):
    """The group's structure seed is not fit for use; the seed itself is never part of the message."""


class PreparedError(DataError):
    """A prepared folder is incomplete, inconsistent or was changed after it was written."""


class BenchmarkError(DataError):
    """The public benchmark cannot be read or split as asked."""


class ChildError(DataError):
    """No process for structures can be started on this machine."""


class ClusterError(DataError):
    """The cluster cannot make structures: not reachable, gone, without workers, with other versions, or failing."""


class CacheWarning(UserWarning):
    """The cache of structures is of no use, or only to read; the run goes on without it."""


class OutputOccupied(DataError):
    """The place for an output holds something that is no earlier output, and is left as it is."""
