"""What both parts of a job on NVFlare, and the files that describe it, must call alike."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import ConfigError

TASK = "hocket_sync"
CONTENT = "hocket"  # key of a Shareable
PARTNER_FILE = "HOCKET_PARTNER"  # the site's own environment says where its configuration is; no job may
AGGREGATOR_FILE = "HOCKET_AGGREGATOR"
CONTROLLER = "pipeline.transport.nvflare.controller.FederationController"
OUTCOME = "NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT"  # NVFlare's own
OUTCOME_S = 60  # seconds
EXECUTOR = "pipeline.transport.nvflare.executor.PartnerExecutor"


def config_file(variable: str, environment: Mapping[str, str]) -> Path:
    """The member's configuration file. Raises ConfigError where the environment does not name one."""
    found = environment.get(variable, "")
    file = Path(found)
    if not found or not file.is_absolute() or not file.is_file():
        error = ConfigError(f"{variable}: found {found!r} in the environment, expected the absolute path of a file")
        error.add_note(f"start NVFlare at this site with {variable}=/path/to/the/configuration.toml")
        raise error
    return file
