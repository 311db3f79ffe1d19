"""Checks of sealed files that need no key: their layout, their binding to plan, round and roster, and the addition."""

from collections.abc import Sequence
from pathlib import Path

from secure.ciphertexts.parameters import SealParameters
from secure.encoding.roster import Roster
from secure.errors import BadContainer, SumIncomplete, WrongSum
from secure.sealing.add import add_updates
from secure.sealing.container import Kind, check_header, read_chunks


def check_sealed(
    path: Path, kind: Kind, members: tuple[str, ...], *, roster: Roster, parameters: SealParameters, n_params: int
) -> None:
    """Check a whole sealed file: its header, and every byte of its layout.

    members : the members whose updates are inside
    Raises BadContainer, ParameterMismatch, WrongKind, WrongPlan, WrongRound, WrongAttempt, WrongRoster, SumIncomplete.
    """
    with read_chunks(path) as reader:
        check_header(reader.header, kind, roster, parameters, reader.where)
        if reader.header.members != members:
            found = ", ".join(reader.header.members)
            raise SumIncomplete(f"{reader.where}: holds what {found} sealed, expected {', '.join(members)}")
        if reader.header.n_params != n_params:
            raise BadContainer(f"{reader.where}: {reader.header.n_params} parameters, expected {n_params}")
        reader.expect_shape(parameters)
        for _ in reader:  # raises if the file is not what the writer writes
            pass


def check_adding(
    update_files: Sequence[Path],
    sum_file: Path,
    *,
    roster: Roster,
    parameters: SealParameters,
    digest: str,
    workers: int = 1,
) -> None:
    """Add the updates again and compare digests: the same updates always give the same bytes.

    sum_file : path for the new sum, which is removed again
    digest   : SHA-256 of the sum in question
    workers  : most processes to use
    Raises WrongSum, and what add_updates raises.
    """
    try:
        added = add_updates(update_files, parameters, sum_file, roster=roster, workers=workers)
    finally:
        sum_file.unlink(missing_ok=True)
    if added.digest != digest:
        raise WrongSum(f"the sum has digest {digest[:12]}, but adding its updates gives {added.digest[:12]}")
