"""``python -m napari_segtrain.engine.background RUN``: training that outlives whoever began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from napari_segtrain.config import RunError, SegtrainError
from napari_segtrain.runs.atomic import explain_os_error
from napari_segtrain.runs.control import Control
from napari_segtrain.runs.folder import RunFolder
from napari_segtrain.runs.states import FinishReason, RunState

_CODES = {RunState.COMPLETED: 0, RunState.FAILED: 2, RunState.INTERRUPTED: 130}


def begin(run: RunFolder, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Train a pending run, or go on with one that can, in a new process; returns at once.

    The process belongs to nobody: it goes on when this one ends, or its terminal is closed. `stop_run`
    stops it. What it prints is in the run's ``logs/process.log``.

    Parameters
    ----------
    run
        The run, with its configuration and data.
    environment
        Environment of the process; that of this one when None.

    Raises
    ------
    RunError
        When the system cannot start a process, or the run folder cannot be written to.
    """
    try:
        run.logs.mkdir(exist_ok=True)
        with (run.logs / "process.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "napari_segtrain.engine.background", str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if environment is None else dict(environment),
                **_detached(),
            )
    except OSError as error:
        raise RunError(f"{run.path}: cannot be started ({explain_os_error(error)})") from error


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def main(arguments: Sequence[str]) -> int:
    """Train the run of a folder; the exit code is returned, as that of ``segtrain train``.

    A run that cannot even begin is marked failed, with the reason: nobody waits for a message here.
    """
    run = RunFolder.open(arguments[0])
    control = Control()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: control.stop())
    try:
        from napari_segtrain.workflow import resume

        return _CODES[resume(run.path, control=control).status]
    except Exception as error:
        known = isinstance(error, SegtrainError)
        with suppress(RunError):
            if run.state is RunState.PENDING:
                words = str(error) if known else f"{type(error).__name__}: {error}"
                run.finish(RunState.FAILED, FinishReason.ERROR, words)
        if not known:
            raise
        sys.stderr.write(f"Error: {error}\n")
        return _CODES[RunState.FAILED]


if __name__ == "__main__":
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    sys.exit(main(sys.argv[1:]))
