"""Catalogue assays: which keep their id, and which tasks have enough labels for the catalogue."""

import numpy as np
import polars as pl
import pytest

from data_prep.labels.catalogue import settle_catalogue
from data_prep.labels.tasks import apply_quorum
from data_prep.settings import Activities
from tests.support.data_prep.activity_tables import FOLDING, assay, candidates_of, labels_of


@pytest.mark.parametrize(
    ("assay_type", "given", "settled"),
    [
        ("CATALOG-PANEL", "k1", ("CATALOG-PANEL", "k1", None)),
        ("CATALOG-PANEL", None, ("NON-CATALOG-PANEL", None, "missing_catalog_id")),
        ("PANEL", "k1", ("PANEL", "k1", None)),
        ("PANEL", None, ("PANEL", None, None)),
        ("OTHER", "k1", ("OTHER", None, "catalog_id_ignored")),
        ("NON-CATALOG-PANEL", None, ("NON-CATALOG-PANEL", None, None)),
    ],
)
def test_type_and_id_belong_together(assay_type, given, settled):
    """Only panels of a catalogue keep an id and only an id makes a CATALOG-PANEL; the note says what was changed."""
    result = settle_catalogue(assay(assay_type, catalog_assay_id=given))
    assert result.select("assay_type", "catalog_assay_id", "catalog_note").rows() == [settled]


def with_quorum(counts, folding=FOLDING, assay_type="CATALOG-PANEL", **settings: int):
    kinds = candidates_of(("a", assay_type, False, "k1"))
    result = apply_quorum(kinds, labels_of(counts), folding, 5, Activities(**settings))
    columns = ("assay_type", "catalog_assay_id", "catalog_note", "training_quorum", "evaluated")
    return result.select(columns).rows()[0]


KEPT = ("CATALOG-PANEL", "k1", None, True, True)
DEMOTED = ("NON-CATALOG-PANEL", None, "failed_quorum")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((200, 200), KEPT),
        ((50, 350), KEPT),
        ((199, 200), (*DEMOTED, True, True)),
        ((49, 400), (*DEMOTED, True, False)),
        ((400, 49), (*DEMOTED, True, False)),
        ((24, 400), (*DEMOTED, False, False)),
    ],
)
def test_catalogue_quorum(counts, expected):
    """A task keeps its id with 400 labels and 10 of each class in every fold, and is an ordinary task with 399 or 9."""
    assert with_quorum(counts) == expected


def test_a_panel_stays_a_panel():
    """A PANEL with an id is held to the catalogue's quorum too, and keeps its type either way."""
    assert with_quorum((200, 200), assay_type="PANEL") == ("PANEL", "k1", None, True, True)
    assert with_quorum((199, 200), assay_type="PANEL") == ("PANEL", None, "failed_quorum", True, True)


def test_a_fold_without_labels_demotes():
    """A fold without labels counts 0."""
    assert with_quorum((250, 250), np.where(FOLDING == 4, 3, FOLDING)) == (*DEMOTED, True, False)


def test_a_catalogue_task_needs_no_other_quorum():
    """A task that keeps its catalogue id is trained, however high the ordinary quorum is."""
    assert with_quorum((50, 350), training_min_active=1000, aux_training_min_active=1000) == KEPT


def test_the_quorum_is_a_setting():
    """All three catalogue quorums can be set."""
    assert with_quorum((199, 200), catalogue_min_labels=399) == KEPT
    assert with_quorum((49, 400), catalogue_min_fold_active=9, evaluation_min_active=9) == KEPT
    assert with_quorum((400, 49), catalogue_min_fold_inactive=9, evaluation_min_inactive=9) == KEPT


def test_other_types_are_not_touched():
    """A task without an id never has a note."""
    result = apply_quorum(candidates_of(("a", "OTHER", False)), labels_of((3, 3)), FOLDING, 5, Activities())
    assert result.select("assay_type", "catalog_note").rows() == [("OTHER", None)]
    assert result.schema["catalog_note"] == pl.String
