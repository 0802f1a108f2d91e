"""What the terminal shows while something long runs: progress, time left, what happened."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from napari_segtrain.runs import events
from napari_segtrain.runs.control import Control

from .options import with_flags
from .terminal import print_lines, print_titled


def describe_seconds(seconds: float | None) -> str:
    """Return a time such as ``"2 min 5 s"``; an empty text when it is not known."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {secs} s" if minutes else f"{secs} s"


class TerminalProgress:
    """Shows a job's events; itself an `Emit`.

    On a terminal a bar moves; elsewhere (a file, a pipe) one line an epoch is written.

    Parameters
    ----------
    console
        Where to.
    status
        Show the states of the run too, for those who did not start it.
    """

    def __init__(self, console: Console, *, status: bool = False) -> None:
        self._console = console
        self._status = status
        self._waiting = -math.inf
        self._lock = threading.Lock()
        self._pictured = False  # later pictures take the place of the first
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, left="")

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def __call__(self, event: events.Event) -> None:
        """Show `event`."""
        with self._lock:
            if isinstance(event, events.Progress):
                self._move(event.fraction, event.seconds_left, event.text)
            elif isinstance(event, events.PredictProgress):
                self._move(event.fraction, event.seconds_left, f"Predicting {event.record or ''}".strip())
            elif isinstance(event, events.Waiting):
                self._wait(event)
            elif isinstance(event, events.StatusChanged) and self._status:
                print_lines(self._console, [": ".join(filter(None, (event.status.value, event.message)))])
            elif isinstance(event, events.RunStarted):
                print_lines(self._console, [f"Run {event.path}", f"{event.device}: {event.batch}"])
            elif isinstance(event, events.EpochDone):
                print_lines(self._console, [_epoch_line(event)])
            elif isinstance(event, events.DebugPicture) and not self._pictured:
                self._pictured = True
                print_lines(self._console, [f"Picture {event.path}"])
            elif isinstance(event, events.Scored):
                print_lines(self._console, _score_lines(event))
            elif isinstance(event, events.Warned):
                said = event.message if event.finding is None else with_flags(event.finding)
                print_titled(self._console, "Note", "yellow", [said])

    def _wait(self, event: events.Waiting) -> None:
        """Say for whom, and for how long: at once, then every minute, and on a terminal all the time."""
        waited = describe_seconds(event.seconds)
        if event.seconds >= self._waiting + 60.0:
            self._waiting = event.seconds
            words = f"Waiting for {waited}" if event.seconds >= 60.0 else "Waiting"
            print_lines(self._console, [f"{words}. {event.message}"])
        self._bar.update(self._task, completed=0.0, description=f"Waiting for {waited}", left="")

    def _move(self, fraction: float, seconds: float | None, text: str) -> None:
        left = describe_seconds(seconds)
        self._bar.update(
            self._task, completed=fraction, description=text, left=f"{left} left" if left else ""
        )


def _epoch_line(event: events.EpochDone) -> str:
    shown = {
        key: value
        for key, value in event.row.items()
        if isinstance(value, float) and (key in ("train_loss", "val_loss") or _is_score(key))
    }
    values = "  ".join(f"{key} {value:.4f}" for key, value in shown.items())
    return f"Epoch {event.epoch}/{event.num_epochs}  {values}"


def _score_lines(event: events.Scored) -> list[str]:
    """Return a line an output: its scores on a part of the data."""
    looked = f"{event.images} image{'' if event.images == 1 else 's'}"
    if event.share < 1:
        looked += f", {event.share:.0%} of the voxels"
    return [
        f"Scores on {event.split} ({looked})  {name}  "
        + "  ".join(f"{score} {value:.4f}" for score, value in scores.items() if value is not None)
        for name, scores in event.scores.items()
    ]


def _is_score(key: str) -> bool:
    """Return whether a value of a row judges an output of the validation: one each, not its losses."""
    return key.startswith("val_") and key.endswith(("_dice", "_mae", "_angle"))


@contextmanager
def stop_on_signal(control: Control) -> Iterator[None]:
    """Ask the job to stop at Ctrl-C or SIGTERM; a second Ctrl-C ends the program at once."""
    previous: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        control.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
