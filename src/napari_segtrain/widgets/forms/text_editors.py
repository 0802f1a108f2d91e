"""Line edits for names, lists of numbers and small mappings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit

from .schema import Key

_EXAMPLES: dict[tuple[type, bool], str] = {
    (int, False): "64, 64, 64",
    (float, False): "1, 0.5, 0.5",
    (int, True): "1, 3, 3; 3, 3, 3",
    (str, False): "name, name",
}


class _Line(QLineEdit):
    changed = Signal()

    def __init__(self, key: Key) -> None:
        super().__init__()
        self.setObjectName(key.name)
        self.setMinimumWidth(64)
        self.key = key
        if key.optional:
            self.setPlaceholderText(key.empty)
        self.textChanged.connect(lambda _: self.changed.emit())


class TextEdit(_Line):
    """A text; where the key allows None, an empty field is None."""

    def value(self) -> str | None:
        """Return the text, None when it is empty and may be."""
        return None if self.key.optional and not self.text() else str(self.text())

    def set_value(self, value: str | None) -> None:
        """Show a text, or nothing for None."""
        self.setText(value or "")


class SequenceEdit(_Line):
    """Numbers or names with commas between them; sequences of sequences with semicolons."""

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        if not key.optional:
            self.setPlaceholderText(_EXAMPLES.get((key.item, key.nested), ""))

    def value(self) -> tuple[Any, ...] | None:
        """Return the sequence, None for an empty field where the key allows it.

        Raises
        ------
        ValueError
            When an item is not of the key's type; the message shows how the value is written.
        """
        text = self.text().strip().strip("()[]")
        if not text:
            return None if self.key.optional else ()
        if self.key.nested:
            rows = [row for row in re.split(r"[;]|\)\s*,\s*\(", text) if row.strip()]
            return tuple(self._items(row) for row in rows)
        return self._items(text)

    def _items(self, text: str) -> tuple[Any, ...]:
        parts = [part.strip(" ()[]") for part in text.split(",")]
        try:
            return tuple(self.key.item(part) for part in parts if part)
        except ValueError:
            example = _EXAMPLES[(self.key.item, self.key.nested)]
            raise ValueError(f"{self.text()!r} cannot be read; write it like {example}") from None

    def set_value(self, value: tuple[Any, ...] | None) -> None:
        """Show a sequence, or nothing for None."""
        if value is None:
            self.setText("")
        elif self.key.nested:
            self.setText("; ".join(", ".join(str(item) for item in row) for row in value))
        else:
            self.setText(", ".join(str(item) for item in value))


class MappingEdit(_Line):
    """Names and values, such as the keyword arguments of a loss: ``rho: 3, beta: 0.5``."""

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self.setPlaceholderText("rho: 3, beta: 0.5")

    def value(self) -> dict[str, Any]:
        """Return the mapping.

        Raises
        ------
        ValueError
            When the text is no mapping.
        """
        try:
            found = yaml.safe_load("{" + self.text() + "}")
        except yaml.YAMLError:
            found = None
        if not isinstance(found, dict):
            raise ValueError(f"{self.text()!r} cannot be read; write it like rho: 3, beta: 0.5")
        return {str(name): value for name, value in found.items()}

    def set_value(self, value: Mapping[str, Any]) -> None:
        """Show a mapping."""
        self.setText(", ".join(f"{_name(name)}: {_scalar(item)}" for name, item in value.items()))


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) and _reads_as_text(name) else json.dumps(name)


def _reads_as_text(word: str) -> bool:
    return isinstance(yaml.safe_load(word), str)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        # YAML 1.1 reads 1e-05 as a text: a number in scientific notation needs its point.
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    return json.dumps(value)
