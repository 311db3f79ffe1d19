"""Numbers of a round: what was measured, what is left for waiting, and nothing that is not a number."""

import pytest

from pipeline.protocol.round_measures import RoundMeasures


def test_waiting_is_what_no_part_took(monkeypatch: pytest.MonkeyPatch):
    """Seconds of training, sealing, opening and validation are no waiting; of a part done twice the last count."""
    times = iter([100.0, 101.0, 104.0, 110.0, 112.0, 120.0, 121.0, 150.0])
    monkeypatch.setattr("pipeline.protocol.round_measures.time.monotonic", lambda: next(times))
    measures = RoundMeasures()  # at 100
    for part in ("train", "train", "open"):  # 3 s, 2 s, 1 s
        with measures.timed(part):
            pass
    found = measures.finished()  # at 150
    assert found == {"seconds_train": 2.0, "seconds_open": 1.0, "seconds_round": 50.0, "seconds_wait": 47.0}


def test_a_part_that_fails_is_not_measured():
    """What it took says nothing."""
    measures = RoundMeasures()
    with pytest.raises(ValueError, match="refused"), measures.timed("seal"):
        raise ValueError("refused")
    assert "seconds_seal" not in measures.finished()


def test_only_finite_numbers_are_kept():
    """A score of a fold that cannot be judged is left out; of two numbers of one name the last stays."""
    measures = RoundMeasures()
    measures.add({"validation_roc_auc": float("nan"), "attempt": 1, "loss_train": float("inf")})
    measures.add({"attempt": 2})
    found = measures.finished()
    assert {"validation_roc_auc", "loss_train"}.isdisjoint(found)
    assert found["attempt"] == 2
