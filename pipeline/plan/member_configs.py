"""partner.toml and aggregator.toml: what is a member's own business."""

import json
import math
import os
import re
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from partners.scores.gate import GateSettings
from partners.settings import Training
from pipeline.errors import ConfigError
from secure.files import check_private


class Schema(BaseModel):
    """A table of a configuration file: unknown keys, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


AnySchema = TypeVar("AnySchema", bound=Schema)


def read_toml(path: Path, schema: type[AnySchema]) -> AnySchema:
    """Read a TOML file as `schema`.

    Raises ConfigError with the file, every wrong key, what was found and what was expected.
    """
    return check_table(_table_in(path), schema, str(path))


def _table_in(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (ValueError, RecursionError, OSError) as error:  # ValueError: not TOML, not UTF-8, an endless number
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def check_table(table: dict[str, Any], schema: type[AnySchema], where: str) -> AnySchema:
    """Validate a parsed table; JSON is the way in, so that TOML arrays become tuples under strict types."""
    strange = list(_strange(table))
    if strange:
        raise _refusal(where, strange)
    try:
        return schema.model_validate_json(json.dumps(table))
    except ValidationError as error:
        raise _refusal(where, [_describe(item) for item in error.errors(include_url=False)]) from None


def _refusal(where: str, lines: list[str]) -> ConfigError:
    return ConfigError(f"{where}: {len(lines)} problem(s): " + "; ".join(lines))


def _strange(value: object, key: str = "") -> Iterator[str]:
    """What TOML knows and JSON does not: NaN, infinities, dates. No setting is one of them, nested ones included."""
    if isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strange(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{key}: found {value}, expected a finite number"
    elif isinstance(value, str) and "\0" in value:
        yield f"{key}: holds a NUL character, which no setting has"
    elif not isinstance(value, str | int | float):
        yield f"{key}: found {value}, expected a text or a number, no date or time"


def _describe(item: Any) -> str:  # noqa: ANN401 -- pydantic's ErrorDetails, a TypedDict with free content
    key = ".".join(str(part) for part in item["loc"]) or "the file as a whole"
    found = repr(item["input"])
    found = f", found {found}" if len(found) <= 80 and not isinstance(item["input"], dict) else ""  # noqa: PLR2004
    return f"{key}: {item['msg'].removeprefix('Value error, ')}{found}"


def read_passphrase(path: Path | None) -> str | None:
    """First line of a passphrase file; None for None.

    Raises ConfigError where it cannot be read or is empty, secure.errors.BadKeyFile where others can read it.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            check_private(path, os.fstat(file.fileno()))
            passphrase = file.read().decode().split("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the passphrase file is not UTF-8 text") from error
    except OSError as error:
        raise ConfigError(f"{path}: the passphrase file cannot be read: {error.strerror}") from error
    if not passphrase:
        raise ConfigError(f"{path}: the passphrase file's first line is empty")
    return passphrase


_SCHEDULER = re.compile(r"(tcp|tls)://[^\s/@]+:[0-9]{1,5}|local:[1-9][0-9]{0,2}")


def expect_scheduler(scheduler: str) -> None:
    """Raise ValueError for what is no Dask scheduler, or where Dask is not installed; "" is none, and right."""
    if scheduler and not _SCHEDULER.fullmatch(scheduler):
        raise ValueError(f"found {scheduler!r}, expected tcp://HOST:PORT, tls://HOST:PORT or local:N")
    if scheduler and find_spec("distributed") is None:
        raise ValueError("Dask is not installed: pip install hocket[dask]")


class Tables(Schema):
    """The partner's three input tables, paths relative to the configuration file, and how long one row may take."""

    assays: str
    activities: str
    structures: str
    compound_timeout_s: float = Field(default=60.0, gt=0, le=86_400)  # a structure that takes longer is left out
    scheduler: str = ""  # of the Dask cluster that prepares structures; empty: this machine does

    @field_validator("scheduler")
    @classmethod
    def _is_scheduler(cls, scheduler: str) -> str:
        expect_scheduler(scheduler)
        return scheduler


class Tracking(Schema):
    """Where MLflow keeps this member's run; empty means an SQLite file in the home."""

    uri: str = ""
    system_metrics: bool = False  # processor, memory, disk and network of this machine too; needs psutil

    @model_validator(mode="after")
    def _can_measure(self) -> Self:
        if self.system_metrics and find_spec("psutil") is None:
            raise ValueError("system_metrics: needs the package psutil; install it beside hocket, or leave this out")
        return self


class PartnerTracking(Tracking):
    """The same of a partner."""

    validate_every: int = Field(default=1, ge=1)  # rounds; the last one is always validated


class MemberConfig(Schema):
    """What a partner's and the aggregator's configuration have in common."""

    name: str = Field(min_length=1)
    plan: str
    home: str = "home"
    exchange: str = Field(min_length=1)  # folder or any fsspec URL
    poll_s: float = Field(default=0.2, gt=0)  # seconds between two looks into the exchange
    workers: int = Field(default=0, ge=0)  # most processes for long steps; 0: one per core
    passphrase_file: str = ""  # file whose first line unlocks the private keys; empty if they have no passphrase
    tracking: Tracking = Tracking()

    _folder: Path = PrivateAttr(default=Path())

    def resolve(self, path: str) -> Path:
        """Path as written in the configuration file, relative to that file's folder."""
        return (self._folder / path).resolve()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check the file; see `read_toml`."""
        config = read_toml(path, cls)
        config._folder = path.resolve().parent  # noqa: SLF001 -- our own private attribute, set once at birth
        return config

    @property
    def plan_file(self) -> Path:
        """The consortium's plan."""
        return self.resolve(self.plan)

    @property
    def home_folder(self) -> Path:
        """Folder with this member's keys and state."""
        return self.resolve(self.home)

    @property
    def exchange_url(self) -> str:
        """Exchange as an fsspec URL; a plain path becomes file://."""
        return self.exchange if "://" in self.exchange else f"file://{self.resolve(self.exchange)}"

    @property
    def n_workers(self) -> int:
        """Most processes for long steps: structures, sealing, adding, opening."""
        return self.workers or len(os.sched_getaffinity(0))

    def passphrase(self) -> str | None:
        """First line of the passphrase file, or None where the keys have no passphrase."""
        return read_passphrase(self.resolve(self.passphrase_file) if self.passphrase_file else None)


class PartnerConfig(MemberConfig):
    """partner.toml."""

    tracking: PartnerTracking = PartnerTracking()
    data: Tables
    training: Training = Training()
    gate: GateSettings = GateSettings()


class AggregatorConfig(MemberConfig):
    """aggregator.toml."""


def role_in(path: Path) -> str:
    """Whose configuration a file is: "partner" with a [data] table, else "aggregator"; ConfigError for no TOML."""
    return "partner" if "data" in _table_in(path) else "aggregator"


def read_member_config(path: Path, role: str) -> MemberConfig:
    """A partner's or an aggregator's configuration; raises ConfigError for a wrong setting."""
    return PartnerConfig.read(path) if role == "partner" else AggregatorConfig.read(path)
