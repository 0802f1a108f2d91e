"""Which process did something, and whether it still lives."""

from __future__ import annotations

import os
import platform
from typing import Self

from napari_segtrain.config import Config

_TOLERANCE = 5.0
"""Seconds by which two readings of one process' start may differ: the system's clock may be set."""


class ProcessId(Config):
    """A process on a machine; its start time tells it from a later process with the same number."""

    host: str
    pid: int
    started: float
    """Seconds since 1970-01-01 UTC."""

    @classmethod
    def here(cls) -> Self:
        """Return this process."""
        import psutil

        return cls(host=platform.node(), pid=os.getpid(), started=psutil.Process().create_time())

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the process of this machine that has a number; None when there is none."""
        import psutil

        try:
            return cls(host=platform.node(), pid=pid, started=psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    def is_here(self) -> bool:
        """Return whether it is this very process."""
        return self.pid == os.getpid() and self.host == platform.node() and self.is_alive() is True

    def is_alive(self) -> bool | None:
        """Return whether the process still exists, or None when it is on another machine."""
        import psutil

        if self.host != platform.node():
            return None
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return abs(process.create_time() - self.started) < _TOLERANCE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True
