"""The ledger of noised steps: what is written is read, and nothing else is."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partners.privacy.steps import NoisedSteps
from pipeline.errors import ConfigError
from pipeline.home.privacy_ledger import PrivacyLedger

_STEPS = st.builds(NoisedSteps, st.integers(0, 10**6), st.floats(1e-6, 1), st.floats(1e-3, 1e3))
_CHEAP = NoisedSteps(1, 0.5, 1.0)
_PLACES = st.tuples(st.integers(1, 99), st.integers(1, 9999))


@settings(max_examples=30, deadline=None)
@given(rounds=st.dictionaries(_PLACES, _STEPS, max_size=5), removed=st.integers(0, 4))
def test_a_ledger_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, rounds, removed):
    """To the last bit, in the order of plans and rounds; a round that is trained otherwise counts twice."""
    ledger = PrivacyLedger(tmp_path_factory.mktemp("ledger") / "privacy.json")
    ledger.begin()
    assert ledger.read() == {}
    for place, steps in rounds.items():
        ledger.add(place, _CHEAP)
        ledger.add(place, steps)
        ledger.add(place, _CHEAP)
    ledger.begin()
    both = {place: tuple(dict.fromkeys([_CHEAP, steps])) for place, steps in rounds.items()}
    assert list(ledger.read().items()) == sorted(both.items())
    assert ledger.all_steps() == [steps for place in sorted(both) for steps in both[place]]
    for place in list(rounds)[:removed]:
        ledger.remove(place)
        ledger.remove(place)
    assert ledger.read() == dict(list(both.items())[removed:])


_ROW = '{"revision": 1, "round": 1, "n_steps": 4, "sampling_share": 0.5, "noise_multiplier": 1.0'


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{}",
        '{"rounds": [{"revision": 1}]}',
        f'{{"rounds": [{_ROW}, "more": 1}}]}}',
        '{"rounds": [' + _ROW.replace("1.0", "0.0") + "}]}",
        '{"rounds": [' + _ROW.replace("0.5", "1.5") + "}]}",
        '{"rounds": [' + _ROW.replace("4", "-4") + "}]}",
        '{"rounds": [' + _ROW.replace("4", '"many"') + "}]}",
    ],
)
def test_a_damaged_ledger_is_refused(tmp_path: Path, text: str | None):
    """Missing, cut or changed: the file is named, and is not overwritten."""
    file = tmp_path / "privacy.json"
    if text is not None:
        file.write_text(text)
    for use in (PrivacyLedger(file).read, lambda: PrivacyLedger(file).add((1, 1), NoisedSteps(1, 0.5, 1.0))):
        with pytest.raises(ConfigError, match=r"privacy\.json") as caught:
            use()
        assert "backup" in caught.value.__notes__[0]
    assert (file.read_text() if file.exists() else None) == text
