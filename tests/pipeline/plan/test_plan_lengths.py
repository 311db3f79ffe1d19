"""The catalogue and the input columns of a plan: the digest, the length of the vector, refusals."""

import math

import pytest

from partners.network.trunk import trunk_digest
from pipeline.plan.lengths import PossibleLengths
from pipeline.plan.plan import Plan
from pipeline.plan.toml_schema import check_table
from tests.support.plan.plan_tables import CONTINUES, Table, refusal

# ---------------------------------------------------------------------------------------------------- the catalogue

TASKS = [{"id": "C1", "threshold": 6.0}, {"id": "C1", "threshold": 7.0}, {"id": "C2", "threshold": 6.0}]


def with_catalogue(table: Table, **catalogue: object) -> Plan:
    """The plan with this catalogue."""
    return check_table(table | {"catalogue": catalogue}, Plan, "plan")


def test_without_a_catalogue_nothing_changes(table: Table):
    """No catalogue, or an empty one: the digest, the vector and the rounds are as they were before there were any."""
    plain, empty = check_table(table, Plan, "plan"), with_catalogue(table, tasks=[], min_partners=2)
    assert plain.digest == empty.digest
    assert plain.layout == empty.layout
    assert plain.possible_lengths(1).only == empty.possible_lengths(1).only == plain.layout.n_params
    assert not plain.has_counting_round
    assert plain.starts_with == 1


def test_a_catalogue_enters_the_digest(table: Table):
    """Its tasks, their order and its minimum are all part of the digest."""
    catalogues: list[Table] = [{"tasks": TASKS}, {"tasks": TASKS[::-1]}, {"tasks": TASKS[:2]}]
    catalogues += [{"tasks": TASKS, "min_partners": 2}]
    plans = [with_catalogue(table, **catalogue) for catalogue in catalogues]
    assert len({plan.digest for plan in (*plans, check_table(table, Plan, "plan"))}) == 5
    assert with_catalogue(table, tasks=TASKS, min_partners=3).digest == plans[0].digest


def test_a_catalogue_makes_the_vector_longer(table: Table):
    """A row of weights and a bias for each place: the trunk alone, or padded to 1, 2 or 4 rows; flags have three."""
    plan = with_catalogue(table, tasks=TASKS)
    trunk = 512 * 16 + 16
    assert plan.possible_lengths(1) == PossibleLengths.these([trunk, trunk + 17, trunk + 2 * 17, trunk + 4 * 17])
    assert [layout.n_rows for layout in plan.possible_layouts] == [0, 1, 2, 4]
    assert plan.layout.n_params == trunk
    assert plan.possible_lengths(0).only == 3
    assert with_catalogue(table, tasks=TASKS[:1]).possible_lengths(1) == PossibleLengths.these([trunk, trunk + 17])
    assert plan.starts_with == 0


def test_a_first_vector_tells_its_layout(table: Table):
    """The digest of each possible first vector gives its layout, another digest none."""
    plan = with_catalogue(table, tasks=TASKS)
    for layout in plan.possible_layouts:
        assert plan.first_layout(plan.first_digest(layout)) == layout
        assert plan.first_digest(layout) == trunk_digest(plan.first_vector(layout))
    assert plan.first_layout(plan.first_digest(plan.layout_with(3))) is None


def test_catalogue_flags_weigh_the_same_under_the_same_key(table: Table):
    """Even if updates weigh by size, flags do not, and the group's key opens both."""
    plan = with_catalogue(table | {"seal": {"weights": "size", "max_weight": 2**32}}, tasks=TASKS)
    assert (plan.seal_parameters(0).max_weight, plan.seal_parameters(1).max_weight) == (1, 2**32)
    assert plan.seal_parameters(0).ring_digest() == plan.seal_parameters(1).ring_digest()


def test_only_a_plan_from_the_first_round_on_has_a_counting_round(table: Table):
    """A later revision keeps the counts: another count would show which partner came or left."""
    later = check_table(table | {"catalogue": {"tasks": TASKS}, "continues": CONTINUES | {"round": 2}}, Plan, "plan")
    assert not later.has_counting_round
    assert later.starts_with == 2


@pytest.mark.parametrize(
    ("catalogue", "said"),
    [
        ({"tasks": [*TASKS, TASKS[0]]}, "'C1' at 6"),
        ({"tasks": TASKS, "min_partners": 1}, "catalogue.min_partners: "),
        ({"tasks": TASKS, "min_partners": 4}, "catalogue.min_partners is 4"),
        ({"tasks": [{"id": "", "threshold": 6.0}]}, "catalogue.tasks.0.id: "),
        ({"tasks": [{"id": "C1"}]}, "catalogue.tasks.0.threshold: "),
        ({"tasks": [{"id": "C1", "threshold": 6.0, "assay": "A"}]}, "catalogue.tasks.0.assay: "),
        ({"tasks": [{"id": "C1", "threshold": math.nan}]}, "catalogue.tasks.0.threshold: found nan"),
    ],
)
def test_impossible_catalogues_are_refused(table: Table, catalogue: Table, said: str):
    """A task twice, a minimum of one or above the number of partners, tasks without id or threshold."""
    assert said in refusal(table | {"catalogue": catalogue})


# ------------------------------------------------------------------------------------------------ the input columns


def with_columns(table: Table, **columns: object) -> Plan:
    """The plan with these settings of input columns."""
    return check_table(
        {key: value for key, value in table.items() if key != "columns"} | {"columns": columns}, Plan, ""
    )


def test_columns_are_counted_unless_the_plan_says_otherwise(table: Table):
    """By default they are, in round 0; with min_partners = 0 there is neither that round nor a trace in the digest."""
    plan, without = with_columns(table), with_columns(table, min_partners=0)
    assert plan == check_table({key: value for key, value in table.items() if key != "columns"}, Plan, "")
    assert plan.columns.min_partners == 3
    assert (plan.has_counting_round, plan.starts_with, without.has_counting_round) == (True, 0, False)
    assert without.digest == with_columns(table, min_partners=0, min_compounds=9, withhold=0.5).digest
    others = [with_columns(table, **{key: value}) for key, value in (("min_compounds", 9), ("withhold", 0.5))]
    assert len({each.digest for each in (plan, without, with_columns(table, min_partners=2), *others)}) == 5


def test_the_vector_may_have_any_number_of_columns(table: Table):
    """From one on, with each number of places for rows; the flags are one for each task and column."""
    plan = with_columns(table | {"catalogue": {"tasks": TASKS[:1]}})
    lengths = plan.possible_lengths(1)
    for n_columns in (1, 2, 511, 512):
        for n_places in (0, 1):
            assert plan.layout_with(n_places, n_columns).n_params in lengths
    assert {0, 16, 31, 512 * 16 + 15, 513 * 16 + 17 + 16} & {n for n in range(9000) if n in lengths} == set()
    assert (lengths.only, lengths.longest) == (None, 512 * 16 + 16 + 17)
    assert plan.possible_lengths(0).only == 1 + 512


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"min_partners": 1}, "columns: min_partners: found 1"),
        ({"min_partners": -1}, "columns.min_partners: "),
        ({"min_partners": 4}, "columns.min_partners is 4"),
        ({"min_compounds": 0}, "columns.min_compounds: "),
        ({"withhold": 1.0}, "columns.withhold: "),
        ({"withhold": -0.1}, "columns.withhold: "),
    ],
)
def test_impossible_columns_are_refused(table: Table, columns: Table, said: str):
    """A minimum of one or above the number of partners, no compound, a share that is none."""
    assert said in refusal(table | {"columns": columns})
