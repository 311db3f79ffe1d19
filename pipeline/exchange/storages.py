"""What the storages behind fsspec do differently: which errors mean that they do not answer, who shows files whole."""

from collections.abc import Collection

# These show an object only when it is whole; a file server shows what has come so far.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
_S3 = frozenset({"s3", "s3a"})
# another try without a change by a person will fail as well
_LASTING = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
_LASTING_OF_BOTOCORE = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ParamValidationError"}
)


def failures(protocols: Collection[str]) -> tuple[type[Exception], ...]:
    """Errors by which the storage of a file system that is open says that it failed."""
    if _S3.isdisjoint(protocols):
        return (OSError,)
    from aiohttp import ClientError  # noqa: PLC0415 -- is there where s3fs is
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped] # noqa: PLC0415

    return (OSError, BotoCoreError, ClientError)


def is_lasting(error: Exception) -> bool:
    """Whether only a person can help: rights, credentials, a name that cannot be."""
    return isinstance(error, _LASTING) or type(error).__name__ in _LASTING_OF_BOTOCORE
