"""Metrics of a round: measured seconds, the remaining seconds as waiting, and no NaN."""

import pytest

from pipeline.protocol.round_measures import RoundMeasures


def test_waiting_is_what_no_part_took(monkeypatch: pytest.MonkeyPatch):
    """Seconds of training, sealing, opening and validation are no waiting; a repeated part counts once."""
    times = iter([100.0, 101.0, 104.0, 110.0, 112.0, 120.0, 121.0, 150.0])
    monkeypatch.setattr("pipeline.protocol.round_measures.time.monotonic", lambda: next(times))
    measures = RoundMeasures()  # at 100
    for part in ("train", "train", "open"):  # 3 s, 2 s, 1 s
        with measures.timed(part):
            pass
    found = measures.finished()  # at 150
    assert found == {"seconds_train": 5.0, "seconds_open": 1.0, "seconds_round": 50.0, "seconds_wait": 44.0}


def test_a_part_that_fails_is_not_measured():
    """A part that failed has no seconds."""
    measures = RoundMeasures()
    with pytest.raises(ValueError, match="refused"), measures.timed("seal"):
        raise ValueError("refused")
    assert "seconds_seal" not in measures.finished()


def test_only_finite_numbers_are_kept():
    """A score that is no number is left out; of two metrics of one name the last one counts."""
    measures = RoundMeasures()
    measures.add({"validation_roc_auc": float("nan"), "attempt": 1, "loss_train": float("inf")})
    measures.add({"attempt": 2})
    found = measures.finished()
    assert {"validation_roc_auc", "loss_train"}.isdisjoint(found)
    assert found["attempt"] == 2
