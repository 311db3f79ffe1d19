"""Threads for the models of many assays."""

import threading

import pytest

from partners.assay_models.threads import open_threads


def test_who_is_stopped_does_not_wait_for_calls_that_have_not_begun():
    """Of three calls handed to one thread only the running one ends; the others never begin."""
    begun, goes_on, done = threading.Event(), threading.Event(), []

    def call(number: int) -> None:
        begun.set()
        goes_on.wait()
        done.append(number)

    def stop() -> None:
        with open_threads(1) as pool:
            last = [pool.submit(call, number) for number in range(3)][-1]
            last.add_done_callback(lambda _: goes_on.set())  # it is cancelled after all before it
            begun.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert done == [0]


def test_results_are_complete_without_an_error():
    """All calls of a block that ends as it should are done."""
    with open_threads(2) as pool:
        assert list(pool.map(lambda number: number**2, range(5))) == [0, 1, 4, 9, 16]
