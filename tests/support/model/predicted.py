"""`hocket predict` in a test, and what a partner knows of its own compounds."""

from pathlib import Path

import polars as pl
from click.testing import Result

from tests.support.cli_runner import hocket
from tests.support.federation import Federation


def run(federation: Federation, *arguments: object, name: str = "P01") -> Result:
    """`hocket predict` for a partner, in this process."""
    return hocket("predict", federation.config(name), *arguments)


def said(federation: Federation, new: Path, output: Path, *options: object, name: str = "P01") -> pl.DataFrame:
    """The table that it writes."""
    result = run(federation, new, "--output", output, *options, name=name)
    assert result.exit_code == 0, result.stderr
    return pl.read_parquet(output) if output.suffix == ".parquet" else pl.read_csv(output)


def compounds_of(federation: Federation, name: str) -> pl.DataFrame:
    """The partner's compounds, by row of its matrices."""
    (file,) = federation.home(name).prepared.glob("*/compounds.parquet")
    return pl.read_parquet(file).unique("row").sort("row")
