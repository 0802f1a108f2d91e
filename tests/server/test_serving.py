from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from napari_segtrain.config import ConfigError, RunError
from napari_segtrain.runs import Finished, RunFolder, RunState, follow_run, recover, stop_run
from napari_segtrain.server import serve as serve_project


def test_an_address_that_others_reach_needs_a_token(tmp_path: Path) -> None:
    said: list[str] = []
    for host in ("0.0.0.0", "192.168.1.4", "::", "myhost"):
        with pytest.raises(ConfigError, match=r"can be reached from other machines.*--token TOKEN"):
            serve_project(tmp_path, host, 0, None, said.append)
    with pytest.raises(ConfigError, match="at least 8 letters"):
        serve_project(tmp_path, "0.0.0.0", 0, "short", said.append)
    assert said == []


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=rf"127\.0\.0\.1:{port}: cannot be listened to .*--port"):
            serve_project(tmp_path, "127.0.0.1", port, None, print)


def test_without_the_extra_the_command_to_install_it_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"uvicorn is not installed; .*napari-segtrain\[server\]"):
        serve_project(tmp_path, "127.0.0.1", 0, None, print)


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts are sent otherwise there")
@pytest.mark.slow
def test_a_training_over_http_goes_on_when_the_server_ends(disc_folder, tiny_experiment, tmp_path, client):
    """The real thing: the command, a real training, its stream, Ctrl-C for the server, the end of the run."""
    config = tiny_experiment(**{"tr_config.num_epochs": 100_000}).to_dict()
    command = [sys.executable, "-m", "napari_segtrain", "serve", str(tmp_path / "P"), "--port", "0"]
    environment = {**os.environ, "SEGTRAIN_TOKEN": "a-long-token"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    run = RunFolder(tmp_path / "P" / "runs" / "base")
    next_run = RunFolder(tmp_path / "P" / "runs" / "epochs_1")
    try:
        address = urlsplit(server.stdout.readline().strip())
        assert (address.scheme, address.hostname, address.query) == (
            "http",
            "127.0.0.1",
            "token=a-long-token",
        )
        browser = client(address.port, {"Authorization": "Bearer a-long-token"})
        started = browser.ask("/api/runs", {"data": str(disc_folder(count=2)), "config": config}).json
        assert started == {"run_id": run.read_info().id, "name": "base", "status": "pending"}
        data = {"data": str(disc_folder(count=2, name="more")), "config": config, "wait": True}
        data["overrides"] = {"tr_config.num_epochs": 1}
        assert browser.ask("/api/runs", data).json["name"] == next_run.name
        told = []
        for item in browser.stream(f"/api/runs/{started['run_id']}/events"):
            told.append(item.get("event", ""))
            if told[-1] == "epoch_done":
                server.send_signal(signal.SIGINT)  # the stream then ends by itself
        assert "end" not in told
        rest = server.communicate(timeout=300)[0]
        assert server.returncode == 0
        assert f"{run.path} goes on in process {run.read_info().pid}: segtrain follow, segtrain stop" in rest
        assert f"{next_run.path} goes on in process" in rest
        assert recover(run.project) == []
        stop_run(run)
        *_, end = follow_run(run)
        assert isinstance(end, Finished)
        assert (end.status, end.reason) == (RunState.INTERRUPTED, "stopped")
        assert len(run.read_metrics()) == run.read_info().epoch > 0
        *_, end = follow_run(next_run)
        assert (end.status, next_run.read_info().epoch) == (RunState.COMPLETED, 1), "it had waited"
    finally:
        server.kill()
        server.communicate()
        with suppress(RunError):
            stop_run(run)
