"""The check says everything that is wrong at once."""

from data_prep.check import check
from tests.data_prep.small_tables import FAST, t0_rows, t1_rows, t2_rows, write_tables


def test_good_tables_have_one_remark_at_most(tmp_path):
    """Nothing is said about clean tables."""
    assert check(*write_tables(tmp_path, t0=t0_rows(), t1=t1_rows(), t2=t2_rows()), FAST) == []


def test_everything_is_said_at_once(tmp_path):
    """Every kind of problem appears with its table, number of rows and first rows."""
    t0 = ["A1,OTHER,true,false,6,high\n", "A2,MAGIC,,,,\n", "A3,ADME,,,,\n"]
    t1 = ["C0,A1,=,5\n", "C0,A1,=,abc\n", "C0,A2,=,5\n", "C0,A1,=,250\n", "nobody,A1,=,5\n"]
    t2 = ["C0,CC\n", "C0,CCC\n", ",C\n"]
    assert check(*write_tables(tmp_path, t0, t1, t2), FAST) == [
        "T0: 1 row (2) rejected: unknown_assay_type",
        "T1: 1 row (2) rejected: not_a_number",
        "T2: 1 row (3) rejected: missing_id",
        "T1: 1 row (3) rejected: unknown_assay",
        "T1: 1 row (4) rejected: out_of_range",
        "T1: 1 row (5) rejected: unknown_compound",
        "T1: 1 row (4) above 15: log units are expected, not nM or %",
        "T0: 1 row (3) of assays without an activity in T1",
        "T2: 2 rows (1, 2) of compounds that appear with several SMILES",
    ]


def test_unreadable_tables_are_problems(tmp_path):
    """All three unreadable files are named, and no exception is raised."""
    t0, t1, _ = write_tables(tmp_path)
    t0.write_text("")
    t1.write_text("a,b\n1,2\n")
    problems = check(t0, t1, tmp_path / "none.csv", FAST)
    assert [problem[:3] for problem in problems] == ["T0:", "T1:", "T2:"]


def test_empty_t1_is_said(tmp_path):
    """Without activities there will be no task, which is worth saying."""
    assert "T1: no row with an activity, so there will be no task" in check(*write_tables(tmp_path, t1=[]), FAST)
