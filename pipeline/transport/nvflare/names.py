"""Names that the controller, the executor and the exported job files share, and the environment variables."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import ConfigError

TASK = "hocket_sync"
CONTENT = "hocket"  # key of a Shareable
PARTNER_FILE = "HOCKET_PARTNER"  # set at the site: no job may choose its configuration
AGGREGATOR_FILE = "HOCKET_AGGREGATOR"
CONTROLLER = "pipeline.transport.nvflare.controller.FederationController"
OUTCOME = "NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT"  # NVFlare's environment variable
OUTCOME_S = 60  # seconds
EXECUTOR = "pipeline.transport.nvflare.executor.PartnerExecutor"


def config_file(variable: str, environment: Mapping[str, str]) -> Path:
    """The member's configuration file. Raises ConfigError if the environment does not name one."""
    value = environment.get(variable, "")
    file = Path(value)
    if not value or not file.is_absolute() or not file.is_file():
        error = ConfigError(f"{variable}: found {value!r} in the environment, expected the absolute path of a file")
        error.add_note(f"start NVFlare at this site with {variable}=/path/to/the/configuration.toml")
        raise error
    return file
