"""Open layers as parameters of nodes, which name them."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ...forms.choice_editors import Combo
from ...forms.path_edit import PathEdit
from ...forms.schema import Key
from ...forms.ticks import Ticks
from ...layers.layer_choice import LayerWatch, is_image


class PathText(PathEdit):
    """A path as text, as files of graphs have it.

    Parameters
    ----------
    key
        The key that it edits.
    kind
        What the button looks for, see `PathEdit`.
    """

    def __init__(self, key: Key, kind: str = "folder") -> None:
        super().__init__(key.name, key.description, kind)
        self._optional = key.optional

    def value(self) -> Any:
        """Return the path as it was typed, None when nothing was typed and nothing may be."""
        text = str(self.line.text()).strip()
        return text or (None if self._optional else "")

    def set_value(self, value: Any) -> None:
        """Show a path as it is."""
        self.line.setText("" if value is None else str(value))


class LayerTicks(Ticks):
    """Image layers to tick; the value is the names of the ticked ones, also of those that are not open.

    Parameters
    ----------
    key
        The key that it edits.
    watch
        Says which layers there are.
    """

    def __init__(self, key: Key, watch: LayerWatch) -> None:
        super().__init__(key.name)
        self._watch = watch
        self._names: tuple[str, ...] = ()
        self._offered: list[str] = []
        self.clicked.connect(self._on_row)
        watch.changed.connect(self._show)
        self._show()

    def value(self) -> tuple[str, ...]:
        """Return the names of the ticked layers."""
        return self._names

    def set_value(self, value: tuple[str, ...]) -> None:
        """Tick the layers of these names and no others."""
        if tuple(value) != self._names:
            self._names = tuple(value)
            self._show()
            self.changed.emit()

    def _show(self) -> None:
        there = [layer.name for layer in self._watch.of_kind(is_image)]
        missing = [name for name in self._names if name not in there]
        self._offered = [*there, *missing]
        texts = [*there, *(f"{name} (missing)" for name in missing)]
        self.show_boxes(texts, [name in self._names for name in self._offered])

    def _on_row(self, row: int) -> None:
        ticked = [name for name, box in zip(self._offered, self.boxes, strict=True) if box.isChecked()]
        self._names = tuple(ticked)
        self.changed.emit()


class ImageEdit(QWidget):
    """An image: a layer that is open, or a file or folder by its path.

    Parameters
    ----------
    key
        The key that it edits.
    watch
        Says which layers there are.
    """

    changed = Signal()

    def __init__(self, key: Key, watch: LayerWatch) -> None:
        super().__init__()
        self._watch = watch
        self.setObjectName(f"{key.name}_edit")
        self.layer = Combo(f"{key.name}_layer")
        self.path = PathText(key, "any")
        self.line = self.path.line
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.layer)
        column.addWidget(self.path)
        self.setFocusProxy(self.layer)
        self.layer.activated.connect(self._on_layer)
        self.path.changed.connect(self._on_path)
        watch.changed.connect(self._show)
        self._show()

    def setAccessibleName(self, name: str) -> None:
        """Name both parts: each has the focus in its turn."""
        super().setAccessibleName(name)
        self.layer.setAccessibleName(f"{name}: open layer")
        self.path.setAccessibleName(f"{name}: path")

    def value(self) -> Any:
        """Return the name of the layer, or the path."""
        return self.path.value()

    def set_value(self, value: Any) -> None:
        """Show the name of a layer, or a path."""
        self.path.set_value(value)

    def _show(self) -> None:
        names = [layer.name for layer in self._watch.of_kind(is_image)]
        value = self.path.value()
        chosen = value if value in names else None
        self.layer.set_items([("a file or folder", None), *((name, name) for name in names)], chosen)
        if chosen is None:
            self.layer.setCurrentIndex(0)
        self.path.setVisible(chosen is None)

    def _on_layer(self, _: int) -> None:
        self.path.set_value(self.layer.value())
        self._show()  # also when the path was empty before and is now

    def _on_path(self) -> None:
        self._show()
        self.changed.emit()
