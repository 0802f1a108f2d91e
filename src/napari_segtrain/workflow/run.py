"""Training from data to a finished run: folder, lock, states, events, and what happens when it fails."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_segtrain.config import (
    ExperimentConfig,
    ExperimentLike,
    RunError,
    as_experiment,
    list_sentences,
)
from napari_segtrain.data import PARTS, SPLIT_FILE, Dataset, Split
from napari_segtrain.runs import (
    LAST,
    Best,
    Control,
    Emit,
    Event,
    FinishReason,
    ProjectLock,
    RunFolder,
    RunState,
    Warned,
    check_move,
    check_writable,
    find_run,
    ignore,
    load_checkpoint,
    lock_project,
    log_to,
    read_data,
    recover,
    set_back,
    write_data,
)
from napari_segtrain.runs import run_name as name_of
from napari_segtrain.training import NEEDED, NOTHING, Experiment, FitResult, Given, resolve_again

from .after_training import score_run
from .chronicle import log_event, log_start, warnings_to_log
from .crew import Crew
from .data_change import change_of_data, note_data
from .doctor import findings_of
from .follower import follow
from .preview import LivePreview
from .reviewing import Review, review
from .run_data import DataSpec, OpenData, open_data, where_it_is
from .run_end import end_run, failures_told, last_words, note_warning

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """How a training ended.

    Attributes
    ----------
    path
        The run folder.
    status
        ``completed``, or ``interrupted`` and resumable.
    reason
        A `FinishReason`.
    epochs
        Completed epochs.
    best
        The epoch whose weights are in ``best.ckpt``; None when there is none.
    metrics
        Losses and scores of the last completed epoch.
    message
        What to know or do, for the user.
    leads
        Whether this process led those that trained together; it alone wrote the run, and should report.
    """

    path: Path
    status: RunState
    reason: str
    epochs: int
    best: Best | None
    metrics: Mapping[str, float | int | None] = field(default_factory=dict)
    message: str = ""
    leads: bool = True


def train(
    config: ExperimentLike,
    data: DataSpec | None,
    project: str | Path | None,
    *,
    run_name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    origin: str = "",
    resume: str | Path | None = None,
    stop_after: int | None = None,
    preview: bool = False,
    wait: bool = False,
    emit: Emit = ignore,
    control: Control | None = None,
) -> RunResult:
    """Train a network; everything it learns and reports goes into a new folder in ``<project>/runs``.

    Parameters
    ----------
    config
        The experiment: as such, as a dictionary of its sections, or as the path of its YAML file. Without
        targets, those that are found in the data are trained.
    data
        Where images and labels are. None only with `resume`: where the run had them.
    project
        Folder that holds runs; made when absent. Not needed with `resume`.
    run_name
        Name of the run; by default the configuration's, else one made from `overrides`.
    overrides
        Settings that differ from a file or the defaults, by dotted name, for the run's name.
    origin
        Where the experiment is from, such as a file; it begins what is said to be wrong with it.
    resume
        Run folder to go on with, with `config` as its experiment.
    stop_after
        Interrupt the run after the epoch with this number.
    preview
        Predict the images now and then, and announce it with `PreviewReady`.
    wait
        Wait for the end of a run that is active in the project, instead of refusing; `Waiting` says so.
    emit
        Told every event, from any thread.
    control
        Requests to stop, to pause, to take painted labels.

    Raises
    ------
    ConfigError, DataError, RunError
        When configuration, data or project cannot work; nothing has been computed.
    RunFailedError
        When the run failed after it had begun.
    CancelledError
        When a stop was asked for while waiting.

    Examples
    --------
    >>> from napari_segtrain import train
    >>> config = {
    ...     "tr_config": {"num_epochs": 1, "steps_per_epoch": 2, "patch_size": [16, 32, 32]},
    ...     "model_config": {"base_features": 8},
    ... }
    >>> result = train(config, "data", "project")
    >>> str(result.status), result.path.as_posix(), result.epochs
    ('completed', 'project/runs/base', 1)
    """
    origin = origin or (str(config) if isinstance(config, str | Path) else "")
    config = as_experiment(config)
    control = control if control is not None else Control()
    wishes = _Wishes(stop_after, preview, wait, emit, control)
    if resume is not None:
        return _go_on(config, find_run(resume), data, wishes)
    if data is None or project is None:
        raise RunError("a new run needs data and a project folder; give both, or a run to resume")
    with Crew.of(config) as crew:
        if not crew.team.leads:
            return _followed(crew, data)
        check_writable(project)
        dataset = open_data(data, config)
        reviewed = review(config, dataset, origin)
        reviewed.checked()
        opened = OpenData(dataset, where_it_is(data, dataset))
        return _begin(crew, reviewed, opened, project, run_name, overrides or {}, wishes)


def train_given(
    given: Given,
    reviewed: Review,
    opened: OpenData,
    project: str | Path,
    *,
    run_name: str | None = None,
    stop_after: int | None = None,
    preview: bool = False,
    wait: bool = False,
    emit: Emit = ignore,
    control: Control | None = None,
) -> RunResult:
    """Train what somebody else has put together; see `train`, which does the same with parts of its own.

    Parameters
    ----------
    given
        Batches, network, loss and optimizer.
    reviewed, opened
        The experiment that they were made for, and its data.
    project, run_name, stop_after, preview, wait, emit, control
        See `train`.

    Raises
    ------
    RunError
        When the project cannot be used.
    RunFailedError
        When the run failed after it had begun.
    """
    control = control if control is not None else Control()
    wishes = _Wishes(stop_after, preview, wait, emit, control, given=given)
    with Crew.of(reviewed.config) as crew:
        return _begin(crew, reviewed, opened, project, run_name, {}, wishes)


def resume(
    run: str | Path,
    *,
    data: DataSpec | None = None,
    overrides: Mapping[str, Any] | None = None,
    stop_after: int | None = None,
    preview: bool = False,
    changed_data: bool = False,
    wait: bool = False,
    emit: Emit = ignore,
    control: Control | None = None,
) -> RunResult:
    """Go on with a run that was interrupted, failed, or is to get more epochs; see `train`.

    A pending run begins.

    Parameters
    ----------
    run
        The run folder, or a checkpoint in it.
    data
        Where the data is now; by default where it was.
    overrides
        Settings to change, by dotted name, such as ``{"tr_config.num_epochs": 100}``.
    changed_data
        Go on also when files of the data are not what the run was trained on.
    stop_after, preview, wait, emit, control
        See `train`.

    Raises
    ------
    RunError
        When the run cannot go on, or files of the data have changed; the message names them.
    RunFailedError
        When the run failed after it had begun again.
    """
    folder = find_run(run)
    config = folder.read_config().with_overrides(overrides or {})
    control = control if control is not None else Control()
    return _go_on(config, folder, data, _Wishes(stop_after, preview, wait, emit, control, changed_data))


def retry(
    run: str | Path,
    *,
    data: DataSpec | None = None,
    stop_after: int | None = None,
    preview: bool = False,
    changed_data: bool = False,
    wait: bool = False,
    emit: Emit = ignore,
    control: Control | None = None,
) -> RunResult:
    """Train a run that failed or was interrupted from its begin, in the same folder; see `train`.

    Checkpoints, metrics, events, logs and pictures of the attempt before are moved to ``attempts/1``, ….

    Parameters
    ----------
    run
        The run folder.
    data
        Where the data is now; by default where it was.
    changed_data
        Go on also when files of the data are not what the run was trained on.
    stop_after, preview, wait, emit, control
        See `train`.

    Raises
    ------
    RunError
        When the run cannot go on, or files of the data have changed; the message names them.
    RunFailedError
        When the run failed after it had begun again.
    """
    folder = find_run(run)
    recover(folder.project)
    check_move(folder.state, RunState.PENDING)
    control = control if control is not None else Control()
    wishes = _Wishes(stop_after, preview, wait, emit, control, changed_data)
    return _go_on(folder.read_config(), folder, data, wishes, afresh=True)


@dataclass(frozen=True)
class _Wishes:
    """What is asked of a training besides the experiment; see `train`."""

    stop_after: int | None
    preview: bool
    wait: bool
    emit: Emit
    control: Control
    changed_data: bool = False
    given: Given = NOTHING

    def lock(self, project: str | Path, name: str, *, made: bool = False) -> ProjectLock:
        """Return the lock of a project, taken for a run of this name, which may be made already."""
        lock = ProjectLock(project)
        return lock_project(lock, name, made=made, wait=self.wait, control=self.control, emit=self.emit)


def _begin(
    crew: Crew,
    reviewed: Review,
    opened: OpenData,
    project: str | Path,
    run_name: str | None,
    overrides: Mapping[str, Any],
    wishes: _Wishes,
) -> RunResult:
    """Make a new run and train it."""
    check_writable(project, reviewed.disk_space)
    name = run_name or reviewed.config.tr_setup.run_name or name_of(overrides)
    with wishes.lock(project, name) as lock:
        run = RunFolder.create(project, name)
        lock.rename(run.name)
        run.update_info(changed=dict(overrides))
        run.write_config(reviewed.config)
        return _execute(crew, run, reviewed, opened, False, wishes)


def _go_on(
    config: ExperimentConfig,
    run: RunFolder,
    data: DataSpec | None,
    wishes: _Wishes,
    *,
    afresh: bool = False,
) -> RunResult:
    with Crew.of(config) as crew:
        if not crew.team.leads:
            return _followed(crew, data)
        with wishes.lock(run.project, run.name, made=True):
            where = read_data(run) if data is None else data
            dataset = open_data(where, config)
            goes_on = not afresh and (run.path / SPLIT_FILE).is_file()
            split = run.read_as(SPLIT_FILE, Split.from_dict) if goes_on else None
            reviewed = review(config, dataset, split=split)
            reviewed.report.raise_for_errors()
            has_checkpoint = not afresh and (run.checkpoints / LAST).is_file()
            if has_checkpoint:
                _check_continuation(reviewed.config, run, dataset)
            elif not afresh and run.read_info().epoch:
                raise RunError(f"{run.path}: its {LAST} is gone, so that it cannot go on; start a new run")
            change = change_of_data(run, dataset, accepted=wishes.changed_data)
            if afresh:
                run = set_back(run)
            if change:
                reviewed = reviewed.warning(change)
            opened = OpenData(dataset, where_it_is(where, dataset), noted=data is None, changed=bool(change))
            return _execute(crew, run, reviewed, opened, has_checkpoint, wishes)


def _followed(crew: Crew, data: DataSpec | None) -> RunResult:
    """Train with the process that leads, which writes the run."""
    run, result = follow(crew.team, data, crew.store)
    return _result(run, result, leads=False)


def _check_continuation(config: ExperimentConfig, run: RunFolder, dataset: Dataset) -> None:
    """Refuse other data and another network than the run has, before anything of the run is changed."""
    if (run.path / SPLIT_FILE).is_file():
        split = run.read_as(SPLIT_FILE, Split.from_dict)
        dataset.require([region for part in PARTS for region in split.part(part)])
    resolve_again(config, load_checkpoint(run.checkpoints / LAST, required=NEEDED))


def _execute(
    crew: Crew, run: RunFolder, reviewed: Review, data: OpenData, resumed: bool, wishes: _Wishes
) -> RunResult:
    """Run, and write the end of the run whatever it is."""
    config, control = reviewed.config, wishes.control
    extend = run.read_info().has_less_than(config.tr_config.num_epochs)
    with run.open_events() as write, log_to(run), warnings_to_log():

        def tell(event: Event) -> None:
            log_event(run, event)
            if isinstance(event, Warned):
                note_warning(run, event.message)
            write(event)
            wishes.emit(event)

        # Before the run is marked as running, so that from then on it can be resumed at any instant.
        if data.where is not None and not data.noted:
            write_data(run, data.where)
        if data.changed or not resumed:
            note_data(run, data.dataset)
        begun = run.set_state(RunState.RUNNING, extend=extend)
        log_start(run, data.dataset, resumed)
        tell(begun)
        _tell_doubts(reviewed, data.dataset, resumed, tell)
        with failures_told(run, tell), crew.failures_explained():
            result, device = _train(crew, run, config, data, resumed, wishes, tell)
        crew.dismiss()
        if result.status is RunState.COMPLETED:
            score_run(run, data.dataset, device, tell, control)
        end_run(run, tell, result.status, result.reason, last_words(run, result), result)
    return _result(run, result)


def _tell_doubts(reviewed: Review, dataset: Dataset, resumed: bool, tell: Emit) -> None:
    """Say what is worth knowing of the data, and of a new training what its doctor finds; each once."""
    findings = () if resumed else findings_of(reviewed, dataset)
    # What leaks is said with the change that helps, where there is one.
    cured = any(finding.rule == "leakage" and finding.remedy for finding in findings)
    notes = [said for said in reviewed.report.warnings if not (cured and said in reviewed.leaks)]
    if notes:
        tell(Warned(message=list_sentences(notes, "notes on the data")))
    messages = () if reviewed.resolved is None else reviewed.resolved.messages
    for finding in findings:
        # What memory there is not is said when it is known what the run does about it.
        if finding.rule != "memory" and finding.sentence not in (*reviewed.report.warnings, *messages):
            tell(Warned(message=finding.sentence, finding=finding))


def _train(
    crew: Crew,
    run: RunFolder,
    config: ExperimentConfig,
    data: OpenData,
    resumed: bool,
    wishes: _Wishes,
    tell: Emit,
) -> tuple[FitResult, str]:
    """Prepare the experiment, hand it to the other processes where there are any, and train.

    Returns the device too; the network of the training is gone then, and makes room for others.
    """
    if data.where is None:
        crew.need_data()
    crew.start()
    control = wishes.control
    experiment = Experiment.prepare(
        config, data.dataset, run, tell, control, resume=resumed, team=crew.team, given=wishes.given
    )
    if not crew.team.alone:
        ticket = {"shared": experiment.shared(), "data": data.where, "stop_after": wishes.stop_after}
        crew.share(ticket, lambda message: end_run(run, tell, RunState.FAILED, FinishReason.CRASHED, message))
    shown = LivePreview(experiment, data.dataset, tell, control) if wishes.preview else None
    result = experiment.fit(control, preview=shown, stop_after=wishes.stop_after)
    return result, experiment.resolved.device


def _result(run: RunFolder, result: FitResult, *, leads: bool = True) -> RunResult:
    return RunResult(
        path=run.path,
        status=result.status,
        reason=result.reason,
        epochs=result.epochs,
        best=result.best,
        metrics=result.rows[-1] if result.rows else {},
        message=last_words(run, result),
        leads=leads,
    )
