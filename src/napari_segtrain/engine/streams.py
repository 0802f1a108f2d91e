"""The process around the engine: its standard streams, its priority, and the process that started it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

_LOOK_EVERY = 1.0
"""Seconds between two looks at whether the starting process is still there."""


@dataclass(frozen=True)
class Channel:
    """The two streams that the protocol has for itself."""

    commands: BinaryIO
    events: BinaryIO


def take_standard_streams() -> Channel:
    """Keep standard input and output for the protocol alone.

    Whatever else reads standard input finds it empty; whatever else prints, also a library in C and also
    a process that is started, prints to standard error. To be called before anything else is imported.
    """
    sys.stdout.flush()
    # Duplicates are not inherited by processes that are started, so that none can keep the pipes open.
    commands, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return Channel(os.fdopen(commands, "rb"), os.fdopen(events, "wb", buffering=0))


def silence_standard_error() -> None:
    """Send what is printed from now on to nowhere: there is nobody left who could read it."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


def lower_priority(steps: int) -> None:
    """Let other programs, above all the viewer, have the processor first.

    To be called before any thread is started: on Linux a thread has the priority of the one that made it.

    Parameters
    ----------
    steps
        How much nicer to be, 0 to 19; on Windows anything above 0 is "below normal".
    """
    if steps <= 0:
        return
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        with suppress(OSError):
            os.nice(steps)


def watch_parent(gone: Callable[[], None]) -> None:
    """Call `gone` once, from a thread, when the process that started this one has ended.

    The end of standard input says the same, except when some other child of that process has inherited
    the other end of the pipe and holds it open. Without effect on Windows, where that cannot happen.

    Parameters
    ----------
    gone
        What to do then.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY)
        gone()

    if sys.platform != "win32" and parent > 1:
        threading.Thread(target=watch, name="watch-parent", daemon=True).start()
