"""Settings refuse impossible values."""

import dataclasses

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from partners.settings import ClassificationHead, RegressionHead, ServerOptimiser, Training, TrunkSettings

_ALL = (TrunkSettings, ServerOptimiser, Training, ClassificationHead, RegressionHead)


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
        (TrunkSettings, {"dropout": (0.1, 0.2)}),
        (TrunkSettings, {"dropout": (1.0,)}),
        (TrunkSettings, {"non_linearity": "selu"}),
        (TrunkSettings, {"input_transform": "sqrt"}),
        (ClassificationHead, {"hidden": (0,)}),
        (ClassificationHead, {"dropouts": (0.5,)}),
        (RegressionHead, {"dropout": -0.1}),
        (RegressionHead, {"non_linearity": "selu"}),
        (Training, {"optimiser": "lion"}),
        (Training, {"momentum": 0.9}),
        (Training, {"lr_steps": (10, 5)}),
        (Training, {"lr_steps": (0,)}),
        (Training, {"lr_alpha": 0.0}),
        (Training, {"internal_batch_max": 0}),
        (Training, {"regression_weight": 1.1}),
        (Training, {"patience": 0}),
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
    assert kind.__pydantic_config__ == ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
    assert adapter.validate_json("{}") == kind()
    for wrong in ('{"colour": 1}', '{"learning_rate": "high"}', '{"hidden": "big"}'):
        with pytest.raises(ValidationError):
            adapter.validate_json(wrong)


def test_a_list_of_layers_is_read_from_json():
    """The layers of a trunk come as a JSON list."""
    assert TypeAdapter(TrunkSettings).validate_json('{"hidden": [64, 32]}').hidden == (64, 32)


def test_dropout_is_one_share_or_one_for_each_layer():
    """A number counts for all layers; JSON gives several as a list, which must be as long as the trunk."""
    read = TypeAdapter(TrunkSettings).validate_json
    assert read('{"hidden": [8, 4], "dropout": 0.5}').dropouts == (0.5, 0.5)
    assert read('{"hidden": [8, 4], "dropout": [0.2, 0.1]}').dropouts == (0.2, 0.1)
    with pytest.raises(ValidationError, match=r"dropout[\s\S]*one share, or 2"):
        read('{"hidden": [8, 4], "dropout": [0.2]}')


def test_heads_are_nested_tables():
    """A head's table need not repeat its defaults: regression stays with tanh."""
    training = TypeAdapter(Training).validate_json(
        '{"regression": {"hidden": [16]}, "classification": {"dropout": 0.1}}'
    )
    assert (training.regression.hidden, training.regression.non_linearity) == ((16,), "tanh")
    assert (training.classification.dropout, training.classification.non_linearity) == (0.1, "relu")
