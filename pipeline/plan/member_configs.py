"""partner.toml and aggregator.toml: a member's own settings."""

import os
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PrivateAttr, TypeAdapter, field_validator, model_validator

from data_prep.columns import COLUMN_NAMES, nearest
from data_prep.settings import OwnTables
from partners.scores.gate import GateSettings
from partners.settings import Training
from pipeline.plan.passphrase import passphrase_from, read_passphrase
from pipeline.plan.toml_schema import Schema, read_table, read_toml

_SCHEDULER = re.compile(r"(tcp|tls)://[^\s/@]+:[0-9]{1,5}|local:[1-9][0-9]{0,2}")


def expect_scheduler(scheduler: str) -> None:
    """Raise ValueError for a text that is no Dask scheduler, or if Dask is not installed; "" is allowed."""
    if scheduler and not _SCHEDULER.fullmatch(scheduler):
        raise ValueError(f"found {scheduler!r}, expected tcp://HOST:PORT, tls://HOST:PORT or local:N")
    if scheduler and find_spec("distributed") is None:
        raise ValueError("Dask is not installed: pip install -e '.[dask]' in hocket's folder")


def expect_columns(columns: Iterable[str]) -> None:
    """Raise ValueError if one of the names is no column of an input table; the message has the nearest one."""
    for column in columns:
        if column not in COLUMN_NAMES:
            near = nearest(column, COLUMN_NAMES)
            advice = f"; nearest: {near}" if near else ""
            raise ValueError(f"found {column!r}, expected one of {', '.join(COLUMN_NAMES)}{advice}")


_READING = {name: about["description"] for name, about in TypeAdapter(OwnTables).json_schema()["properties"].items()}


class Tables(Schema):
    """The input tables: CSV, CSV.gz, Parquet or Excel; table T2 may be an SD file."""

    assays: str
    """Table T0, the assays."""

    activities: str
    """Table T1, the activities."""

    structures: str
    """Table T2, the structures."""

    unit: str = Field(default="", description=_READING["unit"])
    accept: tuple[str, ...] = Field(default=(), description=_READING["accept"])
    most_rejected: float = Field(default=0.1, ge=0, le=1, description=_READING["most_rejected"])

    compound_timeout_s: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds; a structure that takes longer to prepare is left out."""

    descriptors: bool = False
    """If true, RDKit's descriptors of the compounds are prepared too, some 5 ms each the first time; nothing of them is
    sent to anyone.
    """

    date_column: str = Field(default="", description=_READING["date_column"])
    columns: dict[str, str | tuple[str, ...]] = Field(default={}, description=_READING["columns"])

    scheduler: str = ""
    """tcp://HOST:8786, tls:// or local:N: your own Dask cluster, to which the structures are sent for preparation;
    empty: this machine prepares them.
    """

    @field_validator("unit")
    @classmethod
    def _is_unit(cls, unit: str) -> str:
        if not unit:
            return unit
        from data_prep.tables.units import UNITS, unit_named  # noqa: PLC0415 -- polars, which few commands need

        named = unit_named(unit)
        if named is None:
            raise ValueError(f"found {unit!r}, expected one of {', '.join(UNITS)}")
        return named.name

    @field_validator("scheduler")
    @classmethod
    def _is_scheduler(cls, scheduler: str) -> str:
        expect_scheduler(scheduler)
        return scheduler

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: dict[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
        expect_columns(columns)
        return columns

    @property
    def own(self) -> OwnTables:
        """How these tables are read."""
        names = {column: (found,) if isinstance(found, str) else found for column, found in self.columns.items()}
        return OwnTables(
            columns=names,
            unit=self.unit,
            accept=frozenset(self.accept),
            most_rejected=self.most_rejected,
            date_column=self.date_column,
        )


class Tracking(Schema):
    """Where MLflow keeps this member's run."""

    uri: str = ""
    """Any MLflow tracking URI; empty: an SQLite file in the home."""

    system_metrics: bool = False
    """If true, processor, memory, disk and network of this machine are recorded too; needs psutil."""

    @model_validator(mode="after")
    def _can_measure(self) -> Self:
        if self.system_metrics and find_spec("psutil") is None:
            raise ValueError("system_metrics: needs the package psutil; install it, or remove this setting")
        return self


class PartnerTracking(Tracking):
    """Where MLflow keeps this partner's run."""

    validate_every: int = Field(default=1, ge=1)
    """Rounds between two validations; the last one is always validated."""


class AuditSettings(Schema):
    """What is left out of the training and kept for `hocket audit`; to be decided before round 1."""

    canaries: int = Field(default=0, ge=0, le=100_000)
    """Training compounds that are drawn at random, each left out with probability 1/2, so that an audit knows exactly
    what was trained on; half of them are lost to the training. 0: none.
    """

    history_gb: float = Field(default=1.0, ge=0)
    """Most disk space in the home, in 10^9 bytes, for the trunks of all rounds, which an audit of the opened
    sums needs; if they need more, none is kept.
    """


NoticeEvent = Literal["trouble", "void", "waiting", "finished"]
_WEBHOOK = re.compile(r"https?://[^\s/]+(/\S*)?")


class Notify(Schema):
    """Notices of trouble, voids, long waits and the end, without secrets, labels and structures; none stops a run."""

    command: tuple[str, ...] = ()
    """A program and its arguments, started for each notice, which is JSON on its standard input; empty: none."""

    webhook: str = ""
    """http:// or https:// address to which each notice is posted as JSON; empty: none."""

    events: tuple[NoticeEvent, ...] = ("trouble", "void", "waiting", "finished")
    """Events that give a notice."""

    waiting_s: float = Field(default=21_600.0, gt=0)
    """Seconds that this member waits for others, the exchange or disk space until it gives the notice "waiting"."""

    metrics_file: str = ""
    """A file of metrics in OpenMetrics format, for example in the textfile folder of node_exporter, with the end .prom;
    empty: none.
    """

    @field_validator("webhook")
    @classmethod
    def _is_address(cls, webhook: str) -> str:
        if webhook and not _WEBHOOK.fullmatch(webhook):
            raise ValueError("expected an address that begins with http:// or https://")
        return webhook


class KeySettings(Schema):
    """A passphrase of the private keys that lies in no file."""

    passphrase_command: tuple[str, ...] = ()
    """A program and its arguments, which writes the passphrase on its standard output, for example that of a vault;
    started without a shell, in this file's folder; empty: none.
    """

    passphrase_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """Longest time for this program, in seconds."""


class MemberConfig(Schema):
    """The settings that a partner's and the aggregator's configuration share."""

    name: str = Field(min_length=1)
    """The name on this member's card in the plan."""

    plan: str
    """The plan, on which all members agree; paths are relative to this file."""

    home: str = "home"
    """Folder of keys, state and models: private, mode 0700."""

    exchange: str = Field(min_length=1)
    """The exchange of all members: a folder, or any fsspec URL such as s3://bucket/example."""

    poll_s: float = Field(default=0.2, gt=0)
    """Seconds between two checks of the exchange."""

    workers: int = Field(default=0, ge=0)
    """Most processes for long steps; 0: one per core."""

    passphrase_file: str = ""
    """A file whose first line unlocks the private keys; empty: they have no passphrase."""

    keys: KeySettings = KeySettings()
    tracking: Tracking = Tracking()
    notify: Notify = Notify()

    _folder: Path = PrivateAttr(default=Path())

    def resolve(self, path: str) -> Path:
        """The absolute path for a path in the configuration file, which is relative to that file's folder."""
        return Path(os.path.realpath(self._folder / path))  # Path.resolve of Python 3.11 fails at a link to itself

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check the file; see `read_toml`."""
        config = read_toml(path, cls)
        config._folder = path.resolve().parent  # noqa: SLF001 -- our own private attribute, set once
        return config

    @property
    def plan_file(self) -> Path:
        """Path of the plan."""
        return self.resolve(self.plan)

    @property
    def home_folder(self) -> Path:
        """Folder with this member's keys and state."""
        return self.resolve(self.home)

    @property
    def exchange_url(self) -> str:
        """The exchange as an fsspec URL; a path becomes a file:// URL."""
        return self.exchange if "://" in self.exchange else f"file://{self.resolve(self.exchange)}"

    @property
    def n_workers(self) -> int:
        """Largest number of processes for long steps: structures, sealing, adding, opening."""
        return self.workers or len(os.sched_getaffinity(0))

    @model_validator(mode="after")
    def _has_one_passphrase(self) -> Self:
        if self.passphrase_file and self.keys.passphrase_command:
            raise ValueError("passphrase_file and keys.passphrase_command: found both, expected one of them")
        return self

    def passphrase(self) -> str | None:
        """The passphrase from the file or the command, None if the keys have none; raises what these raise."""
        if command := self.keys.passphrase_command:
            return passphrase_from(command, self._folder, self.keys.passphrase_timeout_s)
        return read_passphrase(self.resolve(self.passphrase_file) if self.passphrase_file else None)


class PartnerConfig(MemberConfig):
    """The content of partner.toml."""

    tracking: PartnerTracking = PartnerTracking()
    data: Tables
    training: Training = Training()
    gate: GateSettings = GateSettings()
    audit: AuditSettings = AuditSettings()


class AggregatorConfig(MemberConfig):
    """The content of aggregator.toml."""


def role_in(path: Path) -> str:
    """The role that a configuration file is for: "partner" with a [data] table, else "aggregator".

    Raises ConfigError for a file that is not TOML.
    """
    return "partner" if "data" in read_table(path) else "aggregator"


def read_member_config(path: Path, role: str) -> MemberConfig:
    """Read a partner's or an aggregator's configuration. Raises ConfigError for a wrong setting."""
    return PartnerConfig.read(path) if role == "partner" else AggregatorConfig.read(path)
