"""The Step dock: a training taken step by step, with everything to look at between two steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QMessageBox, QPushButton

from ...config import SegtrainError
from ...runs import StepTaken, checkpoint_path
from ..forms import notify
from ..forms.folding import sections
from ..forms.form_rows import FormRows
from ..forms.path_edit import PathEdit
from ..forms.save_file import file_to_write
from ..forms.style import DEFAULT_PROJECT
from ..panels.curves import StepCurves
from ..panels.heading import Heading
from ..panels.preferences import preferences
from ..panels.run_panel import RunPanel
from ..panels.step_checks import StepChecks
from ..sessions.stepping_session import SteppingSession
from .dock import frame_of
from .job_dock import JobDock
from .other_docks import find_dock, show_dock
from .train_dock import TrainDock

_STEPS = {
    "initialize_optimizer": ("1 Optimizer", "Make what will change the weights"),
    "prepare_batch": ("2 Batch", "Take the next batch of patches, as the full training would, and show it"),
    "zero_gradients": ("3 Zero gradients", "Forget the gradients of earlier batches"),
    "forward_pass": ("4 Forward pass", "Let the network predict the batch, and show it"),
    "calculate_loss": ("5 Loss", "Measure how wrong the prediction is"),
    "backward_pass": (
        "6 Backward pass",
        "Compute the gradient of the loss for every weight, and show it for every voxel of the image",
    ),
    "optimizer_step": ("7 Optimizer step", "Change the weights, and then the learning rate"),
}
_TITLES = {
    **{name: text.partition(" ")[2] for name, (text, _) in _STEPS.items()},
    "run_batches": "Taking the steps of batches",
    "show_activations": "Activations",
    "what_if": "Trying the learning rate",
    "overfit": "Learning the patch by heart",
    "save": "Saving",
}
_DEFINE = (
    "Define model",
    "Build the network and its batches for the experiment in the Train dock; only the next legal step can be "
    "pressed from then on",
)
_WHAT = (
    "The experiment of the Train dock is stepped through: its images, targets, network and settings. The "
    "weights become those of a full training, step by step; where they cannot, Define model says why."
)


class StepDock(JobDock):
    """Define a network, take the seven steps, look between them.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    engine_arguments
        Arguments of the engine process, for tests.
    """

    def __init__(self, napari_viewer: Any, engine_arguments: Sequence[str] = ()) -> None:
        super().__init__(napari_viewer, engine_arguments)
        self.setObjectName("step_dock")
        self.session = SteppingSession(napari_viewer, self.engine, self)
        self.project = PathEdit("project", "Folder that holds what is shared with the process that trains.")
        self.project.set_value(preferences().project)
        self.train = QPushButton("Train dock…")
        self.train.setObjectName("open_train")
        self.train.setToolTip("Show the Train dock, to choose images, targets and settings")
        self.checks = StepChecks()
        self.curves = StepCurves(self.beat)
        self.panel = RunPanel(
            {
                "define_model": _DEFINE,
                **_STEPS,
                "save": (
                    "Save…",
                    "Write the network as it is now into a file, to predict with or to begin a training with",
                ),
                "stop": (
                    "Stop",
                    "End what takes several steps after the step it is in; what was learned stays",
                ),
                "end": ("End", "Forget the network and its batches; the layers stay"),
            },
            self.beat,
            per_row=2,
        )
        self._lay_out()
        self._connect()
        self._on_idle()
        self._warm()

    # -------------------------------------------------------------------------------- layout

    def _lay_out(self) -> None:
        what = QLabel(_WHAT)
        what.setWordWrap(True)
        experiment = FormRows()
        experiment.add(what)
        experiment.add(self.train)
        experiment.add_row("Project", self.project)
        body = sections({"Experiment": experiment, "Curves": self.curves, "Look closer": self.checks})
        self._stack(Heading("Train step by step", "Step by step"), body, self.panel)

    def _connect(self) -> None:
        buttons = self.panel.buttons
        buttons["define_model"].clicked.connect(lambda _=False: self.define())
        for name in _STEPS:
            buttons[name].clicked.connect(lambda _=False, name=name: self.ask(name, self.checks.values(name)))
        buttons["stop"].clicked.connect(self.session.halt)
        buttons["save"].clicked.connect(lambda _=False: self._save())
        buttons["end"].clicked.connect(lambda _=False: self._end())
        self.checks.asked.connect(self.ask)
        self.train.clicked.connect(lambda _=False: show_dock(self, TrainDock, "Train"))
        self._connect_job()
        self.session.said.connect(self.panel.wait)
        self.session.counted.connect(self._draw)
        self.session.taken.connect(self._on_taken)

    # ------------------------------------------------------------------------------- actions

    def define(self) -> None:
        """Define the network of the Train dock's experiment; says why not when that cannot be."""
        try:
            form = self._train_dock().form
            config = form.value()
            self.session.start(config, form.data(), self.project.value() or DEFAULT_PROJECT)
        except SegtrainError as error:
            self._refuse(str(error))
            return
        self.curves.clear()
        self._enable(idle=False)

    def ask(self, action: str, values: dict[str, Any]) -> None:
        """Ask for a step, or what looks at the state.

        Parameters
        ----------
        action, values
            See `StepRequest`.
        """
        by_button = self.focusWidget() in self.panel.buttons.values()
        try:
            self.session.ask(action, **values)
        except SegtrainError as error:
            self._refuse(str(error))
            return
        if self.session.waits:
            self.panel.wait(f"{_TITLES[action]} …")
            if by_button:
                # Or the focus would go on to End, and a second Enter forget the network.
                self.panel.status.setFocus()
            self._allow(["stop"] if action in ("run_batches", "overfit") else [])

    def _save(self) -> None:
        kinds = "Checkpoints (*.ckpt *.pth)"
        path = file_to_write(self, "Save the network", "network.ckpt", kinds, checkpoint_path)
        if path is not None:
            self.ask("save", {"path": str(path)})

    def _end(self) -> None:
        """End, when the user is sure of what gets lost."""
        if steps := self.session.unsaved:
            many = self.session.steps_in_words(steps)
            asked = f"The network of {many} is not saved, and End forgets it. Save… keeps it in a file."
            buttons = QMessageBox.StandardButton
            answer = QMessageBox.question(self, "End", asked, buttons.Yes | buttons.Cancel, buttons.Cancel)
            if answer != buttons.Yes:
                return
        self.session.cancel()

    def _train_dock(self) -> TrainDock:
        """Return the Train dock, opened behind this one where there is none."""
        found = find_dock(self, TrainDock)
        if found is None:
            found = show_dock(self, TrainDock, "Train")
            QTimer.singleShot(0, self._come_back)  # when the other one has found its place
        return found

    def _come_back(self) -> None:
        frame = None if self._closed else frame_of(self)
        if frame is not None:
            frame.raise_()

    # --------------------------------------------------------------------------- what happens

    def _enable(self, *, idle: bool) -> None:
        if idle:
            self.panel.enable(**{name: name == "define_model" for name in self.panel.buttons})
            self.checks.allow(())
        else:
            self._allow(["stop"])

    def _allow(self, actions: Sequence[str]) -> None:
        """Enable these, and the end."""
        self.panel.enable(**{name: name in actions or name == "end" for name in self.panel.buttons})
        self.checks.allow(actions)

    def _on_taken(self, event: StepTaken) -> None:
        self.panel.reset()
        self.panel.say(event.words)
        self.checks.offer(event.stages, len(event.patches))
        self._allow(event.next)
        if event.refused:
            notify.error(event.words)
        else:
            self._draw(event)
        waited = self.focusWidget() is self.panel.status
        if waited and event.next and event.next[0] in self.panel.buttons:
            self.panel.buttons[event.next[0]].setFocus()  # Enter takes one step after the other

    def _draw(self, event: StepTaken) -> None:
        if event.patches:
            done = event.action in ("optimizer_step", "run_batches")
            self.curves.add(
                event.epoch * event.batches + event.batch + 1,
                loss=event.loss,
                gradient_norm=event.norm,
                learning_rate=event.learning_rate if done else None,
            )
