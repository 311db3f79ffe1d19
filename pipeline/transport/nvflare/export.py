"""Write the files with which NVFlare carries a federation: participants, the job, and each site's local settings.

The job is configuration only and contains no code (nobody may "bring your own code"). The two classes that it names
come from the installed package, and each site's local settings allow no others.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.plan.plan import Plan
from pipeline.transport.nvflare.names import CONTROLLER, EXECUTOR, TASK
from pipeline.transport.nvflare.readme import readme
from secure.files import atomic_folder

ADMIN = "admin@hocket.local"
_HOST = re.compile(r"(([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_SERVER = "server"  # NVFlare's own name of the server in the addresses of its jobs
_FETCH_S = 0.2  # seconds between two requests of a site for a question


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where NVFlare's server is.

    host    : name or address at which every site reaches it; the common name of its certificate
    port    : the one port that it listens on
    storage : absolute folder on its machine for NVFlare's own files
    """

    host: str
    port: int
    storage: str

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ConfigError(f"--host: found {self.host!r}, expected a host name or an address")
        if not Path(self.storage).is_absolute():
            raise ConfigError(f"--storage: found {self.storage!r}, expected an absolute path on the server's machine")


def export_nvflare(plan: Plan, address: ServerAddress, folder: Path) -> None:
    """Write all files into a new folder, or nothing. Raises ConfigError if the folder exists or cannot be written."""
    if folder.exists():
        error = ConfigError(f"{folder}: exists already")
        error.add_note("give the name of a new folder, or move this one away")
        raise error
    try:
        with atomic_folder(folder, mode=0o777) as unfinished:
            for path, text in files(plan, address).items():
                (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
                (unfinished / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror or error}") from error


def files(plan: Plan, address: ServerAddress) -> dict[str, str]:
    """Return the relative path and text of every file. Raises ConfigError if a partner is named like the server."""
    if {address.host, _SERVER} & set(plan.partner_names):
        error = ConfigError(
            f"partners {plan.partner_names}: the names {address.host!r} and {_SERVER!r} are the server's"
        )
        error.add_note("give the server another --host, or the partner another name in the plan")
        raise error
    project = project_name(plan)
    participants = {
        address.host: _server(address),
        **{name: _site(name) for name in plan.partner_names},
        ADMIN: _admin(),
    }
    texts = {
        "README.md": readme(plan, project, address.host, address.port, address.storage, ADMIN),
        "project.yml": _json(_project(project, [dict(participant) for participant in participants.values()])),
        "profile.yml": _json(_profile(project, address)),
        "job/meta.json": _json(_meta(plan, project)),
        "job/app/config/config_fed_server.json": _json(_server_job()),
        "job/app/config/config_fed_client.json": _json(_site_job()),
        f"local/{address.host}/resources.json": _json(_server_resources(address)),
    }
    for name in (address.host, *plan.partner_names):
        texts[f"local/{name}/authorization.json"] = _json(_authorization())
    for name in plan.partner_names:
        texts[f"local/{name}/resources.json"] = _json(_site_resources())
    connection = {
        "server": {
            "host": address.host,
            "fed_learn_port": address.port,
            "admin_port": address.port,
        }
    }
    for name, participant in participants.items():
        server = {} if name == address.host else connection
        texts[f"participants/{name}.yml"] = _json({"name": project, "participants": [{**participant, **server}]})
    return texts


def project_name(plan: Plan) -> str:
    """NVFlare's name of the federation, with letters, digits and _ only."""
    return re.sub(r"[^A-Za-z0-9_]", "_", plan.federation.name)


def _server(address: ServerAddress) -> dict[str, Any]:
    ports = {"fed_learn_port": address.port, "admin_port": address.port}
    return {
        "name": address.host,
        "type": "server",
        "org": "aggregator",
        **ports,
        "default_host": address.host,
    }


def _site(name: str) -> dict[str, Any]:
    return {"name": name, "type": "client", "org": re.sub(r"[^A-Za-z0-9_]", "_", name), "allow_log_streaming": False}


def _admin() -> dict[str, Any]:
    return {"name": ADMIN, "type": "admin", "org": "aggregator", "role": "lead"}


def _project(name: str, participants: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "api_version": 3,
        "name": name,
        "description": "a hocket federation",
        "connection_security": "mtls",
        "participants": participants,
        "builders": [
            {"path": "nvflare.lighter.impl.workspace.WorkspaceBuilder"},
            {
                "path": "nvflare.lighter.impl.static_file.StaticFileBuilder",
                "args": {"config_folder": "config", "scheme": "grpc"},
            },
            {"path": "nvflare.lighter.impl.cert.CertBuilder"},
            {"path": "nvflare.lighter.impl.signature.SignatureBuilder"},
        ],
    }


def _profile(name: str, address: ServerAddress) -> dict[str, Any]:
    server = {"host": address.host, "fed_learn_port": address.port, "admin_port": address.port}
    return {"name": name, "scheme": "grpc", "connection_security": "mtls", "server": server}


def _meta(plan: Plan, project: str) -> dict[str, Any]:
    return {
        "name": project,
        "resource_spec": {},
        "deploy_map": {"app": ["@ALL"]},
        "min_clients": len(plan.partner_names),
        "mandatory_clients": [],
    }


def _server_job() -> dict[str, Any]:
    return {
        "format_version": 2,
        "server": {"task_request_interval": _FETCH_S},
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
        "workflows": [{"id": "hocket", "path": CONTROLLER, "args": {}}],
    }


def _site_job() -> dict[str, Any]:
    return {
        "format_version": 2,
        "executors": [{"tasks": [TASK], "executor": {"path": EXECUTOR, "args": {}}}],
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
    }


def _allowing(component: str) -> dict[str, Any]:
    return {"format_version": 2, "class_list_enforcement_mode": "enforce", "class_allow_list": [component]}


def _server_resources(address: ServerAddress) -> dict[str, Any]:
    storage = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
    jobs = {"uri_root": f"{address.storage}/jobs", "job_store_id": "job_store"}
    return {
        **_allowing(CONTROLLER),
        "servers": [{"admin_storage": "transfer", "max_num_clients": 100, "heart_beat_timeout": 600}],
        "snapshot_persistor": {
            "path": "nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor",
            "args": {
                "uri_root": "/",
                "storage": {
                    "path": storage,
                    "args": {"root_dir": f"{address.storage}/snapshots", "uri_root": "/"},
                },
            },
        },
        "components": [
            {
                "id": "job_scheduler",
                "path": "nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler",
                "args": {"max_jobs": 1},
            },
            {"id": "job_manager", "path": "nvflare.apis.impl.job_def_manager.SimpleJobDefManager", "args": jobs},
            {"id": "job_store", "path": storage},
            _launcher("server"),
        ],
    }


def _site_resources() -> dict[str, Any]:
    return {
        **_allowing(EXECUTOR),
        "allow_log_streaming": False,
        "client": {"retry_timeout": 30, "compression": "Gzip"},
        "components": [
            {
                "id": "resource_manager",
                "path": "nvflare.app_common.resource_managers.gpu_resource_manager.GPUResourceManager",
                "args": {"num_of_gpus": 0, "mem_per_gpu_in_GiB": 0},
            },
            {
                "id": "resource_consumer",
                "path": "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer",
                "args": {},
            },
            _launcher("client"),
        ],
    }


def _authorization() -> dict[str, Any]:
    """Permissions of the person who submits the job: submit, end and view jobs; no code, no shell at any site."""
    granted = {
        "submit_job": "any",
        "manage_job": "any",
        "download_job": "n:submitter",
        "view": "any",
        "operate": "o:site",
    }
    return {"format_version": "1.0", "permissions": {"lead": {**granted, "byoc": "none", "shell_commands": "none"}}}


def _launcher(side: str) -> dict[str, Any]:
    kind = f"{side.title()}ProcessJobLauncher"
    return {"id": "process_launcher", "path": f"nvflare.app_common.job_launcher.{side}_process_launcher.{kind}"}


def _json(table: Mapping[str, Any]) -> str:
    """JSON text, which is valid YAML too."""
    return json.dumps(table, indent=2) + "\n"
