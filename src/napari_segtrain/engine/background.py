"""``python -m napari_segtrain.engine.background RUN``: training that outlives whoever began it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from napari_segtrain.config import CancelledError, RunError, SegtrainError
from napari_segtrain.runs.atomic import explain_os_error
from napari_segtrain.runs.control import Control
from napari_segtrain.runs.events import Warned
from napari_segtrain.runs.folder import RunFolder
from napari_segtrain.runs.queue import give_up, reserve
from napari_segtrain.runs.states import FinishReason, RunState

_CODES = {RunState.COMPLETED: 0, RunState.FAILED: 2, RunState.INTERRUPTED: 130}


def begin(
    run: RunFolder,
    environment: Mapping[str, str] | None = None,
    *,
    retry: bool = False,
    wait: bool = False,
    changed_data: bool = False,
) -> subprocess.Popen[bytes]:
    """Train a pending run, or go on with one that can, in a new process; returns at once.

    The process belongs to nobody: it goes on when this one ends, or its terminal is closed. `stop_run`
    stops it. Those who are begun one after the other come in that order. What it prints is in the run's
    ``logs/process.log``.

    Parameters
    ----------
    run
        The run, with its configuration and data.
    environment
        Environment of the process; that of this one when None.
    retry
        Train it from its begin instead.
    wait
        Wait for the end of a run that is active in the project.
    changed_data
        Train also when files of the data are not what the run was trained on.

    Raises
    ------
    RunError
        When the system cannot start a process, or the run folder cannot be written to.
    """
    wishes = {"--retry": retry, "--wait": wait, "--changed-data": changed_data}
    arguments = [str(run.path), *(name for name, wish in wishes.items() if wish)]
    try:
        run.logs.mkdir(exist_ok=True)
        with (run.logs / "process.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "napari_segtrain.engine.background", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if environment is None else dict(environment),
                **_detached(),
            )
    except OSError as error:
        raise RunError(f"{run.path}: cannot be started ({explain_os_error(error)})") from error
    with suppress(RunError):  # the process says so itself
        reserve(run, process.pid)
    return process


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def main(arguments: Sequence[str]) -> int:
    """Train the run of a folder; the exit code is returned, as that of ``segtrain train``.

    A pending run that cannot even begin is marked failed, with the reason; the events of one that ended
    before get a warning: nobody waits for a message here.
    """
    parser = argparse.ArgumentParser(prog="python -m napari_segtrain.engine.background", description=__doc__)
    parser.add_argument("run")
    for name in ("--retry", "--wait", "--changed-data"):
        parser.add_argument(name, action="store_true")
    wishes = parser.parse_args(arguments)
    run = RunFolder.open(wishes.run)
    control = Control()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: control.stop())
    try:
        from napari_segtrain import workflow

        train = workflow.retry if wishes.retry else workflow.resume
        ended = train(run.path, wait=wishes.wait, changed_data=wishes.changed_data, control=control)
        return _CODES[ended.status]
    except CancelledError:
        return _CODES[RunState.INTERRUPTED]  # nothing was begun, and the run is as it was
    except Exception as error:
        known = isinstance(error, SegtrainError)
        with suppress(RunError):
            _tell(run, str(error) if known else f"{type(error).__name__}: {error}")
        if not known:
            raise
        sys.stderr.write(f"Error: {error}\n")
        return _CODES[RunState.FAILED]
    finally:
        give_up(run.project, run.name)


def _tell(run: RunFolder, why: str) -> None:
    """Write down why a run did not begin, unless it did and says so itself."""
    state = run.state
    if state is RunState.PENDING:
        run.finish(RunState.FAILED, FinishReason.ERROR, why)
    elif why != run.read_info().message:
        with run.open_events() as write:
            write(Warned(message=why))


if __name__ == "__main__":
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    sys.exit(main(sys.argv[1:]))
