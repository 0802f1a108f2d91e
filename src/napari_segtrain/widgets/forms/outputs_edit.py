"""Which outputs of a network are predicted."""

from __future__ import annotations

from collections.abc import Sequence

from ...config import ExperimentConfig
from .ticks import Ticks

ALL = "all outputs"


class OutputsEdit(Ticks):
    """Names to tick below "all outputs", which stands for None."""

    def __init__(self) -> None:
        super().__init__("targets")
        self._show([], None)
        self.clicked.connect(self._on_row)

    def offer(self, names: Sequence[str]) -> None:
        """Offer these outputs; ticks stay, whether the network has those outputs or not."""
        ticked = self.value()
        self._show([*names, *(name for name in ticked or () if name not in names)], ticked)

    def _show(self, names: Sequence[str], ticked: Sequence[str] | None) -> None:
        self.show_boxes([ALL, *names], [ticked is None, *(name in (ticked or ()) for name in names)])

    def _on_row(self, row: int) -> None:
        """Keep "all outputs" ticked exactly while nothing else is."""
        everything, *single = self.boxes
        if row == 0 and everything.isChecked():
            for box in single:
                box.setChecked(False)
        everything.setChecked(not any(box.isChecked() for box in single))
        self.changed.emit()

    def value(self) -> tuple[str, ...] | None:
        """Return the ticked names, None for all outputs."""
        everything, *single = self.boxes
        return None if everything.isChecked() else tuple(str(b.text()) for b in single if b.isChecked())

    def set_value(self, value: Sequence[str] | None) -> None:
        """Tick these names, whether the chosen run has them or not; None is all outputs."""
        names = [str(box.text()) for box in self.boxes[1:]]
        chosen = tuple(value or ()) or None
        self._show([*(chosen or ()), *(name for name in names if name not in (chosen or ()))], chosen)
        self.changed.emit()


def output_names(config: ExperimentConfig) -> list[str]:
    """Return the outputs of an experiment that a user may want: its targets, its auxiliary tasks."""
    return [*config.dataset_config.targets, *config.auxiliary_tasks]


def why_no_objects(config: ExperimentConfig, outputs: Sequence[str] | None) -> str:
    """Return why no objects can be separated in outputs of an experiment, an empty text where they can.

    Parameters
    ----------
    config
        The experiment; one without targets is not known.
    outputs
        Names of the outputs; None for all.
    """
    targets = config.dataset_config.targets
    kinds = {target.kind for name, target in targets.items() if outputs is None or name in outputs}
    return "" if not targets or kinds & {"instances", "binary"} else "these outputs have no objects"
