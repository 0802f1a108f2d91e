"""The auxiliary tasks: what else the network learns from a target, without more painting."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ...config import AuxiliaryTask, Config
from .choice_editors import Combo
from .form import Form
from .form_rows import FormRows
from .rows import INSET, Card, CardList
from .schema import tag_of

TASKS: dict[str, type[Config]] = {
    tag_of(model, "type"): model for model in typing.get_args(typing.get_args(AuxiliaryTask)[0])
}
"""Every kind of task by the name that the YAML file gives it."""


class SourceChoice(Combo):
    """The target that a task is derived from: one of those in the table."""

    def __init__(self) -> None:
        super().__init__("source_target")

    def offer(self, targets: list[str]) -> None:
        """Offer these targets; the chosen one stays although it may be gone."""
        chosen = self.chosen()
        names = targets if chosen is None or chosen in targets else [*targets, chosen]
        self.set_items([(n if n in targets else f"{n} (missing)", n) for n in names if n], chosen)

    def value(self) -> str:
        """Return the target's name, empty when there is none."""
        return str(self.chosen() or "")

    def set_value(self, value: str) -> None:
        """Choose a target, whether it is in the table or not."""
        if value not in self.offered():
            self.set_items([*((n, n) for n in self.offered()), (f"{value} (missing)", value)], value)
        super().set_value(value)


class TaskCard(Card):
    """One auxiliary task: its name, its type, and the settings of that type."""

    def __init__(self, name: str, targets: list[str]) -> None:
        super().__init__(
            name,
            "What the task is called in the run's files and layers.",
            "Show in the visible region what is derived for this task",
        )
        self._targets = targets
        self.type = Combo("type")
        self.type.setToolTip("What is derived from the labels of the source target.")
        self.type.set_items([(tag.replace("_", " "), tag) for tag in TASKS])
        for index, model in enumerate(TASKS.values()):
            self.type.setItemData(index, (model.__doc__ or "").strip(), 3)
        head = FormRows(INSET)
        head.add_row("Type", self.type)
        self.body.addWidget(head)
        self.form: Form = self._new_form()
        self.type.changed.connect(self._retype)

    def _new_form(self) -> Form:
        self.source = SourceChoice()
        self.source.offer(self._targets)
        form = Form(TASKS[self.type.value()], editors={"source_target": self.source}, inset=INSET)
        form.setObjectName("task")
        form.changed.connect(self.changed)
        self.body.addWidget(form)
        return form

    def _retype(self) -> None:
        source, old = self.source.value(), self.form
        self.body.removeWidget(old)
        old.hide()
        old.deleteLater()
        self.form = self._new_form()
        if source:
            self.source.set_value(source)
        self.changed.emit()

    def offer(self, targets: list[str]) -> None:
        """Offer these targets as sources."""
        self._targets = targets
        self.source.offer(targets)

    def value(self) -> tuple[str, Any]:
        """Return the task's name and settings."""
        name = str(self.name.text()).strip()
        self.form.within = f"auxiliary_tasks.{name}"
        return name, self.form.value()

    def set_value(self, name: str, task: Any) -> None:
        """Show a task."""
        self.type.set_value(task.type)
        self.name.setText(name)
        self.form.set_value(task)


class AuxiliaryTable(CardList):
    """Every auxiliary task of an experiment: the section `auxiliary_tasks`.

    Parameters
    ----------
    targets
        Returns the names of the targets that a task can be derived from.
    """

    def __init__(self, targets: Callable[[], list[str]]) -> None:
        super().__init__(
            "auxiliary_tasks",
            "add_auxiliary",
            "+ Add auxiliary task",
            "Let the network also learn distances or normals of a target",
            "None. Distances to a target's surface, or its normals, teach the network about shape; "
            "they are derived from the target's labels.",
            lambda: self.append_new(),
        )
        self._targets = targets

    def append_new(self) -> TaskCard:
        """Add a task of the first type, derived from the first target."""
        targets = self._targets()
        card = TaskCard(self.free_name(next(iter(TASKS))), targets)
        self.append(card)
        card.type.changed.connect(lambda: self._rename(card))
        return card

    def _rename(self, card: TaskCard) -> None:
        """Name a task after its new type, unless the user gave it a name."""
        name = str(card.name.text())
        if re.sub(r"_\d+$", "", name) in TASKS:
            card.name.setText("")
            card.name.setText(self.free_name(card.type.value()))

    def refresh(self) -> None:
        """Offer the targets of now."""
        for card in self.cards:
            card.offer(self._targets())

    def value(self) -> dict[str, Any]:
        """Return the tasks by name.

        Raises
        ------
        ConfigError
            When a name is missing or used twice, or a row's settings are not valid.
        """
        return self.values("task")

    def set_value(self, value: Mapping[str, Any]) -> None:
        """Show these tasks."""
        self.clear()
        for name, task in value.items():
            card = TaskCard(name, self._targets())
            card.set_value(name, task)
            self.append(card)
