"""The image's recipe, its compose file and its CronJob against Makefile, pyproject.toml and the commands."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml

from pipeline.commands.demo import demo
from tests.support.command_lines import parse

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "pipeline" / "container"
USER = "10001"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order: name and arguments."""
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def of_kind(name: str) -> list[str]:
    """Arguments of all instructions of one name."""
    return [arguments for kind, arguments in instructions() if kind == name]


def read_yaml(name: str) -> Any:  # noqa: ANN401 -- any YAML value
    """The content of a YAML file of the folder."""
    return yaml.safe_load((FOLDER / name).read_text())


def test_the_image_installs_what_make_release_does() -> None:
    """The recipe has no pip of its own, and every variable that it sets is one of the Makefile, with its default."""
    runs = of_kind("RUN")
    assert not [run for run in runs if "pip" in run]
    (make,) = [shlex.split(run.partition("&&")[0]) for run in runs if run.startswith("make ")]
    makefile = (ROOT / "Makefile").read_text()
    assert make[1] in re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    defaults = dict(re.findall(r"^([A-Z_]+) [?:]=[ ]?(.*)$", makefile, re.MULTILINE))
    assert {word.split("=")[0] for word in make[2:]} <= defaults.keys()
    arguments = dict(argument.partition("=")[::2] for argument in of_kind("ARG"))
    assert arguments.pop("BASE").startswith("python:3.")
    assert arguments == {name: defaults[name] for name in arguments}


def test_the_image_has_all_files_of_the_wheel() -> None:
    """Everything that pyproject.toml and the Makefile's target read is copied, folder by folder."""
    copied = {word for line in of_kind("COPY") if not line.startswith("--from") for word in line.split()[:-1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = project["tool"]["setuptools"]
    needed = {pattern.rstrip("*") for pattern in tools["packages"]["find"]["include"]}
    needed |= {f"{module}.py" for module in tools["py-modules"]}
    needed |= {project["project"]["readme"], *project["project"]["license-files"]}
    assert copied == needed | {"Makefile", "pyproject.toml", "constraints.txt", "requirements.hashed.txt"}


def test_nobody_is_root() -> None:
    """One user in image and CronJob, to whom the volume belongs; the root is read-only wherever it runs."""
    assert of_kind("USER") == [f"{USER}:{USER}"]
    assert any(f"chown {USER}:{USER} {of_kind('WORKDIR')[-1]}" in run for run in of_kind("RUN"))
    pod = read_yaml("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert str(pod["securityContext"]["runAsUser"]) == USER
    assert pod["securityContext"]["runAsNonRoot"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    services = read_yaml("compose.yaml")["services"].values()
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in services)


def test_every_command_is_one() -> None:
    """Of the compose file, whose members are those of the demo that it sets up, and of the CronJob."""
    services = read_yaml("compose.yaml")["services"]
    set_up = services.pop("set-up")
    assert parse(f"hocket {set_up['command']}") is demo
    configs = [service["command"].split()[-1] for service in services.values()]
    assert configs == ["P01/partner.toml", "P02/partner.toml", "P03/partner.toml", "aggregator/aggregator.toml"]
    for service in services.values():
        parse(f"hocket {service['command']}")
        assert service["network_mode"] == "none"
        assert service["depends_on"] == {"set-up": {"condition": "service_completed_successfully"}}
    assert services["aggregator"]["build"]["args"]["EXTRAS"] == ""
    pod = read_yaml("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    parse(pod["containers"][0]["command"][-1].partition(" ||")[0])
