"""The page in a real browser, headless; skipped where there is no Chromium."""

from __future__ import annotations

import json
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import EpochDone, Progress, ProjectLock, RunFolder, RunState, Warned
from napari_segtrain.server.app import PAGE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The browser takes commands through file descriptors 3 and 4, so that no port has to be free.
LAUNCH = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 50) for number in sys.argv[1:3])
os.dup2(read, 3), os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


class Browser:
    """A headless Chromium, spoken to by the DevTools protocol."""

    def __init__(self, folder: Path) -> None:
        (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
        profile = (f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank")
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(their_in), str(their_out), str(CHROMIUM), *FLAGS, *profile],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        os.close(their_in)
        os.close(their_out)
        self._out, self._in = os.fdopen(our_out, "wb", buffering=0), os.fdopen(our_in, "rb")
        self._answers: dict[int, Any] = {}
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.gone = False
        self._number = 0
        self._session: str | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        rest = b""
        while piece := self._in.read1(2**16):
            *messages, rest = (rest + piece).split(b"\0")
            with self._news:
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self.events.append(message)
                self._news.notify_all()
        with self._news:
            self.gone = True
            self._news.notify_all()

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        number, session = self._number, {"sessionId": self._session} if self._session else {}
        message = {"id": number, "method": method, "params": parameters, **session}
        self._out.write(json.dumps(message).encode() + b"\0")
        with self._news:
            self._news.wait_for(lambda: number in self._answers or self.gone, timeout=120)
            assert number in self._answers, f"{method}: no answer"
        answer = self._answers.pop(number)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, address: str) -> None:
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Runtime", "Network", "Log", "Page"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        deadline = time.monotonic() + 120
        while not self.value(expression):
            assert time.monotonic() < deadline, (expression, self.value("document.body.innerText"))
            time.sleep(0.05)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(60)
        self._out.close()
        self._in.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None or sys.platform == "win32":
        pytest.skip("there is no Chromium on this machine")
    browser = Browser(tmp_path / "profile")
    try:
        with suppress(AssertionError, BrokenPipeError):
            browser.call("Browser.getVersion")
        if browser.gone:
            pytest.skip("Chromium does not start on this machine")
        yield browser
    finally:
        browser.close()


def test_the_page_shows_a_run_while_it_trains(browser, served, completed, monkeypatch) -> None:
    asked_to_stop = threading.Event()

    def kill(pid: int, number: int) -> None:
        if (pid, number) == (os.getpid(), signal.SIGTERM):
            asked_to_stop.set()

    run = RunFolder.create(served.project, "live")
    completed.update_info(created="2026-01-01T00:00:00Z")  # the newest is shown first
    address = f"http://127.0.0.1:{served.port}/"
    text = "document.getElementById('{}').textContent"
    with ProjectLock(served.project).acquire("live"), run.open_events() as write:
        browser.open(address)
        browser.wait_for("document.querySelectorAll('#runs tr').length == 2")
        browser.wait_for(f"{text.format('name')} == 'live' && {text.format('state')} == 'pending'")
        write(run.set_state(RunState.RUNNING))
        browser.wait_for(f"{text.format('state')} == 'running'")
        for epoch, loss in ((1, 0.75), (2, 0.5)):
            row = {"train_loss": loss, "val_loss": loss / 2, "val_a_dice": 1 - loss, "val_b_dice": None}
            write(EpochDone(epoch=epoch, num_epochs=4, row=row))
        browser.wait_for("document.querySelectorAll('#curves path[stroke]').length == 3")
        labels = browser.value("[...document.querySelectorAll('#curves text')].map(t => t.textContent)")
        assert {"train_loss  0.5", "val_loss  0.25", "val_a_dice  0.5", "val_b_dice  –"} <= set(labels)
        assert browser.value("document.getElementById('progress').value") == 0.5
        write(Progress(fraction=0.6, seconds_left=2.2, text="Epoch 3 of 4"))
        write(Warned(message="<b>no style</b>"))
        browser.wait_for(f"{text.format('notes')} == '<b>no style</b>'")
        assert browser.value(text.format("doing")) == "Epoch 3 of 4, 3 s left"
        browser.wait_for("!document.getElementById('stop').hidden")
        monkeypatch.setattr(os, "kill", kill)
        browser.value("document.getElementById('stop').click()")
        assert asked_to_stop.wait(120)
        monkeypatch.undo()
        run.finish(RunState.INTERRUPTED, "stopped", "go on with it")
        browser.wait_for(
            f"{text.format('state')} == 'interrupted' && {text.format('doing')} == 'go on with it'"
        )
    browser.wait_for("!document.getElementById('resume').hidden")
    browser.value("[...document.querySelectorAll('#runs button')].find(b => b.textContent == 'done').click()")
    browser.wait_for("document.querySelector('#pictures img')?.naturalWidth == 30")
    browser.wait_for("document.querySelectorAll('#curves path[stroke]').length == 3")
    browser.wait_for("document.getElementById('progress').value == 1")
    assert '"num_epochs"' in browser.value(text.format("settings"))
    asked = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith((address, "data:", "about:"))] == []
    wrong = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event["method"] in wrong] == []


def test_runs_are_started_duplicated_and_deleted_on_the_page(browser, served, sleepers, tmp_path) -> None:
    text = "document.getElementById('{}').textContent"

    def fill(box: str, **values: str) -> None:
        for name, value in values.items():
            field = f"document.querySelector('#{box} [name=\"{name.replace('__', '.')}\"]')"
            browser.value(f"{field}.value = {json.dumps(value)}")
        browser.value(f"document.querySelector('#{box} [type=submit]').click()")

    def click(name: str) -> None:
        browser.wait_for(f"!document.getElementById('{name}').hidden")
        browser.value(f"document.getElementById('{name}').click()")

    fault = "document.querySelector('#starting [role=alert]')"
    browser.open(f"http://127.0.0.1:{served.port}/")
    browser.wait_for("document.getElementById('none')?.hidden === false")
    click("new")
    fill("starting", data=str(tmp_path / "gone"))
    browser.wait_for(f"{fault}.textContent.includes('there is no such data folder on this machine')")
    fill("starting", data=str(tmp_path), tr_config__num_epochs="0")
    browser.wait_for(f"{fault}.textContent.includes('tr_config.num_epochs')")
    fill("starting", settings="tr_setup.seed 3")
    browser.wait_for(f"{fault}.textContent.includes('write section.key=value')")
    values = {"tr_config__num_epochs": "7", "tr_config__patch_size": "32, 48", "settings": "tr_setup.seed=3"}
    fill("starting", run_name="mine", **values)
    browser.wait_for(f"{text.format('name')} == 'mine' && {text.format('state')} == 'pending'")
    assert not browser.value("document.getElementById('starting').open")
    config = RunFolder.open(served.project / "runs" / "mine").read_config()
    assert (config.tr_config.num_epochs, config.tr_config.patch_size) == (7, (32, 48))
    assert config.tr_setup.seed == 3
    assert len(sleepers) == 1
    sleepers[0].kill()
    sleepers[0].wait()
    click("duplicate")
    fill("duplicating", settings="tr_config.optimizer.lr=0.5")
    browser.wait_for(f"{text.format('name')} == 'mine_lr_0.5'")
    copy = RunFolder.open(served.project / "runs" / "mine_lr_0.5")
    browser.wait_for("document.querySelectorAll('#runs tr').length == 2")
    click("delete")
    browser.value("document.querySelector('#deleting [type=button]').click()")
    assert copy.path.is_dir()
    click("delete")
    assert "mine_lr_0.5" in browser.value(text.format("deleting"))
    fill("deleting")
    browser.wait_for("document.querySelectorAll('#runs tr').length == 1")
    assert not copy.path.exists()
    browser.wait_for(f"{text.format('name')} == 'mine'")
    browser.value("document.getElementById('changed_data').checked = true")
    click("resume")
    browser.wait_for("document.getElementById('resume').hidden")
    click("new")
    fill("starting", data=str(tmp_path), run_name="later")
    browser.wait_for(f"{text.format('name')} == 'later'")
    assert [process.wishes for process in sleepers] == [{"wait"}, {"changed_data"}, {"wait"}]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    assert set(files) == {"index.html", "page.js", "curves.js", "forms.js", "style.css"}
    for name, text in files.items():
        outside = [url for url in re.findall(r"\bhttps?://[^\s\"']+", text) if "www.w3.org" not in url]
        assert outside == [], name
    named = re.findall(r'\bat\("(\w+)"\)', files["page.js"])
    there = re.findall(r'\bid="(\w+)"', files["index.html"])
    assert set(named) <= set(there)
    keys = [name for name in re.findall(r'\bname="([\w.]+)"', files["index.html"]) if "." in name]
    assert keys
    for key in keys:
        assert operator.attrgetter(key)(ExperimentConfig()) is not ..., "raises where there is no such key"
