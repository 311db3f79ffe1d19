"""Sealed updates against NVFlare's homomorphic encryption and a plain sum: CPU seconds, bytes, error, growth.

Ours: fixed point, masks, tag and BFV, from files to files, in one process (secure_memory.py takes all cores). Peer:
TenSEAL CKKS at the parameters that NVFlare sets (poly_modulus_degree 8192, coeff_mod_bit_sizes [60, 40, 40],
global_scale 2^40, symmetric), in memory. Plain: float32 vectors in files. Runs alternate; the tables show the smallest.
Floors, with the numbers of the first of ours, in memory: SEAL's encrypt, add and decrypt calls alone; the same with its
load and save (which expand seeds, and compress: the binding has no other way in or out); one pad of AES-CTR per update.
usage: secure_speed.py [millions of parameters, with commas] [partners, with commas] [repeats]
"""

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import tenseal
import tenseal.sealapi as seal
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the consortium of the tests

from secure.ciphertexts.bfv import Ring
from secure.ciphertexts.packing import blocks, pack, unpack
from secure.ciphertexts.parameters import N_SLOTS, SEED_BYTES, SealParameters
from secure.ciphertexts.seal_files import POLYNOMIAL_BYTES, SealInput
from secure.encoding.derive import random_words, uniform_numbers
from secure.sealing.fixed_point import make_grid, quantise
from tests.support.secure.consortium import Consortium, make_consortium

FIRST_BOUND = 0.01
STEPS = ("seal", "add", "open")
# What we set out for: the peer's CPU seconds (seal + open, and add) over ours, and bytes per parameter.
LIMITS = {16: (8.0, 8.0, 3.9), 8: (9.0, 8.0, 2.7)}
PEER, PLAIN = "NVFlare's CKKS", "plain float32"
CALLS, WITH_FILES, PAD = "SEAL's calls alone", "SEAL, load and save", "pad of AES-CTR"
GROUP = 4  # ciphertexts that take each step together, as in a block of ours
Result = TypeVar("Result")


@dataclass
class Measured:
    """One run: CPU seconds of each step, bytes of one update and of the sum, largest error of the mean, memory."""

    seal: float
    add: float
    open: float
    error: float
    n_bytes: float = math.nan  # nan: of a floor, which makes no files
    sum_bytes: float = math.nan
    peak_mb: float = 0.0  # most resident memory during the run, above what was there before it

    @property
    def both(self) -> float:
        """CPU seconds that a partner spends in a round."""
        return self.seal + self.open


Found = dict[tuple[int, int], dict[str, Measured]]  # by parameters and partners, then by who


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """CPU seconds of a call, all threads, and what it returned."""
    before = time.process_time()
    result = call()
    return time.process_time() - before, result


def ours(consortium: Consortium, change: np.ndarray, folder: Path) -> Measured:
    """Seal one update (the others were sealed before), add all, open the sum."""
    files = [folder / f"{name}.update" for name in consortium.partners]
    files[0].unlink()
    seal_s, _ = timed(lambda: consortium.seal(consortium.partners[0], change, files[0]))
    add_s, _ = timed(lambda: consortium.add(files, folder / "sum"))
    open_s, opened = timed(lambda: consortium.open(folder / "sum", change.size))
    error = float(np.abs(opened.mean - change).max())
    assert error <= FIRST_BOUND / consortium.parameters.limit, f"the mean of equal updates is off by {error}"
    return Measured(seal_s, add_s, open_s, files[0].stat().st_size, (folder / "sum").stat().st_size, error)


def nvflare(context: tenseal.Context, change: np.ndarray, n_partners: int) -> Measured:
    """Encrypt, add and decrypt with NVFlare's CKKS vectors, serialised between the steps."""

    def add() -> bytes:
        total = tenseal.ckks_vector_from(context, sealed)
        for _ in range(n_partners - 1):
            total += tenseal.ckks_vector_from(context, sealed)
        return bytes(total.serialize())

    seal_s, sealed = timed(lambda: tenseal.ckks_vector(context, change).serialize())
    add_s, total = timed(add)
    open_s, opened = timed(lambda: np.array(tenseal.ckks_vector_from(context, total).decrypt()) / n_partners)
    return Measured(seal_s, add_s, open_s, len(sealed), len(total), float(np.abs(opened - change).max()))


class Stopwatch:
    """CPU seconds of each step, summed over the times it runs."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STEPS, 0.0)

    @contextmanager
    def __call__(self, step: str, *, is_counted: bool = True) -> Iterator[None]:
        """Add what runs inside to a step."""
        before = time.process_time()
        yield
        if is_counted:
            self.seconds[step] += time.process_time() - before


def packed_slots(change: np.ndarray, p: SealParameters) -> np.ndarray:
    """Return the numbers that a partner seals, (n_chunks, 8192) uint64, without masks and tag."""
    grid, rng = make_grid([slice(0, change.size)], np.array([FIRST_BOUND]), p), np.random.default_rng(0)
    parts = [change[block.start : block.stop] for block in blocks(change.size, p)]
    integers = [quantise(part, 0, grid, rng)[0] for part in parts]
    slots = [pack(part, block, p) for part, block in zip(integers, blocks(change.size, p), strict=True)]
    return np.concatenate(slots).reshape(-1, N_SLOTS)


def largest_error(change: np.ndarray, total: np.ndarray, p: SealParameters, n_partners: int) -> float:
    """Return how far the mean of a sum of slots is from the change."""
    step, first, worst = np.float64(FIRST_BOUND) / p.limit, 0, 0.0
    for block in blocks(change.size, p):
        sums = unpack(total.reshape(-1)[first : first + block.n_slots], block, p, n_partners)
        first += block.n_slots
        worst = max(worst, float(np.abs(sums * (step / n_partners) - change[block.start : block.stop]).max(initial=0)))
    assert worst <= FIRST_BOUND / p.limit, f"the mean of equal numbers is off by {worst}"
    return worst


class SealAlone:
    """SEAL's own calls for the numbers of an update, chunk by chunk; in and out by hocket's way through files."""

    def __init__(self, p: SealParameters, n_partners: int) -> None:
        self._ring, self._n = Ring(p), n_partners
        context, heads = self._ring.context, self._ring.heads
        key = seal.KeyGenerator(context).secret_key()
        self._encryptor, self._decryptor = seal.Encryptor(context, key), seal.Decryptor(context, key)
        self._evaluator = seal.Evaluator(context)
        self._plain, self._fresh, self._sum = (SealInput(context, h) for h in (heads.plain, heads.fresh, heads.sum))

    def run(self, slots: np.ndarray, clock: Stopwatch, *, with_files: bool) -> np.ndarray:
        """Encrypt each row, add it n times, decrypt; return the sums. with_files : count SEAL's load and save too."""
        groups = [self._group(slots[i : i + GROUP], clock, with_files) for i in range(0, len(slots), GROUP)]
        return np.concatenate(groups)

    def _group(self, rows: np.ndarray, clock: Stopwatch, with_files: bool) -> np.ndarray:  # noqa: FBT001 -- private
        heads, plains, sums = self._ring.heads, [seal.Plaintext() for _ in rows], [seal.Ciphertext() for _ in rows]
        with clock("seal", is_counted=with_files):
            for plain, row in zip(plains, rows, strict=True):
                self._plain.load(plain, row)
        with clock("seal"):
            encrypted = [self._encryptor.encrypt_symmetric(plain) for plain in plains]
        with clock("seal", is_counted=with_files):
            n_bytes = POLYNOMIAL_BYTES + len(heads.fresh_tail) + SEED_BYTES
            sealed = [self._saved(ciphertext, heads.fresh, n_bytes) for ciphertext in encrypted]
        for total, update in zip(sums, sealed, strict=True):
            self._add(total, update, clock, with_files)
        with clock("add", is_counted=with_files):
            added = [self._saved(total, heads.sum, 2 * POLYNOMIAL_BYTES) for total in sums]
        with clock("open", is_counted=with_files):
            for total, words in zip(sums, added, strict=True):
                self._sum.load(total, words)
        with clock("open"):
            for total, plain in zip(sums, plains, strict=True):
                self._decryptor.decrypt(total, plain)
        with clock("open", is_counted=with_files):
            for plain in plains:
                plain.resize(N_SLOTS)
            opened = [self._saved(plain, heads.plain, POLYNOMIAL_BYTES) for plain in plains]
        return np.stack([np.frombuffer(content, "<u8") for content in opened])

    def _add(self, total: object, update: memoryview, clock: Stopwatch, with_files: bool) -> None:  # noqa: FBT001 -- private
        with clock("add", is_counted=with_files):
            self._fresh.load(total, update)
        for _ in range(self._n - 1):
            with clock("add", is_counted=with_files):
                other = seal.Ciphertext()
                self._fresh.load(other, update)
            with clock("add"):
                self._evaluator.add_inplace(total, other)

    def _saved(self, thing: object, head: bytes, n_bytes: int) -> memoryview:
        return self._ring.output.save(thing, head, n_bytes)


def seal_alone(p: SealParameters, change: np.ndarray, n_partners: int, *, with_files: bool) -> Measured:
    """Measure SEAL's own calls for the numbers of ours, masked as ours are: others would compress otherwise."""
    slots, clock, t = packed_slots(change, p), Stopwatch(), np.uint64(p.t)
    mask = uniform_numbers(bytes(32), 0, slots.size, p.t).reshape(slots.shape)
    total = SealAlone(p, n_partners).run((slots + mask) % t, clock, with_files=with_files)
    total = (total + (t - mask) * np.uint64(n_partners)) % t
    error = largest_error(change, total, p, n_partners)
    return Measured(**clock.seconds, error=error)


def pad(p: SealParameters, change: np.ndarray, n_partners: int) -> Measured:
    """Add one pad to the numbers of ours, add the updates mod 2^64, take all pads away: hides, proves nothing."""
    slots, clock, keys = packed_slots(change, p), Stopwatch(), [bytes([number] * 32) for number in range(n_partners)]
    total = np.empty_like(slots)
    for first in range(0, len(slots), GROUP):
        rows = slots[first : first + GROUP]
        with clock("seal"):
            sealed = [rows + random_words(keys[0], first, rows.size).reshape(rows.shape)]
        sealed += [rows + random_words(key, first, rows.size).reshape(rows.shape) for key in keys[1:]]
        with clock("add"):
            added = sealed[0] + sealed[1]
            for other in sealed[2:]:
                added += other
        with clock("open"):
            for key in keys:
                added -= random_words(key, first, rows.size).reshape(rows.shape)
        total[first : first + GROUP] = added
    error = largest_error(change, total, p, n_partners)
    return Measured(**clock.seconds, error=error)


def floors(p: SealParameters, change: np.ndarray, n_partners: int) -> dict[str, Callable[[], Measured]]:
    """Return what measures each floor below ours, by name."""
    return {
        CALLS: lambda: seal_alone(p, change, n_partners, with_files=False),
        WITH_FILES: lambda: seal_alone(p, change, n_partners, with_files=True),
        PAD: lambda: pad(p, change, n_partners),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence TenSEAL, which prints a warning from C++ for every vector longer than a ciphertext."""
    sys.stdout.flush()
    stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(nowhere)


def plain(change: np.ndarray, n_partners: int, folder: Path) -> Measured:
    """Write, read and add float32 vectors, without encryption."""
    file, total_file = folder / "plain.npy", folder / "total.npy"

    def add() -> None:
        total = np.load(file)
        for _ in range(n_partners - 1):
            total += np.load(file)
        np.save(total_file, total)

    seal_s, _ = timed(lambda: np.save(file, change))
    add_s, _ = timed(add)
    open_s, mean = timed(lambda: np.load(total_file) / np.float32(n_partners))
    error = float(np.abs(mean - change).max())
    return Measured(seal_s, add_s, open_s, file.stat().st_size, total_file.stat().st_size, error)


def with_peak(run: Callable[[], Measured]) -> Measured:
    """Add the peak of memory to a run; writing 5 to clear_refs resets the kernel's peak."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_mb()
    measured = run()
    return replace(measured, peak_mb=_peak_mb() - before)


def _peak_mb() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def best(runs: Iterable[Measured]) -> Measured:
    """Smallest of each figure: the cost without disturbance by other processes."""
    found = list(runs)
    return Measured(*(min(getattr(run, name) for run in found) for name in Measured.__dataclass_fields__))


def measure(n_params: int, n_partners: int, repeats: int) -> dict[str, Measured]:
    """Alternate runs of all three."""
    change = (np.random.default_rng(0).standard_normal(n_params) * 1e-3).astype(np.float32)
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        poly_modulus_degree=8192,
        coeff_mod_bit_sizes=[60, 40, 40],
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
    )
    context.global_scale = 2**40
    runs: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory() as name:
        consortia, folders = {}, {bits: Path(name) / str(bits) for bits in LIMITS}
        for bits, folder in folders.items():
            folder.mkdir()
            consortia[bits] = make_consortium(n_partners, bits=bits, max_partners=n_partners, first_bound=FIRST_BOUND)
            for partner in consortia[bits].partners:
                consortia[bits].seal(partner, change, folder / f"{partner}.update", workers=2)
        for _ in range(repeats):
            for bits, folder in folders.items():
                runs.setdefault(f"hocket, {bits} bits", []).append(
                    with_peak(lambda c=consortia[bits], f=folder: ours(c, change, f))  # type: ignore[misc]
                )
            with _quiet():
                runs.setdefault(PEER, []).append(with_peak(lambda: nvflare(context, change, n_partners)))
            runs.setdefault(PLAIN, []).append(with_peak(lambda: plain(change, n_partners, Path(name))))
            for who, floor in floors(consortia[max(LIMITS)].parameters, change, n_partners).items():
                runs.setdefault(who, []).append(with_peak(floor))
    return {who: best(found) for who, found in runs.items()}


def show(found: dict[str, Measured], n_params: int, n_partners: int, console: Console) -> None:
    """Print the table; ratios are NVFlare's over ours."""
    peer = found[PEER]
    title = f"{n_params / 1e6:g} M parameters, {n_partners} partners: CPU seconds (NVFlare's / ours, at least wanted)"
    table = Table(title=title)
    for column in ("", *STEPS, "seal + open", "bytes per parameter, up", "down", "error of the mean", "peak MB"):
        table.add_column(column, justify="right")
    for who, run in found.items():
        both, add, size = LIMITS.get(int(who.split()[1]), ()) if who.startswith("hocket") else ("", "", "")
        cells = [
            f"{run.seal:.2f}",
            _ratio(run.add, peer.add, add),
            f"{run.open:.2f}",
            _ratio(run.both, peer.both, both),
        ]
        per_parameter, down = ("" if math.isnan(n) else f"{n / n_params:.2f}" for n in (run.n_bytes, run.sum_bytes))
        per_parameter += f" (limit {size})" if size else ""
        table.add_row(who, *cells, per_parameter, down, f"{run.error:.1e}", f"{run.peak_mb:.0f}")
    console.print(table)


def _ratio(seconds: float, peer: float, wanted: float | str) -> str:
    text = f"{seconds:.2f} ({peer / seconds:.1f}x"
    return f"{text}, {wanted:g}x)" if wanted else f"{text})"


def show_slopes(found: Found, console: Console) -> None:
    """Print how the cost grows: nanoseconds of CPU per parameter, and for adding per parameter and partner."""
    table = Table(title="growth: CPU ns per parameter; adding: per parameter and partner")
    for column in ("parameters", "partners", "who", *STEPS):
        table.add_column(column, justify="right")
    for (n_params, n_partners), runs in found.items():
        for who, run in runs.items():
            per = [run.seal / n_params, run.add / n_params / n_partners, run.open / n_params]
            table.add_row(f"{n_params / 1e6:g} M", str(n_partners), who, *(f"{1e9 * value:.1f}" for value in per))
    console.print(table)
    (least, most), partners = _ends(n for n, _ in found), _ends(n for _, n in found)
    for who in next(iter(found.values())):
        few = partners[0]
        by_size = [f"{step} {_exponent(found, who, step, (least, few), (most, few)):.2f}" for step in STEPS]
        by_partners = _exponent(found, who, "add", (least, few), (least, partners[1]))
        console.print(f"{who}: cost ~ parameters to the power {', '.join(by_size)}; add ~ partners^{by_partners:.2f}")


def _ends(numbers: Iterable[int]) -> tuple[int, int]:
    found = sorted(numbers)
    return found[0], found[-1]


def _exponent(found: Found, who: str, step: str, small: tuple[int, int], large: tuple[int, int]) -> float:
    """Slope of log cost against log size between two cases; 1 is linear, NaN where only one was measured."""
    growth = math.prod(large) / math.prod(small)
    costs = [getattr(found[case][who], step) for case in (small, large)]
    return math.log(costs[1] / costs[0]) / math.log(growth) if growth > 1 else math.nan


def main(millions: str = "2,20", partners: str = "3,5,10", repeats: str = "2") -> None:
    """Measure and print."""
    console, found = Console(width=150), Found()
    for n_params in (int(float(text) * 1e6) for text in millions.split(",")):
        for n_partners in map(int, partners.split(",")):
            found[n_params, n_partners] = measure(n_params, n_partners, int(repeats))
            show(found[n_params, n_partners], n_params, n_partners, console)
    show_slopes(found, console)


if __name__ == "__main__":
    main(*sys.argv[1:])
