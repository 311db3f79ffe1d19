"""Workers that standardise a partner's structures: processes of this machine, or a Dask cluster of the partner's."""

from collections.abc import Iterator
from contextlib import contextmanager

from data_prep.structures.structures import StructureWorkers
from pipeline.errors import ConfigError
from pipeline.plan.member_configs import PartnerConfig, expect_scheduler


@contextmanager
def open_workers(
    config: PartnerConfig, workers: int | None = None, scheduler: str | None = None
) -> Iterator[StructureWorkers]:
    """The workers of the configuration, unless a number of processes or a Dask scheduler is given.

    The cluster is connected only when there are structures to standardise. Raises ConfigError for a bad scheduler.
    """
    try:
        expect_scheduler(scheduler or "")
    except ValueError as error:
        raise ConfigError(f"--scheduler: {error}") from error
    chosen = scheduler or ("" if workers else config.data.scheduler)
    if not chosen:
        yield workers or config.n_workers
        return
    from data_prep.structures.cluster import DaskCluster  # noqa: PLC0415 -- Dask is an extra, and a second to load

    with DaskCluster(chosen) as cluster:
        yield cluster
