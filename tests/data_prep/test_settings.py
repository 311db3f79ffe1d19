"""Settings are checked when created and can be part of a strict pydantic plan."""

import dataclasses
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from data_prep.settings import LSH_BITS, Activities, Chemistry, Fingerprint, Folds, Preparation, Regression

README = Path(__file__).resolve().parents[2] / "data_prep" / "README.md"
# MELLODDY-TUNER's config/example_parameters.json (commit 5b19df6), by the name of our setting.
TUNER = {
    "chemistry.max_tautomers": 256,
    "chemistry.max_heavy_atoms": 100,
    "chemistry.include_stereo": False,
    "fingerprint.radius": 3,
    "fingerprint.n_bits": 32_000,
    "fingerprint.counts": False,
    "folds.n_folds": 5,
    "folds.lsh_bits": LSH_BITS,
    "activities.credible_min": 3.0,
    "activities.credible_max": 10.0,
    "activities.credible_hts_min": -10.0,
    "activities.credible_hts_max": 10.0,
    "activities.credible_adme_min": -1e12,
    "activities.credible_adme_max": 1e12,
    "activities.near_constant_std": 1e-12,
    "activities.hts_threshold": 3.0,
    "activities.training_min_active": 25,
    "activities.training_min_inactive": 25,
    "activities.aux_training_min_active": 10,
    "activities.aux_training_min_inactive": 10_000,
    "activities.evaluation_min_active": 10,
    "activities.evaluation_min_inactive": 10,
    "activities.catalogue_min_labels": 400,
    "activities.catalogue_min_fold_active": 10,
    "activities.catalogue_min_fold_inactive": 10,
    "activities.aux_training_weight": 0.1,
    "regression.training_min_values": 50,
    "regression.training_min_exact": 25,
    "regression.evaluation_min_exact": 25,
    "regression.evaluation_min_std": 0.5,
    "regression.aux_training_weight": 0.1,
    "regression.censored_share": 0.05,
}


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


def test_defaults_are_melloddys_but_for_those_that_the_readme_names():
    """A default that is not MELLODDY-TUNER's is in README's table of differences."""
    defaults = {
        f"{table}.{key}": value
        for table, settings in dataclasses.asdict(Preparation()).items()
        for key, value in settings.items()
    }
    others = {key for key, value in TUNER.items() if defaults[key] != value}
    assert others == {"activities.credible_adme_min", "activities.credible_adme_max"}
    listed = README.read_text().split("| setting | hocket | MELLODDY-TUNER | why |")[1].split("\n\n")[0]
    assert {key for key in others if key.split(".")[1] not in listed} == set()
