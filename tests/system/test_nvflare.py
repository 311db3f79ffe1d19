"""A federation on NVFlare: one server and three sites, real processes with mutual TLS on this machine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.demo import demo
from pipeline.home.paths import Home
from pipeline.report.report import report_file
from pipeline.transport.nvflare.names import CONTROLLER, EXECUTOR
from secure.messages.message_name import MessageName
from secure.messages.messages import payload_digest
from tests.support.federation import AGGREGATOR, Federation
from tests.support.transport.big_messages import arrived, place, with_large_trunk
from tests.support.transport.nvflare_sites import HOST, Sites, sites
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find processes"),
]
_HEAVY = ("torch", "rdkit", "polars", "sklearn")
_SERVER_JOB, _SITE_JOB = "server.runner_process", "client.worker_process"


@pytest.fixture
def on_nvflare(enrolled: Federation, tmp_path: Path) -> Iterator[Sites]:
    """Kits and local settings of a federation that has not begun; a lost site is noticed soon."""
    with sites(
        enrolled.moved(tmp_path / "federation"), job={"silence_s": 10.0, "stall_s": 15.0, "answer_s": 10}
    ) as made:
        yield made


def mapped(numbers: dict[int, str]) -> str:
    """Paths of all libraries that these processes have loaded."""
    found = []
    for number in numbers:
        try:
            found.append(Path(f"/proc/{number}/maps").read_text())
        except OSError:  # it ended
            continue
    return "".join(found)


def test_a_federation_on_nvflare(on_nvflare: Sites, finished: Federation) -> None:
    """Three sites end with the same trunk as the federation over a shared folder, and the job completes.

    No process of the server has loaded torch, rdkit, polars or sklearn, and all ends by itself.
    """
    federation = on_nvflare.federation
    on_nvflare.start(HOST, *federation.partners)
    on_nvflare.submit()
    server = ""

    def is_over() -> bool:
        nonlocal server
        job = on_nvflare.processes(_SERVER_JOB)
        server += mapped(
            {**job, **on_nvflare.processes("--end-with-stdin", "aggregator"), **on_nvflare.processes("server_train")}
        )
        return on_nvflare.is_finished() and not job

    on_nvflare.wait_for(is_over, 300)
    assert federation.trunks(2) == finished.trunks(2)
    assert "sealapi" in server
    assert not [name for name in _HEAVY if f"/{name}" in server]
    on_nvflare.wait_for(lambda: "FINISHED:COMPLETED" in on_nvflare.nvflare("job", "list").stdout)
    on_nvflare.wait_for(lambda: not on_nvflare.processes("--end-with-stdin") and not on_nvflare.processes(_SITE_JOB))


def test_a_site_killed_in_mid_round(on_nvflare: Sites, finished: Federation) -> None:
    """After kill -9 of a site's job, its run ends too; the job is given up, and submitted again it goes on.

    The update that was sealed before is not made anew, and the trunk is the same.
    """
    federation = on_nvflare.federation
    on_nvflare.start(HOST, *federation.partners)
    on_nvflare.submit()
    sealed = federation.home("P02").outbox(MessageName("update", 1, 1, "P02").payload)
    on_nvflare.wait_for(sealed.exists)
    on_nvflare.kill(_SITE_JOB, "P02")
    on_nvflare.wait_for(lambda: not on_nvflare.processes("--end-with-stdin", "P02"))
    posted = federation.config("P02").parent / "mirror" / MessageName("update", 1, 1, "P02").payload
    digest = payload_digest(sealed if sealed.exists() else posted)
    on_nvflare.wait_for(lambda: not on_nvflare.processes(_SERVER_JOB))
    assert not on_nvflare.is_finished(["P02"])
    on_nvflare.submit()
    on_nvflare.wait_for(on_nvflare.is_finished, 300)
    assert federation.trunks(2) == finished.trunks(2)
    kept = federation.config(AGGREGATOR).parent / "mirror" / MessageName("update", 1, 1, "P02").payload
    assert payload_digest(kept) == digest


def test_a_server_killed_in_mid_round(on_nvflare: Sites, finished: Federation) -> None:
    """After kill -9 of the whole server, it is started again and the job submitted again: it goes on where it stopped.

    Messages that had come are the same byte for byte, and the trunk is the same.
    """
    federation = on_nvflare.federation
    on_nvflare.start(HOST, *federation.partners)
    on_nvflare.submit()
    mirror = federation.config(AGGREGATOR).parent / "mirror"
    roster = mirror / MessageName("roster", 1, 1, AGGREGATOR).manifest
    on_nvflare.wait_for(roster.exists)
    on_nvflare.kill("nvflare.private.fed.app.server")
    on_nvflare.wait_for(lambda: not on_nvflare.processes("--end-with-stdin", "aggregator"))
    before = {path: path.read_bytes() for path in mirror.rglob("*.json") if path.parent.name != "signs"}
    on_nvflare.start(HOST)
    on_nvflare.submit()
    on_nvflare.wait_for(on_nvflare.is_finished, 420)
    assert federation.trunks(2) == finished.trunks(2)
    assert before.items() <= {path: path.read_bytes() for path in mirror.rglob("*.json")}.items()


def test_a_federation_goes_on_without_a_lost_site(tmp_path: Path) -> None:
    """Of four sites one dies in mid-round, whole: the round is void, the three others go on without it to the end.

    The engine gives the running job to no site that comes back; in the next job the lost one catches up.
    """
    federation = Federation(tmp_path / "federation", n_partners=4, deadline_s=20.0)
    others = federation.partners[:-1]
    with sites(federation, job={"silence_s": 10.0, "stall_s": 300.0, "answer_s": 10}) as made:
        made.start(HOST, *federation.partners)
        made.submit()
        mirror = federation.config(AGGREGATOR).parent / "mirror"
        ready = [mirror / MessageName("ready", 1, 1, name).manifest for name in federation.partners]
        # without a roster nobody can seal: P04 would otherwise now and then post its update before it is killed
        with made.frozen("--end-with-stdin", "aggregator"):
            made.wait_for(lambda: all(manifest.exists() for manifest in ready))
            made.kill("P04")
        made.wait_for(lambda: made.is_finished([*others, AGGREGATOR]), 300)
        assert "P04" in (mirror / MessageName("roster", 1, 1, AGGREGATOR).manifest).read_text()
        assert (mirror / MessageName("void", 1, 1, AGGREGATOR).manifest).exists()
        assert not made.is_finished(["P04"])
        made.wait_for(lambda: "FINISHED:COMPLETED" in made.nvflare("job", "list").stdout)
        made.start("P04")
        made.submit()
        made.wait_for(lambda: made.is_finished(["P04"]), 300)
    assert len(federation.trunks(2)) == 1


class DemoFederation(Federation):
    """The federation of `hocket demo`, made by the command unless it exists."""

    def __init__(self, folder: Path, options: demo.Options) -> None:
        self.folder, self.exchange, self.plan_file = folder, folder / "exchange", folder / "plan.toml"
        self.partners = [f"P{i:02d}" for i in range(1, options.n_partners + 1)]
        demo._claim(folder, options)
        demo._build(folder, options, self.partners)  # what is there is left as it is

    def home(self, name: str) -> Home:
        """A member's home."""
        return Home(self.config(name).parent / "home")

    def config(self, name: str) -> Path:
        """A member's configuration file."""
        if name == AGGREGATOR:
            return self.folder / demo.AGGREGATOR / "aggregator.toml"
        return self.folder / name / "partner.toml"


def test_the_demo_on_nvflare(tmp_path: Path) -> None:
    """A demo made again with the same seed and run on NVFlare ends with the trunk and report of `hocket demo`.

    Bit for bit: the tables and folds are the same, there is no chance in training, and the way of messages is all one.
    """
    federation = DemoFederation(tmp_path / "federation", demo.Options(3, 2, 1, None))
    done = federation.hocket("demo", str(tmp_path / "in-folder"), "--rounds", "2", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    in_folder = DemoFederation(tmp_path / "in-folder", demo.Options(3, 2, 1, None))
    with sites(federation) as made:
        made.start(HOST, *federation.partners)
        made.submit()
        made.wait_for(made.is_finished, 600)
    assert len(in_folder.trunks(2)) == 1
    assert federation.trunks(2) == in_folder.trunks(2)
    for name in federation.partners:
        one, other = (json.loads(report_file(found.home(name)).read_text()) for found in (federation, in_folder))
        told_apart = {"plan": "", "last_round": ""}
        assert {**one, **told_apart} == {**other, **told_apart}


def test_a_site_with_another_s_kit(on_nvflare: Sites) -> None:
    """P02's machine with P03's kit is refused: its run does not start, and the reason is in the server's log."""
    federation = on_nvflare.federation
    kit = on_nvflare.kits / "P02"
    shutil.rmtree(kit / "startup")
    shutil.copytree(on_nvflare.kits / "P03" / "startup", kit / "startup")
    on_nvflare.start(HOST, "P01")
    on_nvflare.start_as("P02", "P03")
    on_nvflare.need(2)
    on_nvflare.submit()
    wait_until(lambda: "P03 is refused" in on_nvflare.log(HOST).read_text(), on_nvflare.logs)
    assert "found P03, expected P02" in on_nvflare.log(HOST).read_text()
    assert not federation.config("P02").with_name("run.log").exists()


def test_a_site_that_claims_another_name(on_nvflare: Sites) -> None:
    """P02's certificate under P03's name does not even get a connection, so no message of it is looked at."""
    on_nvflare.start(HOST)
    on_nvflare.start_as("P02", "P03")
    refused = "authenticated as 'P02' but claimed endpoint 'P03'"
    wait_until(lambda: refused in on_nvflare.log(HOST).read_text(), on_nvflare.logs)
    assert not on_nvflare.federation.config("P02").with_name("run.log").exists()


def test_no_other_class_and_no_code_runs(on_nvflare: Sites, tmp_path: Path) -> None:
    """The local settings hold: a submitted job can run no other class than hocket's, and bring no code."""
    on_nvflare.start(HOST, "P01")
    on_nvflare.need(1)
    server, site = (on_nvflare.folder / f"job/app/config/config_fed_{side}.json" for side in ("server", "client"))
    ours = {file: file.read_text() for file in (server, site)}

    def job_refused(member: str, said: str) -> None:
        on_nvflare.submit()
        on_nvflare.wait_for(lambda: said in on_nvflare.log(member).read_text())
        on_nvflare.wait_for(lambda: not on_nvflare.processes(_SERVER_JOB))

    for file, member, name, replacement in [
        (server, HOST, CONTROLLER, "nvflare.app_common.workflows.cyclic_ctl.CyclicController"),
        (site, "P01", EXECUTOR, "nvflare.app_common.np.np_trainer.NPTrainer"),
    ]:
        assert ours[file].count(name) == 1
        file.write_text(ours[file].replace(name, replacement))
        job_refused(member, f"component not authorized: Component '{replacement}'")
        file.write_text(ours[file])
    (on_nvflare.folder / "job/app/custom").mkdir()
    (on_nvflare.folder / "job/app/custom/spy.py").write_text(f"open({str(tmp_path / 'spied')!r}, 'w')\n")
    server.write_text(ours[server].replace(CONTROLLER, "spy.Spy"))
    job_refused(HOST, "BYOC not permitted")
    assert not (tmp_path / "spied").exists()
    assert not on_nvflare.federation.config("P01").with_name("run.log").exists()


def test_a_payload_of_300_mb_per_site(enrolled: Federation, tmp_path: Path) -> None:
    """Three sealed files of 300 MB come whole, then one goes to each site; memory is far below what is carried."""
    federation = enrolled.moved(tmp_path / "federation")
    with_large_trunk(federation, 4000)
    n_bytes = 300_000_000
    with sites(federation, job={"stall_s": 3600.0}) as made:
        made.start(HOST, *federation.partners)
        made.submit()
        known = [f"{name} has proved its identity" for name in federation.partners]
        made.wait_for(lambda: all(said in made.log(HOST).read_text() for said in known))
        before = {kind: made.peak_mb(kind) for kind in (_SERVER_JOB, _SITE_JOB)}
        posted = [place(federation, "update", name, n_bytes) for name in federation.partners]
        made.wait_for(lambda: all(arrived(federation, "update", name, AGGREGATOR) for name in federation.partners))
        posted.append(place(federation, "sum", AGGREGATOR, n_bytes))
        made.wait_for(lambda: all(arrived(federation, "sum", AGGREGATOR, name) for name in federation.partners))
        after = {kind: made.peak_mb(kind) for kind in before}
    print(f"peak MB before {before}, after {after}")  # noqa: T201 -- recorded with pytest -s
    for file in posted:
        digest = payload_digest(file)
        kept = [found for found in federation.folder.glob(f"*/mirror/*/*/{file.name}") if found != file]
        assert kept
        assert all(payload_digest(found) == digest for found in kept)
    assert after[_SERVER_JOB] - before[_SERVER_JOB] < 250, (before, after)  # carried 1800
    assert after[_SITE_JOB] - before[_SITE_JOB] < 200, (before, after)  # carried 600
