"""Certificates of NVFlare's startup kits: which proofs are accepted, and which names must agree."""

import json
import sys
from pathlib import Path

import pytest
from nvflare.private.fed.utils.identity_utils import IdentityAsserter

from pipeline.errors import ConfigError, ExitCode, WrongSite
from pipeline.plan.plan import read_plan
from pipeline.transport.nvflare.export import ServerAddress, export_nvflare, project_name
from pipeline.transport.nvflare.identity import Kit, common_name, expect_name, server_of
from pipeline.transport.nvflare.names import PARTNER_FILE, config_file
from tests.support.cli_runner import finished_process
from tests.support.federation import Federation

HOST = "hub.example.org"
PLAN, NONCE = "ab" * 32, "cd" * 32


def provisioned(federation: Federation, folder: Path) -> Path:
    """Kits as `nvflare provision` makes them from the exported project."""
    plan = read_plan(federation.plan_file)
    export_nvflare(plan, ServerAddress(HOST, 8002, "/srv"), folder)
    command = [sys.executable, "-m", "nvflare.cli", "provision", "-p", "project.yml", "-w", "kits", "--force"]
    done = finished_process(command, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "kits" / project_name(plan) / "prod_00"


@pytest.fixture(scope="module")
def kits(enrolled: Federation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One federation's kits. For reading only."""
    return provisioned(enrolled, tmp_path_factory.mktemp("kits") / "nvflare")


@pytest.fixture(scope="module")
def others(enrolled: Federation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kits of the same names under another root. For reading only."""
    return provisioned(enrolled, tmp_path_factory.mktemp("others") / "nvflare")


def site(kits: Path, name: str) -> Kit:
    """A site's kit."""
    return Kit.at(kits / name / "startup", "client")


def server(kits: Path) -> Kit:
    """The server's kit."""
    return Kit.at(kits / HOST / "startup", "server")


def test_names_of_kits_are_the_partners(kits: Path) -> None:
    """The common name of each site's certificate is the partner's name; the server's is the host all sites know."""
    assert [site(kits, name).name for name in ("P01", "P02", "P03")] == ["P01", "P02", "P03"]
    assert server(kits).name == HOST == server_of(kits / "P01" / "startup")


def test_each_side_proves_itself_to_the_other(kits: Path) -> None:
    """A site's proof is accepted by the server, and the server's by the site."""
    proof = site(kits, "P01").prove(HOST, PLAN, NONCE)
    server(kits).check(proof, expected="P01", plan=PLAN, nonce=NONCE)
    site(kits, "P01").check(server(kits).prove("P01", PLAN, NONCE), expected=HOST, plan=PLAN, nonce=NONCE)


def test_a_site_that_claims_another_name_is_refused(kits: Path) -> None:
    """P02's certificate is not P01's, and the error says whose it is; the exit code is that of security."""
    proof = site(kits, "P02").prove(HOST, PLAN, NONCE)
    with pytest.raises(WrongSite, match=r"^P01: .*certificate .*\bP02\b") as error:
        server(kits).check(proof, expected="P01", plan=PLAN, nonce=NONCE)
    assert error.value.exit_code == ExitCode.SECURITY


@pytest.mark.parametrize(
    ("to", "plan", "nonce"), [("elsewhere", PLAN, NONCE), (HOST, "00" * 32, NONCE), (HOST, PLAN, "00" * 32)]
)
def test_a_proof_is_for_one_receiver_plan_and_challenge(kits: Path, to: str, plan: str, nonce: str) -> None:
    """A proof made for anything else is refused, so none can be used twice or passed on."""
    proof = site(kits, "P01").prove(to, plan, nonce)
    with pytest.raises(WrongSite, match="not valid"):
        server(kits).check(proof, expected="P01", plan=PLAN, nonce=NONCE)


def test_a_certificate_alone_proves_nothing(kits: Path) -> None:
    """P01's certificate, which all can see, with a signature by P02's key is refused."""
    proof = site(kits, "P01").prove(HOST, PLAN, NONCE)
    stolen = IdentityAsserter(str(site(kits, "P02").key_file), str(site(kits, "P01").certificate_file))
    forged = {**proof, "signature": stolen.sign_common_name(f"\nhocket/nvflare/identity/v1\n{HOST}\n{PLAN}\n{NONCE}")}
    with pytest.raises(WrongSite, match="not valid"):
        server(kits).check(forged, expected="P01", plan=PLAN, nonce=NONCE)


def test_a_certificate_of_another_authority_is_refused(kits: Path, others: Path) -> None:
    """The right name under another root is refused."""
    proof = site(others, "P01").prove(HOST, PLAN, NONCE)
    with pytest.raises(WrongSite, match="not valid"):
        server(kits).check(proof, expected="P01", plan=PLAN, nonce=NONCE)


@pytest.mark.parametrize(
    "proof",
    [
        None,
        "text",
        {},
        {"certificate": "text", "signature": b"x"},
        {"certificate": b"x", "signature": None},
        {"certificate": b"no certificate", "signature": b"x"},
        {"certificate": b"x" * (1 << 17), "signature": b"x"},
    ],
)
def test_what_is_no_proof_is_refused(kits: Path, proof: object) -> None:
    """Anything but a proof is refused with its own error."""
    with pytest.raises(WrongSite):
        server(kits).check(proof, expected="P01", plan=PLAN, nonce=NONCE)


def test_a_kit_must_be_whole(tmp_path: Path) -> None:
    """A startup folder without its files is named, and so is a kit that does not say who the server is."""
    with pytest.raises(ConfigError, match=r"client\.crt: is missing"):
        Kit.at(tmp_path, "client")
    with pytest.raises(ConfigError, match="name the server"):
        server_of(tmp_path)
    (tmp_path / "fed_client.json").write_text(json.dumps({"servers": []}))
    with pytest.raises(ConfigError, match="name the server"):
        server_of(tmp_path)


def test_names_must_agree() -> None:
    """Another name than expected is a security error that names both."""
    expect_name("P01", "P01", "here")
    with pytest.raises(WrongSite, match=r"^here: .*\bP02, .*\bP01\b") as error:
        expect_name("P02", "P01", "here")
    assert error.value.exit_code == ExitCode.SECURITY
    with pytest.raises(WrongSite, match="no certificate"):
        common_name(b"", "here")


def test_the_configuration_comes_from_the_site_s_environment(tmp_path: Path) -> None:
    """Only the absolute path of an existing file is accepted; the error names the variable."""
    file = tmp_path / "partner.toml"
    file.write_text("")
    assert config_file(PARTNER_FILE, {PARTNER_FILE: str(file)}) == file
    for found in ({}, {PARTNER_FILE: ""}, {PARTNER_FILE: "partner.toml"}, {PARTNER_FILE: str(tmp_path / "none")}):
        with pytest.raises(ConfigError, match=PARTNER_FILE):
            config_file(PARTNER_FILE, found)
