"""Trains runs of one experiment, each in a process of its own that is killed at some instant.

``crash_script.py PLAN``: the plan is a JSON file with config, data, project and runs, a name and an instant
each. An instant is a number of file operations after the run has begun (each replacing, naming, flushing and
half written checkpoint counts), or 0 to let the run live. Written is a line of JSON with the operations.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from napari_segtrain import workflow
from napari_segtrain.config import load_config
from napari_segtrain.runs import StatusChanged

plain_save = torch.save


class Fuse:
    """Counts file operations from the moment it is armed, and ends the process at one of them."""

    def __init__(self, instant: int) -> None:
        self.instant = instant
        self.count = 0
        self.armed = False

    def burn(self) -> None:
        if self.armed:
            self.count += 1
            if self.count == self.instant:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name: str) -> None:
        plain: Callable[..., Any] = getattr(os, name)

        def function(*args: Any, **kwargs: Any) -> Any:
            self.burn()
            result = plain(*args, **kwargs)
            self.burn()
            return result

        setattr(os, name, function)

    def save(self, value: Any, file: Any) -> None:
        whole = io.BytesIO()
        plain_save(value, whole)
        content = whole.getvalue()
        file.write(content[: len(content) // 2])
        file.flush()
        self.burn()
        file.write(content[len(content) // 2 :])


def train(plan: dict[str, Any], name: str, instant: int, report: int) -> None:
    fuse = Fuse(instant)
    for operation in ("replace", "link", "fsync"):
        fuse.around(operation)
    torch.save = fuse.save

    def arm(event: Any) -> None:
        # The run is in its state on the disk when this is announced.
        fuse.armed = fuse.armed or isinstance(event, StatusChanged)

    workflow.train(load_config(plan["config"]), plan["data"], plan["project"], run_name=name, emit=arm)
    os.write(report, json.dumps(fuse.count).encode())


def main(file: str) -> None:
    torch.set_num_threads(1)
    plan = json.loads(Path(file).read_text())
    counts = {}
    for name, instant in plan["runs"].items():
        reader, writer = os.pipe()
        child = os.fork()  # in a fresh process every run would wait seconds for its imports
        if not child:
            train(plan, name, instant, writer)
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        counted = os.read(reader, 100)
        os.close(reader)
        if status not in (0, signal.SIGKILL):
            sys.exit(f"{name} was to be killed at {instant} and ended with status {status}")
        counts[name] = json.loads(counted) if counted else None
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1])
