"""Cost of a federation for each role, measured at small sizes, and models of it for larger ones.

Sealing: a whole round runs here with the real code of secure/, files on disk, one member after the other, each in a
process of its own with one worker. A model (per parameter and per parameter and partner) is fitted on two smaller
runs, one of them shorter and with more partners, before and after this one, and checked against two that it does not
know: this one, and one between those two; what it says beyond is extrapolated.

--local adds a partner's local work, in the order of a run: preparation, training, validation, the models of single
assays and their scores. Laws are fitted on parts of real tables with 3,000 and 5,000 compounds, on made-up compounds
with 4,000 tasks and on made-up values of assays with up to 2,000 compounds, and checked against runs that they do not
know: parts of 2,000 and 8,000 compounds, and five times as many made-up ones. Then a budget is printed for 10 partners
with 1 and 5 million compounds each, 40,000 tasks in all: extrapolated, with its assumptions.

--full is 32,000 x 6,000 parameters, MELLODDY's largest input layer: 7.5 GB in TMPDIR and a quarter of an hour.
usage: scale.py [--full] [--millions 20] [--partners 10] [--local] [--data FOLDER_OF_T0_T1_T2]
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the consortium of the tests

from secure.ciphertexts.parameters import SealSettings, seal_parameters
from tests.benchmarks.cost.rounds import Model, between, measure, show_beyond, show_check, show_model, show_run

FULL_MILLIONS, FULL_FITTED, FITTED = 192.0, 20.0, 8.0  # parameters: of the large run, of what is fitted for it, else
MORE = 4  # times as many partners has the smallest run, for a quarter of the parameters
BETWEEN = 2  # times as many has the one between, for half of them
SHARED = Path(os.environ.get("HOCKET_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def sealing_model(console: Console, millions: float, fitted: float, n_partners: int) -> Model:
    """Measure rounds, print them, the model and its checks."""
    p = n_partners
    many, some = (min(times * p, 128) for times in (MORE, BETWEEN))  # 128: the most that a plan may have
    larger = int(fitted * 1e6)
    fits = [(larger // MORE, many), (larger, p)]
    before = [measure(n_params, partners, partners, adds=3) for n_params, partners in fits]
    checks = [measure(larger // BETWEEN, some, some, adds=3), measure(int(millions * 1e6), p, p, adds=1)]
    after = [measure(n_params, partners, partners, adds=3) for n_params, partners in fits]
    small_run, larger_run = (between(*pair) for pair in zip(before, after, strict=True))
    model = Model.fitted(small_run, larger_run)
    for run in (small_run, larger_run):
        show_run(run, console)
    show_model(model, console)
    for run in checks:
        show_run(run, console)
        show_check(model, run, seal_parameters(SealSettings(max_partners=run.n_partners)), console)
    show_beyond(model, console)
    return model


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help=f"{FULL_MILLIONS:g} M parameters")
    parser.add_argument("--millions", type=float, default=20.0)
    parser.add_argument("--partners", type=int, default=10)
    parser.add_argument("--local", action="store_true", help="a partner's local work too, and a budget")
    parser.add_argument("--data", type=Path, default=SHARED / "data/dev_p5/P01", help="tables for --local")
    given = parser.parse_args()
    millions, fitted = (FULL_MILLIONS, FULL_FITTED) if given.full else (given.millions, min(FITTED, given.millions / 2))
    console = Console(width=150)
    if given.local and not given.data.is_dir():
        console.print(f"scale.py: --local needs {given.data} (set HOCKET_SHARED)")
        return 0
    sealing = sealing_model(console, millions, fitted, given.partners)
    if given.local:
        # only now: forked processes of the rounds would hold these libraries too, which an aggregator does not load
        from tests.benchmarks.cost.report import show_local  # noqa: PLC0415

        show_local(console, given.data, sealing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
