"""Modules that members without torch use do not import it."""

import subprocess
import sys
from pathlib import Path

_LIGHT = (
    *("settings", "training.server_step", "training_data.training_set", "files.checkpoint"),
    *("network.trunk", "network.server_state", "network.state", "network.normalisation", "network.input_transform"),
    *("scores.scores", "scores.regression_scores", "scores.task_means", "scores.gate", "scores.comparison"),
)


def test_numpy_modules_do_not_load_torch():
    """Settings, trunk, server step, state, scores, data and checkpoints work without torch."""
    imports = "".join(f"import partners.{name}\n" for name in _LIGHT)
    code = f"{imports}import sys; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], check=False)
    assert done.returncode == 0
