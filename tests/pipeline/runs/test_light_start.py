"""The start of a run is light, for cron starts one often: libraries for the end of a run are loaded only then."""

import pytest

from tests.support.cli_runner import python_process

_LATE = ("sklearn", "scipy.stats", "crepes", "matplotlib", "mlflow")


@pytest.mark.slow
def test_a_partner_starts_without_what_only_its_end_needs():
    """Scoring's tests, conformal intervals and figures took 1.1 of 3.0 s of CPU, and 140 of 510 MB, at every start."""
    code = "import sys, pipeline.runs.partner_run, pipeline.runs.report\n"
    code += f"sys.exit(str([m for m in {_LATE} if m in sys.modules]))"
    done = python_process(code)
    assert done.stderr == "[]\n"
