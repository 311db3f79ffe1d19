"""Workers for structures: from configuration or command line, alone and through the whole command."""

import json
from pathlib import Path

import pytest

from data_prep.structures.cluster import DaskCluster
from pipeline.errors import ConfigError, ExitCode
from pipeline.plan import member_configs as configs
from pipeline.plan.member_configs import PartnerConfig
from pipeline.runs.preparation import prepare_tables
from pipeline.runs.structure_workers import open_workers
from secure.messages.message_name import MessageName
from tests.support.data_prep.dask_processes import DaskProcesses
from tests.support.federation import Federation, until_waiting
from tests.support.secure.certificates import write_certificates

PARTNER = """\
name = "P01"
plan = "plan.toml"
exchange = "exchange"
workers = 3
[data]
assays = "T0.csv"
activities = "T1.csv"
structures = "T2.csv"
"""


def config(folder: Path, scheduler: str = "") -> PartnerConfig:
    """A configuration with or without a scheduler."""
    path = folder / "partner.toml"
    path.write_text(PARTNER + (f'scheduler = "{scheduler}"\n' if scheduler else ""))
    return PartnerConfig.read(path)


def address(workers: object) -> str:
    assert isinstance(workers, DaskCluster)
    return workers._scheduler


def test_who_is_hired(tmp_path):
    """The command line wins over the configuration, and its number of workers over a configured scheduler."""
    plain, clustered = config(tmp_path), config(tmp_path, "tls://head.site:8786")
    with open_workers(plain) as workers:
        assert workers == 3
    with open_workers(plain, workers=2) as workers:
        assert workers == 2
    with open_workers(plain, scheduler="local:2") as workers:
        assert address(workers) == "local:2"
    with open_workers(clustered) as workers:
        assert address(workers) == "tls://head.site:8786"
    with open_workers(clustered, scheduler="tcp://other:1") as workers:
        assert address(workers) == "tcp://other:1"
    with open_workers(clustered, workers=2) as workers:
        assert workers == 2


@pytest.mark.parametrize(
    "scheduler",
    ["head:8786", "http://head:8786", "tcp://head", "tcp://user@head:1", "local:0", "local:-1", "local", " "],
)
def test_what_is_no_scheduler_is_refused(scheduler, tmp_path):
    """In the configuration and on the command line, with what was found and what is expected."""
    with pytest.raises(ConfigError, match=r"data\.scheduler: .*tcp://HOST:PORT"):
        config(tmp_path, scheduler)
    with pytest.raises(ConfigError, match="--scheduler: found"), open_workers(config(tmp_path), scheduler=scheduler):
        pass


def test_without_dask_it_says_how_to_get_it(tmp_path, monkeypatch):
    """The extra that is missing is named; nothing else needs it."""
    monkeypatch.setattr(configs, "find_spec", lambda _: None)
    for asked in (
        lambda: config(tmp_path, "local:2"),
        lambda: open_workers(config(tmp_path), scheduler="local:2").__enter__(),
    ):
        with pytest.raises(ConfigError, match=r"pip install -e '\.\[dask\]'"):
            asked()
    with open_workers(config(tmp_path)) as workers:
        assert workers == 3


def test_workers_and_scheduler_exclude_each_other(enrolled: Federation):
    """Both at once is a mistake in the command line."""
    done = enrolled.hocket("prepare", str(enrolled.config("P01")), "--workers", "2", "--scheduler", "local:2")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "not both" in done.stderr


def prepared(federation: Federation, *options: str) -> tuple[dict[str, bytes], str]:
    """Files of the prepared folder after the command, and what the command said."""
    done = federation.hocket("prepare", str(federation.config("P01")), "--json", *options)
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout)["folder"])
    return {file.name: file.read_bytes() for file in folder.iterdir()}, done.stderr


@pytest.mark.slow
def test_the_command_prepares_on_a_cluster_what_it_prepares_here(enrolled: Federation, tmp_path: Path):
    """`hocket prepare --scheduler` writes the same folder, digest and bytes; only the caller has a cache."""
    here, there = enrolled.moved(tmp_path / "here"), enrolled.moved(tmp_path / "there")
    (tmp_path / "dask").mkdir()
    with DaskProcesses(tmp_path / "dask") as dask:
        dask.add_worker().add_worker()
        found, said = prepared(there, "--scheduler", dask.address)
        assert "distributed" not in said
        assert there.home("P01").structures_cache.exists()
        assert not list((tmp_path / "dask").rglob("structures.cache"))
    assert found == prepared(here)[0]


@pytest.mark.slow
def test_a_partner_runs_with_a_cluster_of_its_own(enrolled: Federation, tmp_path: Path):
    """`scheduler` in partner.toml serves `partner run` too, which comes as far as without one, from the same bytes."""
    there, here = enrolled.moved(tmp_path / "there"), enrolled.moved(tmp_path / "here")
    text = there.config("P01").read_text().replace("[training]", 'scheduler = "local:2"\n[training]')
    there.config("P01").write_text(text)
    until_waiting(there, there.partners)
    assert there.posted(MessageName("ready", 1, 1, "P01")).exists()
    [folder] = [path for path in there.home("P01").prepared.iterdir() if path.is_dir()]
    assert folder.name == prepare_tables(here.config("P01")).folder.name
    expected = here.home("P01").prepared / folder.name
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in expected.iterdir()
    }


@pytest.mark.slow
def test_nobody_there_ends_the_command_with_one_message(enrolled: Federation, tmp_path: Path):
    """Exit code 3, one message, one advice, no folder and no traceback."""
    federation = enrolled.moved(tmp_path / "federation")
    done = federation.hocket("prepare", str(federation.config("P01")), "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == ExitCode.DATA
    assert "no Dask scheduler" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(federation.home("P01").prepared.glob("*"))


@pytest.mark.slow
def test_tls_with_dasks_own_settings(enrolled: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With certificates of one authority all talk over tls://, where Dask must also here; the folders are equal."""
    (tmp_path / "dask").mkdir()
    for name, value in write_certificates(tmp_path).items():
        monkeypatch.setenv(name, value)
    here, there = enrolled.moved(tmp_path / "here"), enrolled.moved(tmp_path / "there")
    with DaskProcesses(tmp_path / "dask", "--protocol", "tls") as dask:
        assert dask.address.startswith("tls://")
        dask.add_worker()
        found, _ = prepared(there, "--scheduler", dask.address)
    assert found == prepared(here)[0]
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "True")
    assert found == prepared(enrolled.moved(tmp_path / "local"), "--scheduler", "local:1")[0]
