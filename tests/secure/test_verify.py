"""An auditor without a key checks sealed files to their end and computes every sum again."""

import numpy as np
import pytest

from secure.errors import BadContainer, SumIncomplete, WrongKind, WrongRoster, WrongSum
from secure.messages.messages import utc
from secure.sealing.container import SUM, UPDATE
from secure.verify import check_adding, check_sealed

N_PARAMS = 100


@pytest.fixture(scope="module")
def sealed(trio, tmp_path_factory):
    """Files of the updates and of the sum of one roster."""
    folder = tmp_path_factory.mktemp("sealed")
    updates = trio.seal_all(folder, dict.fromkeys(trio.partners, np.full(N_PARAMS, 0.01, np.float32)))
    trio.add(updates, folder / "sum")
    return [*updates, folder / "sum"]


def check(trio, path, kind, members, *, roster=None, n_params=N_PARAMS):
    check_sealed(path, kind, members, roster=roster or trio.roster(), parameters=trio.parameters, n_params=n_params)


def add(trio, sealed, digest, scratch, roster=None):
    check_adding(sealed[:-1], scratch, roster=roster or trio.roster(), parameters=trio.parameters, digest=digest)


def test_true_files_pass(trio, sealed):
    """Each update is accepted as its sender's, the sum as the roster's."""
    for path, name in zip(sealed, trio.partners, strict=False):
        check(trio, path, UPDATE, (name,))
    check(trio, sealed[-1], SUM, trio.partners)


@pytest.mark.parametrize(
    ("kind", "members", "change", "error"),
    [
        (UPDATE, ("birch",), {}, SumIncomplete),
        (SUM, ("ash",), {}, WrongKind),
        (UPDATE, ("ash",), {"n_params": N_PARAMS + 1}, BadContainer),
    ],
)
def test_files_of_something_else_do_not(trio, sealed, kind, members, change, error):
    """A file of another sender, kind or trunk is refused."""
    with pytest.raises(error, match=sealed[0].name):
        check(trio, sealed[0], kind, members, **change)


def test_a_file_for_another_roster_does_not_pass(trio, sealed):
    """Files sealed or added for another roster are refused."""
    other = trio.roster(attempt=0, round_no=1)
    other = type(other)(other.plan, 1, 0, other.members, other.plan)
    with pytest.raises(WrongRoster):
        check(trio, sealed[0], UPDATE, ("ash",), roster=other)


def test_the_same_updates_give_the_same_bytes(trio, sealed, tmp_path):
    """Updates added in any order give the same sum, and the auditor's file is removed."""
    digest = trio.add(sealed[:-1], tmp_path / "sum").digest
    (tmp_path / "sum").unlink()
    add(trio, sealed, digest, tmp_path / "scratch")
    add(trio, [*reversed(sealed[:-1]), sealed[-1]], digest, tmp_path / "scratch")
    assert list(tmp_path.iterdir()) == []


def test_another_sum_is_refused(trio, sealed, tmp_path):
    """A wrong sum is refused, and the auditor's file is removed."""
    with pytest.raises(WrongSum, match="adding its updates"):
        add(trio, sealed, "0" * 64, tmp_path / "scratch")
    with pytest.raises(BadContainer):
        add(trio, [*sealed[:2], sealed[0].with_name("gone"), sealed[-1]], "0" * 64, tmp_path / "scratch")
    assert list(tmp_path.iterdir()) == []


def test_times_are_shown_as_dates():
    """Every time that a manifest may hold is shown in UTC, to the second."""
    assert utc(0) == "1970-01-01T00:00:00Z"
    assert utc(1_700_000_000) == "2023-11-14T22:13:20Z"
    assert utc((1 << 37) - 1).startswith("6325-")
