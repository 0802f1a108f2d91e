"""A field for settings by name, several levels deep, as the YAML file has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPlainTextEdit

from .schema import Key

_LINES = 4


class YamlEdit(QPlainTextEdit):
    """Names, and the settings of each below it, as YAML; the tabulator leaves the field.

    Parameters
    ----------
    key
        The key that it edits.
    """

    changed = Signal()

    def __init__(self, key: Key) -> None:
        super().__init__()
        self.setObjectName(key.name)
        self.setPlaceholderText("none; as YAML, such as\ncells: {kind: binary}")
        self.setTabChangesFocus(True)
        self.setFixedHeight(self.fontMetrics().lineSpacing() * _LINES + 12)
        self.textChanged.connect(self.changed.emit)

    def value(self) -> dict[str, Any]:
        """Return the mapping as plain values.

        Raises
        ------
        ValueError
            When the text is no mapping.
        """
        try:
            found = yaml.safe_load(self.toPlainText())
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = "" if mark is None else f" in line {mark.line + 1}"
            raise ValueError(f"is not valid YAML{where}") from None
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise ValueError("names are missing; write it like cells: {kind: binary}")
        return {str(name): item for name, item in found.items()}

    def set_value(self, value: Mapping[str, Any]) -> None:
        """Show a mapping; of models what differs from their defaults."""
        plain = {name: _plain(item) for name, item in value.items()}
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).strip() if plain else ""
        if text != self.toPlainText():
            self.setPlainText(text)


def _plain(value: Any) -> Any:
    if not isinstance(value, BaseModel):
        return value
    tags = {name: getattr(value, name) for name in ("type",) if name in type(value).model_fields}
    return tags | value.model_dump(mode="json", exclude_defaults=True)
