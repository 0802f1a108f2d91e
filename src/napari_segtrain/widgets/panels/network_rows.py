"""The rows with which a dock asks for a trained network."""

from __future__ import annotations

from pathlib import Path

from ...config import TrSetup
from ..forms.choice_editors import DeviceEdit
from ..forms.form_rows import FormRows
from ..forms.path_edit import PathEdit
from ..forms.schema import schema_text
from ..forms.style import DEFAULT_PROJECT
from .preferences import preferences
from .run_choice import RunChoice


class NetworkRows(FormRows):
    """A project, one of its runs, and the device that computes with it.

    Parameters
    ----------
    device
        Editor of the device, where there is something to compute.
    """

    def __init__(self, device: DeviceEdit | None = None) -> None:
        super().__init__()
        self.project = PathEdit("project", "Folder that holds the runs.")
        self.run = RunChoice()
        self.device = device
        self.add_row("Project", self.project)
        self.add_row("Run", self.run)
        if device is not None:
            device.setToolTip(schema_text(TrSetup, "device"))
            self.add_row("Device", device)
        self.project.changed.connect(lambda: self.run.set_project(self.folder))

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.project.value() or DEFAULT_PROJECT

    def begin(self) -> None:
        """Show what the user's preferences say; runs of the project are looked for."""
        wishes = preferences()
        self.project.set_value(wishes.project)
        if self.device is not None:
            self.device.set_value(wishes.device)
