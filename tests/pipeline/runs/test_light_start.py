"""A process is started often: by cron, after a kill, once a member. What only a run's end needs is loaded there."""

import subprocess
import sys

_LATE = ("sklearn", "scipy.stats", "crepes", "matplotlib", "mlflow")


def test_a_partner_starts_without_what_only_its_end_needs():
    """Scoring's tests, conformal intervals and figures took 1.1 of 3.0 s of CPU, and 140 of 510 MB, at every start."""
    code = "import sys, pipeline.runs.partner_run, pipeline.runs.report\n"
    code += f"sys.exit(str([m for m in {_LATE} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"
