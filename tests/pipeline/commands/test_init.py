"""`hocket init`: its files can be used, it asks on a terminal, and it never replaces a file."""

import os
import pty
import re
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import Result

from pipeline.demo.configs import aggregator_toml, partner_toml, plan_toml
from pipeline.errors import ConfigError, ExitCode
from pipeline.plan.member_configs import AggregatorConfig, PartnerConfig
from pipeline.plan.plan import Plan, read_plan
from pipeline.plan.toml_schema import check_table
from pipeline.protocol.open_mailbox import open_aggregator_mailbox, open_partner_mailbox
from pipeline.setup.init_files import path_from, plan_text, read_cards, write_file
from pipeline.setup.keys import deal, new_keys
from secure.errors import BadCard
from tests.support.cli_runner import hocket, hocket_command, refused
from tests.support.toml_lines import lines_by_key

PARTNERS = ("P01", "P02", "P03")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where the user is, with everybody's keys and cards."""
    monkeypatch.chdir(tmp_path)
    for name in (*PARTNERS, "hub"):
        card = new_keys(name, "aggregator" if name == "hub" else "partner", tmp_path / name / "home", None)
        (tmp_path / f"{name}.card").write_text(card)
    return tmp_path


CARDS = tuple(f"{name}.card" for name in ("hub", "P03", "P01", "P02"))


def init(*arguments: str) -> Result:
    """Run `hocket init` where nobody can answer."""
    return hocket("init", *arguments)


def init_refused(*arguments: str) -> str:
    """Stderr of a refusal; nothing on stdout."""
    return refused(ExitCode.CONFIGURATION, "init", *arguments)


# ------------------------------------------------------------------------------------------------------------ plan


def test_a_plan_from_cards(place: Path):
    """Read as any plan; fitting the number of partners; the first partner is the custodian; digest on stdout."""
    done = init("plan", *CARDS, "--name", "example")
    plan = read_plan(place / "plan.toml")
    assert done.exit_code == ExitCode.DONE
    assert all(part in done.stdout for part in ("plan.toml", "example", "P01, P02, P03", plan.digest))
    assert (plan.federation.name, plan.federation.custodian, plan.federation.seed) == ("example", "P01", 1)
    assert (plan.rounds.n_rounds, plan.rounds.local_steps, plan.rounds.min_partners) == (20, 50, 3)
    assert plan.seal.max_partners == 3
    assert [card.name for card in plan.card] == ["P01", "P02", "P03", "hub"]


def test_all_other_settings_are_the_defaults(place: Path):
    """The file says every one of them, and reads as if it did not."""
    init("plan", *CARDS, "--name", "example")
    table = tomllib.loads((place / "plan.toml").read_text())
    bare = {key: table[key] for key in ("format", "federation", "rounds", "card")} | {"seal": {"max_partners": 3}}
    bare["rounds"] = {key: table["rounds"][key] for key in ("n_rounds", "local_steps", "min_partners")}
    assert check_table(bare, Plan, "bare").digest == read_plan(place / "plan.toml").digest


def test_options_of_a_plan(place: Path):
    """Each where it belongs."""
    options = "--name x --custodian P02 --rounds 7 --local-steps 9 --max-weight 1234 --seed 5 --output there/my.toml"
    assert init("plan", *CARDS, *options.split()).exit_code == ExitCode.DONE
    plan = read_plan(place / "there" / "my.toml")
    assert (plan.federation.custodian, plan.federation.seed, plan.seal.max_weight) == ("P02", 5, 1234)
    assert (plan.rounds.n_rounds, plan.rounds.local_steps) == (7, 9)


def test_every_federation_has_its_own_id(place: Path):
    """128 random bits, drawn anew each time."""
    for name in ("one", "two"):
        init("plan", *CARDS, "--name", name, "--output", f"{name}.toml")
    assert len({read_plan(place / f"{name}.toml").federation.id for name in ("one", "two")}) == 2


def test_the_plan_can_be_dealt(place: Path):
    """Keys, plan, deal, configurations: what the commands make belongs together."""
    init("plan", *CARDS, "--name", "example")
    assert "P01, P02, P03" in deal(place / "plan.toml", place / "P01" / "home", None)
    for name in PARTNERS:
        assert init("partner", name, "--exchange", "exchange").stdout == f"{name}/partner.toml\n"
        assert open_partner_mailbox(PartnerConfig.read(place / name / "partner.toml")).me == name
    assert init("aggregator", "hub", "--exchange", "exchange").exit_code == ExitCode.DONE
    assert open_aggregator_mailbox(AggregatorConfig.read(place / "hub" / "aggregator.toml")).me == "hub"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("P01.card", "P02.card", "hub.card", "--name", "x"), "3 partners"),
        (("P01.card", "P02.card", "P03.card", "--name", "x"), "aggregator"),
        ((*CARDS, "P01.card", "--name", "x"), "'P01', 'P01'"),
        ((*CARDS, "--name", "x", "--custodian", "P09"), "federation.custodian 'P09'"),
        ((*CARDS, "--name", "x", "--min-partners", "4"), "rounds.min_partners"),
        ((*CARDS, "--name", "a/b"), "federation.name"),
        (("--name", "x"), "CARDS"),
        (CARDS, "--name"),
        ((*CARDS, "nosuch.card", "--name", "x"), "nosuch.card"),
    ],
)
def test_what_is_no_plan_is_not_written(place: Path, arguments: tuple[str, ...], said: str):
    """Exit code 2, what is wrong on stderr, and no file."""
    assert said in init_refused("plan", *arguments)
    assert not (place / "plan.toml").exists()


def test_a_changed_card_is_refused(place: Path):
    """Its own signature covers it: exit code 4, the file named."""
    (place / "P01.card").write_text((place / "P01.card").read_text().replace("P01", "P07"))
    done = init("plan", *CARDS, "--name", "example")
    assert done.exit_code == ExitCode.SECURITY
    assert "P07" in done.stderr
    assert not (place / "plan.toml").exists()


@pytest.mark.parametrize(("content", "error"), [(b"\xff\xfe", ConfigError), (b"no card", BadCard), (b"", BadCard)])
def test_what_is_no_card(tmp_path: Path, content: bytes, error: type[Exception]):
    """Named, and refused."""
    (tmp_path / "x.card").write_bytes(content)
    with pytest.raises(error, match=r"x\.card"):
        read_cards([tmp_path / "x.card"])


# --------------------------------------------------------------------------------------------- partner, aggregator


def test_paths_are_seen_from_the_file(place: Path):
    """Paths are given relative to the current folder, as on every command line; absolute paths and URLs stay."""
    options = (
        "--plan plans/plan.toml --home P01/home --exchange s3://bucket/x --assays tables/T0.csv --structures /d/T2"
    )
    init("partner", "P01", *options.split(), "--activities", "P01/T1.parquet")
    config = PartnerConfig.read(place / "P01" / "partner.toml")
    assert config.name == "P01"  # from the card in its home
    assert config.plan_file == place / "plans" / "plan.toml"
    assert config.home_folder == place / "P01" / "home"
    assert config.exchange_url == "s3://bucket/x"
    assert config.resolve(config.data.assays) == place / "tables" / "T0.csv"
    assert config.resolve(config.data.activities) == place / "P01" / "T1.parquet"
    assert config.data.structures == "/d/T2"


def test_a_file_in_a_linked_folder(place: Path):
    """Paths are seen from where the folder really is; a link at their own end stays a link."""
    (place / "deep" / "down").mkdir(parents=True)
    (place / "link").symlink_to("deep/down")
    (place / "current.toml").symlink_to("plan.toml")
    assert path_from(place / "link", "current.toml") == "../../current.toml"
    assert path_from(place / "link", ".") == "../.."


def test_the_current_folder_is_the_default(place: Path, monkeypatch: pytest.MonkeyPatch):
    """`cd P01; hocket init partner`."""
    monkeypatch.chdir(place / "P01")
    assert init("partner", "--plan", "../plan.toml", "--exchange", "../exchange").stdout == "partner.toml\n"
    config = PartnerConfig.read(place / "P01" / "partner.toml")
    assert (config.plan, config.home, config.data.assays) == ("../plan.toml", "home", "T0.csv.gz")


def test_a_passphrase_file(place: Path):
    """Its path is written, its content is nowhere."""
    (place / "p01.pass").write_text("correct horse\n")
    init("partner", "P01", "--exchange", "e", "--passphrase-file", "p01.pass")
    text = (place / "P01" / "partner.toml").read_text()
    assert 'passphrase_file = "../p01.pass"' in text
    assert "correct horse" not in text


@pytest.mark.parametrize("kind", ["partner", "aggregator"])
def test_what_cannot_be_guessed_must_be_given(place: Path, kind: str):
    """Exchange and, without keys in the home, the name; no file is left."""
    assert "--exchange" in init_refused(kind, "P01")
    assert "--name" in init_refused(kind, "elsewhere", "--exchange", "e")
    assert not list(place.glob("*/*.toml"))


def test_a_path_that_is_no_text_is_refused(place: Path):
    """Bytes of a command line that are not UTF-8."""
    assert "UTF-8" in init_refused("aggregator", "hub", "--exchange", "caf\udce9")
    assert not (place / "hub" / "aggregator.toml").exists()


@pytest.mark.parametrize("kind", ["partner", "aggregator", "plan"])
def test_a_file_is_replaced_only_by_force(place: Path, kind: str):
    """An existing file stays, to the last byte; --force replaces it."""
    file = place / ("plan.toml" if kind == "plan" else f"{kind}.toml")
    rest = (*CARDS, "--name", "x") if kind == "plan" else ("--exchange", "e", "--name", "P01")
    file.write_text("precious")
    message = init_refused(kind, *rest)
    assert file.name in message
    assert "--force" in message
    assert file.read_text() == "precious"
    assert init(kind, *rest, "--force").exit_code == ExitCode.DONE
    assert "precious" not in file.read_text()


def test_nothing_is_replaced_that_came_meanwhile(tmp_path: Path):
    """If another process writes the file after the check, it stays, and no part of ours is left."""
    (tmp_path / "plan.toml").write_text("precious")
    with pytest.raises(ConfigError, match=r"plan\.toml"):
        write_file(tmp_path / "plan.toml", "ours", replace=False)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


# --------------------------------------------------------------------------------------------------------- asking


def answer(place: Path, answers: list[str], *arguments: str) -> str:
    """Run a command on a terminal and type an answer to each question; returns all that the terminal showed."""
    ours, theirs = pty.openpty()
    command = hocket_command("init", *arguments)
    with subprocess.Popen(command, cwd=place, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        try:
            os.close(theirs)
            os.write(ours, "".join(f"{one}\n" for one in answers).encode())
            shown = b""
            with suppress(OSError):  # Linux says so at the end of a terminal
                while piece := os.read(ours, 4096):
                    shown += piece
            assert process.wait() == 0, shown.decode()
        finally:
            process.kill()  # one that asks more than it is answered would wait for ever
    os.close(ours)
    return shown.decode()


def test_on_a_terminal_a_partner_is_asked(place: Path):
    """Name, plan and tables have a default that Enter takes."""
    shown = answer(place, ["", "", "", "s3://bucket/x", "", "other.csv", ""], "partner", "P01")
    for question in ("Home", "Name", "plan", "Exchange", "T0", "T1", "T2"):
        assert question in shown
    config = PartnerConfig.read(place / "P01" / "partner.toml")
    assert (config.name, config.plan, config.exchange) == ("P01", "../plan.toml", "s3://bucket/x")
    assert (config.data.assays, config.data.activities) == ("T0.csv.gz", "../other.csv")


def test_on_a_terminal_a_plan_is_asked_for(place: Path):
    """Name, cards until an empty answer, custodian; a card that is not there is asked for again."""
    answer(place, ["example", "P01.card", "typo.card", "P02.card", "P03.card", "hub.card", "", "P03"], "plan")
    plan = read_plan(place / "plan.toml")
    assert (plan.federation.name, plan.federation.custodian) == ("example", "P03")


# ----------------------------------------------------------------------------------------------- the demo's files


def test_the_demo_writes_the_same_files(place: Path):
    """Its plan and configurations have every setting that those of `hocket init` have, with the same words."""
    init("plan", *CARDS, "--name", "example")
    cards = [(place / f"{name}.card").read_text() for name in (*PARTNERS, "hub")]
    ours = lines_by_key(
        plan_text(read_cards([place / card for card in CARDS]), dict(_chosen(read_plan(Path("plan.toml")))))
    )
    demo = lines_by_key(plan_toml("ab" * 16, 1, 12, PARTNERS, cards))
    assert demo.keys() == ours.keys()
    assert demo["trunk.dropout"] == ours["trunk.dropout"]
    init("partner", "P01", "--exchange", "e")
    written = lines_by_key((place / "P01" / "partner.toml").read_text())
    tables = {"T0": "a", "T1": "b", "T2": "c"}
    assert lines_by_key(partner_toml("P01", 1, tables)).keys() == written.keys()
    init("aggregator", "hub", "--exchange", "e")
    assert (
        lines_by_key(aggregator_toml("hub")).keys()
        == lines_by_key((place / "hub" / "aggregator.toml").read_text()).keys()
    )


def _chosen(plan: Plan) -> Iterator[tuple[str, object]]:
    for table in ("federation", "rounds"):
        for key, value in getattr(plan, table).model_dump().items():
            yield f"{table}.{key}", value


def test_the_demos_plan(place: Path):
    """Valid, small, and saying why."""
    cards = [(place / f"{name}.card").read_text() for name in (*PARTNERS, "hub")]
    text = plan_toml("ab" * 16, 3, 12, PARTNERS, cards)
    (place / "plan.toml").write_text(text)
    plan = read_plan(place / "plan.toml")
    assert (plan.federation.seed, plan.rounds.n_rounds, plan.rounds.local_steps) == (3, 12, 25)
    assert (plan.preparation.fingerprint.n_bits, plan.trunk.hidden, plan.server.learning_rate) == (4096, (256,), 2.0)
    assert re.search(r"^# .*\nn_bits = 4096 .*\[default: 32000\]\n", text, re.MULTILINE)
