"""`hocket demo`: run a whole federation on this machine, one process per member, on real ChEMBL data.

It makes the same files as a real federation; only the processes share a machine.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

from pipeline.demo.benchmark_data import ensure_wheel
from pipeline.demo.configs import aggregator_toml, partner_toml, plan_toml
from pipeline.demo.processes import MemberProcess, run_members
from pipeline.errors import ConfigError
from pipeline.home.json_files import write_json
from pipeline.home.paths import Home
from pipeline.report.report import read_report
from pipeline.report.terminal_table import print_report
from pipeline.runtime.log import Log
from pipeline.runtime.templates import filled
from pipeline.setup.keys import deal, new_keys
from secure.files import write_atomically

AGGREGATOR = "aggregator"
_DATA_SHARE = 0.35  # of the compounds: enough for a clear gain, small enough for two minutes
_N_ROUNDS = 12
_TABLES = ("T0", "T1", "T2")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a demo, kept in its folder: a folder holds one demo."""

    n_partners: int
    n_rounds: int
    seed: int
    source: str | None


def run_demo(
    folder: Path,
    *,
    n_partners: int,
    n_rounds: int | None,
    seed: int,
    source: Path | None,
    log: Log | None = None,
    only_set_up: bool = False,
) -> None:
    """Make missing files, run the members to their end, print the report.

    only_set_up : make the files alone; the members are run by others, for example in containers
    Raises ConfigError for a folder with other content, DemoFailed if a member's process fails.
    """
    folder = folder.resolve()
    options = Options(n_partners, n_rounds or _N_ROUNDS, seed, str(source.resolve()) if source else None)
    _claim(folder, options)
    partners = [f"P{i:02d}" for i in range(1, n_partners + 1)]
    if not all(Home(folder / name / "home").finished.exists() for name in (*partners, AGGREGATOR)):
        _build(folder, options, partners)
        members = [
            MemberProcess(AGGREGATOR, "aggregator", folder / AGGREGATOR / "aggregator.toml", folder / AGGREGATOR)
        ]
        members += [MemberProcess(name, "partner", folder / name / "partner.toml", folder / name) for name in partners]
        if only_set_up:
            _print_runs(members)
            return
        run_members(members, log or Log())
    print_report([read_report(Home(folder / name / "home")) for name in partners])
    _print_next_steps(folder, partners[-1])


def _claim(folder: Path, options: Options) -> None:
    """Mark the folder as this demo's. Raises ConfigError if it has other content or another demo."""
    marker = folder / "demo.json"
    if marker.exists():
        existing = json.loads(marker.read_text())
        if existing != asdict(options):
            error = ConfigError(f"{folder}: found a demo with options {existing}, expected {asdict(options)}")
            error.add_note("choose another folder, or delete this one")
            raise error
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty and holds no demo; choose another folder")
    else:
        write_json(marker, asdict(options))


def _build(folder: Path, options: Options, partners: list[str]) -> None:
    """Make data, keys, plan, configurations and deal, each only once, in a consortium's order."""
    if not (folder / "data.json").exists():
        _make_data(folder / "tables", options, partners)
        write_json(folder / "data.json", {"made": True})
    cards = [_card(folder / name, name, "partner") for name in partners]
    cards.append(_card(folder / AGGREGATOR, AGGREGATOR, "aggregator"))
    plan_file = folder / "plan.toml"
    if not plan_file.exists():
        plan = plan_toml(secrets.token_hex(16), options.seed, options.n_rounds, partners, cards)
        write_atomically(plan_file, plan.encode())
    for name in partners:
        _write_once(folder / name / "partner.toml", partner_toml(name, options.seed, _tables(folder / "tables" / name)))
    _write_once(folder / AGGREGATOR / "aggregator.toml", aggregator_toml(AGGREGATOR))
    deal(plan_file, folder / partners[0] / "home", None, structure_seed=_structure_seed(options.seed))


def _structure_seed(seed: int) -> bytes:
    """The structure seed for --seed, so that folds repeat; in a real federation `hocket key deal` draws it."""
    return hashlib.sha256(f"hocket demo structure seed {seed}".encode()).digest()


def _make_data(folder: Path, options: Options, partners: list[str]) -> None:
    source = Path(options.source) if options.source else None
    if source and source.is_dir():
        _copy_partner_folders(source, folder, partners)
        return
    from data_prep.samples.benchmark_split import split_benchmark  # noqa: PLC0415 -- rdkit is slow to import

    split_benchmark(source or ensure_wheel(), len(partners), _DATA_SHARE, options.seed, folder)


def _copy_partner_folders(source: Path, folder: Path, partners: list[str]) -> None:
    """Copy T0, T1 and T2 of the first partner folders in `source`."""
    origins = sorted(path for path in source.iterdir() if path.is_dir() and any(path.glob("T0.*")))
    if len(origins) < len(partners):
        raise ConfigError(f"{source}: found {len(origins)} folders with T0, T1 and T2, expected {len(partners)}")
    for name, origin in zip(partners, origins, strict=False):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for table in _TABLES:
            files = sorted(origin.glob(f"{table}.*"))
            if not files:
                raise ConfigError(f"{origin}: has no {table} table")
            shutil.copyfile(files[0], folder / name / files[0].name)


def _tables(folder: Path) -> dict[str, str]:
    paths = {table: next(iter(sorted(folder.glob(f"{table}.*")))) for table in _TABLES}
    return {table: f"../tables/{path.parent.name}/{path.name}" for table, path in paths.items()}


def _card(folder: Path, name: str, role: str) -> str:
    card_file = Home(folder / "home").keys / "card.toml"
    if not card_file.exists():
        new_keys(name, role, folder / "home", None)
    return card_file.read_text()


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        write_atomically(path, text.encode())


def _print_runs(members: Sequence[MemberProcess]) -> None:
    for member in members:
        print(f"hocket {member.role} run {quote(str(member.config))}")  # noqa: T201 -- a command's result


def _print_next_steps(folder: Path, partner: str) -> None:
    print(filled("pipeline.demo", "next_steps.txt.jinja", folder=folder, partner=partner), end="")  # noqa: T201 -- a command's result
