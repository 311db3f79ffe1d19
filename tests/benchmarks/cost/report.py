"""A partner's local work in scale.py: laws, their checks against measured runs, and the budget that follows."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.cost.budget import FOLDS_OF_NETWORKS, Budget, Federation, budget_of
from tests.benchmarks.cost.laws import Laws
from tests.benchmarks.cost.local import (
    BATCH_SIZE,
    Part,
    Trained,
    assay_spread,
    fit_laws,
    measure_assays,
    measure_part,
    standardising_s,
    train_made_up,
    write_parts,
)
from tests.benchmarks.cost.rounds import WANTED, Model
from tests.support.benchmarks.forked import forked

# compounds; with fewer than 1,000 in the training folds the input layer has no dense block and costs more
FITTED_PARTS, CHECKED_PARTS = (3000, 5000), (2000, 8000)
FITTED_MADE_UP, CHECKED_MADE_UP = 20_000, 100_000
FEDERATIONS = (Federation(10, 1_000_000, 40_000), Federation(10, 5_000_000, 40_000))
CORES = (16, 64)

Check = tuple[str, float, float]  # what, by the laws, measured


def show_local(console: Console, real: Path, sealing: Model) -> None:
    """Measure a partner's local work on parts of real tables, print laws, checks and the budget."""
    n_tasks = FEDERATIONS[0].n_tasks // FEDERATIONS[0].n_partners
    laws, bits_each, spread = local_laws(console, real, n_tasks)
    sizes = [federation.size(bits_each, spread) for federation in FEDERATIONS]
    show_budgets([budget_of(f, size, laws, sealing) for f, size in zip(FEDERATIONS, sizes, strict=True)], console)


def local_laws(console: Console, real: Path, n_tasks: int) -> tuple[Laws, float, list[float]]:
    """Measure a partner's local work, print laws and checks; also set bits of a compound, and the spread of assays."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        forked(lambda: write_parts(real, folder, (*FITTED_PARTS, *CHECKED_PARTS)))
        fitted = [measure_part(folder / str(size), with_models=False) for size in FITTED_PARTS]
        fitted_made_up = train_made_up(FITTED_MADE_UP, n_tasks)
        parts = [measure_part(folder / str(size), with_models=True) for size in CHECKED_PARTS]
        made_up = train_made_up(CHECKED_MADE_UP, n_tasks)
        costs = measure_assays(folder / str(FITTED_PARTS[-1]))
        laws = fit_laws(fitted, fitted_made_up, costs, standardising_s(["C"]))
    show_laws(laws, console)
    for size, part in zip(CHECKED_PARTS, parts, strict=True):
        show_checks(f"{size:,} compounds of {real.name}", checks_of(laws, part), console)
    show_checks(f"{CHECKED_MADE_UP:,} made-up compounds, {n_tasks:,} tasks", trained_checks(laws, made_up), console)
    size = parts[-1].size
    return laws, size.n_bits_set / size.n_compounds, forked(lambda: assay_spread(real))


def trained_checks(laws: Laws, trained: Trained) -> list[Check]:
    """Training and validation."""
    size = trained.size
    outputs = 4.0 * size.n_validation * size.n_tasks
    peak = laws.training_peak(size, BATCH_SIZE)
    return [
        ("an optimiser step, CPU s", laws.step_s(size, BATCH_SIZE), trained.step_s),
        ("a validation, CPU s", laws.validation_s(size), trained.validation_s),
        ("peak of training, GB", peak / 1e9, trained.training_peak / 1e9),
        ("peak of validation, GB", (peak + outputs) / 1e9, trained.validation_peak / 1e9),
    ]


def checks_of(laws: Laws, part: Part) -> list[Check]:
    """All steps of a part."""
    size, n_fold = part.size, part.size.n_validation
    structures = laws.structures[0] + laws.structures[1] * part.structures
    tables = laws.tables[0] + laws.tables[1] * size.tables()[1]
    # calibration and scores: strongest local models on three folds and, on half of the data, one; take-home on three
    n_test = size.n_test
    scored = laws.scoring_s(size, 2 * n_fold + 2 * n_test, 2 * n_fold + n_test)
    models = laws.assay_fits_s(size) + scored + 4 * laws.validation_s(size) * (1 + n_test / n_fold) / 2
    n_bytes = 2 * laws.model_bytes * sum(size.forests)  # the few bytes of Gaussian processes are left out
    return [
        (f"{part.structures:,} structures, canonical tautomers, CPU s", structures, part.structures_s),
        ("tables to matrices, tautomers kept, CPU s", tables, part.tables_s),
        *trained_checks(laws, part.trained),
        (f"models of {len(size.assays)} assays, CPU s", models, part.models_s),
        ("peak of the models, GB", laws.models_peak(size, n_networks=1) / 1e9, part.models_peak / 1e9),
        ("matrices and cache, MB of disk", (laws.prepared_bytes[0] + laws.prepared_bytes[1] * size.n_compounds) / 1e6,
         part.prepared_bytes / 1e6),
        ("models of assays, MB of disk", n_bytes / 1e6, part.model_bytes / 1e6),
    ]  # fmt: skip


def show_laws(laws: Laws, console: Console) -> None:
    """Print the fitted numbers."""
    console.print(
        f"structures, canonical tautomers: {1e3 * laws.structures[1]:.1f} ms of CPU each, "
        f"{3600 / laws.structures[1]:,.0f} in a core hour\n"
        f"tables: {laws.tables[0]:.1f} s + {1e6 * laws.tables[1]:.0f} us of CPU per row of T1 and T2\n"
        f"an optimiser step: {1e9 * laws.step[0]:.2f} ns of CPU per weight + {1e9 * laws.step[1]:.2f} ns per compound, "
        f"set bit or label, and unit\n"
        f"validation: {laws.validation[0]:.2f} s + {1e9 * laws.validation[1]:.2f} ns per compound, bit and unit + "
        f"{1e9 * laws.validation[2]:.3f} ns per compound, task and unit\n"
        f"models of an assay with 100, 1,000, 5,000, 50,000 measurements: "
        f"{', '.join(f'{laws.assays.seconds(n):.2f}' for n in (100, 1000, 5000, 50_000))} s\n"
        f"scoring a compound: {1e9 * laws.scoring[0]:.1f} ns + {1e12 * laws.scoring[1]:.1f} ps per unit, per training "
        f"compound; per forest {1e6 * laws.scoring[2]:.1f} + {1e6 * laws.scoring[3]:.1f} us per level, on the trunk "
        f"{1e6 * laws.scoring[4]:.1f} + {1e6 * laws.scoring[5]:.1f} us\n"
        f"memory: {laws.training_bytes[0] / 1e6:.0f} MB + 12 bytes per weight + {laws.training_bytes[2]:.1f} per bit "
        f"and label; hidden layer {laws.hidden_bytes:.1f} bytes per training compound and unit; models of assays "
        f"{laws.model_bytes:,.0f} bytes per measurement and side",
        highlight=False,
    )  # fmt: skip


def show_checks(title: str, checks: Sequence[Check], console: Console) -> None:
    """Print what the laws say beside what was measured."""
    table = Table(title=f"laws / measured, {title}")
    for column in ("", "laws", "measured", "ratio", f"within {WANTED:.0%}"):
        table.add_column(column, justify="right" if column else "left")
    for what, said, found in checks:
        ratio = said / found
        is_within = 1 / (1 + WANTED) <= ratio <= 1 + WANTED
        table.add_row(what, f"{said:,.2f}", f"{found:,.2f}", f"{ratio:.2f}", "yes" if is_within else "NO")
    console.print(table)


def show_budgets(budgets: Sequence[Budget], console: Console) -> None:
    """Print the table for a budget meeting: everything in it is extrapolated."""
    first = budgets[0].federation
    table = Table(title=f"{first.n_partners} partners, {first.n_tasks:,} tasks in all, {first.n_rounds} rounds")
    table.add_column("")
    for budget in budgets:
        compounds = f"{budget.federation.n_compounds / 1e6:g} M compounds each"
        for column in (f"{compounds}: core hours", "GB of memory"):
            table.add_column(column, justify="right")
    for row in budget_rows(budgets):
        table.add_row(*row)
    console.print(table)
    for budget in budgets:
        console.print(assumptions(budget), highlight=False)


def budget_rows(budgets: Sequence[Budget]) -> Iterator[list[str]]:
    """Rows of the table, two cells for each budget."""
    for steps in zip(*(budget.steps for budget in budgets), strict=True):
        cells = [(f"{step.core_hours:,.1f}", "" if step.peak_gb is None else f"{step.peak_gb:,.1f}") for step in steps]
        yield [steps[0].name, *(text for pair in cells for text in pair)]
    rows: list[tuple[str, list[tuple[str, str]]]] = [
        ("a partner", [(f"{b.core_hours:,.0f}", f"{b.peak_gb:,.0f}") for b in budgets]),
        *((f"hours of a partner on {n} cores", [(f"{b.core_hours / n:,.1f}", "") for b in budgets]) for n in CORES),
        ("the aggregator", [(f"{b.adding_hours:,.2f}", f"{b.adding_mb / 1e3:,.1f}") for b in budgets]),
        ("all partners and the aggregator", [(f"{b.all_core_hours:,.0f}", "") for b in budgets]),
        ("disk of a partner's home, GB", [("", f"{b.home_gb:,.0f}") for b in budgets]),
        ("a partner sends, GB", [("", f"{b.up_gb:,.1f}") for b in budgets]),
        ("a partner receives, GB", [("", f"{b.down_gb:,.1f}") for b in budgets]),
        ("in the exchange, all rounds, GB", [("", f"{b.exchange_gb:,.0f}") for b in budgets]),
    ]
    for name, pairs in rows:
        yield [name, *(text for pair in pairs for text in pair)]


def assumptions(budget: Budget) -> str:
    """In words."""
    f = budget.federation
    return (
        f"{f.n_compounds / 1e6:g} M: {f.n_tasks // f.n_partners:,} tasks of {f.n_tasks // f.n_partners / 2.5:,.0f} "
        f"assays at each partner, {f.values_each:g} values a compound; {f.n_rounds} rounds of {f.steps_per_round:,} "
        f"steps of {f.batch_size:,} ({f.n_epochs:g} epochs), again for the local network; {2 * f.n_rounds} + "
        f"{FOLDS_OF_NETWORKS} validations; {f.n_inputs:,} x {f.n_units:,} parameters, all columns shared; no GPU"
    )
