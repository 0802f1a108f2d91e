"""What to say, and what to write down, when the engine's process ends by itself."""

from __future__ import annotations

import logging
import platform
import signal
from pathlib import Path

from napari_segtrain.config import RunError
from napari_segtrain.runs.event_values import FittingSize
from napari_segtrain.runs.find import list_runs
from napari_segtrain.runs.folder import RunFolder
from napari_segtrain.runs.states import ENDED, FinishReason, RunState

from .serve import SPENT, STUCK

_log = logging.getLogger(__name__)

_WHY = {
    "SIGKILL": (
        "It was killed from outside; mostly that is the system, when memory runs out: use a smaller patch "
        "or batch size, or close other programs"
    ),
    "SIGSEGV": "A library crashed; the last lines of its output may say which",
    "SIGBUS": "A file it had mapped could not be read or written; is the disk full?",
    "SIGABRT": "A library gave up; the last lines of its output may say why",
    "SIGILL": "A library uses instructions that this processor does not have",
    "SIGTERM": "Somebody asked it to end",
}

_BY_CODE = {STUCK: "It did not end its job in time.", SPENT: "Its GPU had stopped working."}


def split_code(code: int) -> tuple[int | None, str | None]:
    """Return the exit code and the signal's name of a process, of which one is None.

    Parameters
    ----------
    code
        As `subprocess.Popen.returncode`: negative for a signal.
    """
    if code >= 0:
        return code, None
    try:
        return None, signal.Signals(-code).name
    except ValueError:
        return None, f"signal {-code}"


def explain(code: int, doing: str | None, stderr: tuple[str, ...], smaller: FittingSize | None = None) -> str:
    """Return what happened to a process that ended by itself, and what to do.

    Parameters
    ----------
    code
        As `subprocess.Popen.returncode`.
    doing
        ``"train"`` or ``"predict"`` when it had a job.
    stderr
        The last lines it printed.
    smaller
        What a training would need less memory with.
    """
    exit_code, name = split_code(code)
    process = {"train": "training", "predict": "prediction"}.get(doing or "", "engine")
    what = f"The {process} process ended unexpectedly, "
    what += f"by {name}." if name is not None else f"with exit code {exit_code}."
    parts = [what]
    if name in _WHY:
        parts.append(_WHY[name] + ".")
        if name == "SIGKILL" and smaller is not None:
            patch = ",".join(map(str, smaller.patch_size))
            parts.append(f"Patches of {patch} in batches of {smaller.batch_size} should fit.")
    elif exit_code in _BY_CODE:
        parts.append(_BY_CODE[exit_code])
    elif stderr:
        parts.append(f"It last said: {stderr[-1]}")
    if doing == "train":
        parts.append("Resume the run from its last checkpoint; nothing else is lost.")
    elif doing == "predict":
        parts.append("Start the prediction again; nothing else is lost.")
    return " ".join(parts)


def settle_run(
    path: str | None, project: str | None, pid: int, state: RunState, message: str
) -> RunFolder | None:
    """Write down that the run of a dead process has ended.

    Parameters
    ----------
    path
        The run folder, when the process had announced it.
    project
        The project it was to train in; searched for a running run of this process when `path` is None.
    pid
        The process.
    state
        What the run becomes, ``failed`` or ``interrupted``.
    message
        Why.

    Returns
    -------
    RunFolder or None
        The run; None when the process had none, or it had ended already.
    """
    try:
        run = RunFolder.open(path) if path is not None else _run_of(project, pid)
        if run is None or run.state in ENDED:
            return None
        reason = FinishReason.CRASHED if state is RunState.FAILED else FinishReason.STOPPED
        run.finish(state, reason, message)
    except RunError as error:
        _log.warning("the end of the run cannot be written down: %s", error)
        return None
    return run


def _run_of(project: str | None, pid: int) -> RunFolder | None:
    if project is None or not Path(project).is_dir():
        return None
    for run in reversed(list_runs(project)):
        info = run.read_info()
        if info.status is RunState.RUNNING and info.pid == pid and info.host == platform.node():
            return run
    return None
