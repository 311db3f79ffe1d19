"""Cost of sealing, adding and opening for each role in a round, and a model of it for larger federations.

A whole round runs here with the real code of secure/, files on disk, one member after the other, each in a process of
its own with one worker. The model is per parameter, and per parameter and partner.
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from rich.console import Console
from rich.table import Table

from secure.ciphertexts.parameters import SealParameters, SealSettings, seal_parameters
from secure.messages.messages import _MAX_PAYLOAD as MAX_PAYLOAD
from secure.sealing.container import MAX_PARAMS
from tests.support.secure.consortium import Consortium, make_consortium
from tests.support.secure.round_steps import Cost, apart, changes_of, open_mean, seal_apart

OPENINGS = 10  # partners whose opening is measured: all do the same
WEIGHT = 500_000  # training labels of each partner
WANTED = 0.2  # how far the model may be off
ROLES = ("seal", "add", "open")
BEYOND = ((10, 1_000_000_000), (50, 192_000_000), (50, 1_000_000_000))  # partners, parameters
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """One measured round."""

    n_params: int
    n_partners: int
    costs: dict[str, Cost]  # by role: the least time of its runs, what else runs here adds to it; the largest peak
    up_bytes: int  # of one update
    down_bytes: int  # of the sum


def measure(n_params: int, n_partners: int, max_partners: int, *, adds: int) -> Run:
    """Seal every partner's change, add them, open the sum at up to OPENINGS partners.

    Fails where the mean is not theirs.
    adds : how often the aggregator's work is done, to be measured
    """
    consortium = make_consortium(n_partners, max_partners=max_partners, weights="size")
    begun = [changes_of(consortium, name, 4096) for name in consortium.partners]
    upscale = consortium.settings.max_weight / WEIGHT  # a change is sent times weight / max_weight, a residual as it is
    expected = np.mean([change + carried * upscale for change, carried in begun], axis=0)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        files, total = [Path(name) / partner for partner in consortium.partners], Path(name) / "sum"
        seal = [seal_apart(consortium, file.name, n_params, file, workers=1, weight=WEIGHT) for file in files]
        add = [apart(lambda: consortium.add(files, total, workers=1)) for _ in range(adds)]
        opening = [apart(lambda: _open(consortium, total, n_params, expected)) for _ in files[:OPENINGS]]
        up_bytes, down_bytes = files[0].stat().st_size, total.stat().st_size
    costs = {role: _least(runs) for role, runs in zip(ROLES, (seal, add, opening), strict=True)}
    return Run(n_params, n_partners, costs, up_bytes, down_bytes)


def _open(consortium: Consortium, total: Path, n_params: int, expected: np.ndarray) -> None:
    mean = open_mean(consortium, total, n_params, workers=1)
    step = consortium.settings.first_bound / consortium.parameters.limit
    error = float(np.abs(mean[: expected.size] - expected).max())
    assert error <= step * consortium.settings.max_weight / WEIGHT, f"the mean is off by {error}"


def _least(costs: list[Cost]) -> Cost:
    wall_s, cpu_s = (min(getattr(one, key) for one in costs) for key in ("wall_s", "cpu_s"))
    return Cost(wall_s, cpu_s, max(one.peak_mb for one in costs))


def between(before: Run, after: Run) -> Run:
    """Estimate of a run between these two, to correct for a drift of the machine's speed."""
    costs = {}
    for role in ROLES:
        first, last = before.costs[role], after.costs[role]
        wall_s, cpu_s = (fmean((getattr(first, key), getattr(last, key))) for key in ("wall_s", "cpu_s"))
        costs[role] = Cost(wall_s, cpu_s, max(first.peak_mb, last.peak_mb))
    return replace(before, costs=costs)


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line a + b x through two points."""

    a: float
    b: float

    @classmethod
    def through(cls, first: tuple[float, float], second: tuple[float, float]) -> "Line":
        """The line through two points (x, y); level if noise would let it fall, because more never costs less."""
        b = (second[1] - first[1]) / (second[0] - first[0])
        return cls(first[1] - b * first[0], b) if b > 0 else cls((first[1] + second[1]) / 2, 0.0)

    def at(self, x: float) -> float:
        """Value of the line."""
        return self.a + self.b * x


@dataclass(frozen=True, slots=True)
class Model:
    """Cost of a role in a round: CPU seconds per parameter, by partners; MB by parameters, or partners for adding."""

    cpu: dict[str, Line]
    peak: dict[str, Line]

    @classmethod
    def fitted(cls, small: Run, larger: Run) -> "Model":
        """The model that two runs, which differ in parameters and in partners, determine."""
        runs = (small, larger)

        def line(x: str, role: str, y: str, per: str | None = None) -> Line:
            points = [
                (getattr(run, x), getattr(run.costs[role], y) / (getattr(run, per) if per else 1)) for run in runs
            ]
            return Line.through(*points)

        opening = sum(run.costs["open"].cpu_s for run in runs) / sum(run.n_params for run in runs)
        cpu = {role: line("n_partners", role, "cpu_s", "n_params") for role in ("seal", "add")}
        peak = {role: line("n_params", role, "peak_mb") for role in ("seal", "open")}
        return cls(cpu | {"open": Line(opening, 0.0)}, peak | {"add": line("n_partners", "add", "peak_mb")})

    def cost(self, role: str, n_params: int, n_partners: int) -> Cost:
        """CPU seconds and peak MB of a role (the wall clock of one process: the same)."""
        cpu_s = self.cpu[role].at(n_partners) * n_params
        return Cost(cpu_s, cpu_s, self.peak[role].at(n_partners if role == "add" else n_params))


def wire(parameters: SealParameters, n_params: int) -> tuple[int, int]:
    """Bytes of an update and of a sum, without headers."""
    n_chunks = parameters.n_chunks(n_params)
    return n_chunks * parameters.update_chunk_bytes, n_chunks * parameters.sum_chunk_bytes


def show_run(run: Run, console: Console) -> None:
    """Print the cost of each role."""
    n, p = run.n_params, run.n_partners
    trunk = 4 * n / MB
    table = Table(title=f"measured: {n / 1e6:g} M parameters ({trunk:.0f} MB as float32), {p} partners, a round")
    for column in ("", "CPU s", "wall s", "peak MB", "MB sent", "MB received"):
        table.add_column(column, justify="right" if column else "left")
    up, down = run.up_bytes / MB, run.down_bytes / MB
    sent = {"seal": (up, 0.0), "add": (down, up * p), "open": (0.0, down)}
    names = {"seal": "each partner: seal", "add": "aggregator: add", "open": "each partner: open"}
    for role, cost in run.costs.items():
        numbers = (cost.cpu_s, cost.wall_s, cost.peak_mb, *sent[role])
        table.add_row(names[role], *(f"{number:,.1f}" for number in numbers))
    console.print(table)


def show_check(model: Model, run: Run, parameters: SealParameters, console: Console) -> None:
    """Print the model's cost divided by the measured one; above 1 it is too high."""
    table = Table(title=f"model / measured, {run.n_params / 1e6:g} M parameters, {run.n_partners} partners")
    for column in ("", "model", "measured", "ratio", f"within {WANTED:.0%}"):
        table.add_column(column, justify="right" if column else "left")
    pairs: list[tuple[str, float, float]] = []
    for role in ROLES:
        said, found = model.cost(role, run.n_params, run.n_partners), run.costs[role]
        pairs += [(f"{role}, CPU s", said.cpu_s, found.cpu_s), (f"{role}, peak MB", said.peak_mb, found.peak_mb)]
    up, down = wire(parameters, run.n_params)
    pairs += [("update, MB", up / MB, run.up_bytes / MB), ("sum, MB", down / MB, run.down_bytes / MB)]
    for what, said, found in pairs:
        ratio = said / found
        is_within = 1 / (1 + WANTED) <= ratio <= 1 + WANTED
        table.add_row(what, f"{said:,.1f}", f"{found:,.1f}", f"{ratio:.2f}", "yes" if is_within else "NO")
    console.print(table)


def show_model(model: Model, console: Console) -> None:
    """Print the fitted numbers."""
    for role in ROLES:
        cpu, peak = model.cpu[role], model.peak[role]
        by = "partner" if role == "add" else "M parameters"
        per = peak.b * (1 if role == "add" else 1e6)
        console.print(
            f"{role}: {1e9 * cpu.a:.1f} + {1e9 * cpu.b:.1f} x partners ns of CPU per parameter;"
            f" {peak.a:.0f} MB + {per:.2f} MB per {by}"
        )


def show_beyond(model: Model, console: Console) -> None:
    """Print the model's costs beyond the measured sizes; sizes of files are exact, from the plan's parameters."""
    table = Table(title="extrapolated, one process per member, a round")
    columns = ("partners", "parameters", "in a slot", "seal CPU s", "open CPU s", "partner MB", "up GB", "down GB")
    for column in (*columns, "add CPU s", "aggregator MB", "its disk GB"):
        table.add_column(column, justify="right")
    for n_partners, n_params in BEYOND:
        parameters = seal_parameters(SealSettings(max_partners=n_partners))
        up, down = wire(parameters, n_params)
        assert n_params <= MAX_PARAMS
        assert down <= MAX_PAYLOAD
        seal, add, opening = (model.cost(role, n_params, n_partners) for role in ROLES)
        partner_mb, disk = max(seal.peak_mb, opening.peak_mb), n_partners * up + down
        cells = [str(n_partners), f"{n_params / 1e6:,.0f} M", str(parameters.fields)]
        cells += [f"{value:,.0f}" for value in (seal.cpu_s, opening.cpu_s, partner_mb)]
        cells += [
            f"{up / 1e9:.2f}",
            f"{down / 1e9:.2f}",
            f"{add.cpu_s:,.0f}",
            f"{add.peak_mb:,.0f}",
            f"{disk / 1e9:,.0f}",
        ]
        table.add_row(*cells)
    console.print(table)
    console.print(f"limits: 128 partners, {MAX_PARAMS:,} parameters, payloads of {MAX_PAYLOAD:,} bytes")
