"""The server's process: address, token, start, end."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from napari_segtrain.config import ConfigError, RunError
from napari_segtrain.runs import check_writable, recover
from napari_segtrain.runs.atomic import explain_os_error

if TYPE_CHECKING:
    import uvicorn

_PATIENCE = 15
"""Seconds that open answers may take when the server ends."""


def serve(project: str | Path, host: str, port: int, token: str | None, say: Callable[[str], None]) -> None:
    """Serve the runs of a project over HTTP until Ctrl-C or SIGTERM.

    A training that was started here runs in a process of its own and goes on when the server ends; another
    server, or ``segtrain follow``, finds it in the project.

    Parameters
    ----------
    project
        Folder that holds runs; made when absent.
    host, port
        Where to listen; 0 for any free port.
    token
        What every request has to bring; needed for any address but loopback.
    say
        Told where the server listens, and at its end what goes on.

    Raises
    ------
    ConfigError
        When the address needs a token, or the extra ``[server]`` is not installed.
    RunError
        When project or address cannot be used.
    """
    make_server = _library()
    from .guard import is_loopback

    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines, who could start and stop trainings: give "
            "--token TOKEN (or SEGTRAIN_TOKEN), or leave the host at 127.0.0.1"
        )
    if token is not None and len(token) < 8:
        raise ConfigError("--token: use at least 8 letters or digits, so that nobody guesses it")
    project = Path(project).resolve()
    if not project.is_dir():
        check_writable(project)
    with suppress(RunError):  # runs that others keep can be looked at without a right to change them
        recover(project)
    with _listening(host, port) as listener:
        server, starter = make_server(project, token)
        shown = f"[{host}]" if ":" in host else host
        say(f"http://{shown}:{listener.getsockname()[1]}/{'?token=' + token if token else ''}")
        with _ending_softly(server):
            server.run(sockets=[listener])
    for run, pid in starter.children:
        say(f"{run.path} goes on in process {pid}: segtrain follow, segtrain stop")


def _library() -> Callable[[Path, str | None], tuple[Any, Any]]:
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ConfigError(
            f'{error.name} is not installed; install it with: pip install "napari-segtrain[server]"'
        ) from None

    from .app import Service, make_app
    from .starting import Starter

    def make(project: Path, token: str | None) -> tuple[uvicorn.Server, Starter]:
        starter = Starter(project)
        service = Service(project, starter, closing=lambda: server.should_exit)
        config = uvicorn.Config(
            make_app(service, token),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE,
        )
        server = uvicorn.Server(config)
        return server, starter

    return make


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise RunError(
            f"{host}:{port}: cannot be listened to ({explain_os_error(error)}); choose another --port "
            "(0 for any), or --host"
        ) from error
    with listener:
        yield listener


@contextmanager
def _ending_softly(server: uvicorn.Server) -> Iterator[None]:
    """Let both signals end the server alone, so that what goes on can be said afterwards."""

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True  # also before the server listens to signals, and when it repeats them

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
