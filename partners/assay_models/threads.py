"""Threads for the models of many assays; if the run is stopped, models that have not begun are not fitted."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def open_threads(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads, in each of which numpy computes with one thread.

    On an error or a signal only the calls that are running are waited for, not all that were handed over.
    """
    pool = ThreadPoolExecutor(n_threads)
    with threadpool_limits(limits=1):
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
