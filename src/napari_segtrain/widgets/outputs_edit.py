"""Which outputs of a network are predicted."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from ..config import ExperimentConfig

ALL = "all outputs"


class OutputsEdit(QListWidget):
    """Names to tick below "all outputs", which stands for None."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("targets")
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self._show([], None)
        self.itemChanged.connect(self._on_item)

    def offer(self, names: Sequence[str]) -> None:
        """Offer these outputs; ticks stay, whether the network has those outputs or not."""
        ticked = self.value()
        self._show([*names, *(name for name in ticked or () if name not in names)], ticked)

    def _show(self, names: Sequence[str], ticked: Sequence[str] | None) -> None:
        self.blockSignals(True)
        self.clear()
        for name in (ALL, *names):
            item = QListWidgetItem(name)
            item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled)
            self.addItem(item)
            self._tick(self.count() - 1, ticked is None if name == ALL else name in (ticked or ()))
        self.blockSignals(False)
        rows = min(self.count(), 5)
        self.setFixedHeight(rows * max(self.sizeHintForRow(0), 17) + 8)

    def _tick(self, row: int, on: bool) -> None:
        self.item(row).setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def _ticked(self, row: int) -> bool:
        return bool(self.item(row).checkState() == Qt.CheckState.Checked)

    def _on_item(self, item: QListWidgetItem) -> None:
        """Keep "all outputs" ticked exactly while nothing else is."""
        self.blockSignals(True)
        others = range(1, self.count())
        if self.row(item) == 0 and self._ticked(0):
            for row in others:
                self._tick(row, False)
        else:
            self._tick(0, not any(self._ticked(row) for row in others))
        self.blockSignals(False)
        self.changed.emit()

    def value(self) -> tuple[str, ...] | None:
        """Return the ticked names, None for all outputs."""
        if self._ticked(0):
            return None
        return tuple(str(self.item(row).text()) for row in range(1, self.count()) if self._ticked(row))

    def set_value(self, value: Sequence[str] | None) -> None:
        """Tick these names, whether the chosen run has them or not; None is all outputs."""
        names = [str(self.item(row).text()) for row in range(1, self.count())]
        chosen = tuple(value or ()) or None
        self._show([*(chosen or ()), *(name for name in names if name not in (chosen or ()))], chosen)
        self.changed.emit()


def output_names(config: ExperimentConfig) -> list[str]:
    """Return the outputs of an experiment that a user may want: its targets, its auxiliary tasks."""
    return [*config.dataset_config.targets, *config.auxiliary_tasks]
