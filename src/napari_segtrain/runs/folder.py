"""The folder of a run: its files, and its state on the disk."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from napari_segtrain.config import ExperimentConfig, RunError, SegtrainError, dump_config, load_config

from .atomic import explain_os_error, plain, read_json, remove_leftovers, write_json, write_text
from .checkpoints import LAST
from .event_file import EventWriter
from .events import Finished, StatusChanged
from .info import RunInfo, begun, ended, now
from .metrics import MetricsLog, Row, read_metrics
from .states import ENDED, RunState, check_move
from .summary import summary_text

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SUBFOLDERS = ("checkpoints", "logs", "plots", "evaluation", "scratch")
_Read = TypeVar("_Read")
_ADVICE = (
    "Restore it from a copy, or train again with the config.yaml beside it; checkpoints predict without it"
)
RUN_FILE = "run.json"
"""The file that makes a folder a run."""
COPIES = "layers"
"""How folders in a run's scratch begin that hold what it was trained on."""


def runs_folder(project: str | Path) -> Path:
    """Return the folder in a project that holds its runs."""
    return Path(project) / "runs"


class RunFolder:
    """One run on the disk; made by `create` or `open`.

    Every file is replaced atomically. One process at a time writes into a running run (see
    `ProjectLock`); any number may read.

    Attributes
    ----------
    path
        The run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: MetricsLog | None = None
        self._since: float | None = None  # on the clock that nobody sets

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and self.path.resolve() == other.path.resolve()

    def __hash__(self) -> int:
        return hash(self.path.resolve())

    @classmethod
    def create(cls, project: str | Path, name: str) -> RunFolder:
        """Make the folder of a new, pending run.

        Parameters
        ----------
        project
            Folder that holds runs; it is made when absent.
        name
            Name of the run. When a run of this name exists, ``_2``, ``_3``, … is added; no run is ever
            overwritten.

        Raises
        ------
        RunError
            When the name cannot be a folder's name, or the project cannot be written to.
        """
        if not _NAME.fullmatch(name):
            raise RunError(
                f"run name {name!r} is not usable: begin with a letter or digit, and use letters, digits, "
                "dots, dashes and underscores"
            )
        parent = runs_folder(project)
        try:
            path = _make_unused(parent, name)
            for subfolder in SUBFOLDERS:
                (path / subfolder).mkdir()
        except OSError as error:
            raise RunError(
                f"{project}: no run can be made here ({explain_os_error(error)}); choose a project folder "
                "that you may write to"
            ) from error
        run = cls(path)
        run._write_info(RunInfo(id=uuid.uuid4().hex, name=path.name, created=now()))
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open the folder of a run that exists.

        Raises
        ------
        RunError
            When `path` is not a run folder; see `find_run` for other ways to name a run.
        """
        path = Path(path)
        if not (path / RUN_FILE).is_file():
            raise RunError(f"{path}: is not a run folder; a run folder holds a run.json")
        return cls(path)

    @property
    def project(self) -> Path:
        """The project that holds the run; a run that was moved out of one is a project of its own."""
        folder = self.path.absolute().parent
        return folder.parent if folder.name == runs_folder("").name else self.path

    @property
    def name(self) -> str:
        """The run's name, which is that of its folder."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """Folder of ``best.ckpt``, ``last.ckpt`` and the numbered checkpoints."""
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        """Folder of ``training.log``."""
        return self.path / "logs"

    @property
    def plots(self) -> Path:
        """Folder of figures and debug pictures."""
        return self.path / "plots"

    @property
    def evaluation(self) -> Path:
        """Folder of scores on the split's parts."""
        return self.path / "evaluation"

    @property
    def scratch(self) -> Path:
        """Folder of arrays that processes share; of a run that may go on, what it was trained on stays."""
        return self.path / "scratch"

    @property
    def tensorboard(self) -> Path:
        """Folder for TensorBoard; made by whoever writes there."""
        return self.path / "tensorboard"

    @property
    def events_path(self) -> Path:
        """The file `events.jsonl`."""
        return self.path / "events.jsonl"

    @property
    def log_path(self) -> Path:
        """The file `logs/training.log`."""
        return self.logs / "training.log"

    # ------------------------------------------------------------------------------- run.json

    def read_info(self) -> RunInfo:
        """Read `run.json`.

        Raises
        ------
        RunError
            When it is missing or damaged.
        """
        file = self.path / RUN_FILE
        try:
            return RunInfo.model_validate(read_json(file, _ADVICE))
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise RunError(
                f"{file}: {where}: {fault['msg']}; the file was changed by hand? {_ADVICE}"
            ) from None

    def update_info(self, **changes: Any) -> RunInfo:
        """Change keys of `run.json`, atomically, and return the whole.

        Parameters
        ----------
        **changes
            Attributes of `RunInfo` and their new values; the status is changed by `set_state` only.

        Raises
        ------
        RunError
            When the file cannot be read or written.
        ValueError
            When a key is unknown, is the status, or has an impossible value.
        """
        if "status" in changes:
            raise ValueError("the status of a run is changed by set_state")
        info = self.read_info().replace(**plain(changes))
        self._write_info(info)
        return info

    def _write_info(self, info: RunInfo) -> None:
        write_json(self.path / RUN_FILE, info)

    @property
    def state(self) -> RunState:
        """The state in `run.json`."""
        return self.read_info().status

    def set_state(
        self,
        state: RunState,
        *,
        reason: str | None = None,
        message: str = "",
        extend: bool = False,
        at: datetime | None = None,
    ) -> StatusChanged:
        """Move the run to another state; the file is written before this returns.

        Moving to running notes this process and clears how the run had ended; moving back to pending is
        a retry and also forgets the epochs and metrics, but deletes no file. Ending adds to the time,
        writes `summary.txt`, and empties the scratch folder of what nobody needs any more.

        Parameters
        ----------
        state
            The state to move to.
        reason
            A `FinishReason`; needed to end a run.
        message
            What happened, for the user.
        extend
            Allow a completed run to run again, because it was given more epochs.
        at
            When it ended, if that was not now.

        Returns
        -------
        StatusChanged
            The event to announce.

        Raises
        ------
        RunError
            When the run's state does not allow the move, or the file cannot be written.
        ValueError
            When a run is ended without a reason.
        """
        info = self.read_info()
        check_move(info.status, state, extend=extend)
        if state in ENDED:
            if reason is None:
                raise ValueError(f"a run cannot become {state} without a finish reason")
            spent = None if self._since is None else time.monotonic() - self._since
            info, self._since = ended(info, state, reason, message, spent=spent, at=at), None
        elif state is RunState.RUNNING:
            info, self._since = begun(info), time.monotonic()
            remove_leftovers(self.path)
        else:
            kept = {key: getattr(info, key) for key in ("id", "name", "created", "changed", "num_epochs")}
            info = RunInfo(**kept)
        self._write_info(info)
        write_text(self.path / "summary.txt", summary_text(info))
        if state in ENDED:
            self._empty_scratch(keep_copies=self.resumable)
        return StatusChanged(status=state, message=message)

    @property
    def resumable(self) -> bool:
        """Whether the run has ended and can go on: interrupted, or failed after a checkpoint."""
        state = self.state
        return state is RunState.INTERRUPTED or (
            state is RunState.FAILED and (self.checkpoints / LAST).is_file()
        )

    @property
    def extendable(self) -> bool:
        """Whether the run is completed and can be given more epochs."""
        return self.state is RunState.COMPLETED and (self.checkpoints / LAST).is_file()

    def _empty_scratch(self, *, keep_copies: bool) -> None:
        for folder in self.scratch.iterdir() if self.scratch.is_dir() else ():
            if not (keep_copies and folder.name.startswith(COPIES)):
                shutil.rmtree(folder, ignore_errors=True)

    def finish(self, state: RunState, reason: str, message: str = "") -> Finished:
        """End the run on behalf of a process that no longer can, and tell the followers of its events.

        A run that had not begun is moved through running, so that the history of every run is the same.

        Returns
        -------
        Finished
            The event that was added to `events.jsonl`.

        Raises
        ------
        RunError
            When the run has already ended, or its files cannot be written.
        """
        if self.state is RunState.PENDING:
            self.set_state(RunState.RUNNING)
        changed = self.set_state(state, reason=reason, message=message, at=self._last_sign_of_life())
        finished = Finished.model_validate(
            {"status": state, "reason": reason, "message": message, "path": str(self.path)}
        )
        try:
            with EventWriter(self.events_path) as write:
                write(changed)
                write(finished)
        except OSError as error:
            raise RunError(f"{self.events_path}: cannot be written ({explain_os_error(error)})") from error
        return finished

    def _last_sign_of_life(self) -> datetime | None:
        """Return when the run last announced something: a process may have been dead for days."""
        try:
            return datetime.fromtimestamp(self.events_path.stat().st_mtime, UTC).replace(microsecond=0)
        except OSError:
            return None

    def add_warning(self, message: str) -> None:
        """Keep what the user was told in `run.json` and `summary.txt`; the same words once.

        Raises
        ------
        RunError
            When a file cannot be read or written.
        """
        known = self.read_info().warnings
        if message not in known:
            self.update_info(warnings=(*known, message))
            self.write_summary()

    def write_summary(self) -> None:
        """Write `summary.txt` from `run.json`; at the end of an epoch, for example.

        Raises
        ------
        RunError
            When a file cannot be read or written.
        """
        write_text(self.path / "summary.txt", summary_text(self.read_info()))

    # ----------------------------------------------------------------------------- other files

    def write_config(self, config: ExperimentConfig) -> None:
        """Write the complete, resolved experiment to `config.yaml` and `config.json`.

        Raises
        ------
        RunError
            When a file cannot be written.
        """
        write_text(self.path / "config.yaml", dump_config(config))
        write_json(self.path / "config.json", config)

    def read_config(self) -> ExperimentConfig:
        """Read the experiment back from `config.yaml`.

        Raises
        ------
        ConfigError
            When the file is missing or is not a valid experiment.
        """
        return load_config(self.path / "config.yaml")

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add the row of an epoch to `metrics.json`; see `MetricsLog.append`."""
        self.metrics.append(row)

    @property
    def metrics(self) -> MetricsLog:
        """The rows of the run, for the process that writes them."""
        if self._metrics is None:
            self._metrics = MetricsLog(self.path / "metrics.json")
        return self._metrics

    def set_metrics_aside(self) -> Path:
        """Rename a damaged `metrics.json`, so that a new one can be begun, and return its new place."""
        path = self.path / "metrics.json"
        self._metrics = None
        return path.replace(path.with_name("metrics.damaged.json"))

    def read_metrics(self) -> list[Row]:
        """Read the rows in `metrics.json`, as any process may; errors as `read_metrics`."""
        return read_metrics(self.path / "metrics.json")

    def write_json(self, name: str, value: Any) -> Path:
        """Write a file of the run such as ``split.json`` or ``normalisation.json``, and return its path.

        Raises
        ------
        RunError
            When it cannot be written.
        """
        write_json(self.path / name, value)
        return self.path / name

    def read_json(self, name: str) -> Any:
        """Read a file of the run such as ``split.json``.

        Raises
        ------
        RunError
            When it is missing or is not JSON.
        """
        return read_json(self.path / name)

    def read_as(self, name: str, reader: Callable[[Any], _Read]) -> _Read:
        """Read a file of the run as what it stands for.

        Parameters
        ----------
        name
            The file, such as ``split.json``.
        reader
            Makes a value of its content.

        Raises
        ------
        RunError
            When it is missing, is not JSON, or holds something else.
        """
        content = self.read_json(name)
        try:
            return reader(content)
        except (TypeError, ValueError, LookupError, AttributeError, SegtrainError) as error:
            raise RunError(
                f"{self.path / name}: does not hold what a run writes there ({type(error).__name__}: "
                f"{error}); was the file changed by hand? Restore it, or train again"
            ) from None

    def open_events(self) -> EventWriter:
        """Open `events.jsonl` to add events to it.

        Raises
        ------
        RunError
            When it cannot be written.
        """
        try:
            return EventWriter(self.events_path)
        except OSError as error:
            raise RunError(
                f"{self.events_path}: cannot be written ({explain_os_error(error)}); the run folder must be "
                "writable: copy it to where you may write, and go on with the copy"
            ) from error


def _make_unused(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = parent / (name if number == 1 else f"{name}_{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
