"""Laws of cost at scale: that fits find them, what they say beyond, and the budget that is made of them."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from partners.assay_models.gaussian_process import MOST_ROWS
from partners.network.trunk import trunk_layout
from secure.ciphertexts.parameters import SealSettings, seal_parameters
from tests.benchmarks.cost import report
from tests.benchmarks.cost.budget import Budget, Federation, budget_of
from tests.benchmarks.cost.laws import AssayLaws, Laws, fit_law, value
from tests.benchmarks.cost.local import BATCH_SIZE, HIDDEN, AssayCosts, Part, fit_laws, size_of, train
from tests.benchmarks.cost.rounds import Line, Model, wire
from tests.support.partners.synthetic import small_set

_ASSAYS = AssayLaws((0.1, 1e-7, 1e-10), (0.2, 1e-4), (0.1, 1e-7, 1e-10), (0.1, 1e-4))
_LAWS = Laws(
    structures=(0.0, 0.01),
    tables=(0.0, 0.0),
    step=(1e-9, 1e-9),
    validation=(0.0, 1e-10, 1e-11),
    assays=_ASSAYS,
    scoring=(3e-8, 1e-11, 1e-5, 1e-5, 1e-5, 1e-5),
    training_bytes=(3e8, 12.0, 20.0),
    prepared_bytes=(0.0, 500.0),
    model_bytes=1500.0,
    hidden_bytes=8.0,
)
_SEALING = Model(
    {"seal": Line(1.5e-7, 1e-9), "add": Line(5e-8, 3e-8), "open": Line(1.2e-7, 0.0)},
    {"seal": Line(70.0, 8e-6), "open": Line(70.0, 8e-6), "add": Line(60.0, 0.5)},
)
_FEDERATION = Federation(10, 1_000_000, 40_000)
_SPREAD = [0.1, 0.5, 1.0, 3.0]
_SIZE = _FEDERATION.size(60.0, _SPREAD)


def _budget(federation: Federation, laws: Laws = _LAWS) -> Budget:
    return budget_of(federation, federation.size(60.0, _SPREAD), laws, _SEALING)


@given(st.tuples(st.floats(0.1, 10), st.floats(1e-6, 1e-3)), st.lists(st.integers(1, 10**6), min_size=2, unique=True))
def test_a_law_without_noise_is_found(numbers: tuple[float, float], sizes: list[int]):
    """From two sizes or more, on any scale."""
    terms = [(1.0, float(size)) for size in sizes]
    found = fit_law(terms, [value(numbers, term) for term in terms])
    assert [value(found, term) for term in terms] == pytest.approx([value(numbers, term) for term in terms], rel=1e-6)


def test_more_never_costs_less():
    """Noise that would let a law fall gives a level one."""
    once, each = fit_law([(1.0, 100.0), (1.0, 200.0)], [2.0, 1.0])
    assert each == 0
    assert 1 < once < 2


def test_an_assay_too_large_for_a_gaussian_process_has_a_forest_alone():
    """As fitting does; so it costs less than one just below."""
    assert _ASSAYS.seconds(MOST_ROWS) > _ASSAYS.seconds(MOST_ROWS + 1)
    federation = replace(_FEDERATION, n_compounds=5_000_000)
    size = federation.size(60.0, _SPREAD)
    assert max(size.processes) <= MOST_ROWS < max(size.forests)
    assert size.forests == size.assays


def test_the_size_of_a_partner_is_that_of_its_data():
    """All compounds, measurements and tasks are there once, as the assumptions say."""
    assert _SIZE.n_training + _SIZE.n_validation + _SIZE.n_test == pytest.approx(_SIZE.n_compounds)
    assert sum(_SIZE.assays) == pytest.approx(_SIZE.n_rows * 3 / 5, rel=0.01)
    assert len(_SIZE.assays) * 2.5 == _SIZE.n_tasks == 4000
    assert _FEDERATION.steps_per_round * _FEDERATION.n_rounds * 4000 == 20 * _SIZE.n_training
    assert trunk_layout(32_000, (2000,)).n_params == _FEDERATION.n_params


def test_bytes_are_those_of_sealed_files():
    """They do not depend on the compounds; the exchange holds every update and every sum."""
    up, down = wire(seal_parameters(SealSettings(max_partners=10)), _FEDERATION.n_params)
    for n_compounds in (1_000_000, 5_000_000):
        budget = _budget(replace(_FEDERATION, n_compounds=n_compounds))
        assert budget.up_gb == pytest.approx(20 * up / 1e9)
        assert budget.down_gb == pytest.approx(20 * down / 1e9)
        assert budget.exchange_gb == pytest.approx(10 * budget.up_gb + budget.down_gb)


def test_what_grows_with_compounds_grows_by_as_much():
    """Structures and steps five times; scores more, as each compound is compared with all."""
    one, five = (_budget(replace(_FEDERATION, n_compounds=n)) for n in (1_000_000, 5_000_000))
    grown = {a.name: b.core_hours / a.core_hours for a, b in zip(one.steps, five.steps, strict=True)}
    assert grown["structures and tables"] == pytest.approx(5)
    assert grown["training, with and without the others"] == pytest.approx(5)
    assert grown["sealing, release, opening"] == 1
    assert grown["models of assays: scoring"] > 5.5
    assert one.steps[0].core_hours == pytest.approx(1_000_000 * 0.01 / 3600)
    assert one.all_core_hours == pytest.approx(10 * sum(step.core_hours for step in one.steps) + one.adding_hours)


def test_a_law_that_is_off_is_named(capsys: pytest.CaptureFixture[str]):
    """More than 20 % on either side."""
    report.show_checks("a", [("low", 79.0, 100.0), ("high", 121.0, 100.0), ("right", 90.0, 100.0)], Console(width=100))
    rows = {row.split("│")[1].strip(): row for row in capsys.readouterr().out.splitlines() if row.count("│") == 6}
    assert {name: row.split("│")[5].strip() for name, row in rows.items()} == {
        "low": "NO",
        "high": "NO",
        "right": "yes",
    }


def test_the_budget_is_printed_with_its_assumptions():
    """Both sizes side by side, and the laws and checks before it."""
    budgets = [_budget(replace(_FEDERATION, n_compounds=n)) for n in (1_000_000, 5_000_000)]
    console = Console(width=150, file=io.StringIO(), record=True)
    report.show_laws(_LAWS, console)
    report.show_budgets(budgets, console)
    text = console.export_text()
    assert f"{budgets[0].all_core_hours:,.0f}" in text
    assert f"{budgets[1].exchange_gb:,.0f}" in text
    assert "20 rounds of 750" in text


def test_laws_are_fitted_to_runs_and_say_what_was_measured():
    """A run of a few steps is measured and found again by the laws made of it."""
    data = small_set(n_compounds=400)
    trained = train(data, (20, 40))[2]
    assert trained.size == size_of(data, (20, 40))
    assert trained.size.n_units == HIDDEN[0]
    assert trained.training_peak <= trained.validation_peak
    part = Part(trained, 500, 1.0, 1e8, 80, 2.0, 10_000, models_s=3.0, processes=(20,), forests=(40,))
    costs = AssayCosts(_ASSAYS, _LAWS.scoring, 1500.0, 8.0)
    laws = fit_laws([part, part], trained, costs, 0.5)
    assert laws.structures == (0.5, pytest.approx(1.5 / 80))
    assert laws.step_s(part.size, BATCH_SIZE) == pytest.approx(trained.step_s)
    checks = {name.split(",")[0]: (law, measured) for name, law, measured in report.checks_of(laws, part)}
    for name in ("80 structures", "tables to matrices", "an optimiser step", "a validation", "peak of training"):
        assert checks[name][0] == pytest.approx(checks[name][1], rel=1e-3), name
    assert np.isfinite([number for pair in checks.values() for number in pair]).all()
