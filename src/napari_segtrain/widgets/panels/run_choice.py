"""Choosing a trained network: a run of the project, or any run folder or checkpoint file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from ...config import ConfigError, ExperimentConfig
from ..forms.choice_editors import Combo
from ..forms.style import DEFAULT_PROJECT
from ..sessions.trained_watch import TrainedWatch

_TIP = "The trained network: a run of the project, or a checkpoint file"


class RunChoice(QWidget):
    """The runs of a project that have a checkpoint, newest first, and what else was browsed for.

    Its value is the path of a run folder or a checkpoint, None when there is none. Runs are read in a thread:
    what is new appears a moment later.
    """

    changed = Signal()
    """Another one is chosen."""
    configured = Signal()
    """The experiment of the chosen one was read, or it is another than before."""

    def __init__(self) -> None:
        super().__init__()
        self._project = DEFAULT_PROJECT
        self._browsed: list[Path] = []
        self._told: tuple[Path | None, ExperimentConfig | None] = (None, None)
        self._waiting: tuple[Path | None, Callable[[], None]] | None = None
        self.watch = TrainedWatch(lambda: self._project, self)
        self.choice = Combo("run")
        self.choice.setAccessibleName("Run")
        self.choice.setPlaceholderText("no run yet")
        self.choice.setToolTip(_TIP)
        self.refresh_button = QPushButton("⟳")
        self.refresh_button.setObjectName("refresh_runs")
        self.refresh_button.setToolTip("Look for new runs")
        self.browse = QPushButton("…")
        self.browse.setObjectName("browse_run")
        self.browse.setToolTip("Browse for a checkpoint file of another project")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.choice, 1)
        for button in (self.refresh_button, self.browse):
            button.setMaximumWidth(32)
            button.setAccessibleName(button.toolTip())
            layout.addWidget(button)
        self.setFocusProxy(self.choice)
        self.choice.changed.connect(self._on_choice)
        self.refresh_button.clicked.connect(self.refresh)
        self.browse.clicked.connect(self._browse)
        self.watch.looked.connect(self._on_look)

    def set_project(self, project: Path) -> None:
        """Offer the runs of another project, once its path is typed to the end."""
        if project != self._project:
            self._project = project
            self._offer(())
            self.watch.look_when_typed()

    def refresh(self) -> None:
        """Look at the disk again; the chosen run stays chosen."""
        self.watch.look()

    def _offer(self, runs: Sequence[tuple[str, Path]]) -> None:
        self.choice.set_items([*runs, *((str(path), path) for path in self._browsed)])

    def _on_look(self) -> None:
        state = self.watch.state
        known = {path for _, path in state.runs}
        self._browsed = [path for path in self._browsed if path not in known]
        self._offer(state.runs)
        if state.chosen is not None and state.chosen == self.value():
            self.choice.setToolTip(f"{_TIP}\n\n{state.explained}")
            self._tell(state.chosen, state.config)

    def _on_choice(self) -> None:
        chosen = self.value()
        self.watch.choose(chosen)
        self.choice.setToolTip(_TIP if chosen is None else f"{_TIP}\n\n{chosen}")
        if chosen is None:
            self._tell(None, None)
        self.changed.emit()

    def _tell(self, chosen: Path | None, config: ExperimentConfig | None) -> None:
        if self._told != (chosen, config):
            self._told = chosen, config
            self.configured.emit()
        if self.known and self._waiting is not None:
            (wanted, action), self._waiting = self._waiting, None
            if wanted == self.value():  # another run is not what was asked for
                action()

    def when_known(self, action: Callable[[], None]) -> bool:
        """Call a function as soon as the chosen run was read, now where it was; return whether it was.

        Of two that wait, the newer one is called.
        """
        if self.value() is None or self.known:
            action()
            return True
        self._waiting = self.value(), action
        self.watch.choose(self.value())
        return False

    def value(self) -> Path | None:
        """Return the chosen run folder or checkpoint."""
        chosen = self.choice.value()
        return None if chosen is None else Path(chosen)

    def set_value(self, value: Path | str | None) -> None:
        """Choose a run folder or checkpoint, whether it is of the project or not."""
        if value is None:
            return
        path = Path(value)
        if path not in self.choice.offered():
            self._browsed = [*(old for old in self._browsed if old != path), path]
            self._offer(self.watch.state.runs if self.watch.state.project == self._project else ())
        self.choice.set_value(path)

    @property
    def known(self) -> bool:
        """Whether the experiment of the chosen one was read."""
        return self.value() == self._told[0]

    def config(self) -> ExperimentConfig | None:
        """Return the experiment of the chosen run; None where there is none, or it is not read yet."""
        return self._told[1] if self.known else None

    def checked(self) -> Path:
        """Return the chosen run.

        Raises
        ------
        ConfigError
            When none is chosen, or it is no longer there.
        """
        chosen = self.value()
        if chosen is None:
            raise ConfigError("no trained network is chosen; train one, or browse for a checkpoint file")
        if not chosen.exists():
            raise ConfigError(f"{chosen} is no longer there; choose another run")
        return chosen

    def _browse(self) -> None:
        start = str(self._project if self._project.is_dir() else Path.home())
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Choose a checkpoint", start, "Checkpoints (*.ckpt *.pth)"
        )
        if chosen:
            self.set_value(chosen)
