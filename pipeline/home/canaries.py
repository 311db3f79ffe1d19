"""A partner's canaries, drawn before round 1 and kept in its home: who of them was trained on stays known."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from partners.audit.canaries import Canary, draw_canaries, left_out_rows
from partners.training_data.training_set import TrainingSet
from pipeline.errors import ConfigError
from pipeline.home.json_files import read_json, write_json
from pipeline.home.paths import Home
from pipeline.plan.toml_schema import Schema, check_table
from secure.keys.keys import PrivateKeys

_PURPOSE = "hocket/canaries/v1"


class _KeptCanary(Schema):
    fingerprint: str
    is_member: bool


class _Kept(Schema):
    canaries: tuple[_KeptCanary, ...]


def canaries_file(home: Home) -> Path:
    """The file with a home's canaries."""
    return home.audit / "canaries.json"


def read_canaries(home: Home) -> list[Canary]:
    """The canaries of a home, none if none were drawn. Raises ConfigError for a damaged file."""
    path = canaries_file(home)
    if not path.exists():
        return []
    try:
        table = read_json(path)
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
    kept = check_table(table, _Kept, str(path))
    return [Canary(canary.fingerprint, canary.is_member) for canary in kept.canaries]


def obtain_canaries(home: Home, keys: PrivateKeys, data: TrainingSet, wanted: int, *, has_begun: bool) -> list[Canary]:
    """The canaries of a home; drawn and kept if there are none and the training has not begun.

    data   : of all compounds
    wanted : number in the configuration
    Raises ConfigError for another number than was drawn, and for canaries after the training has begun;
    partners.audit.canaries.TooManyCanaries for more than half of the compounds.
    """
    kept = read_canaries(home)
    if len(kept) == wanted:
        return kept
    if kept:
        error = ConfigError(f"audit.canaries: found {wanted}, expected {len(kept)}, as were drawn before round 1")
        error.add_note("what was left out stays left out, or the audit would be wrong: set the number of the beginning")
        raise error
    if has_begun:
        error = ConfigError(f"audit.canaries: found {wanted}, expected 0, since this partner has trained already")
        error.add_note("canaries are drawn before round 1; remove the setting")
        raise error
    canaries = draw_canaries(data, wanted, keys.seed(_PURPOSE, {"name": keys.name}))
    content = [{"fingerprint": canary.fingerprint, "is_member": canary.is_member} for canary in canaries]
    write_json(canaries_file(home), {"canaries": content})
    return canaries


def left_out_of(home: Home, x: sparse.csr_matrix) -> NDArray[np.int64]:
    """Rows of a partner's compounds (n_compounds, n_bits) that its canaries leave out of every training."""
    return left_out_rows(x, read_canaries(home))
