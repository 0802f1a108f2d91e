"""The Runs dock: all runs of a project, side by side, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QMessageBox, QVBoxLayout, QWidget

from ...runs import (
    EpochDone,
    Event,
    Finished,
    Paused,
    Progress,
    RunRow,
    RunState,
    Warned,
    delete_run,
    stop_run,
)
from ..forms.folding import fold
from ..forms.form_rows import FormRows
from ..forms.path_edit import PathEdit
from ..forms.style import DEFAULT_PROJECT
from ..layers.kept_labels import KeptLabels, add_kept, read_kept
from ..layers.stored_results import Found, add_stored, read_found
from ..panels.debug_picture import DebugWindow
from ..panels.difference import Difference
from ..panels.heading import Heading
from ..panels.preferences import preferences
from ..panels.run_curves import RunCurves
from ..panels.run_panel import RunPanel
from ..panels.runs_table import RunsTable
from ..sessions.closing_note import ClosingNote
from ..sessions.follow_session import FollowSession
from ..sessions.followers import perform
from ..sessions.runs_watch import RunDetails, RunsState, RunsWatch
from .dock import Dock
from .other_docks import find_dock, show_dock
from .predict_dock import PredictDock
from .run_actions import ACTIONS, Situation, described, refusals
from .train_dock import TrainDock

_PER_ROW = 4
_ASKED = "{} was asked to stop: it does after the batch it is in, with a checkpoint"


class RunsDock(Dock):
    """Look at runs, compare them, and go on with them.

    What trains is the Train dock, what predicts the Predict dock: this one opens and fills them. All files
    are read in a thread.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    """

    def __init__(self, napari_viewer: Any) -> None:
        follower = FollowSession()
        super().__init__(napari_viewer, follower.stop)
        self.setObjectName("runs_dock")
        self.follower = follower
        self._followed: Any = None
        self._end: Finished | None = None
        self._worker: Any = None
        self._note = ClosingNote(napari_viewer)
        self._window: DebugWindow | None = None
        self.project = PathEdit("project", "Folder that holds the runs.")
        self._begun_with = preferences().project
        self.project.set_value(self._begun_with)
        self.projects = RunsWatch(lambda: self.project.value() or DEFAULT_PROJECT, self)
        self.table = RunsTable()
        self.curves = RunCurves(self.beat)
        self.difference = Difference()
        self.panel = RunPanel(ACTIONS, self.beat, _PER_ROW)
        self._lay_out()
        self._connect()
        self._on_choice()

    # -------------------------------------------------------------------------------- layout

    def _lay_out(self) -> None:
        place = FormRows()
        place.add_row("Project", self.project)
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(4, 4, 8, 4)
        column.setSpacing(6)
        column.addWidget(place)
        column.addWidget(self.table, 1)
        for heading, content in (("Curves", self.curves), ("Different settings", self.difference)):
            column.addWidget(fold(heading, content, opened=True, heading=True))
        self._stack(Heading("Runs of a project", "Runs"), body, self.panel)

    def _connect(self) -> None:
        actions: dict[str, Callable[[], None]] = {
            "resume_run": self.resume,
            "retry_run": partial(self.resume, retry=True),
            "stop_run": self.stop,
            "duplicate_run": self.duplicate,
            "use_run": self.use,
            "delete_runs": self.delete,
            "open_folder": self.open_folder,
            "open_picture": self.open_picture,
            "open_labels": self.open_labels,
            "open_predictions": self.open_predictions,
        }
        for name, action in actions.items():
            self.panel.buttons[name].clicked.connect(lambda _=False, action=action: action())
        self.table.chosen.connect(self._on_choice)
        self.project.changed.connect(self.projects.look_when_typed)
        self.projects.changed.connect(self._on_state)
        self.projects.looked.connect(self._on_look)
        self.follower.happened.connect(self._on_event)
        self.follower.ended.connect(self._on_end)

    # ------------------------------------------------------------------------------- actions

    def resume(self, *, retry: bool = False) -> None:
        """Go on with the chosen run in the Train dock, or train it from its begin there.

        Where another run is active, it waits there for the end of that one.
        """
        row, train, wait = self._one(), self._train_dock(), self.projects.state.active is not None
        if not retry and row.info is not None and row.info.status is RunState.COMPLETED:
            train.keep_learning(row.run.path, wait=wait)
        else:
            train.go_on(row.run.path, retry=retry, wait=wait)
        self.projects.look()

    def duplicate(self) -> None:
        """Fill the Train dock with the settings and the data of the chosen run."""
        self._train_dock().duplicate(self._one().run.path)

    def stop(self) -> None:
        """Stop the chosen run: in this viewer's Train dock, else by asking its process."""
        train, run = find_dock(self, TrainDock), self._one().run
        if train is not None and train.session.run == run.path:
            train.session.stop()
            return
        self._perform(
            partial(stop_run, run), f"Asking {run.name} to stop …", lambda _: _ASKED.format(run.name)
        )

    def use(self) -> None:
        """Choose the run in the Predict dock."""
        run = self._one().run
        predict = show_dock(self, PredictDock, "Predict")
        predict.project.set_value(run.project)
        predict.run.set_value(run.path)

    def delete(self) -> None:
        """Delete the chosen runs, when the user is sure."""
        runs = [row.run for row in self.table.selected()]
        what = f"the run {runs[0].name}" if len(runs) == 1 else f"these {len(runs)} runs"
        names = "\n".join(run.name for run in runs[:12]) + ("\n…" if len(runs) > 12 else "")
        asked = f"Delete {what} with checkpoints, metrics and pictures? There is no way back.\n\n{names}"
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self, "Delete runs", asked, buttons.Yes | buttons.Cancel, buttons.Cancel
        )
        if answer == buttons.Yes:

            def work() -> None:
                for run in runs:
                    delete_run(run)

            self._perform(work, f"Deleting {what} …", lambda _: f"Deleted: {what}")

    def open_folder(self) -> None:
        """Show the run folder in the file manager of the system."""
        path = self._one().run.path
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self._refuse(f"No file manager opens {path}; open it by hand")

    def open_picture(self) -> None:
        """Show the newest debug picture in a window."""
        [detail] = self._details()
        if detail.picture is None:
            return
        if self._window is None:
            self._window = DebugWindow(self)
        self._window.show_picture(detail.picture, opening=True)

    def open_labels(self) -> None:
        """Add the labels that the run has kept as new layers."""
        run = self._one().run

        def show(kept: list[KeptLabels]) -> str:
            return f"Opened {', '.join(layer.name for layer in add_kept(self.viewer, kept, run.path))}"

        names = [layer.name for layer in self.viewer.layers]
        self._perform(partial(read_kept, run.path, names), "Opening labels …", show)

    def open_predictions(self) -> None:
        """Add what was predicted with the run to the viewer, where it belongs in the world."""
        [detail] = self._details()

        def show(found: Found) -> str:
            layers = add_stored(self.viewer, found.results, detail.path)
            opened = f"Opened {', '.join(layer.name for layer in layers)}"
            return f"{opened}; {found.loss}" if found.gone else opened

        self._perform(partial(read_found, detail.predictions), "Opening predictions …", show)

    def _train_dock(self) -> TrainDock:
        return show_dock(self, TrainDock, "Train")

    def _one(self) -> RunRow:
        return self.table.selected()[0]

    def _perform(self, work: Callable[[], Any], doing: str, done: Callable[[Any], str]) -> None:
        """Do something long in a thread; `done` takes what it returns and says it in words."""
        if self._worker is not None:
            return

        def on_end(ended: tuple[Any, str]) -> None:
            if not isalive(self) or self._closed:
                return
            self._worker = None
            self._note.show("")
            found, fault = ended
            self.panel.reset()
            if fault:
                self._refuse(fault)
            else:
                self.panel.say(done(found))
            self.projects.look()

        self.panel.wait(doing)
        self._note.show(f"{doing.removesuffix(' …')}. When the window closes this may stay unfinished.")
        self._worker = perform(work)
        self._worker.returned.connect(on_end)
        self._worker.start()
        self._on_look()

    # --------------------------------------------------------------------------- what happens

    def _on_choice(self) -> None:
        self.projects.choose([row.run.path for row in self.table.selected()])
        self._show_details()
        self._on_look()

    def _on_state(self, state: RunsState) -> None:
        """Show what changed in the files."""
        self.table.show_runs(state.rows)
        self._show_details()
        if state.fault and not state.rows:
            self.panel.say(state.fault)
        self._attach()

    def _details(self) -> list[RunDetails]:
        """Return what is known of the chosen runs, of those of which it is."""
        known = {detail.path: detail for detail in self.projects.state.details}
        return [known[row.run.path] for row in self.table.selected() if row.run.path in known]

    def _show_details(self) -> None:
        state, details = self.projects.state, self._details()
        self.curves.show_runs(details)
        count = len(self.table.selected())
        compared = count == len(details) == len(state.details)
        faults = [row.fault for row in self.table.selected() if row.fault]
        faults += [detail.fault for detail in details if detail.fault and detail.fault not in faults]
        fault = "\n".join(faults) or (state.fault if compared else "")
        self.difference.show_difference(count, state.comparison if compared else None, fault)

    def _on_look(self) -> None:
        """Let the user do what can be done now, and else say why not."""
        self.beat.ask(self.table.runs.tick)
        train = find_dock(self, TrainDock)
        now = Situation(
            tuple(self.table.selected()),
            tuple(self._details()),
            self.projects.state.active,
            train is not None and train.busy,
        )
        for name, why_not in refusals(now).items():
            button = self.panel.buttons[name]
            text, tip = described(name, now)
            button.setText(text)
            button.setEnabled(not why_not and self._worker is None)
            button.setToolTip(why_not or tip)

    def _attach(self) -> None:
        """Follow the run that trains now, if there is one."""
        running = [
            row for row in self.projects.state.rows if row.info and row.info.status is RunState.RUNNING
        ]
        if running and self.isVisible():
            row, info = running[-1], running[-1].info
            key = (row.run.path, info and info.resumed)
            if key != self._followed:
                self._followed, self._end = key, None
                self.follower.follow(row.run)
        elif self.follower.run is not None and self.follower.run.path not in self._paths():
            self.follower.stop()  # of another project; one that has ended here still says how
            self._followed = None
            self.panel.reset()
            self.panel.say("")

    def _paths(self) -> set[Path]:
        return {row.run.path for row in self.projects.state.rows}

    def _on_event(self, event: Event) -> None:
        name = self.follower.run.name if self.follower.run is not None else ""
        if isinstance(event, Progress):
            self.panel.show_progress(event.fraction, event.seconds_left, f"{name}: {event.text}")
        elif isinstance(event, Paused):
            self.panel.hold()
            self.panel.say(f"{name}: paused")
        elif isinstance(event, Warned):
            self.panel.say(f"{name}: {event.message}")
        elif isinstance(event, EpochDone):
            self.projects.look()
        elif isinstance(event, Finished):
            self._end = event

    def _on_end(self, fault: str) -> None:
        """Say how the run that was followed has ended."""
        end, path = self._end, self._followed[0] if self._followed else None
        self.panel.reset()
        if fault:
            self.panel.say(fault)
        elif end is not None and path is not None:
            self.panel.say(f"{Path(path).name}: {end.status}" + (f". {end.message}" if end.message else ""))
        self.projects.look()

    def showEvent(self, event: Any) -> None:
        """Watch the project, at first that of the Train dock, while somebody can see what is found."""
        super().showEvent(event)
        train = find_dock(self, TrainDock)
        if train is not None and self.project.value() == self._begun_with:
            self.project.set_value(train.project.value())
        self.projects.start()
        self._attach()

    def hideEvent(self, event: Any) -> None:
        """Leave the file system alone."""
        self.projects.stop()
        self.follower.stop()
        self._followed = None
        super().hideEvent(event)

    def shut_down(self) -> None:
        """Let go of the viewer and of the run that is followed; whoever trains goes on."""
        self.projects.stop()
        self._note.show("")
        super().shut_down()
