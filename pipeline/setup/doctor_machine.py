"""Check the machine: cores, memory and disk against the plan's needs, Python and its libraries."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import MappingProxyType
from typing import Self

from packaging.requirements import Requirement

from pipeline.plan.member_configs import MemberConfig, PartnerConfig
from pipeline.plan.plan import Plan
from pipeline.runtime.versions import installed
from pipeline.setup.findings import Finding, note, wrong
from secure.sealing.container import SUM, UPDATE, most_bytes

_GIB = 1 << 30
# Measured with real processes (3 partners, 8 thousand and 32 million parameters): 0.62 and 2.25 GB at a partner, 0.47
# at the aggregator, which adds chunk by chunk; a partner's home holds 27 bytes per parameter after two rounds.
_PARTNER_BASE = 1.0 * _GIB  # bytes; libraries, tables and matrices of some 10,000 compounds
_AGGREGATOR_NEEDS = 0.6 * _GIB  # bytes, with MLflow
_PEAK_PER_PARAMETER = 52  # bytes of memory: weights, gradients, the optimiser's state, update, residual
_WHOLE_TRUNK = 4  # bytes more, if the vector has some of the trunk's input columns and is no trunk itself
_HOME_PER_PARAMETER = 30  # bytes of disk
_ROUNDS_AT_ONCE = 2  # of sealed files in a home
# two processes each, as MLflow takes as long to load as all others
_LOADED: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "partner": (("rdkit.Chem", "polars", "torch", "sklearn.metrics", "tenseal.sealapi"), ("mlflow",)),
        "aggregator": (("tenseal.sealapi", "pyarrow", "cryptography.hazmat.primitives.hpke"), ("mlflow",)),
    }
)
_LOAD = "import importlib, sys\nfor name in sys.argv[1:]: print(name, flush=True); importlib.import_module(name)"
_LOAD_S = 300.0  # seconds; cold disks are slow


def examine_machine(config: MemberConfig, plan: Plan | None) -> Iterator[Finding]:
    """Check cores, and if the plan is known, memory and disk."""
    n_cores = len(os.sched_getaffinity(0))
    yield Finding("machine", f"{platform.system()} {platform.machine()}, {n_cores} cores for this process")
    threads = config.training.n_threads if isinstance(config, PartnerConfig) else 1
    for key, n_processes in (("workers", config.workers), ("training.n_threads", threads)):
        if n_processes > n_cores:
            text = f"{key} is {n_processes}, more than the {n_cores} cores"
            yield note("machine", text, f"set it to at most {n_cores}")
    if isinstance(config, PartnerConfig) and config.training.device != "cpu":
        yield _device(config)
    if plan is not None:
        yield _memory(config, plan)
        yield from _disk(config, plan)


def _device(config: PartnerConfig) -> Finding:
    from partners.network.device import arithmetic, device_of  # noqa: PLC0415 -- torch; the aggregator's doctor has none

    with arithmetic(config.training):
        text = f"device {config.training.device} can be used"
    return Finding("machine", text if config.training.device == "cuda" else f"{text}: {device_of(config.training)}")


def _memory(config: MemberConfig, plan: Plan) -> Finding:
    """Compare total memory with an estimate of the peak; too little free memory is only a note."""
    n_params = plan.possible_layouts[-1].n_params
    is_partner = isinstance(config, PartnerConfig)
    each = _PEAK_PER_PARAMETER + (_WHOLE_TRUNK if plan.columns.are_counted else 0)
    needed = _PARTNER_BASE + each * n_params if is_partner else _AGGREGATOR_NEEDS
    total, free = memory()
    size = f"at most {n_params:,} parameters with the catalogue" if plan.catalogue.tasks else f"{n_params:,} parameters"
    text = f"{_gib(total)} GiB in all, {_gib(free)} free; a trunk of {size} takes about {_gib(needed)}"
    if total < needed:
        return wrong("memory", text, "use a larger machine, or agree on fewer n_bits or hidden units")
    if free < needed:
        return note("memory", text, "end other programs before the run")
    return Finding("memory", text)


def memory(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[float, float]:
    """Total and free memory of this process in bytes, within the limit of its control group."""
    fields = dict(line.split(":", 1) for line in proc.read_text().splitlines())
    total, free = (float(fields[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    try:
        limit = float((cgroup / "memory.max").read_text())
        used = float((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no limit: the file is absent or contains "max"
        return total, free
    return min(total, limit), min(free, limit - used)


def _disk(config: MemberConfig, plan: Plan) -> Iterator[Finding]:
    """Check the space in the home for states and sealed files, and in the temporary folder for a payload."""
    n_params, n_partners = plan.possible_layouts[-1].n_params, len(plan.partner_names)
    parameters = plan.seal_parameters(plan.first_round)
    update, total = (most_bytes(kind, n_params, parameters) for kind in (UPDATE, SUM))
    is_partner = isinstance(config, PartnerConfig)
    sealed = _ROUNDS_AT_ONCE * (update * (1 if is_partner else n_partners) + total)
    yield _space("home", config.home_folder, float(sealed + is_partner * _HOME_PER_PARAMETER * n_params))
    yield _space("temporary folder", Path(tempfile.gettempdir()), float(max(update, total)))
    round_bytes = update * n_partners + total
    text = f"at most {_gib(round_bytes * plan.rounds.n_rounds)} GiB for {plan.rounds.n_rounds} rounds in the exchange"
    yield Finding("disk", f"{text}, {round_bytes / 1e6:,.1f} MB each")


def _space(name: str, folder: Path, needed: float) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = float(shutil.disk_usage(existing).free)
    text = f"{name} {folder}: {_gib(free)} GiB free, about {_gib(needed)} needed"
    return Finding("disk", text) if free >= needed else wrong("disk", text, "free space, or use another disk")


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / _GIB:.1f}" if n_bytes >= _GIB / 20 else f"{n_bytes / _GIB:.3f}"


def examine_libraries(role: str) -> Iterator[Finding]:
    """Check the versions that hocket requires."""
    yield Finding("versions", f"hocket {installed('hocket')}, Python {platform.python_version()}")
    for needed in _requirements(role):
        version = installed(needed.name)
        if version is None:
            advice = "install hocket again with pip" + (", with its extra `partner`" if role == "partner" else "")
            yield wrong("versions", f"{needed.name} is not installed, expected {needed}", advice)
        elif not needed.specifier.contains(version, prereleases=True):
            yield wrong("versions", f"{needed.name} {version}, expected {needed.specifier}", f"pip install '{needed}'")


def _requirements(role: str) -> list[Requirement]:
    """The requirements of the installed distribution; for a partner with its extra `partner`."""
    try:
        declared = requires("hocket") or []
    except PackageNotFoundError:
        declared = []
    requirements = [Requirement(line) for line in declared]
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": role})]


class LoadingLibraries:
    """Imports of this role's libraries in other processes, because one built for another processor would kill this one.

    They take seconds, and run while other checks do.
    """

    def __init__(self, role: str) -> None:
        """Start the processes."""
        is_tracked = role == "partner" or installed("mlflow") is not None
        loaded = [modules for modules in _LOADED[role] if is_tracked or modules != ("mlflow",)]
        self._started = [(modules, _start_loading(modules)) for modules in loaded]

    def __enter__(self) -> Self:
        """The same object."""
        return self

    def __exit__(self, *_: object) -> None:
        """End processes that still run."""
        for _modules, process in self._started:
            with process:
                process.kill()

    def findings(self) -> Iterator[Finding]:
        """Wait for the processes: which libraries load, and of those that do not, why."""
        loaded: list[str] = []
        for modules, process in self._started:
            problem = _problem(process)
            if problem is None:
                loaded += [name.split(".")[0] for name in modules]
            else:
                yield problem
        if loaded:
            yield Finding("versions", f"{', '.join(loaded)} load")


def _start_loading(modules: tuple[str, ...]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-P", "-c", _LOAD, *modules]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _problem(process: "subprocess.Popen[str]") -> Finding | None:
    try:
        stdout, stderr = process.communicate(timeout=_LOAD_S)
    except subprocess.TimeoutExpired:
        text = f"the libraries did not load within {_LOAD_S:.0f} s"
        return note("versions", text, "is the machine busy, or the disk slow?")
    if process.returncode == 0:
        return None
    name = (stdout.split() or ["Python"])[-1]
    why = (stderr.strip().splitlines() or [f"ended by signal {-process.returncode}"])[-1]
    return wrong(
        "versions", f"{name} does not load: {why}", "install it again; a missing .so file is in a system package"
    )
