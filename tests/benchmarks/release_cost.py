"""What the release costs: CPU seconds of sealing and opening with it, and as before it, without its streams.

Pairs, one after the other in one process, from files to files: sealing with and without the member's own stream;
opening in two steps (decrypt and check the tag, then take all members' streams away and unpack) and in one without
streams. The table shows the median of each and of the ratios of the pairs. It ends with 1 if the ratio is over 1.12.
usage: release_cost.py [millions of parameters] [partners] [repeats]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the consortium of the tests

from secure.ciphertexts.packing import unpack
from secure.sealing.container import read_chunks
from secure.sealing.masks import Masks
from secure.sealing.open_sum import BlockOpener
from secure.sealing.tags import Tagger
from tests.support.secure.consortium import Consortium, make_consortium

MOST = 1.12


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    started = time.process_time()
    run()
    return time.process_time() - started


def seal(c: Consortium, change: np.ndarray, path: Path) -> None:
    """Seal as the first partner."""
    path.unlink(missing_ok=True)
    c.seal(c.partners[0], change, path)


def seal_before(c: Consortium, change: np.ndarray, path: Path) -> None:
    """Seal without the stream of the release seed."""
    with patch.object(Masks, "with_release", lambda masks, _seed: masks):
        seal(c, change, path)


def open_before(c: Consortium, path: Path, n_params: int) -> None:
    """Decrypt, check the tag and unpack block by block, as before the release."""
    p, roster = c.parameters, c.roster()
    tagger, total = Tagger(c.group.tag_seed, roster, p.t), np.empty(n_params, dtype=np.int32)
    opener, tag = BlockOpener(p, c.group.bfv_key, tagger), -1
    with read_chunks(path) as reader:
        reader.expect_shape(p)
        for task in reader:
            block, slots, part = opener(task)
            tagger.add(part)
            tag = int(slots[-1])
            total[block.start : block.stop] = unpack(slots, block, p, len(roster.members))
    assert tag == tagger.tag(*roster.members)


def measure(millions: float, n_partners: int, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Pairs of CPU seconds, with the release and before it, of each step."""
    c, n = make_consortium(n_partners, max_partners=16), int(millions * 1e6)
    rng = np.random.default_rng(0)
    change = rng.uniform(-0.01, 0.01, n).astype(np.float32)
    pairs: dict[str, list[tuple[float, float]]] = {"seal": [], "open": []}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        c.add(c.seal_all(here, dict.fromkeys(c.partners, change)), here / "sum")
        for _ in range(repeats):
            with_it = cpu_seconds(lambda: seal(c, change, here / "again"))
            pairs["seal"].append((with_it, cpu_seconds(lambda: seal_before(c, change, here / "again"))))
            with_it = cpu_seconds(lambda: c.open(here / "sum", n))
            pairs["open"].append((with_it, cpu_seconds(lambda: open_before(c, here / "sum", n))))
    return pairs


def main() -> int:
    """Measure and print the table."""
    given = [float(number) for number in sys.argv[1:]]
    millions, n_partners, repeats = (*given, *(2.0, 10.0, 5.0)[len(given) :])
    pairs = measure(millions, int(n_partners), int(repeats))
    pairs["both"] = [(a + c, b + d) for (a, b), (c, d) in zip(pairs["seal"], pairs["open"], strict=True)]
    table = Table(
        "step", "with the release", "before", "ratio", title=f"{millions:g} M parameters, {n_partners:g} partners"
    )
    for step, measured in pairs.items():
        now, before = np.array(measured).T
        table.add_row(step, *(f"{np.median(x):.3f}" for x in (now, before, now / before)))
    Console(width=100).print(table)
    ratio = float(np.median([now / before for now, before in pairs["both"]]))
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
