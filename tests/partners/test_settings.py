"""Settings refuse what cannot be meant."""

import dataclasses

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from partners.settings import ServerOptimiser, Training, TrunkSettings

_ALL = (TrunkSettings, ServerOptimiser, Training)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (TrunkSettings, {"hidden": ()}),
        (TrunkSettings, {"hidden": (100, 0)}),
        (TrunkSettings, {"dropout": 1.0}),
        (TrunkSettings, {"dropout": float("nan")}),
        (ServerOptimiser, {"method": "median"}),
        (ServerOptimiser, {"learning_rate": 0.0}),
        (ServerOptimiser, {"learning_rate": float("inf")}),
        (ServerOptimiser, {"momentum": 1.0}),
        (ServerOptimiser, {"beta1": -0.1}),
        (ServerOptimiser, {"beta2": 1.0}),
        (ServerOptimiser, {"epsilon": 0.0}),
        (Training, {"optimiser": "sgd"}),
        (Training, {"learning_rate": float("nan")}),
        (Training, {"batch_size": 0}),
        (Training, {"weight_decay": -1.0}),
        (Training, {"head_dropout": 1.5}),
        (Training, {"device": "abacus"}),
        (Training, {"precision": "float16"}),
        (Training, {"precision": "tf32"}),
        (Training, {"n_threads": 0}),
        (Training, {"seed": -1}),
    ],
)
def test_wrong_values_are_refused_by_key(kind: type, wrong: dict[str, object]):
    """A wrong value is refused with its key, what was found and what was expected."""
    (key,) = wrong
    with pytest.raises(ValueError, match=rf"^{key}: found .*, expected "):
        kind(**wrong)


@pytest.mark.parametrize("kind", _ALL)
def test_defaults_are_valid_and_frozen(kind: type):
    """Every settings type has defaults for all its fields and cannot be changed."""
    settings = kind()
    assert settings == kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, dataclasses.fields(kind)[0].name, 5)


@pytest.mark.parametrize("kind", _ALL)
def test_pydantic_refuses_unknown_keys_and_wrong_types(kind: type):
    """Nested in a pydantic schema, the settings stay strict."""
    adapter = TypeAdapter(kind)
    assert kind.__pydantic_config__ == ConfigDict(extra="forbid", strict=True)
    assert adapter.validate_json("{}") == kind()
    for wrong in ('{"colour": 1}', '{"learning_rate": "high"}', '{"hidden": "big"}'):
        with pytest.raises(ValidationError):
            adapter.validate_json(wrong)


def test_a_list_of_layers_is_read_from_json():
    """The layers of a trunk come as a JSON list."""
    assert TypeAdapter(TrunkSettings).validate_json('{"hidden": [64, 32]}').hidden == (64, 32)
