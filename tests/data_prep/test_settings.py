"""Settings are checked when created and can be part of a strict pydantic plan."""

import dataclasses
import json

import pytest
from pydantic import TypeAdapter, ValidationError

from data_prep.settings import Activities, Chemistry, Fingerprint, Folds, Preparation, Regression


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Chemistry(tautomers="other"), "tautomers"),
        (lambda: Chemistry(max_heavy_atoms=0), "max_heavy_atoms"),
        (lambda: Chemistry(max_rings=2), "max_rings"),
        (lambda: Fingerprint(n_bits=8), "n_bits"),
        (lambda: Fingerprint(radius=-1), "radius"),
        (lambda: Folds(n_folds=2), "n_folds"),
        (lambda: Folds(test=5), "test"),
        (lambda: Folds(test=2, validation=2), "validation"),
        (lambda: Folds(method="series"), "method"),
        (lambda: Activities(credible_min=11.0), "credible_max"),
        (lambda: Activities(adaptive_active_share=1.0), "adaptive_active_share"),
        (lambda: Activities(training_min_active=-1), "training_min_active"),
        (lambda: Activities(aux_training_weight=0.0), "aux_training_weight"),
        (lambda: Activities(catalogue_min_labels=-1), "catalogue_min_labels"),
        (lambda: Activities(catalogue_min_fold_active=-1), "catalogue_min_fold_active"),
        (lambda: Activities(hts_threshold=0.0), "hts_threshold"),
        (lambda: Activities(near_constant_std=-1.0), "near_constant_std"),
        (lambda: Regression(training_min_values=-1), "training_min_values"),
        (lambda: Regression(training_min_exact=-1), "training_min_exact"),
        (lambda: Regression(evaluation_min_exact=-1), "evaluation_min_exact"),
        (lambda: Regression(evaluation_min_std=float("nan")), "evaluation_min_std"),
        (lambda: Regression(aux_training_weight=0.0), "aux_training_weight"),
        (lambda: Regression(censored_share=1.0), "censored_share"),
    ],
)
def test_wrong_settings_are_refused_by_name(make, key):
    """A setting out of range raises ValueError that names the key, what was found and what was expected."""
    with pytest.raises(ValueError, match=rf"^{key}: found .*, expected "):
        make()


def test_settings_pass_through_json_and_pydantic_unchanged():
    """Strict pydantic validation of the settings' JSON gives equal settings; an unknown key is refused."""
    settings = Preparation(chemistry=Chemistry(tautomers="keep"), activities=Activities(adaptive_thresholds=(7.0,)))
    plan = TypeAdapter(Preparation)
    text = json.dumps(dataclasses.asdict(settings))
    assert plan.validate_json(text) == settings
    with pytest.raises(ValidationError, match=r"unexpected|extra"):
        plan.validate_json('{"chemistry": {"tautomer": "keep"}}')


def test_settings_cannot_be_changed():
    """Settings are frozen and hashable, so they can be shared and used as cache keys."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Folds().test = 3
    assert len({Chemistry(), Chemistry()}) == 1
