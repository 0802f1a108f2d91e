"""The Train dock: from painted layers to a network, with previews while it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...config import ExperimentConfig, SegtrainError
from ...runs import (
    BatchDone,
    DebugPicture,
    EpochDone,
    Event,
    Finding,
    Finished,
    FinishReason,
    FittingSize,
    Progress,
    RunFolder,
    RunStarted,
    RunState,
    Waiting,
    Warned,
    noted_data,
    read_data,
)
from ..forms import notify
from ..forms.folding import fold
from ..forms.form_rows import FormRows
from ..forms.path_edit import PathEdit
from ..forms.style import DEFAULT_PROJECT
from ..layers.reattach import Reattached, folder_of, reattach
from ..panels.curves import Curves
from ..panels.debug_picture import DebugPictureButton
from ..panels.findings_row import FindingsRow
from ..panels.heading import Heading
from ..panels.keep_row import KeepRow, longer
from ..panels.offer import Offer
from ..panels.preferences import preferences
from ..panels.preview_row import PreviewRow
from ..panels.resume_row import ResumeRow
from ..panels.run_panel import RunPanel
from ..panels.settings_files import SettingsFiles
from ..sessions.preview_session import KINDS, TARGETS, PreviewKind, PreviewSession
from ..sessions.project_watch import ProjectWatch
from ..sessions.remedies import Remedies
from ..sessions.run_reader import OpenedRun, best_of, earlier_rows, known_data, open_run
from ..sessions.training_session import State, TrainingSession
from .dock import EngineDock
from .resuming import Resuming
from .train_form import TrainForm, of_row

_START = "Train with these settings"
_WAIT = "Train with these settings as soon as the active run has ended; Stop ends the waiting"
_SAYS = {
    State.PREPARING: "Preparing the layers …",
    State.STARTING: "Preparing data and network …",
    State.PAUSED: "Paused",
    State.STOPPING: "Stopping after this batch; a checkpoint is written …",
}


class TrainDock(EngineDock):
    """Choose layers and targets, train, watch.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    engine_arguments
        Arguments of the engine process, for tests.
    """

    def __init__(self, napari_viewer: Any, engine_arguments: Sequence[str] = ()) -> None:
        super().__init__(napari_viewer, engine_arguments)
        self.setObjectName("train_dock")
        self.session = TrainingSession(napari_viewer, self.engine, self.beat, self)
        self.previews = PreviewSession(napari_viewer, self.engine, self)
        self.form = TrainForm(self.watch)
        self.looks = PreviewRow(KINDS)
        self.project = PathEdit("project", "Folder that holds the runs; it is made when absent.")
        wishes = preferences()
        self.project.set_value(wishes.project)
        self.form.begin_with(wishes.device, keep_labels=wishes.keep_labels)
        self.panel = RunPanel(
            {
                "start": ("Start", _START),
                "wait": ("Start when it ends", _WAIT),
                "pause": ("Pause", "Wait after this batch; press again to go on"),
                "stop": (
                    "Stop",
                    "End after this batch, with a checkpoint; the run can be resumed. Ends a preview, too",
                ),
            },
            self.beat,
        )
        self.resumable = ResumeRow()
        self.completed = KeepRow()
        self.fitting = Offer(
            "use_fitting_size", "Use this size", "Write the patch and batch size into the form"
        )
        self.findings = FindingsRow()
        self.projects = ProjectWatch(self._project, self)
        self.remedies = Remedies()
        self.labels = Resuming(napari_viewer, self, self._read)
        self.curves = Curves(self.beat)
        self.progress = fold("Curves", self.curves, opened=True, tip="Show or hide the curves of the run")
        self.progress.hide()
        self.debug = DebugPictureButton()
        self._result = ""
        self._opening = False
        self._said_active: str | None = None
        self._lay_out()
        self._connect()
        self._on_state(State.IDLE)
        self._warm()

    def value(self) -> ExperimentConfig:
        """Return the experiment that the dock shows; raises `ConfigError` when a value is not valid."""
        return self.form.value()

    def set_value(self, value: ExperimentConfig) -> None:
        """Show an experiment."""
        self.form.set_value(value)

    # -------------------------------------------------------------------------------- layout

    def _lay_out(self) -> None:
        self._place = FormRows()
        self._place.add(self.looks)
        self._place.add_row("Project", self.project)
        self._place.add_row("Stopped run", self.resumable)
        self._place.add_row("Completed run", self.completed)
        self._place.setContentsMargins(6, 0, 0, 0)  # as far in as the form
        foot = (self._place, self.findings, self.fitting, self.panel, self.progress, self.debug)
        self._stack(self._header(), self.form, *foot)

    def _header(self) -> Heading:
        files = SettingsFiles(self.value, self.set_value, self._ask, self._refuse)
        self.open, self.save = files.open, files.save
        return Heading("Train on painted layers", "Train", self.open, self.save)

    def _connect(self) -> None:
        buttons = self.panel.buttons
        buttons["start"].clicked.connect(lambda _=False: self.start())
        buttons["wait"].clicked.connect(lambda _=False: self.start(wait=True))
        buttons["pause"].clicked.connect(self.session.pause)
        buttons["stop"].clicked.connect(self.stop)
        self.resumable.button.clicked.connect(self.resume)
        self.completed.button.clicked.connect(self.keep_on)
        self.project.changed.connect(self.projects.look_when_typed)
        self.projects.changed.connect(lambda _: self._on_project())
        self.session.state_changed.connect(lambda state: self._on_state(State(state)))
        self.session.said.connect(self.panel.say)
        self.session.happened.connect(self._on_event)
        self.session.ended.connect(self._on_end)
        self.looks.asked.connect(self.preview)
        self.form.row_asked.connect(lambda row: self.preview(TARGETS, row))
        self.previews.said.connect(self.panel.wait)
        self.previews.changed.connect(lambda: self._on_state(self.session.state))
        self.previews.ended.connect(self._on_end)
        self.previews.diagnosed.connect(lambda event: self.findings.set_value(event.findings))
        self.findings.applied.connect(self._apply)
        self.session.noted.connect(self.findings.add)

    # ------------------------------------------------------------------------------- actions

    def start(self, *, wait: bool = False) -> None:
        """Train with what the dock shows; says why not when it cannot.

        Parameters
        ----------
        wait
            Wait for the end of a run that is active in the project.
        """
        try:
            config, data = self.form.value(), self.form.data()
            self.findings.set_value(())  # the run says anew what is found
            self.session.start(config, data, self._project(), wait=wait)
        except SegtrainError as error:
            self._refuse(str(error))

    def preview(self, kind: PreviewKind, row: str | None = None) -> None:
        """Show what training would see of the visible region; says why not when it cannot.

        Parameters
        ----------
        kind
            What to look at.
        row
            Of this target or auxiliary task alone.
        """
        try:
            config = self.form.value()
            config = config if row is None else of_row(config, row)
            self.previews.start(kind, config, self.form.data(config), self._project())
        except SegtrainError as error:
            self._refuse(str(error))

    def stop(self) -> None:
        """End the training after its batch, or the preview."""
        if self.previews.busy:
            self.previews.cancel()
        else:
            self.session.stop()

    def _apply(self, finding: Finding) -> None:
        """Write the change of a finding into the form; a running training has it when it is resumed."""
        try:
            self.form.set_value(finding.cured(self.form.value()))
        except SegtrainError as error:
            self._refuse(str(error))
            return
        when = "press Start" if self._idle else "it counts for the next run"
        run = self.remedies.apply(finding)
        if run:
            when += f", or Resume to go on with {run}" if self._idle else f", and on resuming {run}"
        self.panel.say(f"The form has {', '.join(finding.remedy)} changed; {when}.")

    def resume(self) -> None:
        """Go on with the run that is chosen in the dock, where another one is active as soon as it ends."""
        chosen = self.resumable.value()
        if chosen is not None:
            self.go_on(chosen, wait=self.projects.state.active is not None)

    def go_on(self, path: Path, *, retry: bool = False, wait: bool = False) -> None:
        """Go on with a run, on the open layers where they are those it was trained on.

        Parameters
        ----------
        path
            The run folder.
        retry
            Train it from its begin instead.
        wait
            Wait for the end of a run that is active in the project.
        """

        def then(opened: OpenedRun, instead: Mapping[str, Any]) -> None:
            run = opened.run
            config, changed = self.remedies.cure(run.path, opened.config)
            found = self._show_run(opened, config, same=True, instead=instead)
            self.session.start(config, found.data, run.project, run.path, retry=retry, wait=wait)
            notify.info(f"{run.name} {found.words}{changed}.")

        self._open(
            path, read_data, lambda opened: self.labels.settle(opened, partial(then, opened), self._refuse)
        )

    def keep_on(self) -> None:
        """Give the completed run that is chosen in the dock more epochs; waits as `resume` does."""
        chosen = self.completed.value()
        if chosen is not None:
            self.keep_learning(chosen, wait=self.projects.state.active is not None)

    def keep_learning(self, path: Path, *, wait: bool = False) -> None:
        """Give a completed run more epochs, with the labels as they are painted now.

        Parameters
        ----------
        path
            The run folder.
        wait
            Wait for the end of a run that is active in the project.
        """

        def then(opened: OpenedRun) -> None:
            run = opened.run
            config, changed = self.remedies.cure(run.path, opened.config)
            config = longer(config, opened.info, self.completed.more.value())
            found = self._show_run(opened, config, copies=False, same=True)
            self.session.start(config, found.data, run.project, run.path, wait=wait)
            notify.info(f"{run.name} {found.words}, up to epoch {config.tr_config.num_epochs}{changed}.")

        self._open(path, noted_data, then)

    def duplicate(self, path: Path) -> None:
        """Show settings and project of a run, and its data, to train another one.

        Layers are chosen where they are open; a data folder is held on to.

        Parameters
        ----------
        path
            The run folder.
        """

        def then(opened: OpenedRun) -> None:
            run, folder = opened.run, folder_of(opened.data)
            found = self._show_run(opened, opened.config)
            if folder is not None:
                words = f"and trains on its folder {folder}; change what you like and press Start"
            elif found.data.spec is not None:
                words = "and its layers; change what you like and press Start"
            else:
                words = (
                    "now; open and tick the images that it shall learn from, then press Start. Where they "
                    f"are in a folder: segtrain duplicate {run.path}, then segtrain train --resume NEW_RUN "
                    "-i FOLDER"
                )
            self.panel.say(f"The form has the settings of {run.name} {words}.")

        self._open(path, known_data, then)

    def _open(self, path: Path, data: Callable[[RunFolder], Any], then: Callable[[OpenedRun], None]) -> None:
        """Have a worker read a run, and go on with it; says why not when the dock has no time for it."""
        if not self._idle:
            self._refuse("A training run is already active in the Train dock; stop it or wait for its end")
            return
        self._read("Reading the run …", lambda: open_run(path, data), then)

    def _read(self, words: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have a worker read files of a run, and be busy meanwhile."""

        def on_end() -> None:
            self._opening = False
            self.panel.reset()
            self._on_state(self.session.state)

        self._opening = True
        self._on_state(self.session.state)
        self.panel.wait(words)
        self._ask(work, then, on_end)

    def _show_run(
        self,
        opened: OpenedRun,
        config: ExperimentConfig,
        *,
        copies: bool = True,
        same: bool = False,
        instead: Mapping[str, Any] | None = None,
    ) -> Reattached:
        """Show settings of a run, and the folder or the layers of it; labels opened from the `same` run."""
        run, folder = opened.run, folder_of(opened.data)
        found = reattach(
            opened.data,
            config.dataset_config,
            list(self.viewer.layers),
            copies=copies,
            run=run.path if same else None,
            instead=instead,
        )
        if self._project().resolve() != run.project.resolve():
            self.project.set_value(run.project)
        self.findings.set_value(())  # what was found was said of another training
        self.form.set_value(config)
        self.form.folder.set_value(None if folder is None else Path(folder))
        if found.data.images and (folder is None or found.data.layers):
            self.form.images.set_value(tuple(found.data.images))
        return found

    def _project(self) -> Path:
        return self.project.value() or DEFAULT_PROJECT

    # --------------------------------------------------------------------------- what happens

    def _on_state(self, state: State) -> None:
        idle = self._idle
        running = state in (State.RUNNING, State.PAUSED)
        stoppable = state not in (State.IDLE, State.STOPPING) or self.previews.busy
        self.panel.enable(pause=running, stop=stoppable)
        self.panel.buttons["pause"].setText("Resume" if state is State.PAUSED else "Pause")
        self.form.setEnabled(idle)
        self.looks.setEnabled(idle)
        self.project.setEnabled(idle)
        self._on_project()
        if not idle:
            self.fitting.withdraw()
            self.projects.stop()  # the lock is our own now
        elif self.isVisible():
            self.projects.start()
        if state is State.PREPARING:
            self.remedies.leave()
        if state in (State.PREPARING, State.STARTING):
            self.panel.wait(_SAYS[state])
        elif state is State.RUNNING:
            self.panel.say("Training …")
        elif state in _SAYS:
            self.panel.hold()
            self.panel.say(_SAYS[state])

    @property
    def busy(self) -> bool:
        """Whether a training or a preview is under way, or a run is read to go on with."""
        return self.session.state is not State.IDLE or self.previews.busy or self._opening

    @property
    def _idle(self) -> bool:
        return not self.busy

    def _on_project(self) -> None:
        """Let the user start, or say who else trains in the project; another process may begin any time."""
        idle, found = self._idle, self.projects.state
        self.resumable.offer(found.resumable)
        self._place.show_row(self.resumable, idle and bool(found.resumable))
        self.completed.offer(found.completed)
        self._place.show_row(self.completed, idle and bool(found.completed))
        for row in (self.resumable, self.completed):
            row.wait_for(found.active)
        start = self.panel.buttons["start"]
        start.setEnabled(idle and found.active is None)
        start.setToolTip(found.active or _START)
        self.panel.buttons["wait"].setVisible(idle and found.active is not None)
        if idle and found.active is not None:
            self.panel.say(found.active)
        elif idle and self.panel.text == self._said_active:
            self.panel.say("")
        self._said_active = found.active

    def _on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.remedies.begin(Path(event.path))
            self.curves.begin(event)
            self._ask(lambda: earlier_rows(event), lambda rows: self.curves.put_before(event, rows))
            self.progress.show()
            self.debug.begin()
            size = "" if event.parameters is None else f", {event.parameters / 1e6:.2g} million parameters"
            self.panel.say(f"Run {event.name} on {event.device}{size}")
        elif isinstance(event, Progress):
            if self.session.state in (State.STARTING, State.RUNNING):
                self.panel.show_progress(event.fraction, event.seconds_left, event.text)
        elif isinstance(event, Waiting):
            self.panel.wait(f"Waiting, Stop ends it. {event.message}.")
        elif isinstance(event, BatchDone):
            self.curves.add_batch(event)
        elif isinstance(event, EpochDone):
            self.curves.add_epoch(event)
        elif isinstance(event, DebugPicture):
            self.debug.take(event)
        elif isinstance(event, Warned):
            notify.warning(event.message)
            if event.finding is not None:
                self.remedies.note(event.finding)
                self.findings.add(event.finding)
        elif isinstance(event, Finished):
            self._on_finished(event)

    def _on_finished(self, event: Finished) -> None:
        if event.fitting is not None:
            certain = event.reason == FinishReason.OUT_OF_MEMORY
            self._offer_size(event.fitting, "This" if certain else "If memory ran out, this")
        if not event.path or event.status is RunState.FAILED:
            return
        name = Path(event.path).name
        if event.status is RunState.INTERRUPTED:
            self._result = (
                f"Stopped. Run {name} keeps what it learned: predict with it, or paint more and resume it."
            )
        else:
            self._result = "; ".join(filter(None, (f"{name} is trained", event.message)))
            self._ask(partial(best_of, event.path), partial(self._say_best, self._result))
            notify.info(f"{name} is trained; use it in the Predict dock.")

    def _say_best(self, said: str, best: str) -> None:
        """Add the best epoch to what was said, unless something else was said meanwhile."""
        if best and self.panel.text == said:
            self.panel.say(f"{said}; {best}")

    def _offer_size(self, size: FittingSize, what: str) -> None:
        patch = " × ".join(map(str, size.patch_size))
        words = f"patches of {patch} in batches of {size.batch_size}"

        def use() -> None:
            self.form.use_size(size.patch_size, size.batch_size)
            self.panel.say(f"The form has {words} now; press Start")

        self.fitting.make(f"{what} should fit: {words}", use)

    def _on_end(self, well: bool, message: str) -> None:
        self.panel.reset()
        self.panel.say(self._result or message)
        self._result = ""
        if not well:
            notify.error(message)

    def showEvent(self, event: Any) -> None:
        """Watch the project while somebody can see what is found."""
        super().showEvent(event)
        if self.session.state is State.IDLE:
            self.projects.start()

    def hideEvent(self, event: Any) -> None:
        """Leave the file system alone."""
        self.projects.stop()
        super().hideEvent(event)

    def shut_down(self) -> None:
        """Let go of viewer and engine; a running training stops, with a checkpoint."""
        self.projects.stop()
        self.session.close()
        self.previews.close()
        super().shut_down()
