"""Provenance of a finished model: what it lists is what was used, and whatever is changed afterwards is refused."""

import json
import os
import shutil
from pathlib import Path

import pytest

from data_prep.prepared import read_prepared
from hocket import open_model
from pipeline.audit.provenance import check_model
from pipeline.errors import ConfigError, ExitCode, WrongProvenance
from pipeline.home.paths import Home
from pipeline.plan.plan import Plan, read_plan
from pipeline.runtime.versions import installed, sources_digest
from secure.errors import BadProvenance, BadSignature
from secure.keys.keys import card_fields, load_private_keys
from secure.messages.message_name import MessageName
from secure.messages.messages import manifest_digest, parse_manifest
from secure.messages.provenance import PROVENANCE_FILE, Provenance
from tests.support.cli_runner import hocket, refused
from tests.support.federation import AGGREGATOR, Federation
from tests.support.secure import plain_reader as plain
from tests.support.secure.refusals import signed_fields
from tests.support.signed_transcripts import ALL, SUM, at_round, run_audit

DOMAIN = b"hocket/provenance/v1\0"
PRIVATE_FILES = ("federated.safetensors", "local.safetensors", "compounds.safetensors")


def plan_of(federation: Federation) -> Plan:
    """The plan."""
    return read_plan(federation.plan_file)


def check(federation: Federation, name: str = "P01") -> Provenance:
    """The provenance of a partner's model, checked."""
    trail = run_audit(federation, recompute=False)
    return check_model(federation.home(name).model, plan_of(federation), trail).provenance


def change(federation: Federation, name: str = "P01", signer: str = "P01", **fields: object) -> None:
    """Put other values into a provenance and sign it again."""
    path = federation.home(name).model / PROVENANCE_FILE
    stored = json.loads(path.read_bytes()) | fields
    path.write_bytes(signed_fields(load_private_keys(federation.home(signer).keys), stored, DOMAIN))


# --------------------------------------------------------------------------------------------------- what it lists


@pytest.mark.parametrize("name", ALL)
def test_it_lists_what_the_model_was_made_of(finished: Federation, name: str):
    """Tables, matrices, trunk, rounds with their members, cards and the program, as everybody can compute them."""
    plan, home = plan_of(finished), finished.home(name)
    made = check(finished, name)
    assert (made.partner, made.plan) == (name, plan.digest)
    assert made.members == {each: card.fingerprint.replace(" ", "") for each, card in plan.cards.items()}
    tables = {table: home.folder.parent / f"{table}.csv" for table in ("T0", "T1", "T2")}
    assert {table: made.data[table] for table in tables} == {
        table: manifest_digest(path.read_bytes()) for table, path in tables.items()
    }
    prepared = read_prepared(home.prepared / made.data["prepared"])
    assert prepared.manifest["inputs"] == {table: made.data[table] for table in tables}
    assert [(each.round_no, each.members) for each in made.rounds] == [(1, ALL), (2, ALL)]
    for each in made.rounds:
        data = (finished.exchange / at_round(SUM, each.round_no).manifest).read_bytes()
        assert (each.sum, each.roster) == (manifest_digest(data), parse_manifest(data, "sum").text("roster"))
    closing = MessageName("ready", 3, 1, name)
    assert made.trunk == parse_manifest((finished.exchange / closing.manifest).read_bytes(), "ready").text("trunk")
    assert (made.version, made.sources) == (installed("hocket"), sources_digest())
    assert set(made.files) == set(PRIVATE_FILES)
    assert len({check(finished, other).trunk for other in ALL}) == 1


def test_the_code_has_one_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The same at each call; a changed line, another name and a new file each give another one."""
    import pipeline.runtime.versions as module  # noqa: PLC0415

    tree = tmp_path / "site"
    (tree / "pipeline" / "runtime").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(tree / "pipeline" / "runtime" / "versions.py"))
    digests = []
    for name, text in (("a.py", "x = 1\n"), ("a.py", "x = 2\n"), ("b.py", "x = 2\n"), ("b.pyc", "no source")):
        (tree / "pipeline" / name).write_text(text)
        digests.append(sources_digest())
    assert len(set(digests)) == 3
    assert digests[2] == digests[3]


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("file", PRIVATE_FILES)
def test_a_changed_file_is_refused(done: Federation, file: str):
    """By `verify` and by whatever opens the model; the file is named."""
    path = done.home("P01").model / file
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(WrongProvenance, match=file):
        check(done)
    message = refused(ExitCode.SECURITY, "verify", done.plan_file, done.exchange, "--model", path.parent)
    assert str(path) in message


def test_a_missing_file_is_refused(done: Federation):
    """It is listed."""
    (done.home("P01").model / "local.safetensors").unlink()
    with pytest.raises(WrongProvenance, match="local"):
        check(done)


def test_a_changed_description_is_refused(done: Federation, tmp_path: Path):
    """A threshold, for example, also by `predict`, which leaves no output; white space does not matter."""
    path = done.home("P01").model / "model.json"
    description = json.loads(path.read_bytes())
    path.write_text(json.dumps(description))
    check(done)
    description["tasks"][0]["threshold"] += 1
    path.write_text(json.dumps(description))
    with pytest.raises(WrongProvenance, match=r"model\.json"):
        check(done)
    (tmp_path / "new.csv").write_text("input_compound_id,smiles\nN1,CCO\n")
    output = tmp_path / "out.csv"
    refused(ExitCode.SECURITY, "predict", done.config("P01"), tmp_path / "new.csv", "--output", output)
    assert not output.exists()
    refused(ExitCode.SECURITY, "inspect", path.with_name(PROVENANCE_FILE))


def test_a_model_of_another_home_is_refused(done: Federation):
    """P02's whole folder, provenance and all, in P01's home: `verify` says whose it is, P01's commands refuse it."""
    mine, theirs = done.home("P01").model, done.home("P02").model
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    assert check(done).partner == "P02"
    change(done, signer="P01", partner="P02")
    with pytest.raises(BadSignature):
        check(done)


def other_rounds(federation: Federation) -> list[dict[str, object]]:
    """The rounds of P01's provenance with another digest of the last sum."""
    return changed_rounds(federation, sum="0" * 64)


def changed_rounds(federation: Federation, **change: object) -> list[dict[str, object]]:
    """The rounds of P01's provenance with other values in the last."""
    path = federation.home("P01").model / PROVENANCE_FILE
    first, last = json.loads(path.read_bytes())["rounds"]
    return [first, last | change]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plan", "0" * 64),
        ("trunk", "0" * 64),
        ("model", "0" * 64),
        ("members", {"P01": "0" * 32}),
        ("rounds", []),
        ("rounds", other_rounds),
        ("rounds", lambda done: changed_rounds(done, roster="0" * 64)),
        ("rounds", lambda done: changed_rounds(done, members=["P01", "P02"])),
        ("files", {}),
        ("files", dict.fromkeys(PRIVATE_FILES, "0" * 64)),
    ],
)
def test_a_signed_untruth_is_refused(done: Federation, field: str, value: object):
    """What the partner signed must agree with plan, exchange and files."""
    change(done, **{field: value(done) if callable(value) else value})
    with pytest.raises(WrongProvenance):
        check(done)


@pytest.mark.parametrize("value", [{"tasks": [1]}, {"tasks": [{"input_assay_id": []}]}, {"added": [None]}])
def test_a_hostile_description_is_refused(done: Federation, value: dict[str, object]):
    """Lists of something else than tasks are exit code 2 of `inspect`, no traceback."""
    path = done.home("P01").model / "model.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | value))
    refused(ExitCode.CONFIGURATION, "inspect", path.with_name(PROVENANCE_FILE))


def test_a_pipe_is_no_file_of_a_model(done: Federation):
    """It is not waited for."""
    path = done.home("P01").model / "local.safetensors"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(WrongProvenance, match="local"):
        check(done)


def test_a_signature_of_another_key_is_refused(done: Federation, tmp_path: Path):
    """By `verify` and, as the provenance names this home's card, by `predict`."""
    change(done, signer="P02")
    with pytest.raises(BadSignature):
        check(done)
    (tmp_path / "new.csv").write_text("input_compound_id,smiles\nN1,CCO\n")
    refused(ExitCode.SECURITY, "predict", done.config("P01"), tmp_path / "new.csv", "--output", tmp_path / "out.csv")


def test_a_stranger_or_the_aggregator_signs_no_model(done: Federation):
    """Partners of the plan alone."""
    change(done, signer=AGGREGATOR, partner=AGGREGATOR)
    with pytest.raises(WrongProvenance):
        check(done)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data.replace(b'"', b"'", 2), lambda data: b" " + data]
)
def test_a_damaged_provenance_is_refused(done: Federation, damage):
    """Exit code 4 also of `inspect`."""
    path = done.home("P01").model / PROVENANCE_FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadProvenance):
        check(done)


def test_a_model_without_provenance(done: Federation):
    """Of an earlier version: `verify` says what to do, and the model predicts as before."""
    home: Home = done.home("P01")
    (home.model / PROVENANCE_FILE).unlink()
    with pytest.raises(ConfigError) as caught:
        check(done)
    assert "hocket predict" in caught.value.__notes__[0]
    assert hocket("predict", done.config("P01"), "--list-tasks").exit_code == ExitCode.DONE


def test_a_provenance_that_cannot_be_checked_is_warned_of(done: Federation, tmp_path: Path):
    """One of another card, and none; `open_model` refuses one that names this home's card and is signed by another."""
    (tmp_path / "new.csv").write_text("input_compound_id,smiles\nN1,CCO\n")
    command = ("predict", done.config("P01"), tmp_path / "new.csv", "--output", tmp_path / "out.csv")
    change(done, signer="P02")
    with pytest.raises(BadSignature):
        open_model(done.config("P01"))
    change(done, signer="P02", members={"P01": "0" * 32})
    assert PROVENANCE_FILE in hocket(*command).output
    (done.home("P01").model / PROVENANCE_FILE).unlink()
    assert PROVENANCE_FILE in hocket(*command).output


def test_a_rebuilt_model_has_the_same_provenance(done: Federation):
    """Byte for byte: nothing in it is of the moment."""
    path = done.home("P01").model / PROVENANCE_FILE
    before = path.read_bytes()
    shutil.rmtree(path.parent)
    assert hocket("predict", done.config("P01"), "--list-tasks").exit_code == ExitCode.DONE
    assert path.read_bytes() == before


def test_an_independent_reader_agrees(finished: Federation):
    """The program written from FORMAT.md checks signature and model.json as hocket does."""
    folder, card = finished.home("P01").model, plan_of(finished).cards["P01"]
    found = plain.verify_provenance((folder / PROVENANCE_FILE).read_bytes(), card_fields(card))
    assert found["model"] == plain.model_digest(json.loads((folder / "model.json").read_bytes()))
    assert found["files"] == {name: plain.digest((folder / name).read_bytes()) for name in PRIVATE_FILES}


# --------------------------------------------------------------------------------------------- what commands show


def test_verify_names_the_models(finished: Federation, tmp_path: Path):
    """Lines, JSON and the page have each model and its rounds; without models nothing is said of them."""
    models = [option for name in ALL for option in ("--model", finished.home(name).model)]
    page = tmp_path / "papers" / "audit.html"
    done = hocket("verify", finished.plan_file, finished.exchange, *models, "--html", page)
    assert done.exit_code == ExitCode.DONE
    assert [line.split(" in ")[0] for line in done.stdout.splitlines() if line.startswith("model of ")] == [
        f"model of {name}" for name in ALL
    ]
    shown = json.loads(hocket("verify", "--json", finished.plan_file, finished.exchange, *models).stdout)
    assert [model["provenance"]["partner"] for model in shown["models"]] == list(ALL)
    html = page.read_text()
    assert check(finished).data["T1"] in html
    assert done.stdout.splitlines()[-1] in html
    assert "<script" not in html
    assert hocket("inspect", page).stdout.startswith("what: page")


def test_a_failed_audit_writes_no_page(done: Federation, tmp_path: Path):
    """Also if only a model is wrong."""
    (done.home("P01").model / "local.safetensors").unlink()
    page = tmp_path / "audit.html"
    page.write_text("of an earlier audit")
    options = ("--model", done.home("P01").model, "--html", page)
    refused(ExitCode.SECURITY, "verify", done.plan_file, done.exchange, *options)
    assert not page.exists()


def test_inspect_shows_a_provenance(finished: Federation):
    """Who, what, how many rounds, and that the model beside it fits."""
    shown = json.loads(hocket("inspect", "--json", finished.home("P01").model / PROVENANCE_FILE).stdout)
    assert (shown["partner"], shown["rounds"], shown["plan"]) == ("P01", "2, the last is 2", plan_of(finished).digest)
    assert "files" in shown
