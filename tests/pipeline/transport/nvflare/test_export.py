"""`hocket engine nvflare export`: what it writes, that NVFlare takes it, and that it grants nothing more."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nvflare.lighter.utils import load_yaml

from pipeline.errors import ConfigError, ExitCode
from pipeline.plan.plan import Plan, read_plan
from pipeline.transport.nvflare.controller import FederationController
from pipeline.transport.nvflare.executor import PartnerExecutor
from pipeline.transport.nvflare.export import ADMIN, ServerAddress, export_nvflare, files, project_name
from pipeline.transport.nvflare.names import AGGREGATOR_FILE, CONTROLLER, EXECUTOR, PARTNER_FILE, TASK
from tests.support.cli_runner import finished_process, python_process
from tests.support.federation import Federation
from tests.support.transport.nvflare_sites import at_home

PLACE = ServerAddress("hub.example.org", 9002, "/srv/nvflare")
PARTNERS = ["P01", "P02", "P03"]


@pytest.fixture(scope="module")
def plan(enrolled: Federation) -> Plan:
    """A small federation's plan."""
    return read_plan(enrolled.plan_file)


@pytest.fixture(scope="module")
def exported(plan: Plan) -> dict[str, str]:
    """Path and text of every file."""
    return files(plan, PLACE)


def table(exported: dict[str, str], path: str) -> dict[str, Any]:
    """A JSON file as a table."""
    found = json.loads(exported[path])
    assert isinstance(found, dict)
    return found


def test_the_project_has_one_site_per_partner(exported: dict[str, str], tmp_path: Path) -> None:
    """project.yml, read as YAML, names the server by its host, every partner, and one admin; gRPC with mutual TLS."""
    (tmp_path / "project.yml").write_text(exported["project.yml"])
    project = load_yaml(str(tmp_path / "project.yml"))
    kinds = [(one["name"], one["type"]) for one in project["participants"]]
    clients = [(name, "client") for name in PARTNERS]
    assert kinds == [(PLACE.host, "server"), *clients, (ADMIN, "admin")]
    assert project["connection_security"] == "mtls"
    assert project["builders"][1]["args"]["scheme"] == "grpc"
    assert project["participants"][0]["fed_learn_port"] == PLACE.port


def test_the_job_is_configuration_only(exported: dict[str, str]) -> None:
    """Three JSON files that name our two classes and no other; no code, no paths, no filters."""
    paths = sorted(path for path in exported if path.startswith("job/"))
    assert paths == ["job/app/config/config_fed_client.json", "job/app/config/config_fed_server.json", "job/meta.json"]
    text = "".join(exported[path] for path in paths)
    assert text.count('"path"') == 2
    assert CONTROLLER in text
    assert EXECUTOR in text
    assert table(exported, "job/meta.json")["min_clients"] == 3
    assert table(exported, paths[0])["executors"][0]["tasks"] == [TASK]
    assert ".toml" not in text
    assert "byoc" not in text.lower()


def test_the_names_are_those_of_the_classes() -> None:
    """The classes that the job names are in the installed package."""
    for named, found in ((CONTROLLER, FederationController), (EXECUTOR, PartnerExecutor)):
        assert named == f"{found.__module__}.{found.__qualname__}"


@pytest.mark.parametrize("name", [PLACE.host, *PARTNERS])
def test_local_settings_allow_one_class_and_stream_no_logs(exported: dict[str, str], name: str) -> None:
    """A site builds nothing for a job but its own one class, sends no logs, and keeps nothing in /tmp."""
    resources = table(exported, f"local/{name}/resources.json")
    assert resources["class_allow_list"] == [CONTROLLER if name == PLACE.host else EXECUTOR]
    assert resources["class_list_enforcement_mode"] == "enforce"
    text = json.dumps(resources)
    assert "/tmp" not in text  # noqa: S108 -- that is the point
    assert "log_receiver" not in text
    assert "log_streamer" not in text
    if name == PLACE.host:
        assert f"{PLACE.storage}/jobs" in text
        assert f"{PLACE.storage}/snapshots" in text
    else:
        assert resources["allow_log_streaming"] is False


@pytest.mark.parametrize("name", [PLACE.host, *PARTNERS])
def test_nobody_brings_code_or_opens_a_shell(exported: dict[str, str], name: str) -> None:
    """At every site one role may submit jobs; code and shell are granted to none."""
    permissions = table(exported, f"local/{name}/authorization.json")["permissions"]
    assert list(permissions) == ["lead"]
    assert permissions["lead"]["submit_job"] == "any"
    assert permissions["lead"]["byoc"] == permissions["lead"]["shell_commands"] == "none"


def test_the_readme_says_the_commands(exported: dict[str, str], plan: Plan) -> None:
    """Digest, host, port, variables and the commands of distributed provisioning stand in it; no place is left open."""
    text = exported["README.md"]
    for said in (
        plan.digest,
        PLACE.host,
        str(PLACE.port),
        PLACE.storage,
        PARTNER_FILE,
        AGGREGATOR_FILE,
        "nvflare cert init",
        "nvflare cert request",
        "nvflare cert approve",
        "nvflare package",
        "nvflare job submit",
        "RUNNING",
        "telemetry",
        "private key with",
        *PARTNERS,
    ):
        assert said in text
    assert "{" not in text


def run(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """An nvflare command, in its own home folder."""
    command = [sys.executable, "-m", "nvflare.cli", *arguments]
    return finished_process(command, folder=folder, environment=at_home(folder))


@pytest.mark.slow
def test_each_site_can_make_its_own_key(exported: dict[str, str], tmp_path: Path) -> None:
    """The README's commands of distributed provisioning work: every key is made where it belongs."""
    for path in ("profile.yml", "participants/P01.yml", f"participants/{PLACE.host}.yml", f"participants/{ADMIN}.yml"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(exported[path])
    made = run("cert", "init", "--profile", "profile.yml", "-o", "ca", folder=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    fingerprint = next(line for line in made.stdout.splitlines() if "fingerprint" in line).split(" ", 1)[1].strip()
    authority = ("-c", "ca", "--profile", "profile.yml")
    for name, side in (("P01", "client"), (PLACE.host, "server"), (ADMIN, "client")):
        for command in (
            ("cert", "request", "-p", f"participants/{name}.yml", "--out", name),
            ("cert", "approve", f"{name}/{name}.request.zip", *authority, "--out", f"{name}.signed.zip"),
            ("package", f"{name}.signed.zip", "--request-dir", name, "--fingerprint", fingerprint, "-w", "kits"),
        ):
            done = run(*command, folder=tmp_path)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert (tmp_path / "kits" / "small" / "prod_00" / name / "startup" / f"{side}.key").is_file()
    assert not [path for path in (tmp_path / "ca").iterdir() if "P01" in path.name]


def test_a_name_becomes_one_that_nvflare_takes(plan: Plan) -> None:
    """Spaces, dots and hyphens of the federation's and partners' names are no hindrance."""
    named = plan.model_copy(update={"federation": plan.federation.model_copy(update={"name": "Big Pharma-2.0"})})
    assert project_name(named) == "Big_Pharma_2_0"


@pytest.mark.parametrize(
    ("host", "storage"), [("a b", "/srv"), ("-x", "/srv"), ("", "/srv"), ("hub_1", "/srv"), ("hub", "srv")]
)
def test_a_place_that_cannot_be_is_refused(host: str, storage: str) -> None:
    """A host that is no name, or a storage that is no absolute path, is refused."""
    with pytest.raises(ConfigError, match="expected"):
        ServerAddress(host, 8002, storage)


@pytest.mark.parametrize(("partner", "host"), [("P02", "P02"), ("server", "hub.example.org")])
def test_two_sites_of_one_name_are_refused(plan: Plan, partner: str, host: str) -> None:
    """A partner may have neither the server's name nor NVFlare's own name for the server."""
    cards = [card.model_copy(update={"name": partner}) if card.name == "P02" else card for card in plan.card]
    with pytest.raises(ConfigError, match="are the server's"):
        files(plan.model_copy(update={"card": cards}), ServerAddress(host, 8002, "/srv"))


def test_an_existing_folder_is_left_alone(plan: Plan, tmp_path: Path) -> None:
    """The second export is refused, and changes nothing."""
    folder = tmp_path / "deep" / "nvflare"
    export_nvflare(plan, PLACE, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(before) == len(files(plan, PLACE))
    with pytest.raises(ConfigError, match="exists already"):
        export_nvflare(plan, PLACE, folder)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert list(folder.parent.iterdir()) == [folder]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask


def test_a_failed_export_leaves_nothing(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk becomes full, no folder remains."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("secure.files._sync", full)
    with pytest.raises(ConfigError, match="No space left"):
        export_nvflare(plan, PLACE, tmp_path / "nvflare")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_folder(enrolled: Federation, tmp_path: Path) -> None:
    """The command names folder and server on stdout; a second one exits with the code of configuration."""
    arguments = ("engine", "nvflare", "export", str(enrolled.plan_file), str(tmp_path / "x"), "--host", "hub")
    done = enrolled.hocket(*arguments)
    assert done.returncode == ExitCode.DONE, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'x'}: ")
    assert line.endswith(" hub:8002")
    assert (tmp_path / "x" / "README.md").is_file()
    again = enrolled.hocket(*arguments)
    assert again.returncode == ExitCode.CONFIGURATION
    assert "Traceback" not in again.stderr


def test_the_core_needs_no_nvflare() -> None:
    """With nvflare made unimportable, the command's module, the export and the ordinary runs still import."""
    code = (
        "import sys; sys.modules['nvflare'] = None\n"
        "import pipeline.cli, pipeline.runs.jobs, pipeline.transport.nvflare.export\n"
        "import pipeline.transport.endpoints, pipeline.transport.child_process"
    )
    assert python_process(code).returncode == 0


def test_the_server_s_part_needs_no_torch_or_rdkit() -> None:
    """The controller imports with torch, rdkit, polars and mlflow made unimportable."""
    blocked = ["torch", "rdkit", "polars", "sklearn", "safetensors", "mlflow"]
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport pipeline.transport.nvflare.controller"
    assert python_process(code).returncode == 0
