"""`hocket inspect`: every kind of file, no secret, and refusals without a traceback."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.audit.describe_file import describe_file
from pipeline.errors import ExitCode
from pipeline.home.json_files import write_json
from pipeline.home.round_files import RoundFiles
from pipeline.plan.plan import read_plan
from secure.ciphertexts.parameters import seal_parameters
from tests.support.cli_runner import hocket, light_process, refused
from tests.support.federation import Federation
from tests.support.signed_transcripts import SUM, UPDATE, flip

FOREIGN = {"T0.csv", "T1.csv", "T2.csv", "lock", "README.md"}  # a partner's tables, an empty file, words for people
PRIVATE = {"private.key", "group.secret", "pair.seeds"}


def files_of(federation: Federation) -> list[Path]:
    """Every file of hocket's in a federation's folder."""
    found = (path for path in sorted(federation.folder.rglob("*")) if path.is_file())
    return [path for path in found if path.name not in FOREIGN]


def test_inspect_knows_every_file_of_a_finished_federation(finished: Federation):
    """Every file of every home and of the exchange is described; text and JSON agree."""
    kinds: dict[str, int] = {}
    for path in files_of(finished):
        found = json.loads(hocket("inspect", "--json", path).stdout)
        kinds[found["what"]] = kinds.get(found["what"], 0) + 1
        lines = hocket("inspect", path).stdout.splitlines()
        assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == list(found), path
        assert f"what: {found['what']}" in lines
    assert set(kinds) == {
        "federated model of a partner (private)",
        "description of a partner's finished model (private)",
        "fingerprints of a partner's training compounds (private)",
        "provenance of a partner's finished model (private)",
        "plan",
        "configuration of partner",
        "configuration of aggregator",
        "card",
        "private keys",
        "cache of a partner's standardised structures (private)",
        "group secret",
        "pair seeds",
        "payload: hocket.deal",
        "payload: hocket.pairing",
        *(f"manifest: {kind}" for kind in ("deal", "pairing", "ready", "roster", "update", "sum", "release")),
        "hocket.sealed-update",
        "hocket.sealed-sum",
        "state at the start of a round (private)",
        "local-only model of a partner (private)",
        "models of a partner's single assays (private)",
        "prepared matrices of a partner (private)",
        "part of prepared matrices (private)",
        "trunk at the start of a round, kept for the audit (private)",
        "sizes of the trunks that a partner trained on (private)",
        "record of a member's step, for MLflow (private)",
        "report of a partner (private)",
        "summary of a partner's report (may be shared)",
        "end of a member's run",
    }
    assert kinds["hocket.sealed-update"] == 6
    assert kinds["private keys"] == 4


def test_inspect_tells_the_two_summaries_apart(finished: Federation):
    """The report's may be shared, the preparation's, of the same name, never."""
    home = finished.home("P01")
    summaries = [path for path in files_of(finished) if path.name == "summary.json" and home.folder in path.parents]
    kinds = {path.parent.parent == home.prepared: hocket("inspect", path).stdout.splitlines()[0] for path in summaries}
    assert kinds[True].endswith("prepared matrices (private)")
    assert kinds[False].endswith("report (may be shared)")


def test_inspect_of_a_plan(finished: Federation):
    """Digest, members with their cards' fingerprints, and how updates are sealed and how large they get."""
    plan = read_plan(finished.plan_file)
    found = json.loads(hocket("inspect", "--json", finished.plan_file).stdout)
    assert (found["digest"], found["custodian"], found["min_partners"]) == (plan.digest, "P01", 3)
    assert found["fingerprints"] == {name: card.fingerprint for name, card in plan.cards.items()}
    assert found["sealed_with"] == seal_parameters(plan.seal).to_dict()
    update = json.loads(hocket("inspect", "--json", finished.exchange / UPDATE.payload).stdout)
    assert update["parameters"] == found["sealed_with"]
    assert found["bytes_per_parameter"]["update"] == pytest.approx(update["bytes_per_parameter"], rel=0.1)
    card = json.loads(hocket("inspect", "--json", finished.home("P01").keys / "card.toml").stdout)
    assert card["fingerprint"] == plan.cards["P01"].fingerprint
    assert f"  P01: {card['fingerprint']}" in hocket("inspect", finished.plan_file).stdout.splitlines()


def test_inspect_hides_a_password_in_the_exchange(done: Federation):
    """A configuration is shown around when something does not work."""
    config = done.config("P01")
    config.write_text(config.read_text().replace('"../exchange"', '"ftp://me:secret@host/room"'))
    shown = hocket("inspect", config).stdout
    assert "exchange: ftp://***@host/room" in shown
    assert "secret" not in shown


def test_inspect_shows_no_secret(finished: Federation):
    """Not a line of a private file's content, no task of a report."""
    for name in finished.partners:
        home = finished.home(name)
        for path in files_of(finished):
            if path.name in PRIVATE:
                shown = hocket("inspect", path).stdout.encode()
                content = path.read_bytes()
                assert not any(content[i : i + 16] in shown for i in range(64, len(content) - 16, 16))
        assert f"{name}-A" not in hocket("inspect", home.report / "report.json").stdout


def test_inspect_of_a_foreign_file(finished: Federation, tmp_path: Path):
    """A clear message, no guess."""
    for name in ("T0.csv", "T1.csv"):
        assert name in refused(ExitCode.CONFIGURATION, "inspect", finished.folder / "P01" / name)
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt" in refused(ExitCode.CONFIGURATION, "inspect", tmp_path / "notes.txt")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xff\xff\xff", b"\xff" * 100, b"[" * 50_000])
@pytest.mark.parametrize(
    "name",
    ["plan.toml", "card.toml", "x.safetensors", "report.json", "manifest.json", "step-0001.json", "ready.P01.json",
     "update.P01.arrow", "private.key", "group.secret"],
)  # fmt: skip
def test_inspect_of_rubbish_is_a_refusal(tmp_path: Path, name: str, content: bytes):
    """Exit code 2 or 4, the file named, no traceback, for every file name."""
    (tmp_path / name).write_bytes(content)
    done = hocket("inspect", tmp_path / name)
    assert done.exit_code in (ExitCode.CONFIGURATION, ExitCode.SECURITY)
    assert name in done.stderr
    assert done.stdout == ""


def test_inspect_of_a_cut_file_is_a_refusal(done: Federation):
    """Every file cut in half is refused with its name; of the rest only the listing or the first bytes are read."""
    described = set()
    for path in files_of(done):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        ended = hocket("inspect", path)
        assert ended.exit_code in (ExitCode.DONE, ExitCode.CONFIGURATION, ExitCode.SECURITY)
        assert ended.exit_code == ExitCode.DONE or path.name in ended.stderr or path.parent.name in ended.stderr
        if ended.exit_code == ExitCode.DONE:
            described.add(json.loads(hocket("inspect", "--json", path).stdout)["what"])
    assert described <= {
        "group secret",
    }


def test_inspect_of_a_changed_file_is_a_refusal(done: Federation):
    """One byte flipped in the middle of what has a digest, a layout or a checksum of its own."""
    home = done.home("P01")
    prepared = next(home.prepared.iterdir())
    changed = [home.start_file(3), home.baseline / "local.safetensors", prepared / "x.npz", prepared / "tasks.parquet"]
    for path in changed:
        flip(path, path.stat().st_size // 2)
        assert str(path) in refused(ExitCode.CONFIGURATION, "inspect", path)
    for path in (done.exchange / name for name in (UPDATE.payload, SUM.payload, UPDATE.manifest)):
        flip(path, 3)
        assert path.name in refused(ExitCode.SECURITY, "inspect", path)


@pytest.mark.parametrize("name", ["report.json", "summary.json", "manifest.json", "finished.json", "step-0001.json"])
def test_inspect_of_an_empty_note_is_a_refusal(tmp_path: Path, name: str):
    """A JSON object without the keys that files of its name have."""
    (tmp_path / name).write_text("{}")
    assert name in refused(ExitCode.CONFIGURATION, "inspect", tmp_path / name)


def test_inspect_of_what_only_some_homes_hold(done: Federation):
    """The record that MLflow has everything, and the residual of an unfinished attempt."""
    write_json(done.home("P01").tracked, {"run": "0123"})
    assert "MLflow run" in hocket("inspect", done.home("P01").tracked).stdout
    attempt = RoundFiles(done.home("P01").training(3), read_plan(done.plan_file).layout)
    attempt.write_residual(np.zeros(4, np.float32), 0.5)
    residual = attempt.folder / "leftover.safetensors"
    kind = hocket("inspect", residual).stdout.splitlines()[0]
    assert "residual" in kind
    assert kind.endswith("(private)")


def test_inspect_of_a_file_that_is_not_listed(done: Federation):
    """A matrix that somebody put into a prepared folder."""
    folder = next(done.home("P01").prepared.iterdir())
    (folder / "extra.npz").write_bytes(b"x")
    assert "extra.npz" in refused(ExitCode.CONFIGURATION, "inspect", folder / "extra.npz")


def test_inspect_needs_no_torch_and_no_key(finished: Federation):
    """An update is read from its container, with the heavy libraries unimportable."""
    update = finished.exchange / "round-0001" / "attempt-01" / "update.P01.arrow"
    ended = light_process("inspect", "--json", update)
    assert ended.returncode == ExitCode.DONE, ended.stderr
    found = json.loads(ended.stdout)
    assert found == json.loads(json.dumps(describe_file(update)))
    assert found["members"] == ["P01"]
    assert (found["round"], found["attempt"], found["n_params"]) == (1, 1, 512 * 16 + 16)
