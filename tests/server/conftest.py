from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import EpochDone, RunFolder, RunState
from napari_segtrain.server import starting
from napari_segtrain.server.app import Service, make_app
from napari_segtrain.server.starting import Starter


@dataclass
class Answer:
    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Talks to a server, one connection a request."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def _open(
        self, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        with closing(connection):
            connection.request(method, path, content, {**self.headers, **kind, **headers})
            with connection.getresponse() as answer:
                yield answer

    def ask(self, path: str, body: Any = None, method: str = "", **headers: str) -> Answer:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        method = method or ("GET" if body is None else "POST")
        with self._open(method, path, body, named) as answer:
            given = {key.lower(): value for key, value in answer.getheaders()}
            return Answer(answer.status, given, answer.read())

    def stream(self, path: str, **headers: str) -> Iterator[dict[str, str]]:
        """Yield what a stream says, field by field; comments as the field ``""``."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        with self._open("GET", path, None, named) as answer:
            assert answer.status == 200
            said: dict[str, str] = {}
            for line in answer:
                text = line.decode().rstrip("\n")
                if text:
                    key, _, value = text.partition(":")
                    said[key] = value.removeprefix(" ")
                else:
                    yield said
                    said = {}


@dataclass
class Served(Client):
    project: Path = Path()
    server: Any = None


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Return a function that serves ``tmp_path / "P"`` from a thread, on a free port."""
    running: list[tuple[Any, threading.Thread, socket.socket]] = []

    def start(token: str | None = None, **options: Any) -> Served:
        project = tmp_path / "P"
        service = Service(project, Starter(project), closing=lambda: server.should_exit, **options)
        config = uvicorn.Config(make_app(service, token), log_level="error", timeout_graceful_shutdown=60)
        server = uvicorn.Server(config)
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        running.append((server, thread, listener))
        return Served(listener.getsockname()[1], {}, project, server)

    yield start
    for server, thread, listener in running:
        server.should_exit = True
        thread.join(120)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


@pytest.fixture
def completed(tmp_path: Path) -> RunFolder:
    """A completed run with two epochs and a picture."""
    from PIL import Image

    run = RunFolder.create(tmp_path / "P", "done")
    run.write_config(ExperimentConfig())
    with run.open_events() as write:
        write(run.set_state(RunState.RUNNING))
        for epoch in (1, 2):
            row = {"train_loss": 1.0 / epoch, "val_loss": 2.0 / epoch, "val_cells_dice": 0.4 * epoch}
            run.append_metrics({"epoch": epoch, **row})
            write(EpochDone(epoch=epoch, num_epochs=2, row=row))
    Image.new("RGB", (30, 20), (200, 30, 30)).save(run.plots / "segtrain_debug.png")
    run.update_info(epoch=2, num_epochs=2)
    run.finish(RunState.COMPLETED, "all_epochs")
    return run


@pytest.fixture
def sleepers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Let starts begin a process that does nothing; yields those that were begun, and their wishes."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(run: RunFolder, environment: object = None, **wishes: bool) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        begun[-1].wishes = {name for name, wish in wishes.items() if wish}  # type: ignore[attr-defined]
        return begun[-1]

    monkeypatch.setattr(starting, "begin", begin)
    yield begun
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def client() -> type[Client]:
    return Client
