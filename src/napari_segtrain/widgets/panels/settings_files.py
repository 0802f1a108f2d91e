"""Buttons that read the settings of an experiment from a file, and write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QFileDialog, QPushButton

from ...config import ExperimentConfig, SegtrainError, dump_config, load_config
from ..forms.save_file import ended, file_to_write


class SettingsFiles:
    """Open… and Save….

    Parameters
    ----------
    value, set_value
        Return and show the experiment.
    ask
        Has a worker do something, and hands on what it returns.
    refuse
        Says why something cannot be done.

    Attributes
    ----------
    open, save
        The buttons.
    """

    def __init__(
        self,
        value: Callable[[], ExperimentConfig],
        set_value: Callable[[ExperimentConfig], None],
        ask: Callable[[Callable[[], Any], Callable[[Any], None]], None],
        refuse: Callable[[str], None],
    ) -> None:
        self._value, self._set_value, self._ask, self._refuse = value, set_value, ask, refuse
        self.open = QPushButton("Open…")
        self.open.setObjectName("open_config")
        self.open.setToolTip("Read the settings from a YAML file")
        self.open.clicked.connect(lambda _=False: self._on_open())
        self.save = QPushButton("Save…")
        self.save.setObjectName("save_config")
        self.save.setToolTip("Write the settings to a YAML file that the command line reads too")
        self.save.clicked.connect(lambda _=False: self._on_save())

    def _on_open(self) -> None:
        kinds = "Settings (*.yaml *.yml *.json)"
        path, _ = QFileDialog.getOpenFileName(self.open, "Open settings", "", kinds)
        if path:
            self._ask(lambda: load_config(path), self._set_value)

    def _on_save(self) -> None:
        name, kinds = "experiment.yaml", "Settings (*.yaml *.yml)"
        path = file_to_write(
            self.save, "Save settings", name, kinds, lambda typed: ended(typed, ".yaml", ".yml")
        )
        if path is not None:
            try:
                text = dump_config(self._value())
            except SegtrainError as error:
                self._refuse(str(error))
                return
            self._ask(lambda: path.write_text(text, encoding="utf-8"), lambda _: None)
