"""Choosing a trained network: a run of the project, or any run folder or checkpoint file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from ..config import ConfigError, ExperimentConfig, SegtrainError
from ..runs import RunFolder, find_run, list_runs
from .choice_editors import Combo

_TIP = "The trained network: a run of the project, or a checkpoint file"


class RunChoice(QWidget):
    """The runs of a project that have a checkpoint, newest first, and what else was browsed for.

    Its value is the path of a run folder or a checkpoint, None when there is none.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._project: Path | None = None
        self._browsed: list[Path] = []
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
        self.choice.changed.connect(self._explain_choice)
        self.choice.changed.connect(self.changed)
        self.refresh_button.clicked.connect(self.refresh)
        self.browse.clicked.connect(self._browse)

    def set_project(self, project: Path | None) -> None:
        """Offer the runs of another project."""
        self._project = project
        self.refresh()

    def refresh(self) -> None:
        """Look at the disk again; the chosen run stays chosen."""
        found: list[tuple[str, Path]] = []
        if self._project is not None:
            for run in reversed(list_runs(self._project)):
                if any(run.checkpoints.glob("*.ckpt")):
                    found.append((_describe(run), run.path))
        found += [(str(path), path) for path in self._browsed]
        self.choice.set_items(found)
        self._explain_choice()

    def _explain_choice(self) -> None:
        chosen = self.value()
        self.choice.setToolTip(_TIP if chosen is None else f"{_TIP}\n\n{_explain(chosen)}")

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
            self.refresh()
        self.choice.set_value(path)

    def config(self) -> ExperimentConfig | None:
        """Return the experiment of the chosen run, None where there is none beside the checkpoint."""
        chosen = self.value()
        if chosen is None:
            return None
        try:
            return find_run(chosen).read_config()
        except SegtrainError:
            return None

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
        start = str(self._project or Path.home())
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Choose a checkpoint", start, "Checkpoints (*.ckpt *.pth)"
        )
        if chosen:
            self.set_value(chosen)


def _describe(run: RunFolder) -> str:
    try:
        return f"{run.name} · epoch {run.read_info().epoch}"
    except SegtrainError:
        return run.name


def _explain(model: Path) -> str:
    """Return the state of a run, its best score and where it lies."""
    try:
        info = find_run(model).read_info()
    except SegtrainError:
        return str(model)
    if info.best is None or info.best.value is None:
        return f"{info.status}\n{model}"
    return f"{info.status}; {info.best.monitor} {info.best.value:.3g} after epoch {info.best.epoch}\n{model}"
