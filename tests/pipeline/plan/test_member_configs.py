"""partner.toml, aggregator.toml and passphrase files: reading and refusals."""

import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, ExitCode
from pipeline.plan.member_configs import AggregatorConfig, MemberConfig, PartnerConfig
from pipeline.plan.passphrase import read_passphrase
from pipeline.plan.toml_schema import check_table
from secure.errors import BadKeyFile

COMMON = """\
name = "P01"
plan = "../plan.toml"
exchange = "../exchange"
"""
PARTNER = (
    COMMON
    + """\
[data]
assays = "T0.csv"
activities = "tables/T1.csv.gz"
structures = "/data/T2.parquet"
"""
)
KINDS = pytest.mark.parametrize(("kind", "text"), [(PartnerConfig, PARTNER), (AggregatorConfig, COMMON)])


def read(folder: Path, text: str, kind: type[MemberConfig] = PartnerConfig) -> MemberConfig:
    """Read a configuration from a file in a subfolder."""
    path = folder / "acme" / "member.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return kind.read(path)


def refusal(folder: Path, text: str, kind: type[MemberConfig] = PartnerConfig) -> str:
    """The message for a configuration that must be refused."""
    with pytest.raises(ConfigError, match=r"acme/member\.toml") as caught:
        read(folder, text, kind)
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    return str(caught.value)


@KINDS
def test_paths_are_relative_to_the_file(tmp_path: Path, kind: type[MemberConfig], text: str):
    """The folder in which the command is started does not matter."""
    config = read(tmp_path, text, kind)
    assert config.plan_file == tmp_path / "plan.toml"
    assert config.home_folder == tmp_path / "acme" / "home"
    assert config.exchange_url == f"file://{tmp_path}/exchange"


def test_tables_may_be_relative_or_absolute(tmp_path: Path):
    """An absolute path stays what it is."""
    config = read(tmp_path, PARTNER)
    assert config.resolve(config.data.assays) == tmp_path / "acme" / "T0.csv"
    assert config.resolve(config.data.activities) == tmp_path / "acme" / "tables" / "T1.csv.gz"
    assert config.resolve(config.data.structures) == Path("/data/T2.parquet")


def test_a_relative_path_to_the_file_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`hocket partner run partner.toml` and `hocket partner run /a/b/partner.toml` are one member."""
    absolute = read(tmp_path, PARTNER)
    monkeypatch.chdir(tmp_path / "acme")
    assert PartnerConfig.read(Path("member.toml")).home_folder == absolute.home_folder


@pytest.mark.parametrize("url", ["s3://bucket/federation", "memory://x", "gs://a/b"])
def test_urls_stay_as_they_are(tmp_path: Path, url: str):
    """The exchange may be anything that fsspec knows."""
    assert read(tmp_path, PARTNER.replace("../exchange", url)).exchange_url == url


def test_defaults(tmp_path: Path):
    """The defaults of a short file."""
    config = read(tmp_path, PARTNER)
    assert config.poll_s == 0.2
    assert config.tracking.uri == ""
    assert config.n_workers == len(os.sched_getaffinity(0))
    assert read(tmp_path, "workers = 3\n" + PARTNER).n_workers == 3
    assert config.data.compound_timeout_s == 60.0
    assert config.data.descriptors is False
    assert config.training.batch_size == 500
    assert config.passphrase() is None


def test_a_training_table_is_read(tmp_path: Path):
    """The partner's own training settings, whole numbers for fractions allowed."""
    config = read(tmp_path, PARTNER + "[training]\nlearning_rate = 1\nhead_dropout = 0.25\nseed = 7\n")
    assert (config.training.learning_rate, config.training.head_dropout, config.training.seed) == (1.0, 0.25, 7)
    heads = "[training.regression]\nhidden = [64]\ndropouts = [0.5]\n[training.classification]\ndropout = 0.1\n"
    schedule = '[training]\noptimiser = "adamw"\nlr_steps = [10, 20]\ninternal_batch_max = 100\npatience = 3\n'
    training = read(tmp_path, PARTNER + schedule + heads).training
    assert (training.optimiser, training.lr_steps, training.patience) == ("adamw", (10, 20), 3)
    assert (training.regression.hidden, training.regression.non_linearity) == ((64,), "tanh")
    assert training.classification.dropout == 0.1


# ----------------------------------------------------------------------------------------------- what is refused


@KINDS
@pytest.mark.parametrize("table", ["", "tracking"])
def test_unknown_keys_are_refused(tmp_path: Path, kind: type[MemberConfig], text: str, table: str):
    """A typing error never turns into a default."""
    lines = f"[{table}]\nurl = 3\n" if table else ""
    wrong = text + lines if table else "url = 3\n" + text
    message = refusal(tmp_path, wrong, kind)
    assert f"{table}.url".lstrip(".") in message
    assert "unknown setting" in message


@pytest.mark.parametrize("table", ["training", "data"])
def test_unknown_keys_of_a_partner_are_refused(tmp_path: Path, table: str):
    """The same in the tables that only a partner has."""
    text = PARTNER + ("[training]\nepochs = 3\n" if table == "training" else "epochs = 3\n")
    assert f"{table}.epochs" in refusal(tmp_path, text)


def test_an_aggregator_has_no_data(tmp_path: Path):
    """A partner's file is not accepted as an aggregator's."""
    assert "data" in refusal(tmp_path, PARTNER, AggregatorConfig)


@KINDS
@pytest.mark.parametrize("key", ["name", "plan", "exchange"])
def test_missing_keys_are_named(tmp_path: Path, kind: type[MemberConfig], text: str, key: str):
    """A setting without default must be in the file."""
    assert f"{key}: Field required" in refusal(tmp_path, re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE), kind)


@pytest.mark.parametrize(
    ("line", "key", "found"),
    [
        ("name = 3", "name", "3"),
        ('name = ""', "name", "''"),
        ("plan = true", "plan", "True"),
        ('exchange = ""', "exchange", "''"),
        ("exchange = 2031-05-01", "exchange", "2031-05-01"),
        ('poll_s = "1"', "poll_s", "'1'"),
        ("poll_s = 0", "poll_s", "0"),
        ("poll_s = nan", "poll_s", "nan"),
        ("poll_s = inf", "poll_s", "inf"),
        ("workers = -1", "workers", "-1"),
        ("workers = 1.0", "workers", "1.0"),
        ("training = 3", "training", "3"),
        ("training.batch_size = 0", "batch_size", "0"),
        ("training.batch_size = 20.0", "batch_size", "20.0"),
        ("training.learning_rate = nan", "learning_rate", "nan"),
        ("training.learning_rate = inf", "learning_rate", "inf"),
        ("training.weight_decay = -1.0", "weight_decay", "-1.0"),
        ("training.head_dropout = 1.0", "head_dropout", "1.0"),
        ('training.device = "tpu"', "training.device", "'tpu'"),
        ("tracking.uri = 5000", "tracking.uri", "5000"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, line: str, key: str, found: str):
    """The message has the file, the key and what was found."""
    name = line.split(" = ", maxsplit=1)[0]
    text = re.sub(rf"^{re.escape(name)} = .*\n", "", PARTNER, flags=re.MULTILINE)
    message = refusal(tmp_path, f"{line}\n{text}")
    assert key in message
    assert f"found {found}" in message


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.lists(st.sampled_from(["a", "b", 0, 1]), max_size=4))
def test_nan_is_refused_however_deep(value: float, path: list[str | int]):
    """It is reported by its dotted key before types are checked."""
    tree: object = value
    for part in reversed(path):
        tree = {part: tree} if isinstance(part, str) else [0] * part + [tree]
    key = ".".join(str(part) for part in ["x", *path])
    with pytest.raises(ConfigError, match=f"here: 1 problem.*{re.escape(key)}: found .*finite"):
        check_table({"x": tree}, AggregatorConfig, "here")


# ------------------------------------------------------------------------------------------------------ the file


def test_a_missing_file_is_named(tmp_path: Path):
    """No traceback, the path."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: "):
        PartnerConfig.read(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("text", ["name = ", "[data", "name = 1\nname = 2", "\x00", '{"name": 1}'])
def test_what_is_no_toml_is_refused(tmp_path: Path, text: str):
    """The message has the TOML parser's position in the file."""
    assert "TOML" in refusal(tmp_path, text)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_what_is_no_utf8_is_refused(tmp_path: Path, encoding: str):
    """TOML is UTF-8."""
    path = tmp_path / "member.toml"
    path.write_bytes('name = "Bücher"'.encode(encoding))
    with pytest.raises(ConfigError, match=r"member\.toml: .*UTF-8"):
        PartnerConfig.read(path)


def test_a_folder_is_refused(tmp_path: Path):
    """A path that is there but no file."""
    with pytest.raises(ConfigError, match="cannot be read"):
        PartnerConfig.read(tmp_path)


# ------------------------------------------------------------------------------------------------ the passphrase


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"correct horse", "correct horse"),
        (b"correct horse\n", "correct horse"),
        (b"correct horse\r\n", "correct horse"),
        (b"correct horse\nsecond line\n", "correct horse"),
        (b" spaces stay \n", " spaces stay "),
        ("schlüssel\n".encode(), "schlüssel"),
    ],
)
def test_the_first_line_is_the_passphrase(tmp_path: Path, content: bytes, passphrase: str):
    """Line ends of every editor are accepted."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "secret").touch(0o600)
    (tmp_path / "acme" / "secret").write_bytes(content)
    assert read(tmp_path, 'passphrase_file = "secret"\n' + PARTNER).passphrase() == passphrase


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"\nbelow\n"])
def test_an_empty_passphrase_is_refused(tmp_path: Path, content: bytes):
    """An empty line must not mean: no passphrase."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=r"secret: .*first line"):
        read_passphrase(tmp_path / "secret")


def test_a_missing_passphrase_file_is_refused(tmp_path: Path):
    """A lost file must not mean: no passphrase."""
    with pytest.raises(ConfigError, match=r"secret: "):
        read(tmp_path, 'passphrase_file = "secret"\n' + PARTNER).passphrase()


def test_a_binary_passphrase_file_is_refused_without_showing_it(tmp_path: Path):
    """The content of a file with a secret is in no message."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_bytes(b"hunter2\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        read_passphrase(tmp_path / "secret")
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path, mode: int):
    """It protects nothing then."""
    (tmp_path / "secret").write_text("correct horse")
    (tmp_path / "secret").chmod(mode)
    with pytest.raises(BadKeyFile, match=f"secret: has mode {mode:04o}, expected 0600") as caught:
        read_passphrase(tmp_path / "secret")
    assert f"chmod 600 {tmp_path}/secret" in caught.value.__notes__[0]


def test_a_passphrase_may_come_through_a_pipe(tmp_path: Path):
    """As from `--passphrase-file <(pass show hocket)`, so that it lies in no file."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with ThreadPoolExecutor() as pool:
        pool.submit((tmp_path / "pipe").write_text, "correct horse\n")
        assert read_passphrase(tmp_path / "pipe") == "correct horse"


def test_no_file_is_no_passphrase():
    """Keys without a passphrase are allowed."""
    assert read_passphrase(None) is None


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("pol_s = 1\n", "pol_s: unknown setting; nearest: poll_s"),
        ("[trainig]\nx = 1\n", "trainig: unknown section; nearest: training"),
        ("[training]\nlearning_rte = 1\n", "training.learning_rte: unknown setting; nearest: learning_rate"),
        ("[gate]\nzzz = 1\n", "gate.zzz: unknown setting; expected one of "),
        ("[notify.zzz]\n", "notify.zzz: unknown section; expected one of command, webhook, "),
        ("[zzz]\n", "zzz: unknown section; expected one of keys, tracking, notify, data, training, gate"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(tmp_path: Path, more: str, expected: str):
    """Sections are compared with sections, settings with settings; without likeness all are named."""
    data = PARTNER.removeprefix(COMMON)
    text = f"{COMMON}{more}{data}" if more.startswith("pol") else f"{PARTNER}{more}"
    assert f": 1 problem(s): {expected}" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "place", "problem"),
    [
        ("home = /mnt/x", "line 4, column 8, behind home =", "found a text without quotes"),
        ("home = secret-word", "line 4, column 8, behind home =", "found a text without quotes"),
        ("home = [P01]", "line 4, column 9, behind home =", "found a text without quotes"),
        ('home = "C:\\secret-word"', "line 4, column ", "single quotes"),
        ('home = "secret-word', "line 4, column ", "quotes do not close"),
        ("home = 1 2", "line 4, column 10, behind home =", "Expected newline"),
        ("home", "line 4, column 5", "Expected '='"),
    ],
)
def test_what_is_no_toml_is_named_by_line_and_key(tmp_path: Path, line: str, place: str, problem: str):
    """Never with the value, which may be a password; texts without quotes are told from other faults."""
    message = refusal(tmp_path, f"{COMMON}{line}\n[data]\n")
    assert place in message
    assert problem in message
    assert "secret-word" not in message
    assert ("without quotes" in message) == ("without quotes" in problem)
