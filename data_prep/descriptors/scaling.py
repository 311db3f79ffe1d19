"""Descriptors as ranks from 0 to 1: against public compounds, equal for all partners, or against a partner's own.

A rank is the share of the reference's compounds with a smaller value, read from quantiles. So units, long tails and
outliers vanish, and no partner tells another anything about its compounds.
"""

import csv
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from data_prep.descriptors.listed import DESCRIPTORS

N_QUANTILES = 33
"""From the smallest value to the largest, in steps of 1/32 of the reference's compounds."""

_MIDDLE = 0.5  # where a descriptor or its reference has no value


def quantile_scale(descriptors: NDArray[np.float32], quantiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rank of each value among the reference's, 0 to 1, float32 of the same shape.

    A larger value never has a smaller rank.

    descriptors : (n_compounds, n_descriptors); NaN becomes 0.5
    quantiles   : (n_quantiles, n_descriptors), as quantiles_of or public_quantiles returns them
    A value that many compounds of the reference have gets the middle of their ranks; one outside the reference's range
    0 or 1. Without a reference (NaN), 0.5.
    """
    if descriptors.shape[1:] != quantiles.shape[1:]:
        raise ValueError(f"quantiles: found those of {quantiles.shape[1:]} columns, expected {descriptors.shape[1:]}")
    scaled = np.empty(descriptors.shape, np.float32)
    for column in range(descriptors.shape[1]):
        scaled[:, column] = _ranks(descriptors[:, column].astype(float), quantiles[:, column].astype(float))
    return scaled


def quantiles_of(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the quantiles of each column, (N_QUANTILES, n_descriptors), of a partner's training compounds, say.

    NaN is left out; a column without any number has NaN. What is returned describes the compounds: it is private.
    """
    shares = np.linspace(0, 1, N_QUANTILES)
    columns = [column[~np.isnan(column)] for column in descriptors.astype(float).T]
    found = [np.quantile(column, shares) if column.size else np.full(N_QUANTILES, np.nan) for column in columns]
    return np.array(found, np.float32).reshape(-1, N_QUANTILES).T


@cache
def public_quantiles() -> NDArray[np.float32]:
    """Return the quantiles of public compounds, (N_QUANTILES, n_descriptors), columns in the order of DESCRIPTORS.

    They are those of MoleculeACE 3.0.0 (ChEMBL), standardised with the default settings, tautomers as drawn:
    public_quantiles.csv, written by `python tests/benchmarks/preparation/descriptors.py --write-quantiles`.
    """
    text = files("data_prep.descriptors").joinpath("public_quantiles.csv").read_text(encoding="utf-8")
    of_name = {name: numbers for name, *numbers in list(csv.reader(text.splitlines()))[1:]}
    quantiles = np.array([of_name[name] for name in DESCRIPTORS], np.float32).T
    quantiles.flags.writeable = False  # shared by all callers
    return quantiles


def _ranks(values: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of one column; quantiles ascend, or are all NaN."""
    if np.isnan(quantiles[0]):
        return np.full(len(values), _MIDDLE)
    most = len(quantiles) - 1
    below, up_to = (np.searchsorted(quantiles, values, side) for side in ("left", "right"))
    left, right = np.clip(up_to - 1, 0, most), np.clip(up_to, 0, most)
    widths = quantiles[right] - quantiles[left]
    steps = np.divide(values - quantiles[left], widths, out=np.zeros_like(values), where=widths > 0)
    between = left + np.clip(steps, 0, 1)
    ranks = np.where(below < up_to, (below + up_to - 1) / 2, between) / most
    return np.where(np.isnan(values), _MIDDLE, ranks)
