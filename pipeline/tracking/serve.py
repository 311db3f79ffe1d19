"""Serve a partner's finished model for `hocket serve`, to scripts that send the token.

The token is in a file of the home that no other account can read, as a line that curl sends as a header. So it is on no
command line, which every account could read.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe
from shlex import quote

from pipeline.errors import ConfigError, NotYet
from pipeline.plan.member_configs import role_in
from pipeline.runtime.redact import without_password
from pipeline.tracking import local_server
from pipeline.tracking.descriptions import KEPT, registered_name
from pipeline.tracking.local_server import HOST, NO_MODEL, ServerEnded, ask, check_home, show
from pipeline.tracking.tracker import TrackedMember, read_member
from secure.files import atomic_file

MODEL, STORE, TOKEN = "HOCKET_SERVE_MODEL", "HOCKET_SERVE_STORE", "HOCKET_SERVE_TOKEN"  # environment variables
_SERVER = "pipeline.tracking.model_server"
_HEADER_NAME = "Authorization"
_SQLITE = "sqlite:///"  # beginning of the URI of a store in a file
_EXAMPLE = '{"dataframe_records": [{"smiles": "CCO"}]}'


def serve_model(config_file: Path, port: int) -> None:
    """Bring the store up to date, serve the model that the gate keeps, print how to ask it, and end at a signal.

    Raises ConfigError for the aggregator, a missing home, a port in use, a store without the model, or a server that
    does not start; NotYet before the run is finished.
    """
    member = _finished_partner(config_file)
    log_file = member.home.folder / "serve.log"
    with (
        local_server.ended_by_signals(),
        local_server.listener_on(port) as listener,
        _header_file(member, port) as token,
    ):
        local_server.bring_up_to_date(member, "model")
        _expect_store(member)
        with (
            _model_expected(member),
            local_server.running(
                [sys.executable, "-P", "-m", _SERVER, str(listener.fileno())],
                listener,
                lambda: ask(port, "/ping", {_HEADER_NAME: f"Bearer {token}"}, timeout_s=5),
                home=member.home.folder,
                log_file=log_file,
                more={MODEL: _model_name(member), STORE: member.store, TOKEN: token, "PYTHONWARNINGS": "ignore"},
            ) as process,
        ):
            _announce(member, port)
            local_server.wait_for_end(process, log_file)


def header_path(member: TrackedMember, port: int) -> Path:
    """File of the home with the header that lets a request in."""
    return member.home.folder / f"serve-{port}.header"


def _finished_partner(config_file: Path) -> TrackedMember:
    if role_in(config_file) != "partner":
        raise ConfigError(
            f"{config_file}: found an aggregator's configuration, expected a partner's, which has a model"
        )
    member = read_member(config_file, "partner")
    check_home(member, config_file)
    if not member.finished:
        error = NotYet(f"{member.home.folder}: the run is not finished, so there is no model yet")
        error.add_note(f"`hocket partner run {config_file}` goes on with it")
        raise error
    return member


def _model_name(member: TrackedMember) -> str:
    """Name of the model in the store's registry."""
    federation = member.plan.federation
    return registered_name(federation.name, federation.id, member.config.name)


def _model_uri(member: TrackedMember) -> str:
    """MLflow's address of the model that the gate keeps, in the store's registry."""
    return f"models:/{_model_name(member)}@{KEPT}"


@contextmanager
def _model_expected(member: TrackedMember) -> Iterator[None]:
    """Say what to do if the server ends because the store does not have the model."""
    try:
        yield
    except ServerEnded as ended:
        if ended.server_code != NO_MODEL:
            raise
        raise _no_model(member) from ended


def _expect_store(member: TrackedMember) -> None:
    """Raise ConfigError for an SQLite store that does not exist: MLflow would first make it, which takes long."""
    file = Path(member.store.removeprefix(_SQLITE).partition("?")[0])
    if member.store.startswith(_SQLITE) and file.is_absolute() and not file.exists():
        raise _no_model(member)


def _no_model(member: TrackedMember) -> ConfigError:
    error = ConfigError(f"{without_password(member.store)}: has no model {_model_uri(member)}")
    if member.all_sent:  # to a store that lost it, or to another one
        error.add_note(f"remove {member.home.tracked} and start again: then it is sent")
    else:
        error.add_note(f"it is not sent yet; why: {member.home.folder / 'tracking.log'}")
    return error


@contextmanager
def _header_file(member: TrackedMember, port: int) -> Iterator[str]:
    """Write a new token into the home, and remove it at the end; yields the token."""
    path, token = header_path(member, port), token_urlsafe(32)
    with atomic_file(path, 0o600) as file:
        file.write(f"{_HEADER_NAME}: Bearer {token}\n".encode())
    try:
        yield token
    finally:
        path.unlink(missing_ok=True)


def _announce(member: TrackedMember, port: int) -> None:
    address = f"http://{HOST}:{port}/invocations"
    show(f"{member.config.name}: {_model_uri(member)} answers at {address}")
    headers = f"-H {quote(f'@{header_path(member, port)}')} -H 'Content-Type: application/json'"
    show(f"curl {address} {headers} -d '{_EXAMPLE}'")
