"""The validation patches that a run predicted worst, as a list to go through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QListWidget, QListWidgetItem, QSizePolicy, QVBoxLayout, QWidget

from ...config import DataError, ExperimentConfig, SegtrainError
from ...runs import find_run, read_data
from ...runs.folder import RunFolder
from ...runs.worst import WorstPatch, read_done, worst_patches, write_done
from ..forms import notify
from ..layers.data_spec import TrainingData
from ..layers.placing import Place, place_of
from ..layers.reattach import reattach
from ..layers.view import look_at
from ..sessions.followers import perform

_HINT = "Select a patch to go there. Tick what is done; the ticks are kept in the run."
_NONE = (
    "This run has no scored validation patches yet: they are listed by each validation of a training, at its "
    "end, and by segtrain evaluate RUN --split val."
)


@dataclass(frozen=True)
class _Found:
    """What a run says of its worst patches."""

    run: RunFolder
    config: ExperimentConfig
    stored: Any
    patches: tuple[WorstPatch, ...]
    done: frozenset[str]


class WorstPanel(QWidget):
    """A list of patches with a box each; the one that is selected is shown in the viewer.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    ended = Signal()
    """The patches of the chosen run are listed."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._found: _Found | None = None
        self._asked: Path | None = None
        self._worker: Any = None
        self._writing: Any = None
        self._unwritten: tuple[RunFolder, set[str], set[str]] | None = None
        self.list = QListWidget()
        self.list.setObjectName("worst")
        self.list.setAccessibleName("Worst patches")
        self.list.setToolTip(
            "The patches with the worst scores, the worst first; the box says that one is done"
        )
        self.list.setMinimumHeight(130)
        self.list.setSpacing(2)
        self.status = QLabel()
        self.status.setObjectName("worst_status")
        self.status.setWordWrap(True)
        self.status.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.list)
        layout.addWidget(self.status)
        self.list.currentRowChanged.connect(self._on_row)
        self.list.itemChanged.connect(self._on_tick)
        self.show_run(None)

    def show_run(self, model: Path | None) -> None:
        """List the worst patches of a run or of a checkpoint's run; its files are read by a worker."""
        self._asked, self._found = model, None
        self.list.clear()
        if model is None:
            self.status.setText("Choose a run to see what it predicts worst.")
            return
        self.status.setText("Reading …")
        self._read()

    def _read(self) -> None:
        """Have a worker read the patches of the run that is asked for, once it knows of all ticks."""
        model = self._asked
        if model is None or not self.written:
            return
        worker = perform(lambda: _read(model))
        worker.returned.connect(lambda result: self._on_read(model, *result))
        self._worker = worker
        worker.start()

    def _on_read(self, model: Path, found: _Found | None, fault: str) -> None:
        if not isalive(self) or model != self._asked:
            return
        self._found = found
        self.list.blockSignals(True)
        for patch in () if found is None else found.patches:
            self.list.addItem(_item(patch, done=found is not None and patch.key in found.done))
        self.list.blockSignals(False)
        self.status.setText(fault or (_HINT if self.list.count() else _NONE))
        self.ended.emit()

    def go_to(self, row: int) -> None:
        """Show a patch and select the layer in which its labels are painted; says why not when it cannot."""
        if self._found is None or not 0 <= row < len(self._found.patches):
            return
        patch = self._found.patches[row]
        try:
            place, labels = _place(self._found, patch, list(self._viewer.layers))
        except SegtrainError as error:
            self.status.setText(str(error))
            notify.warning(str(error))
            return
        look_at(self._viewer, place)
        if labels is not None:
            self._viewer.layers.selection.active = labels
        into = "" if labels is None else f"; paint in {labels.name!r}"
        self.status.setText(f"{_words(patch)}{into}")

    def close_down(self) -> None:
        """Wait for nothing any more."""
        self._asked = None

    def _on_row(self, row: int) -> None:
        self.go_to(row)

    def _on_tick(self, item: QListWidgetItem) -> None:
        if self._found is None:
            return
        listed = {item.data(Qt.ItemDataRole.UserRole) for item in self._items()}
        ticked = {
            item.data(Qt.ItemDataRole.UserRole)
            for item in self._items()
            if item.checkState() is Qt.CheckState.Checked
        }
        self._unwritten = (self._found.run, listed, ticked)
        self._write()

    def _write(self) -> None:
        """Have a worker write the newest ticks, one after the other."""
        if self._unwritten is None or self._writing is not None:
            return
        (run, listed, ticked), self._unwritten = self._unwritten, None

        def on_written(ended: tuple[None, str]) -> None:
            self._writing = None
            if isalive(self) and ended[1]:
                self.status.setText(ended[1])
                notify.warning(ended[1])
            self._write()
            if self._found is None:
                self._read()

        # What was ticked in lists of earlier scores stays known.
        self._writing = perform(lambda: write_done(run, (read_done(run) - listed) | ticked))
        self._writing.returned.connect(on_written)
        self._writing.start()

    @property
    def written(self) -> bool:
        """Whether the run knows of all ticks."""
        return self._writing is None and self._unwritten is None

    def _items(self) -> list[QListWidgetItem]:
        return [self.list.item(row) for row in range(self.list.count())]


def _read(model: Path) -> _Found:
    run = find_run(model)
    return _Found(run, run.read_config(), read_data(run), worst_patches(run), read_done(run))


def _place(found: _Found, patch: WorstPatch, layers: list[Any]) -> tuple[Place, Any]:
    """Return where a patch lies among the open layers, and the layer its target is painted in, or None."""
    data: TrainingData = reattach(found.stored, found.config.dataset_config, layers).data
    place = place_of(data.images, patch.record, patch.start, patch.stop)
    if place is None:
        raise DataError(
            f"the image {patch.record!r} of {found.run.name!r} is not open as it was trained on; open it and "
            "select the patch again"
        )
    task = found.config.auxiliary_tasks.get(patch.output)
    target = patch.output if task is None else task.source_target
    mirrors = [mirror for mirror in data.mirrors if mirror.layer in layers]
    own = [m for m in mirrors if target in m.targets and m.record == place.image.id]
    return place, own[0].layer if own else None


def _words(patch: WorstPatch) -> str:
    where = ", ".join(f"{a}:{b}" for a, b in zip(patch.start, patch.stop, strict=True))
    return f"{patch.score} {patch.value:.2f} · {patch.output} · {patch.record} [{where}]"


def _item(patch: WorstPatch, *, done: bool) -> QListWidgetItem:
    item = QListWidgetItem(_words(patch))
    item.setToolTip(_words(patch))
    item.setData(Qt.ItemDataRole.UserRole, patch.key)
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(Qt.CheckState.Checked if done else Qt.CheckState.Unchecked)
    return item
