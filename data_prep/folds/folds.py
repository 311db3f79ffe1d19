"""Assign compounds to folds: by scaffold, by a few bits of the fingerprint, or by the whole fingerprint.

Every draw depends only on the structure and the group's seed, so partners agree without exchanging structures:

* `scaffold`: the fold scaffold (data_prep.structures.scaffolds), as MELLODDY-TUNER does. All acyclic compounds share
  one fold scaffold.
* `scaffold` with `scaffold_balanced`: the whole Murcko scaffold; for a compound of at most one ring, its
  fingerprint. Folds are more even, and close analogues are in different folds more often.
* `lsh`: the presence of the settings' `lsh_bits` in the fingerprint before permutation, as MELLODDY-TUNER does.
* `random`: the whole fingerprint.

Measured (tests/benchmarks/preparation/fold_methods.py; 13,227 ChEMBL compounds, 8 % of them with one ring and .3 % with
none): the largest of five folds, mean and worst of 20 seeds, and the share of compounds of which another fold holds one
with Tanimoto similarity >= .6: `scaffold` .245, .273 and 16 %; balanced .214, .226 and 33 %; `lsh` .222, .240 and 48 %;
`random` .204, .208 and 65 %. Spreading the compounds of at most one ring but no more gives .219 and 20 % there, yet
does nothing about a large series around one core of three rings, such as 13 % of the peer's test structures are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.folds.keyed import keyed_digests, scaffold_folds
from data_prep.settings import Folds
from data_prep.structures.structures import Structures

Scaffolds = Mapping[str | None, str | None]
"""The fold scaffold of each Murcko scaffold; None: acyclic."""

_OWN_FOLD = b"hocket fold of a fingerprint\0"  # keeps these digests apart from those of bits and scaffolds
_FEWEST, _MOST = 0.5, 2.0  # times an even share; a fold beyond gets a warning


def needs_fold_scaffolds(folds: Folds) -> bool:
    """Return whether the method of these settings uses fold scaffolds."""
    return folds.method == "scaffold" and not folds.scaffold_balanced


def assign_folds(
    structures: Structures, indices: NDArray[np.integer[Any]], scaffolds: Scaffolds, folds: Folds, structure_seed: bytes
) -> NDArray[np.int64]:
    """Return the fold of the structures with these indices, (len(indices),), 0 to n_folds - 1.

    scaffolds : fold scaffold of every Murcko scaffold if needs_fold_scaffolds, else not used

    Structures with the same fingerprint get one fold, or the same row of x would be trained on and tested on: that of
    the first of them in the order of `indices` (canonical SMILES, for a partner's compounds). If folds are drawn from
    the fingerprint this changes nothing. If they are drawn from scaffolds, only here does a fold depend on other
    structures: partners agree if they hold that first structure, or only structures whose own draw is equal.
    """
    fingerprints = _fingerprint_digests(structures, indices, structure_seed)
    own = (fingerprints % np.uint64(folds.n_folds)).astype(np.int64)
    murcko = [structures.murcko[i] for i in indices]
    if folds.method == "random":
        drawn = own
    elif folds.method == "lsh":
        drawn = _draw(_lsh_strings(structures, indices, folds.lsh_bits), structure_seed, folds.n_folds)
    elif folds.scaffold_balanced:
        drawn = np.where(_at_most_one_ring(murcko), own, _draw(murcko, structure_seed, folds.n_folds))
    else:
        drawn = _draw([scaffolds[scaffold] for scaffold in murcko], structure_seed, folds.n_folds)
    _, first, member_of = np.unique(fingerprints, return_index=True, return_inverse=True)
    return drawn[first[member_of]]


def fold_balance(
    folding: NDArray[np.int64], scaffolds: Sequence[str | None], n_folds: int
) -> list[dict[str, int | float]]:
    """Return for each fold its number of `compounds`, their `share` of all and its number of distinct `scaffolds`.

    folding, scaffolds : (n_compounds,)
    """
    compounds = np.bincount(folding, minlength=n_folds)
    table = pl.DataFrame({"fold": folding, "scaffold": pl.Series(scaffolds, dtype=pl.String)})
    n_scaffolds = dict(table.unique().group_by("fold").len().iter_rows())
    return [
        {
            "fold": fold,
            "compounds": int(n),
            "share": round(int(n) / max(1, len(folding)), 4),
            "scaffolds": n_scaffolds.get(fold, 0),
        }
        for fold, n in enumerate(compounds)
    ]


def balance_warnings(balance: Sequence[Mapping[str, int | float]], folds: Folds) -> list[str]:
    """Return a warning for every fold with more than twice or less than half of an even share of compounds."""
    even = sum(row["compounds"] for row in balance) / len(balance)
    uneven = [row for row in balance if not _FEWEST * even <= row["compounds"] <= _MOST * even]
    if needs_fold_scaffolds(folds):
        advice = "agree on preparation.folds.scaffold_balanced = true for more even folds"
    else:
        advice = "so few compounds may need fewer folds"
    return [
        f"fold {row['fold']} holds {row['compounds']} compounds, an even share is {even:.0f}: {advice}"
        for row in uneven
    ]


def _fingerprint_digests(
    structures: Structures, indices: NDArray[np.integer[Any]], structure_seed: bytes
) -> NDArray[np.uint64]:
    """Return 64 bits of the keyed digest of each structure's set bits; structures with equal ones share a fold."""
    bit_bytes = structures.bits.astype("<i4").view(np.uint8).data
    begins, ends = (4 * structures.starts[indices]).tolist(), (4 * structures.starts[indices + 1]).tolist()
    rows = (bit_bytes[begin:end] for begin, end in zip(begins, ends, strict=True))
    digests = b"".join(digest[:8] for digest in keyed_digests(structure_seed, rows, _OWN_FOLD))
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def _draw(keys: Sequence[str | None], structure_seed: bytes, n_folds: int) -> NDArray[np.int64]:
    distinct = list(set(keys))
    fold_of = dict(zip(distinct, scaffold_folds(structure_seed, distinct, n_folds), strict=True))
    return np.array([fold_of[key] for key in keys], dtype=np.int64)


def _lsh_strings(structures: Structures, indices: NDArray[np.integer[Any]], lsh_bits: Sequence[int]) -> list[str]:
    """Return for each structure one character for each of `lsh_bits`: 1 if it is set, else 0."""
    weight = np.zeros(max(*lsh_bits, structures.bits.max(initial=0)) + 1)
    weight[list(lsh_bits)] = 2.0 ** np.arange(len(lsh_bits))[::-1]
    set_lsh_bits = np.flatnonzero(weight[structures.bits])
    structure = np.searchsorted(structures.starts, set_lsh_bits, side="right") - 1
    codes = np.bincount(structure, weight[structures.bits[set_lsh_bits]], minlength=len(structures.smiles)).astype(
        np.int64
    )
    text_of = {code: format(code, f"0{len(lsh_bits)}b") for code in np.unique(codes[indices]).tolist()}
    return [text_of[code] for code in codes[indices].tolist()]


def _at_most_one_ring(murcko: Sequence[str | None]) -> NDArray[np.bool_]:
    """Return which scaffolds have at most one ring: a connected scaffold has as many ring closures as rings."""
    text = pl.Series(murcko, dtype=pl.String).str.replace_all(r"\[[^\]]*\]", "").str.replace_all(r"%\d\d", "0")
    return text.str.count_matches(r"\d").fill_null(0).to_numpy() <= 2  # noqa: PLR2004 - each closure is written twice
