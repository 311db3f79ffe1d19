"""What every command says, word for word: transcripts/<command>.txt. `pytest --update-transcripts` writes them anew."""

import shutil
import socket
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import pipeline.pages.page
import pipeline.runs.jobs
import pipeline.runs.tries.logged
import pipeline.setup.doctor_machine as machine
from pipeline.home.json_files import write_json
from pipeline.report.report import write_report
from pipeline.report.shareable import shareable
from pipeline.tracking.tracker import note_all_sent, report_digest
from tests.support.command_lines import commands
from tests.support.data_prep.new_assay_tables import write_new_assays
from tests.support.federation import AGGREGATOR, Federation
from tests.support.made_up_reports import made_up_report
from tests.support.signed_transcripts import DEAL, SUM, UPDATE, at_round, flip, make_void, say_again
from tests.support.tracking.no_tracker import NoTracker
from tests.support.transcripts import Golden

TRANSCRIPTS = Path(__file__).parent / "transcripts"
NEW = "input_compound_id,smiles\nN1,CCO\nN2,C(\nN3,c1ccccc1CN\n"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The transcript of the command that the test is named after."""
    name = request.function.__name__.removeprefix("test_")
    return Golden(TRANSCRIPTS / f"{name}.txt", update=request.config.getoption("--update-transcripts"))


@pytest.fixture
def without_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow says nothing on the terminal."""
    monkeypatch.setattr(pipeline.runs.jobs, "Tracker", NoTracker)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw them takes seconds, and nothing is said of them."""
    monkeypatch.setattr(pipeline.pages.page, "rendered", lambda *_: {"png": b"", "svg": b"<svg></svg>"})


def edit(file: str, old: str, new: str) -> None:
    """Replace a text that is there."""
    before = Path(file).read_text()
    assert old in before
    Path(file).write_text(before.replace(old, new, 1))


def interrupt(*_: object, **__: object) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def secret_file(name: str, content: str) -> None:
    """A file for its owner only."""
    Path(name).touch(0o600)
    Path(name).write_text(content)


# ------------------------------------------------------------------------------------------------------- the commands


def test_hocket(golden: Golden, tmp_path: Path):
    """The command itself and its groups."""
    with golden.session(tmp_path) as run:
        run("hocket --help")
        run("hocket --version")
        for group in ("init", "key", "partner", "aggregator", "engine", "engine nvflare", "export"):
            run(f"hocket {group} --help")
        run("hocket nosuch")
        run("hocket --nosuch")


def test_init_plan(golden: Golden, tmp_path: Path, enrolled: Federation):
    """From cards; what is no group of members; what is there already."""
    for name in (*enrolled.partners, AGGREGATOR):
        shutil.copy(enrolled.home(name).keys / "card.toml", tmp_path / f"{name}.card")
    with golden.session(tmp_path) as run:
        run("hocket init plan --help")
        run("hocket init plan P01.card P02.card P03.card agg.card --name example --custodian P02")
        run("hocket init plan P01.card P02.card P03.card agg.card --name example", "a file is never replaced unasked")
        run("hocket init plan P01.card P02.card agg.card --name example --output other.toml", "too few partners")
        run("hocket init plan P01.card P02.card P03.card --name example --output other.toml", "no aggregator")
        run("hocket init plan P01.card P02.card P03.card P03.card agg.card --name x --output other.toml", "one twice")
        run("hocket init plan P01.card P02.card P03.card agg.card --name x --custodian P09 --output other.toml")
        run("hocket init plan P01.card P02.card P03.card agg.card --output other.toml", "nobody can be asked here")
        run("hocket init plan --name example --output other.toml")
        edit("P01.card", "P01", "P07")
        run("hocket init plan P01.card P02.card P03.card agg.card --name x --output other.toml", "a card was changed")


def test_init_revision(golden: Golden, fresh: Federation):
    """More rounds; other members; what makes no revision."""
    with golden.session(fresh.folder) as run:
        run("hocket init revision --help")
        run("hocket init revision plan.toml --rounds +20")
        run("hocket init revision plan.toml --rounds +20", "a file is never replaced unasked")
        run("hocket init revision plan.toml --output other.toml", "no round is left")
        run("hocket init revision plan.toml --rounds more --output other.toml")
        run("hocket init revision plan.toml --rounds +20 --leave P09 --output other.toml")
        run("hocket init revision plan.toml --rounds +20 --leave P03 --output other.toml", "too few partners")
        run("hocket init revision plan.toml --rounds +20 --custodian agg --output other.toml")


def test_init_partner(golden: Golden, fresh: Federation):
    """In a member's folder; what cannot be guessed."""
    with golden.session(fresh.folder) as run:
        run("hocket init partner --help")
        Path("P01/partner.toml").unlink()
        run("hocket init partner P01 --plan plan.toml --exchange exchange")
        run("hocket init partner P01 --plan plan.toml --exchange exchange", "a file is never replaced unasked")
        run("hocket init partner P01 --exchange s3://bucket/example --force")
        run("hocket init partner new --exchange exchange", "no keys there that would tell the name")
        run("hocket init partner new --name P04", "nobody can be asked here")


def test_init_tables(golden: Golden, tmp_path: Path):
    """Into a folder; what is there already."""
    with golden.session(tmp_path) as run:
        run("hocket init tables --help")
        run("hocket init tables P01")
        run("hocket init tables P01", "a file is never replaced unasked")
        run("hocket init tables P01 --force")


def test_init_aggregator(golden: Golden, fresh: Federation):
    """As for a partner."""
    with golden.session(fresh.folder) as run:
        run("hocket init aggregator --help")
        Path("agg/aggregator.toml").unlink()
        run("hocket init aggregator agg --plan plan.toml --exchange exchange")
        run("hocket init aggregator agg --plan plan.toml --exchange exchange", "a file is never replaced unasked")
        run("hocket init aggregator new --exchange exchange", "no keys there that would tell the name")


def test_init_catalogue(golden: Golden, tmp_path: Path):
    """From a partner's own tables, with and without a plan; doctor then says what it covers."""
    federation = Federation(tmp_path / "f", holders={"CHEMBL1": ["P01", "P01", "P02"], "CHEMBL2": ["P01"]})
    with golden.session(federation.folder) as run:
        run("hocket init catalogue --help")
        run("hocket init catalogue P01/partner.toml")
        run("hocket init catalogue P01/partner.toml", "a file is never replaced unasked")
        run("hocket init catalogue P03/partner.toml --output other.csv", "no catalog_assay_id in T0")
        edit("plan.toml", "[[card]]", '[catalogue]\nfile = "catalogue.csv"\n[[card]]')
        run("hocket inspect plan.toml", "the plan needs the file's SHA-256")
        edit("plan.toml", '.csv"', f'.csv"\nsha256 = "{sha256(Path("catalogue.csv").read_bytes()).hexdigest()}"')
        run("hocket inspect plan.toml")
        Path("plan.toml").rename("sent.toml")
        run("hocket init catalogue P01/partner.toml --output other.csv", "no plan yet: default settings")
        Path("P01/T0.csv").unlink()
        run("hocket init catalogue P01/partner.toml --output other.csv")


def test_key_new(golden: Golden, tmp_path: Path):
    """A card on stdout, the fingerprint on stderr."""
    with golden.session(tmp_path) as run:
        secret_file("empty.pass", "")
        run("hocket key new --help")
        run("hocket key new acme --home acme/home")
        run("hocket key new hub --home hub/home --role aggregator")
        run("hocket key new acme --home acme/home", "keys are never replaced")
        run("hocket key new 'a b' --home other")
        run("hocket key new acme --home other --passphrase-file empty.pass")
        run("hocket key new acme")


def test_key_show(golden: Golden, finished: Federation):
    """Of a home and of a plan."""
    with golden.session(finished.folder) as run:
        run("hocket key show --help")
        run("hocket key show plan.toml")
        run("hocket key show P02/home")
        run("hocket key show agg/home")
        run("hocket key show exchange", "no home")
        run("hocket key show P02/T0.csv", "no plan")


def test_key_deal(golden: Golden, done: Federation):
    """By the custodian alone, once for a plan; anew for a revision of it."""
    later = done.moved(done.folder / "later")
    with golden.session(done.folder) as run:
        run("hocket key deal --help")
        secret_file("short.seed", "s" * 16)
        shutil.rmtree("P01/home/outbox")
        Path("P01/home/group.secret").unlink()
        run("hocket key deal plan.toml --home P01/home --structure-seed-file short.seed")
        run("hocket key deal plan.toml --home P01/home")
        run("hocket key deal plan.toml --home P02/home", "not the custodian")
        edit("plan.toml", "local_steps = 4", "local_steps = 5")
        run("hocket key deal plan.toml --home P01/home", "the plan was changed meanwhile")
        done.renew_keys("P01")
        run("hocket key deal plan.toml --home P01/home", "the custodian has other keys than those in the plan")
        later.revise(3)
        later.home("P01").group_secret.rename("group.secret")
        run("hocket key deal later/plan-2.toml --home later/P01/home", "a revision, but the secret before is lost")
        Path("group.secret").rename(later.home("P01").group_secret)
        run("hocket key deal later/plan-2.toml --home later/P01/home", "a revision")


def test_key_passphrase(golden: Golden, fresh: Federation):
    """Set, change, remove."""
    with golden.session(fresh.folder) as run:
        for name in ("one", "two"):
            secret_file(f"{name}.pass", name)
        run("hocket key passphrase --help")
        run("hocket key passphrase P02/home --new-passphrase-file one.pass")
        run("hocket key passphrase P02/home --old-passphrase-file two.pass", "not the one that locks them")
        run("hocket key passphrase P02/home --new-passphrase-file two.pass", "they are locked already")
        run("hocket key passphrase P02/home --old-passphrase-file one.pass --new-passphrase-file two.pass")
        run("hocket key passphrase P02/home --old-passphrase-file two.pass")
        run("hocket key passphrase P02/home", "nothing to do")


def test_prepare(golden: Golden, done: Federation):
    """The tables' check, the matrices of training and of new structures; tables that cannot be used."""
    with golden.session(done.folder) as run:
        Path("new.csv").write_text(NEW)
        run("hocket prepare --help")
        run("hocket prepare P01/partner.toml --check")
        run("hocket prepare P01/partner.toml", "all is prepared already, and only shown")
        run("hocket prepare P01/partner.toml --structures new.csv --output new")
        run("hocket prepare P01/partner.toml --structures new.csv --output P02", "a folder with something else in it")
        run("hocket prepare P01/partner.toml --structures new.csv")
        run("hocket prepare P01/partner.toml --workers 8 --scheduler local:2")
        edit("P03/T1.csv", ",=,", ",≈,")
        run("hocket prepare P03/partner.toml --check", "a row that is left out")
        Path("P03/T1.csv").write_text("nothing,of,this\n1,2,3\n")
        Path("P03/T2.csv").unlink()
        run("hocket prepare P03/partner.toml --check", "no table of activities, no structures")
        run("hocket prepare P03/partner.toml")


def test_doctor(golden: Golden, done: Federation, enrolled: Federation, monkeypatch: pytest.MonkeyPatch):
    """A sound set-up, one that waits for others, a broken one."""
    monkeypatch.setattr(machine, "_LOAD", "")  # they take seconds to load
    monkeypatch.setattr(machine, "memory", lambda: (float(1 << 34), float(1 << 33)))
    waiting = enrolled.moved(done.folder / "before")
    with golden.session(done.folder) as run:
        run("hocket doctor --help")
        run("hocket doctor P01/partner.toml", "after the last round")
        run("hocket doctor before/P02/partner.toml", "before the first run")
        run("hocket doctor before/agg/aggregator.toml")
        edit("before/P03/partner.toml", "poll_s", 'home = "../P02/home"\npoll_s')
        run("hocket doctor before/P03/partner.toml", "another member's home")
        edit("before/P03/partner.toml", 'home = "../P02/home"\n', "")
        waiting.renew_keys("P03")
        run("hocket doctor before/P03/partner.toml", "other keys than those in the plan")
        shutil.rmtree("before/P01/home/outbox")
        Path("before/P01/home/group.secret").unlink()
        run("hocket doctor before/P01/partner.toml", "the custodian has not dealt")
        waiting.home("P01").folder.chmod(0o755)
        (waiting.home("P01").keys / "private.key").chmod(0o640)
        edit("before/plan.toml", "local_steps = 4", "local_steps = 5")
        waiting.exchange.write_text("")
        Path("before/P01/T2.csv").unlink()
        run("hocket doctor before/P01/partner.toml", "much is wrong")
        edit("before/plan.toml", "n_rounds = 2", "n_rounds = 0")
        shutil.rmtree("before/P03/home")
        run("hocket doctor before/P03/partner.toml", "no plan, no home")
        edit("before/P02/partner.toml", "poll_s", "pol_s")
        run("hocket doctor before/P02/partner.toml", "not even the configuration can be read")


@pytest.mark.usefixtures("without_tracking", "without_figures")
def test_partner_run(golden: Golden, done: Federation, enrolled: Federation, monkeypatch: pytest.MonkeyPatch):
    """As cron runs it: until others are awaited, and after the end."""
    before = enrolled.moved(done.folder / "before")
    home = done.home("P01")
    with golden.session(done.folder) as run:
        run("hocket partner run --help")
        run("hocket partner run before/P02/partner.toml --once")
        run("hocket partner run before/P01/partner.toml --once", "the custodian")
        home.finished.unlink()
        run("hocket partner run P01/partner.toml --once", "the last round is done")
        note_all_sent(home, "0123", report=report_digest(home), model="")
        (home.folder / "mlflow.db").touch()
        run("hocket partner run P01/partner.toml", "and afterwards")
        done.revise(3)
        run("hocket partner run P01/partner.toml", "a revision that comes too late")
        edit("P02/partner.toml", "poll_s", "pol_s")
        run("hocket partner run P02/partner.toml")
        run("hocket partner run P02/partner.toml --log-format json", "the same for a program")
        run("hocket partner run nosuch.toml")
        with before.home("P03").alone():
            run("hocket partner run before/P03/partner.toml", "the same command runs already")
        before.renew_keys("P03")
        run("hocket partner run before/P03/partner.toml --once", "other keys than those in the plan")
        monkeypatch.setattr(pipeline.runs.jobs, "run_partner", interrupt)
        run("hocket partner run before/P02/partner.toml", "Ctrl-C")


@pytest.mark.usefixtures("without_tracking")
def test_aggregator_run(golden: Golden, done: Federation, enrolled: Federation):
    """As cron runs it: until others are awaited, to the end, and where somebody's update is not what was signed."""
    enrolled.moved(done.folder / "before")
    last = at_round(SUM, 2)
    home = done.home(AGGREGATOR)
    with golden.session(done.folder) as run:
        run("hocket aggregator run --help")
        run("hocket aggregator run before/agg/aggregator.toml --once")
        for file in (last.manifest, last.payload):
            for place in (Path("exchange", file), home.outbox(file)):
                place.unlink(missing_ok=True)
        home.finished.unlink()
        run("hocket aggregator run agg/aggregator.toml --once", "all have delivered")
        run("hocket aggregator run P01/partner.toml --once", "a partner's configuration")
        edit("agg/aggregator.toml", "poll_s", "pol_s")
        run("hocket aggregator run agg/aggregator.toml")


def test_status(golden: Golden, done: Federation, enrolled: Federation):
    """Before the first message and after the last; what is not signed as it must be."""
    enrolled.moved(done.folder / "before")
    with golden.session(done.folder) as run:
        run("hocket status --help")
        run("hocket status before/plan.toml before/exchange", "nobody has begun, or the path is wrong")
        run("hocket status plan.toml exchange")
        flip(done.exchange / at_round(UPDATE, 2).manifest, -20)
        run("hocket status plan.toml exchange", "a byte of a signed message was changed")
        run("hocket status plan.toml exchange --watch --json")
        run("hocket status plan.toml P01/T0.csv")
        run("hocket status exchange plan.toml", "swapped")


def test_verify(golden: Golden, done: Federation, enrolled: Federation):
    """A sound transcript; a sum that is none; a file that was changed; nothing there."""
    shutil.copy(enrolled.plan_file, done.folder / "other.toml")
    doubtful = done.moved(done.folder / "doubtful")
    make_void(doubtful, 2, "P02")
    (doubtful.exchange / UPDATE.payload).unlink()
    with golden.session(done.folder) as run:
        run("hocket verify --help")
        run("hocket verify plan.toml exchange")
        run("hocket verify plan.toml exchange --quick")
        run("hocket verify doubtful/plan.toml doubtful/exchange", "an update is gone, and a round void without need")
        run("hocket verify plan.toml typo")
        run("hocket verify other.toml exchange", "another federation's plan")
        flip(done.exchange / SUM.payload, -1000)
        run("hocket verify plan.toml exchange", "a byte of a sealed file was changed")
        say_again(done, SUM)
        run("hocket verify plan.toml exchange", "and signed: what the aggregator posted is not the sum of the updates")


def test_inspect(golden: Golden, finished: Federation):
    """Every kind of file a person comes across, and one that is not ours."""
    with golden.session(finished.folder) as run:
        run("hocket inspect --help")
        for file in ("plan.toml", "P01/partner.toml", "P01/home/keys/card.toml", "P01/home/keys/private.key"):
            run(f"hocket inspect {file}")
        for name in (DEAL, SUM):
            run(f"hocket inspect exchange/{name.manifest}")
        run(f"hocket inspect exchange/{UPDATE.payload}")
        run("hocket inspect P01/home/report/report.json")
        run("hocket inspect P01/T0.csv", "a partner's table")
        run("hocket inspect nosuch")


@pytest.mark.usefixtures("without_figures")
def test_report(golden: Golden, done: Federation, enrolled: Federation):
    """The partner's own, what it may share, and all partners' together."""
    enrolled.moved(done.folder / "before")
    for number, name in enumerate(done.partners):
        report = made_up_report(14, 6, seed=number, partner=name)
        write_report(done.home(name), report)
        write_json(done.folder / f"{name}.json", shareable(report).to_json())
    with golden.session(done.folder) as run:
        run("hocket report --help")
        run("hocket report P01/partner.toml")
        run("hocket report P01/partner.toml --shareable --output for_the_others")
        run("hocket report --merge P01.json P02.json P03.json --output consortium")
        run("hocket report before/P01/partner.toml", "before the end")
        run("hocket report --merge P01/home/report/report.json P02.json P03.json --output x", "what is private")
        run("hocket report --merge P01.json P02.json P03.json")
        run("hocket report P01/partner.toml --output x")
        Path("P02/home/report/report.json").write_text("{}")
        Path("P02/home/finished.json").unlink()
        run("hocket report P02/partner.toml", "a damaged report")


def test_predict(golden: Golden, done: Federation, enrolled: Federation):
    """To stdout and to a file; before there is a model; with what is no table."""
    enrolled.moved(done.folder / "before")
    with golden.session(done.folder) as run:
        Path("new.csv").write_text(NEW)
        run("hocket predict --help")
        run("hocket predict P01/partner.toml new.csv")
        run("hocket predict P01/partner.toml new.csv --output predicted.csv")
        run("hocket predict P01/partner.toml P01/T1.csv", "no structures")
        run("hocket predict P01/partner.toml new.csv --tasks p01-a1,nosuch")
        run("hocket predict P01/partner.toml --list-tasks")
        run("hocket predict P01/partner.toml new.csv --tasks P01-A1@6 --explain 1 --output explained.csv")
        run("hocket predict P01/partner.toml new.csv --explain 1")
        run("hocket predict P01/partner.toml new.csv --output nosuch/predicted.csv")
        run("hocket predict before/P01/partner.toml new.csv", "before the end")


def test_try(golden: Golden, fresh: Federation, monkeypatch: pytest.MonkeyPatch):
    """One combination, whose scores decide nothing, so that every machine says the same; what cannot be tried."""
    monkeypatch.setattr(pipeline.runs.tries.logged, "log_tries", lambda *_: True)
    with golden.session(fresh.folder) as run:
        run("hocket try --help")
        run("hocket try P01/partner.toml --trials 1 --rounds 1")
        run("hocket try P01/partner.toml --hidden large")
        run("hocket try P01/partner.toml --dropout 1")
        run("hocket try P01/partner.toml --partners 100", "more than the plan allows")
        run("hocket try nosuch.toml")


def test_embed(golden: Golden, done: Federation, enrolled: Federation):
    """Both kinds of file; another; before there is a model."""
    enrolled.moved(done.folder / "before")
    with golden.session(done.folder) as run:
        Path("new.csv").write_text(NEW)
        run("hocket embed --help")
        run("hocket embed P01/partner.toml new.csv --output hidden.parquet")
        run("hocket embed P01/partner.toml new.csv --output hidden.npz")
        run("hocket embed P01/partner.toml new.csv --output hidden.csv")
        run("hocket embed P01/partner.toml new.csv")
        run("hocket embed before/P01/partner.toml new.csv --output hidden.npz", "before the end")


def test_extend(golden: Golden, done: Federation, enrolled: Federation):
    """Assays that can be tried and such that cannot; again; none; before there is a model."""
    enrolled.moved(done.folder / "before")
    write_new_assays(done.folder / "new", {"X1": 60, "X2": 40, "small": 15, "constant": 40, "P01-A1": 40})
    write_new_assays(done.folder / "few", {"X3": 15})
    with golden.session(done.folder) as run:
        tables = "--assays new/T0.csv --activities new/T1.csv --structures new/T2.csv"
        run("hocket extend --help")
        run(f"hocket extend P01/partner.toml {tables}")
        shutil.rmtree("P01/home/model")
        run(f"hocket extend P01/partner.toml {tables}", "the same again; the model was removed")
        run(f"hocket extend P01/partner.toml {tables.replace('new', 'few')}", "nothing that can be tried")
        run(f"hocket extend P01/partner.toml {tables.replace('new/T0', 'new/T2')}", "no table of assays")
        run(f"hocket extend before/P01/partner.toml {tables}", "before the end")


def test_export_sparsechem(golden: Golden, done: Federation, enrolled: Federation):
    """A model, and none."""
    enrolled.moved(done.folder / "before")
    with golden.session(done.folder) as run:
        run("hocket export sparsechem --help")
        run("hocket export sparsechem P01/partner.toml model.pt")
        run("hocket export sparsechem P01/partner.toml model.json", "two files of one name")
        run("hocket export sparsechem before/P01/partner.toml other.pt", "before the first round")


def test_export_trunk(golden: Golden, done: Federation):
    """A finished partner's; a file that is there already; an aggregator has none."""
    with golden.session(done.folder) as run:
        run("hocket export trunk --help")
        run("hocket export trunk P01/partner.toml trunk.safetensors")
        run("hocket export trunk P01/partner.toml trunk.safetensors", "a file is never replaced")
        run("hocket export trunk agg/aggregator.toml other.safetensors")
        shutil.rmtree("P02/home/rounds")
        run("hocket export trunk P02/partner.toml other.safetensors", "as before the first sum")


def test_check_matrices(golden: Golden, tmp_path: Path, enrolled: Federation):
    """Matrices that fit each other, and some that do not."""
    rng = np.random.default_rng(0)
    shutil.copy(enrolled.plan_file, tmp_path / "plan.toml")
    for width in (512, 500):
        features = sparse.random(20, width, 0.05, "csr", np.float32, rng=rng)
        sparse.save_npz(tmp_path / f"x{width}.npz", features)
    labels = rng.choice([-1.0, 1.0], size=(20, 3))
    sparse.save_npz(tmp_path / "y.npz", sparse.csr_matrix(labels))
    sparse.save_npz(tmp_path / "short.npz", sparse.csr_matrix(labels[:9]))
    np.save(tmp_path / "folding.npy", np.arange(20) % 5)
    np.save(tmp_path / "x.npy", labels)
    with golden.session(tmp_path) as run:
        run("hocket check-matrices --help")
        run("hocket check-matrices --x x512.npz --folding folding.npy --y-class y.npz --plan plan.toml")
        run("hocket check-matrices --x x500.npz --folding folding.npy --y-class y.npz --plan plan.toml")
        run("hocket check-matrices --x x512.npz --folding folding.npy --y-class short.npz")
        run("hocket check-matrices --x x512.npz --folding folding.npy --y-class y.npz --fold-va 0")
        run("hocket check-matrices --x x.npy --folding folding.npy --y-class y.npz")
        run("hocket check-matrices --x x512.npz --folding folding.npy")


def test_engine_nvflare_export(golden: Golden, fresh: Federation):
    """The new folder, and one that is there already."""
    with golden.session(fresh.folder) as run:
        run("hocket engine nvflare export --help")
        run("hocket engine nvflare export plan.toml nvflare --host hub.example.org")
        run("hocket engine nvflare export plan.toml nvflare --host hub.example.org", "a folder is never replaced")
        run("hocket engine nvflare export plan.toml other --host 'hub example'")
        run("hocket engine nvflare export plan.toml other --host hub.example.org --storage here")


def test_demo(golden: Golden, tmp_path: Path):
    """What it refuses; the demo itself takes minutes."""
    with golden.session(tmp_path) as run:
        Path("full").mkdir()
        Path("full/notes.txt").write_text("mine")
        Path("begun").mkdir()
        write_json(Path("begun/demo.json"), {"n_partners": 3, "n_rounds": 12, "seed": 1, "source": None})
        run("hocket demo --help")
        run("hocket demo full")
        run("hocket demo begun --partners 4")
        run("hocket demo new --data full", "no partners' folders in it")
        run("hocket demo new --partners 2")


def test_ui(golden: Golden, fresh: Federation):
    """What it refuses; MLflow's pages have tests of their own."""
    with golden.session(fresh.folder) as run, socket.socket() as taken:
        run("hocket ui --help")
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run.hide(port, "PORT")
        run(f"hocket ui P01/partner.toml --port {port}", "another program listens there")
        shutil.rmtree("P02/home")
        run("hocket ui P02/partner.toml", "before the first run")
        edit("P03/partner.toml", "[data]", '[tracking]\nuri = "http://me:secret@mlflow.example:5000"\n[data]')
        run("hocket ui P03/partner.toml", "the store is a server")


@pytest.mark.usefixtures("without_figures")
def test_audit(golden: Golden, done: Federation):
    """The exact parts of a finished partner; without the last round; of an aggregator."""
    with golden.session(done.folder) as run:
        run("hocket audit --help")
        run("hocket audit P01/partner.toml --quick")
        run("hocket audit agg/aggregator.toml")
        shutil.rmtree("P02/home/rounds")
        run("hocket audit P02/partner.toml", "as before the last round")


def test_serve(golden: Golden, fresh: Federation):
    """What it refuses; the served model has tests of its own."""
    with golden.session(fresh.folder) as run, socket.socket() as taken:
        run("hocket serve --help")
        run("hocket serve agg/aggregator.toml")
        run("hocket serve P01/partner.toml", "before the last round")
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run.hide(port, "PORT")
        write_json(Path("P01/home/finished.json"), {"plan": "0" * 64})
        run(f"hocket serve P01/partner.toml --port {port}", "another program listens there")
        shutil.rmtree("P02/home")
        run("hocket serve P02/partner.toml", "before the first run")


def test_completion(golden: Golden, tmp_path: Path):
    """Click's scripts, which ask hocket."""
    with golden.session(tmp_path) as run:
        run("hocket completion --help")
        run("hocket completion bash")
        run("hocket completion tcsh")


# --------------------------------------------------------------------------------------------------- the law of them


@pytest.mark.parametrize("name", dict(commands()))
def test_every_command_has_a_transcript(name: str):
    """With its help and a refusal; and a test of its name."""
    words = name.replace(" ", "_").replace("-", "_")
    said = (TRANSCRIPTS / f"{words}.txt").read_text()
    assert f"$ hocket {name} --help\n" in said
    assert any(f"exit {code}\n" in said for code in range(2, 7))
    assert f"test_{words}" in globals()


@pytest.mark.parametrize("said", ["usage: hocket", "hocket, version 2"])
def test_another_word_is_noticed(tmp_path: Path, said: str):
    """With the place where it differs and what to do; the flag takes it as it is."""
    file = tmp_path / "version.txt"
    file.write_text(said)
    with pytest.raises(
        pytest.fail.Exception, match=r"-.*\n(.|\n)*\+hocket, version VERSION\n(.|\n)*--update-transcripts"
    ):
        run_version(Golden(file, update=False), tmp_path)
    run_version(Golden(file, update=True), tmp_path)
    run_version(Golden(file, update=False), tmp_path)


def run_version(golden: Golden, folder: Path) -> None:
    """The shortest session."""
    with golden.session(folder) as run:
        run("hocket --version")


def test_every_transcript_is_written_by_a_test():
    """None is left of a command that is gone, and none holds a folder of the machine that wrote it."""
    for file in TRANSCRIPTS.iterdir():
        assert f"test_{file.stem}" in globals()
        assert "pytest-of" not in file.read_text()
