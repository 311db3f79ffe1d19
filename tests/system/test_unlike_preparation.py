"""A partner that prepares compounds differently is named and refused before anything is sealed."""

import re
from pathlib import Path

import pytest

from data_prep.folds import consistency
from pipeline.errors import Diverged, ExitCode
from secure.messages.message_name import MessageName
from secure.messages.messages import parse_manifest
from tests.support.cli_runner import hocket, python_process
from tests.support.federation import AGGREGATOR, Federation, step, until_waiting

ROSTER = MessageName("roster", 1, 1, AGGREGATOR)
_OTHER_RDKIT = """
import rdkit
rdkit.__version__ = "2024.09.1"
from pipeline.cli import main
main()
"""


def digest_in_ready(federation: Federation, name: str) -> str:
    """What a partner's `ready` says about its preparation."""
    manifest = parse_manifest(federation.posted(MessageName("ready", 1, 1, name)).read_bytes(), "here")
    return manifest.text("preparation")


def all_ready(federation: Federation, odd: str) -> None:
    """All partners but `odd` are ready for round 1."""
    until_waiting(federation, [name for name in federation.partners if name != odd])


@pytest.mark.slow
def test_a_partner_with_another_rdkit_is_named_and_refused(fresh: Federation):
    """Real processes: P02 runs under another version of RDKit; the aggregator ends with code 4 and calls no roster."""
    all_ready(fresh, "P02")
    odd = python_process(_OTHER_RDKIT, "partner", "run", "--once", fresh.config("P02"))
    assert odd.returncode == ExitCode.NOT_YET, odd.stderr
    all_ready(fresh, "P02")
    assert digest_in_ready(fresh, "P01") == digest_in_ready(fresh, "P03") != digest_in_ready(fresh, "P02")
    done = fresh.hocket("aggregator", "run", "--once", str(fresh.config(AGGREGATOR)))
    assert done.returncode == ExitCode.SECURITY
    assert re.search(r"round 1: .*preparation digest of P02\b", done.stderr)
    assert "compare hocket versions" in done.stderr
    assert "Traceback" not in done.stderr
    assert not fresh.posted(ROSTER).exists()
    assert digest_in_ready(fresh, "P02") in odd.stderr  # the partner was told its own digest when it had prepared


def test_a_partner_whose_results_differ_is_named_and_refused(fresh: Federation, monkeypatch: pytest.MonkeyPatch):
    """With equal versions a structure may still be standardised differently, e.g. by another build of RDKit."""
    all_ready(fresh, "P03")
    usual = consistency.reference_results
    with monkeypatch.context() as patch:
        patch.setattr(consistency, "reference_results", lambda *given: [*usual(*given)[:-1], {"reason": "timeout"}])
        until_waiting(fresh, ["P03"])
    all_ready(fresh, "P03")
    aggregator = fresh.aggregator()
    with pytest.raises(Diverged, match=r"preparation .*P03\b"):
        step(aggregator)
    assert not fresh.posted(ROSTER).exists()


def test_prepare_prints_what_ready_says(ready: Federation, tmp_path: Path):
    """`hocket prepare` of every partner prints the same digest, and it is that of their `ready`."""
    federation = ready.moved(tmp_path / "federation")
    texts = [federation.hocket("prepare", str(federation.config("P01"))).stdout]  # once in a process of its own
    texts += [hocket("prepare", federation.config(name)).stdout for name in federation.partners[1:]]
    (digest,) = {digest_in_ready(federation, name) for name in federation.partners}
    printed = [re.findall(r"^consistency: ([0-9a-f]{64})$", text, re.MULTILINE) for text in texts]
    assert printed == [[digest]] * len(federation.partners)
